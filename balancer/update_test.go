package balancer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func names(b *Balancer) (s string) {
	for _, m := range b.Members() {
		s += m.Name()
	}
	return s
}

func TestUpdateKeepsState(t *testing.T) {
	_, list := flagged(t, "a b c")
	b := newTest(t, Config{}, list...)
	a, c := b.Member("a"), b.Member("c")
	send(t, b)
	a.MarkError(errors.New("test"))
	require.NoError(t, a.SetLoadFactor(7)) // by hand
	_, more := flagged(t, "d")
	next := []MemberConfig{list[2], more[0], list[0]}
	next[0].LoadFactor, next[2].Route = 3, "ra"
	require.NoError(t, b.Update(next))
	require.Equal(t, "cda", names(b))
	require.Same(t, a, b.Member("a"))
	require.Same(t, c, b.Member("c"))
	st, _ := a.State()
	require.Equal(t, StateError, st)
	require.Equal(t, int64(1), a.Elected())
	require.Equal(t, 700, a.Factor(), "what was changed by hand stays")
	require.Equal(t, "ra", a.Route())
	require.Equal(t, 300, c.Factor())

	bad := []MemberConfig{{URL: "http://x"}, {URL: ""}}
	require.Error(t, b.Update(bad))
	require.Error(t, b.Update([]MemberConfig{list[0], list[0]}))
	require.Equal(t, "cda", names(b), "nothing changes")

	other := list[0]
	other.URL = "http://elsewhere"
	require.NoError(t, b.Update([]MemberConfig{other}))
	require.NotSame(t, a, b.Member("a"))
	require.True(t, a.Removed())
}

func TestUpdateTakesFunctionsAsTransports(t *testing.T) {
	f := roundTripFunc(func(r *http.Request) (*http.Response, error) { return answer(r, 200, "f"), nil })
	list := []MemberConfig{{URL: "http://m", RoundTripper: f}}
	b := newTest(t, Config{}, list...)
	m := b.Members()[0]
	require.NoError(t, b.Update(list))
	require.Same(t, m, b.Members()[0])
	require.NoError(t, m.SetLoadFactor(2))
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestDrainAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a b")
		b, err := New(Config{}, list...)
		require.NoError(t, err)
		defer b.Close()
		fs["a"].do(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Minute)
			return answer(r, 200, "a"), nil
		})
		got := make(chan string, 1)
		go func() {
			name, _ := sent(b, get(t, "balancer://x/"))
			got <- name
		}()
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a := b.Member("a")
		require.ErrorIs(t, a.Drain(ctx), context.DeadlineExceeded)
		require.Equal(t, Draining, a.Flags())
		require.Equal(t, "b", send(t, b))
		require.NoError(t, b.Remove(t.Context(), "a"))
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, "a", <-got, "it finishes what it has")
		require.Equal(t, "b", names(b))
		require.ErrorIs(t, b.Remove(t.Context(), "a"), ErrUnknownMember)
		require.NoError(t, b.Member("b").Drain(t.Context()))
		require.ErrorIs(t, b.Ready(), ErrNoMember)
	})
}

func TestClosedBalancer(t *testing.T) {
	b, err := New(Config{}, URLs("http://a")...)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	_, err = sent(b, get(t, "balancer://x/"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = b.Add(MemberConfig{URL: "http://b"})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, b.Update(nil), ErrClosed)
	require.ErrorIs(t, b.Ready(), ErrClosed)
}

func TestSnapshot(t *testing.T) {
	c := Config{Name: "x", Sticky: ParseSticky("SID|sid"), FailOnStatus: []int{500}}
	list := []MemberConfig{{Name: "a", URL: "http://a", Check: &Check{Method: "TCP", Interval: time.Hour}}, {Name: "b", URL: "http://b", RoundTripper: &fake{}}}
	c.NoForceRecovery = true
	b := newTest(t, c, list...)
	b.SetMethod(&ByBusyness{})
	require.NoError(t, b.Configure(func(c *Config) { c.Timeout, c.MaxAttempts = time.Second, 5 }))
	b.Member("a").SetFlags(Disabled|HotStandby, 0)
	_, err := b.Add(MemberConfig{Name: "n", URL: "http://n/app", LoadFactor: 2.5, Route: "rn", LBSet: 1})
	require.NoError(t, err)
	text, err := json.MarshalIndent(b.Snapshot(), "", "  ")
	require.NoError(t, err)

	var s Snapshot
	require.NoError(t, json.Unmarshal(text, &s))
	again := newTest(t, Config{Name: "x"}, list...)
	require.NoError(t, again.Restore(s))
	text2, err := json.MarshalIndent(again.Snapshot(), "", "  ")
	require.NoError(t, err)
	require.Equal(t, string(text), string(text2))
	require.Equal(t, Disabled|HotStandby, again.Member("a").Flags())
	require.Equal(t, "bybusyness", again.Stats().Method)

	s.Method = "mine"
	s.Members = append(s.Members, MemberSnapshot{Foreign: true, MemberConfig: MemberConfig{Name: "f"}}, MemberSnapshot{MemberConfig: MemberConfig{Name: "g", URL: ":"}})
	s.Members[0].Flags = 0
	err = again.Restore(s)
	require.ErrorContains(t, err, `"mine"`)
	require.ErrorContains(t, err, `"f"`)
	require.Zero(t, again.Member("a").Flags(), "the rest is restored")
	require.Equal(t, "abn", names(again))
}

// records is a DNS in memory.
type records struct {
	mu  sync.Mutex // guards the rest
	ips []string
	srv []*net.SRV
	err error
}

func (d *records) set(err error, ips ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ips, d.err = ips, err
}

func (d *records) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if host != "app.example" || network != "ip" {
		return nil, errors.New("unexpected question")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []netip.Addr
	for _, s := range d.ips {
		list = append(list, netip.MustParseAddr(s))
	}
	return list, d.err
}

func (d *records) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return "", d.srv, d.err
}

func TestDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &records{ips: []string{"10.0.0.2", "10.0.0.1", "::ffff:10.0.0.1", "fd00::1"}}
		b, err := New(Config{Discovery: &DNS{
			Host: "app.example", Port: 8080, Resolver: dns, Valid: 10 * time.Second,
			Member: MemberConfig{URL: "http://any/app", LoadFactor: 3},
		}})
		require.NoError(t, err)
		defer b.Close()
		synctest.Wait()
		members := b.Members()
		require.Len(t, members, 3)
		require.Equal(t, "http://10.0.0.1:8080/app", members[0].Name())
		require.Equal(t, "http://[fd00::1]:8080/app", members[2].String())
		require.Equal(t, 300, members[0].Factor())
		require.Equal(t, "app.example", members[0].Config().Host)
		members[0].MarkError(errors.New("test"))

		dns.set(nil, "10.0.0.3", "10.0.0.1")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Same(t, members[0], b.Members()[0])
		require.Len(t, b.Members(), 2)
		st, _ := members[0].State()
		require.Equal(t, StateError, st)

		dns.set(nil)
		time.Sleep(time.Minute)
		require.Len(t, b.Members(), 2, "an empty answer is not believed")
		dns.set(errors.New("servfail"))
		time.Sleep(time.Minute)
		require.Len(t, b.Members(), 2)
		dns.set(nil, "10.0.0.9")
		time.Sleep(time.Minute)
		require.Len(t, b.Members(), 1)
	})
}

func TestSRV(t *testing.T) {
	dns := &records{srv: []*net.SRV{
		{Target: "b.example.", Port: 81, Priority: 20, Weight: 0},
		{Target: "c.example.", Port: 82, Priority: 10, Weight: 10},
		{Target: "a.example.", Port: 81, Priority: 10, Weight: 40},
		{Target: ".", Port: 0},
	}}
	list, _, err := (&SRV{Name: "x", Resolver: dns, Scheme: "https"}).Discover(t.Context())
	require.NoError(t, err)
	require.Equal(t, []MemberConfig{
		{URL: "https://a.example:81", LBSet: 0, LoadFactor: 100},
		{URL: "https://c.example:82", LBSet: 0, LoadFactor: 25},
		{URL: "https://b.example:81", LBSet: 1, LoadFactor: 1},
	}, list)
}

func TestConfigureRefusesNonsense(t *testing.T) {
	b := newTest(t, Config{Name: "x"}, URLs("http://a")...)
	require.Error(t, b.Configure(func(c *Config) { c.FailOnStatus = []int{9} }))
	require.Error(t, b.Configure(func(c *Config) { c.RetryBudget = 2 }))
	require.NoError(t, b.Configure(func(c *Config) { c.Name, c.Method = "y", nil }))
	require.Equal(t, "balancer://x", b.String())
	m := b.Members()[0]
	require.Error(t, m.Configure(func(c *MemberConfig) { c.LBSet = -1 }))
	require.NoError(t, m.Configure(func(c *MemberConfig) { c.URL = "http://other" }))
	require.Equal(t, "http://a", m.String())
}

// TestPrepare: members that are added by their URL get the user's transport,
// and it is given back.
func TestPrepare(t *testing.T) {
	prepared, released := 0, 0
	f := &fake{name: "f"}
	b, err := New(Config{Name: "app", Prepare: func(m *MemberConfig) (func(), error) {
		if m.URL == "http://refused" {
			return nil, io.ErrUnexpectedEOF
		}
		prepared++
		m.RoundTripper = f
		return func() { released++ }, nil
	}}, URLs("http://a")...)
	require.NoError(t, err)
	_, err = b.Add(MemberConfig{URL: "http://b"})
	require.NoError(t, err)
	for _, url := range []string{"http://refused", "nothing"} {
		_, err = b.Add(MemberConfig{URL: url})
		require.Error(t, err)
	}
	require.Equal(t, 3, prepared)
	require.Equal(t, 1, released)
	require.Equal(t, f, b.Member("http://b").RoundTripper())
	require.NoError(t, b.Close())
	require.Equal(t, 3, released)
}
