package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
)

var errLate = errors.New("too late")

// never is a dial that looks at no context, and fails at last.
func never(context.Context, string, string) (net.Conn, error) {
	time.Sleep(5 * limit)
	return nil, errLate
}

// TestHangingFunctions: what is given to a part of the library, and does not
// look at its context, is left alone when the limit of that part is over.
func TestHangingFunctions(t *testing.T) {
	twoAddresses := func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
	}
	noAddress := func(context.Context, string, string) ([]netip.Addr, error) {
		time.Sleep(5 * limit)
		return nil, errLate
	}
	ask := func(h http.Handler, r *http.Request) error {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return fmt.Errorf("%d", w.Code)
	}
	everybody := &access.Clients{Access: &access.Access{}}
	for name, call := range map[string]func(t *testing.T) error{
		"backend": func(t *testing.T) error {
			b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}, ConnectTimeout: limit, DialContext: never}
			defer b.Close()
			_, err := b.Get(t.Context())
			return err
		},
		"probe": func(t *testing.T) error {
			b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}, ConnectTimeout: limit, DialContext: never}
			defer b.Close()
			return b.Probe(t.Context())
		},
		"a backend that is closed while it warms up": func(t *testing.T) error {
			first := true
			b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}, ConnectTimeout: limit, MinIdle: 1, DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
				if !first {
					return never(ctx, n, a)
				}
				first = false
				near, _ := net.Pipe()
				return near, nil
			}}
			c, err := b.Get(t.Context())
			require.NoError(t, err)
			c.Release(false)
			return b.Close()
		},
		"lookup of destinations": func(t *testing.T) error {
			_, err := (&access.Destinations{Lookup: noAddress, ConnectTimeout: limit}).DialContext(t.Context(), "tcp", "a.test:443")
			return err
		},
		"dial of destinations": func(t *testing.T) error {
			_, err := (&access.Destinations{Dial: never, AllowPrivate: true, Lookup: twoAddresses, ConnectTimeout: limit}).DialContext(t.Context(), "tcp", "a.test:443")
			return err
		},
		"tunnel": func(t *testing.T) error {
			r := httptest.NewRequest("CONNECT", "http://a.test:443", nil)
			r.RequestURI, r.Host = "a.test:443", "a.test:443"
			return ask(&connect.Handler{Clients: everybody, DialContext: never, DialTimeout: limit}, r)
		},
		"parent of a tunnel": func(t *testing.T) error {
			d := &connect.Dialer{Proxy: &url.URL{Scheme: "http", Host: "p.test"}, DialParent: never, Timeout: limit}
			_, err := d.DialContext(t.Context(), "tcp", "a.test:443")
			return err
		},
		"health check": func(t *testing.T) error {
			m := balancer.MemberConfig{URL: "http://b.test", Check: &balancer.Check{Timeout: limit, Func: func(context.Context, *balancer.Member) error {
				time.Sleep(5 * limit)
				return nil
			}}}
			b, err := balancer.New(balancer.Config{Name: "b"}, m)
			require.NoError(t, err)
			time.Sleep(limit / 2)
			return b.Close()
		},
		"discovery": func(t *testing.T) error {
			b, err := balancer.New(balancer.Config{Name: "b", Discovery: hangingDiscovery{}})
			require.NoError(t, err)
			time.Sleep(limit / 2)
			return b.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				err := call(t)
				require.Less(t, time.Since(begun), limit*5/4)
				if name == "tunnel" {
					require.ErrorContains(t, err, "504")
				}
				require.NotErrorIs(t, err, errLate)
				time.Sleep(6 * limit)
			})
		})
	}
}

// TestHangingResolver: the same for a server of names. The resolver of the
// standard library does not like clocks that are not the world's.
func TestHangingResolver(t *testing.T) {
	quit := make(chan struct{})
	defer close(quit)
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		<-quit
		return nil, errLate
	}}
	b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}, ConnectTimeout: 50 * time.Millisecond, Resolver: r}
	_, err := b.Get(t.Context())
	require.Error(t, err)
	require.NotErrorIs(t, err, errLate)
	require.NoError(t, b.Close())
	require.Zero(t, b.Stats().Open)
}

type hangingDiscovery struct{}

func (hangingDiscovery) Discover(context.Context) ([]balancer.MemberConfig, time.Duration, error) {
	time.Sleep(5 * limit)
	return nil, 0, errLate
}

// piped returns a backend in memory whose connections are served by a script,
// which begins when reads has taken a request.
func piped(t *testing.T, at string, reads func(p *peer) bool, does script) *backend.Backend {
	u, err := url.Parse(at)
	require.NoError(t, err)
	return &backend.Backend{URL: u, Timeout: limit, DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if p := (&peer{Conn: far, t: t, r: bufio.NewReader(far)}); reads == nil || reads(p) {
				does(p)
			}
		}()
		return near, nil
	}}
}

// TestUnwantedBodies: nobody waits long for a body that is not passed on, be it
// stalled, dripping or endless.
func TestUnwantedBodies(t *testing.T) {
	for name, tail := range map[string]script{"stalls": silent, "drips": dripsBytes("a"), "endless": floods(strings.Repeat("a", 4000))} {
		t.Run("error page, body "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := piped(t, "http://b.test", readsHead, after("HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\n", tail))
				begun := time.Now()
				w := &client{header: make(http.Header)}
				(&proxy.Handler{Target: b.URL, Transport: &proxy.Transport{Backend: b}, ErrorOverride: &proxy.ErrorOverride{}}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(t.Context()))
				require.Equal(t, 404, w.status)
				require.Less(t, time.Since(begun), limit/5)
				require.NoError(t, b.Close())
				require.Zero(t, b.Stats().Open)
				time.Sleep(limit)
			})
		})
	}
	for name, tail := range map[string]script{"stalls": silent, "drips": drips(record(stdout, 1, "a")), "endless": floods(record(stdout, 1, strings.Repeat("a", 4000)))} {
		t.Run("authorizer, body "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := piped(t, "fcgi://b.test/srv/auth.php", readsParams, after(cgiHead, tail))
				a := &fcgi.Authorizer{URL: b.URL, Transport: &fcgi.Transport{Backend: b}, ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { t.Error(err) }}
				begun := time.Now()
				w := &client{header: make(http.Header)}
				a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })).ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(t.Context()))
				require.Equal(t, 204, w.status)
				require.Less(t, time.Since(begun), limit/5)
				require.NoError(t, b.Close())
				require.Zero(t, b.Stats().Open)
				time.Sleep(limit)
			})
		})
	}
}

// readsParams takes the variables of a request of FastCGI.
func readsParams(p *peer) bool {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(p.r, head); err != nil {
			return false
		}
		n := int(head[4])<<8 | int(head[5])
		if _, err := p.r.Discard(n + int(head[6])); err != nil {
			return false
		}
		if head[1] == 4 && n == 0 {
			return true
		}
	}
}

// TestQuestionsOfHealth: a server that is asked whether it is well, and stalls,
// drips or goes on without an end, is not waited for.
func TestQuestionsOfHealth(t *testing.T) {
	values := func(b *backend.Backend) error {
		_, err := fcgi.Values(context.Background(), b)
		return err
	}
	cping := func(b *backend.Backend) error { return ajp.CPing(context.Background(), b) }
	for name, tc := range map[string]struct {
		url  string
		does script
		asks func(b *backend.Backend) error
	}{
		"values, nothing":       {"fcgi://b.test", silent, values},
		"values, reads nothing": {"fcgi://b.test", deaf, values},
		"values, drips":         {"fcgi://b.test", dripsBytes(record(result, 0, strings.Repeat("a", 99))), values},
		"values, error output":  {"fcgi://b.test", floods(record(stderr, 0, "a")), values},
		"CPING, nothing":        {"ajp://b.test", silent, cping},
		"CPING, reads nothing":  {"ajp://b.test", deaf, cping},
		"CPING, drips":          {"ajp://b.test", dripsBytes(packet("\x09")), cping},
		"CPING, other packets":  {"ajp://b.test", floods(emptyChunk), cping},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := piped(t, tc.url, nil, tc.does)
				begun := time.Now()
				require.Error(t, tc.asks(b))
				require.Less(t, time.Since(begun), limit*5/4)
				require.NoError(t, b.Close())
				require.Zero(t, b.Stats().Open)
				time.Sleep(limit)
			})
		})
	}
}

// TestMemberThatStopsReading: half of the requests to a balancer are none of
// its business.
func TestMemberThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		windows := frame(http2.FrameSettings, 0, 0, "\x00\x04\x7f\xff\xff\xff") + frame(http2.FrameWindowUpdate, 0, 0, "\x3f\xff\xff\xff")
		stuck := piped(t, "h2c://a.test", nil, after(windows, insists(frame(http2.FramePing, 0, 0, "12345678"), time.Second)))
		well := piped(t, "http://b.test", readsHead, after("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", silent))
		well.DisableReuse = true
		tr, other := &proxy.Transport{Backend: stuck}, &proxy.Transport{Backend: well}
		b, err := balancer.New(balancer.Config{Name: "b"},
			balancer.MemberConfig{URL: "h2c://a.test", RoundTripper: tr}, balancer.MemberConfig{URL: "http://b.test", RoundTripper: other})
		require.NoError(t, err)
		h := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "b"}, Transport: b}
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		begun := time.Now()
		send := func(method string, body io.Reader, size int64) {
			wg.Go(func() {
				r := httptest.NewRequest(method, "/", body)
				r.ContentLength = size
				w := &client{header: make(http.Header)}
				h.ServeHTTP(w, r.WithContext(t.Context()))
				mu.Lock()
				defer mu.Unlock()
				codes[w.status]++
			})
		}
		r := httptest.NewRequest("PUT", "h2c://a.test/", neverEnds{})
		r.RequestURI = ""
		wg.Go(func() { _, _ = tr.RoundTrip(r) })
		time.Sleep(limit / 20)
		for range 200 {
			send("GET", nil, 0)
		}
		synctest.Wait()
		mu.Lock()
		require.Equal(t, map[int]int{200: 100}, codes)
		mu.Unlock()
		wg.Wait()
		require.Equal(t, map[int]int{200: 100, 504: 100}, codes)
		require.Less(t, time.Since(begun), limit*5/4)
		require.NoError(t, b.Close())
		tr.CloseIdleConnections()
		require.NoError(t, stuck.Close())
		require.NoError(t, well.Close())
		time.Sleep(2 * limit)
		require.Zero(t, stuck.Stats().Busy+stuck.Stats().Open+well.Stats().Open)
	})
}
