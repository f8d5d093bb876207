package balancer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// checked makes a member whose check returns what verdict says.
func checked(c Check) (*Check, *atomic.Pointer[error], *atomic.Int64) {
	verdict, calls := &atomic.Pointer[error]{}, &atomic.Int64{}
	c.Func = func(context.Context, *Member) error {
		calls.Add(1)
		if err := verdict.Load(); err != nil {
			return *err
		}
		return nil
	}
	return &c, verdict, calls
}

func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, list := flagged(t, "a b")
		var verdict *atomic.Pointer[error]
		var calls *atomic.Int64
		list[0].Check, verdict, calls = checked(Check{Interval: 10 * time.Second, Passes: 2, Fails: 3})
		b, err := New(Config{}, list...)
		require.NoError(t, err)
		defer b.Close()
		a := b.Member("a")
		synctest.Wait()
		require.Equal(t, int64(1), calls.Load(), "the first at once")
		down := func() bool { failed, _ := a.CheckFailed(); return failed }
		bad := errors.New("sick")
		pass := func(n int64) { // n checks from now
			for before := calls.Load(); calls.Load() < before+n; {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
		}
		verdict.Store(&bad)
		pass(2)
		require.False(t, down())
		verdict.Store(nil)
		pass(1)
		verdict.Store(&bad)
		pass(2)
		require.False(t, down(), "the count began anew")
		pass(1)
		require.True(t, down())
		for range 4 {
			require.Equal(t, "b", send(t, b))
		}
		require.Equal(t, "Init HcFl", a.Status())
		require.Equal(t, "sick", a.Stats().CheckError)
		verdict.Store(nil)
		pass(1)
		require.True(t, down())
		verdict.Store(&bad)
		pass(1)
		verdict.Store(nil)
		pass(1)
		require.True(t, down(), "the count began anew")
		pass(1)
		require.False(t, down())
		require.Equal(t, "Init Ok", a.Status())

		a.MarkError(errors.New("refused"))
		pass(1)
		st, _ := a.State()
		require.Equal(t, StateUsable, st, "a passed check ends the error state")
		a.MarkError(&StatusError{500})
		pass(1)
		st, _ = a.State()
		require.Equal(t, StateError, st, "but not that of a status")

		a.SetFlags(Stopped, 0)
		before := calls.Load()
		time.Sleep(time.Minute)
		require.Equal(t, before, calls.Load(), "stopped: not checked")
		a.SetFlags(Disabled, Stopped)
		synctest.Wait()
		require.Equal(t, before+1, calls.Load(), "disabled: checked")
	})
}

func TestUnprovenMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, list := flagged(t, "a b")
		release := make(chan struct{})
		list[0].Check = &Check{Unproven: true, Func: func(context.Context, *Member) error {
			<-release
			return nil
		}}
		b, err := New(Config{}, list...)
		require.NoError(t, err)
		defer b.Close()
		for range 4 {
			require.Equal(t, "b", send(t, b))
		}
		close(release)
		synctest.Wait()
		require.Equal(t, "ab", send(t, b)+send(t, b))
	})
}

func TestAllChecksFailedIsNotTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, list := flagged(t, "a")
		list[0].Check = &Check{Func: func(context.Context, *Member) error { return errors.New("no") }}
		b, err := New(Config{}, list...)
		require.NoError(t, err)
		defer b.Close()
		synctest.Wait()
		require.ErrorIs(t, b.Ready(), ErrNoMember)
		require.Equal(t, "a", send(t, b))
		require.NoError(t, b.Configure(func(c *Config) { c.NoForceRecovery = true }))
		_, err = sent(b, get(t, "balancer://x/"))
		require.ErrorIs(t, err, ErrNoMember)
		require.NoError(t, b.Member("a").Configure(func(c *MemberConfig) { c.Check = nil }))
		require.Equal(t, "a", send(t, b))
	})
}

func TestChecksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, list := fakes(20)
		var now, most, calls atomic.Int64
		c := &Check{Interval: 10 * time.Second, Func: func(ctx context.Context, _ *Member) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			calls.Add(1)
			time.Sleep(time.Second)
			return nil
		}}
		for i := range list {
			list[i].Check = c
		}
		b, err := New(Config{MaxChecks: 4}, list...)
		require.NoError(t, err)
		time.Sleep(5500 * time.Millisecond)
		require.Equal(t, int64(20), calls.Load(), "each once")
		require.Equal(t, int64(4), most.Load())
		time.Sleep(11 * time.Second)
		require.InDelta(t, 40, calls.Load(), 2)
		require.NoError(t, b.Close())
		synctest.Wait()
		n := calls.Load()
		time.Sleep(time.Minute)
		require.Equal(t, n, calls.Load())
	})
}

func TestCheckPanics(t *testing.T) {
	_, list := flagged(t, "a")
	list[0].Check = &Check{Func: func(context.Context, *Member) error { panic("oh") }}
	b := newTest(t, Config{}, list...)
	require.ErrorContains(t, b.Member("a").CheckNow(t.Context()), "oh")
	require.NoError(t, b.Member("a").Configure(func(c *MemberConfig) { c.Check = nil }))
	require.ErrorIs(t, b.Member("a").CheckNow(t.Context()), ErrNoCheck)
}

func TestCheckMethods(t *testing.T) {
	var closed atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		closed.Store(r.Close)
		switch r.URL.RequestURI() {
		case "/app/ok?x=1":
			w.WriteHeader(http.StatusNoContent)
		case "/app/body":
			_, _ = w.Write([]byte("state: " + strings.ToLower(r.Method) + " " + r.Host))
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	free := programs.FreeAddr(t)
	expect := func(want string) func(*http.Response, []byte) error {
		return func(_ *http.Response, body []byte) error {
			if string(body) != want {
				return errors.New("unexpected body")
			}
			return nil
		}
	}
	for _, test := range []struct {
		check Check
		down  bool // nobody listens
		want  string
	}{
		{Check{Method: "TCP"}, false, ""},
		{Check{Method: "TCP"}, true, "refused"},
		{Check{Method: "GET", Path: "/ok?x=1"}, false, ""},
		{Check{Method: "head", Path: "/ok?x=1"}, false, ""},
		{Check{Method: "OPTIONS11", Path: "/ok?x=1"}, false, ""},
		{Check{Method: "GET", Path: "/ok"}, false, "status 503"},
		{Check{Method: "GET", Path: "/ok", MinStatus: 503, MaxStatus: 503}, false, ""},
		{Check{Method: "GET", Path: "/ok"}, true, "refused"},
		{Check{Method: "GET", Path: "/body", Host: "h.example", Expect: expect("state: get h.example")}, false, ""},
		{Check{Method: "GET", Path: "/body", Expect: expect("other")}, false, "unexpected body"},
	} {
		url := s.URL + "/app"
		if test.down {
			url = "http://" + free
		}
		c := test.check
		m, err := NewMember(MemberConfig{URL: url})
		require.NoError(t, err)
		err = c.run(t.Context(), m)
		if test.want == "" {
			require.NoError(t, err, "%+v", c)
			if c.Method != "TCP" {
				require.Equal(t, c.Method != "OPTIONS11", closed.Load())
			}
		} else {
			require.ErrorContains(t, err, test.want, "%+v", c)
		}
		m.retireNow()
	}
	for _, c := range []Check{{}, {Method: "FROB"}, {Method: "GET", Path: "x"}, {Method: "TCP", Fails: -1}} {
		_, err := New(Config{}, MemberConfig{URL: "http://m", Check: &c})
		require.ErrorContains(t, err, "check")
	}
}

func TestCheckTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() // accepts, and never answers
	m, err := NewMember(MemberConfig{URL: "http://" + l.Addr().String()})
	require.NoError(t, err)
	defer m.retireNow()
	c := Check{Method: "GET", Timeout: 20 * time.Millisecond}
	require.Error(t, c.run(t.Context(), m))
}

// TestCheckTakenOffWhileItRuns: its failure would stay for ever.
func TestCheckTakenOffWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, list := fakes(1)
		list[0].Check = &Check{Func: func(context.Context, *Member) error {
			time.Sleep(time.Second)
			return errors.New("down")
		}}
		b := newTest(t, Config{}, list...)
		synctest.Wait()
		require.NoError(t, b.Member("a").Configure(func(c *MemberConfig) { c.Check = nil }))
		time.Sleep(time.Minute)
		failed, _ := b.Member("a").CheckFailed()
		require.False(t, failed)
		require.Equal(t, "a", send(t, b))
	})
}
