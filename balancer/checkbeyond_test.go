package balancer_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	childfcgi "net/http/fcgi"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// downloads serves "/download", whose end waits for release, and all else at
// once.
type downloads struct{ release chan struct{} }

func (d *downloads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/download" {
		_, _ = io.WriteString(w, "begin")
		_ = http.NewResponseController(w).Flush()
		<-d.release
	}
	_, _ = io.WriteString(w, "end")
}

// checkedOver are the protocols of members: each starts a server and returns
// its URL, what speaks to it, and its backend without any other field set.
var checkedOver = map[string]func(t *testing.T, h http.Handler) (*backend.Backend, func(b *backend.Backend) http.RoundTripper){
	"http": func(t *testing.T, h http.Handler) (*backend.Backend, func(*backend.Backend) http.RoundTripper) {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return parse(t, s.URL), overHTTP
	},
	"https": func(t *testing.T, h http.Handler) (*backend.Backend, func(*backend.Backend) http.RoundTripper) {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // a check by TCP is a handshake that ends early
		s.StartTLS()
		t.Cleanup(s.Close)
		return trusting(parse(t, s.URL), s.Certificate()), overHTTP
	},
	"h2c": func(t *testing.T, h http.Handler) (*backend.Backend, func(*backend.Backend) http.RoundTripper) {
		s := httptest.NewUnstartedServer(h)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		t.Cleanup(s.Close)
		return parse(t, "h2c://"+s.Listener.Addr().String()), overHTTP
	},
	"h2": func(t *testing.T, h http.Handler) (*backend.Backend, func(*backend.Backend) http.RoundTripper) {
		s := httptest.NewUnstartedServer(h)
		s.EnableHTTP2 = true
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1} // or the download would share
		s.StartTLS()
		t.Cleanup(s.Close)
		return trusting(parse(t, "h2://"+s.Listener.Addr().String()), s.Certificate()), overHTTP
	},
	"ajp": func(t *testing.T, h http.Handler) (*backend.Backend, func(*backend.Backend) http.RoundTripper) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s := &ajp.Server{Handler: h}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
		return parse(t, "ajp://"+l.Addr().String()), func(b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b} }
	},
	"fcgi": func(t *testing.T, h http.Handler) (*backend.Backend, func(*backend.Backend) http.RoundTripper) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() { _ = childfcgi.Serve(l, h) }()
		t.Cleanup(func() { _ = l.Close() })
		return parse(t, "fcgi://"+l.Addr().String()), func(b *backend.Backend) http.RoundTripper { return &fcgi.Transport{Backend: b} }
	},
}

func overHTTP(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} }

func parse(t *testing.T, url string) *backend.Backend {
	b, err := backend.Parse(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func trusting(b *backend.Backend, cert *x509.Certificate) *backend.Backend {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	b.TLS = &tls.Config{RootCAs: pool, ServerName: "example.com"}
	return b
}

// checksOf are the kinds of checks; an empty protocol is for all.
var checksOf = map[string]struct {
	over  string
	check balancer.Check
}{
	"TCP":       {"", balancer.Check{Method: "TCP"}},
	"GET":       {"", balancer.Check{Method: "GET"}},
	"GET11":     {"", balancer.Check{Method: "GET11"}},
	"HEAD":      {"", balancer.Check{Method: "HEAD"}},
	"OPTIONS":   {"", balancer.Check{Method: "OPTIONS"}},
	"OPTIONS11": {"", balancer.Check{Method: "OPTIONS11"}},
	"CPING":     {"ajp", balancer.Check{Func: func(ctx context.Context, m *balancer.Member) error { return ajp.CPing(ctx, m.Backend()) }}},
	"values": {"fcgi", balancer.Check{Func: func(ctx context.Context, m *balancer.Member) error {
		_, err := fcgi.Values(ctx, m.Backend())
		return err
	}}},
	"its own, by the transport": {"", balancer.Check{Func: func(ctx context.Context, m *balancer.Member) error {
		r, err := http.NewRequestWithContext(ctx, "GET", m.String()+"/", nil)
		if err != nil {
			return err
		}
		resp, err := m.RoundTripper().RoundTrip(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return err
	}}},
	"its own, by the pool": {"", balancer.Check{Func: func(ctx context.Context, m *balancer.Member) error {
		c, err := m.Backend().Get(ctx)
		if err == nil {
			c.Release(true)
		}
		return err
	}}},
	"its own, by the pool with a context of its own": {"fcgi", balancer.Check{Func: func(_ context.Context, m *balancer.Member) error {
		_, err := fcgi.Values(context.Background(), m.Backend())
		return err
	}}},
}

// TestChecksNeedNoPlaceInThePool has a member of one connection, which is in
// use, and then idle: no check waits for it, takes it, closes it, or is seen in
// the figures.
func TestChecksNeedNoPlaceInThePool(t *testing.T) {
	for protocol, serve := range checkedOver {
		for name, kind := range checksOf {
			if kind.over != "" && kind.over != protocol {
				continue
			}
			t.Run(protocol+"/"+name, func(t *testing.T) {
				d := &downloads{make(chan struct{})}
				release := sync.OnceFunc(func() { close(d.release) })
				defer release()
				be, over := serve(t, d)
				be.MaxConns, be.AcquireTimeout, be.IdleTTL = 1, time.Millisecond, time.Minute
				check := kind.check
				check.Interval = time.Hour
				b, err := balancer.New(balancer.Config{}, balancer.MemberConfig{Name: "a", URL: be.String(), RoundTripper: over(be), Backend: be, MaxInFlight: 2})
				require.NoError(t, err)
				defer b.Close()
				m := b.Member("a")
				require.NoError(t, m.Configure(func(c *balancer.MemberConfig) { c.Check = &check }))
				require.Eventually(t, func() bool { return b.Stats().Members[0].Passes+b.Stats().Members[0].Fails > 0 }, 20*time.Second, time.Millisecond, "the first at once")
				pass := func(when string) {
					pool, member := be.Stats(), m.Stats().Counts
					require.NoError(t, m.CheckNow(t.Context()), when)
					require.Equal(t, pool, be.Stats(), when)
					require.Equal(t, member, m.Stats().Counts, when)
				}
				r, err := http.NewRequestWithContext(t.Context(), "GET", "balancer://b/download", nil)
				require.NoError(t, err)
				resp, err := b.RoundTrip(r)
				require.NoError(t, err)
				_, err = io.ReadFull(resp.Body, make([]byte, len("begin")))
				require.NoError(t, err)
				pass("in use")
				require.True(t, m.Usable())
				require.EqualValues(t, 1, be.Stats().Open)
				be.SetFlags(backend.Disabled, 0)
				pass("disabled")
				be.SetFlags(0, backend.Disabled)
				release()
				rest, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "end", string(rest))
				require.NoError(t, resp.Body.Close())
				pass("idle")
				r, err = http.NewRequestWithContext(t.Context(), "GET", "balancer://b/", nil)
				require.NoError(t, err)
				resp, err = b.RoundTrip(r)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.EqualValues(t, 1, be.Stats().Created, "the idle one served on")
			})
		}
	}
}

// TestChecksThroughABalancer has a balancer for a member, whose own member is
// full.
func TestChecksThroughABalancer(t *testing.T) {
	d := &downloads{make(chan struct{})}
	release := sync.OnceFunc(func() { close(d.release) })
	s := httptest.NewServer(d)
	defer s.Close()
	be := parse(t, s.URL)
	defer release()
	be.MaxConns, be.AcquireTimeout = 1, time.Millisecond
	inner, err := balancer.New(balancer.Config{}, balancer.MemberConfig{URL: s.URL, Backend: be, MaxInFlight: 1, MaxWaiting: -1})
	require.NoError(t, err)
	defer inner.Close()
	outer, err := balancer.New(balancer.Config{}, balancer.MemberConfig{URL: "http://inner", RoundTripper: inner, Check: &balancer.Check{Method: "GET", Interval: time.Hour}})
	require.NoError(t, err)
	defer outer.Close()
	r := (&http.Request{Method: "GET", URL: &url.URL{Scheme: "balancer", Host: "b", Path: "/download"}, Header: http.Header{}}).WithContext(t.Context())
	resp, err := outer.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, outer.Members()[0].CheckNow(t.Context()))
}

// TestCheckOfWhatIsDown says so, without marking the pool.
func TestCheckOfWhatIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	be := parse(t, "http://"+l.Addr().String())
	be.Retry = time.Hour
	require.NoError(t, l.Close())
	b, err := balancer.New(balancer.Config{}, balancer.MemberConfig{URL: be.String(), Backend: be, Check: &balancer.Check{Method: "GET", Interval: time.Hour}})
	require.NoError(t, err)
	defer b.Close()
	require.ErrorContains(t, b.Members()[0].CheckNow(t.Context()), "refused")
	require.Equal(t, backend.StateUsable, be.State())
	require.Zero(t, be.Stats().Errors)
	require.NoError(t, be.Close())
	require.ErrorIs(t, b.Members()[0].CheckNow(t.Context()), backend.ErrClosed)
}
