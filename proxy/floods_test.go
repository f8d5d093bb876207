package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/breaker"
	"github.com/modproxy/modproxy/proxy/mirror"
)

// logged is a slog.Handler that keeps lines, and what the contexts hold that they
// come with.
type logged struct {
	mu    sync.Mutex
	lines []*logLine
}

type logLine struct {
	level slog.Level
	text  string
	id    any // of the request, by its context
	attrs map[string]string
	json  bytes.Buffer
}

type requestID struct{}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(ctx context.Context, r slog.Record) error {
	line := &logLine{level: r.Level, text: r.Message, id: ctx.Value(requestID{}), attrs: map[string]string{}}
	_ = slog.NewJSONHandler(&line.json, nil).Handle(ctx, r)
	r.Attrs(func(a slog.Attr) bool { line.attrs[a.Key] = a.Value.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// counts is how many lines there are from level Info on.
func (l *logged) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{}
	for _, line := range l.lines {
		if line.level >= slog.LevelInfo {
			n[line.level.String()+" "+line.text]++
		}
	}
	return n
}

// attr returns an attribute of the last line with a text.
func (l *logged) attr(text, key string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range slices.Backward(l.lines) {
		if line.text == text && line.level == slog.LevelInfo {
			return line.attrs[key]
		}
	}
	return ""
}

// outage is a backend that is down while it says so.
type outage struct{ down atomic.Bool }

func (o *outage) dial(context.Context, string, string) (net.Conn, error) {
	if o.down.Load() {
		return nil, errors.New("refused")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		buf := make([]byte, 4096)
		if _, err := far.Read(buf); err == nil {
			_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		}
	}()
	return near, nil
}

func (o *outage) backend(at string, retry time.Duration, log *slog.Logger) *backend.Backend {
	u, err := url.Parse(at)
	if err != nil {
		panic(err)
	}
	return &backend.Backend{URL: u, Retry: retry, DialContext: o.dial, Logger: log}
}

func serveMany(h http.Handler, n int, pause time.Duration) {
	for range n {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://front.test/x", nil))
		time.Sleep(pause)
	}
}

// TestOutagesAreToldOnce: whatever fails for how long and how often, the log has
// a line when that begins, and one when it is over; beside those, one for each
// client that was failed.
func TestOutagesAreToldOnce(t *testing.T) {
	const client = "ERROR proxy: request done"
	members := func(b *backend.Backend, i int) balancer.MemberConfig {
		return balancer.MemberConfig{Name: fmt.Sprintf("m%d", i), URL: b.URL.String(), RoundTripper: &proxy.Transport{Backend: b}}
	}
	for name, tc := range map[string]struct {
		run  func(t *testing.T, o *outage, log *slog.Logger, told *logged)
		want map[string]int
	}{
		"3 members": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			var list []balancer.MemberConfig
			for i := range 3 {
				b := o.backend(fmt.Sprintf("http://m%d.test", i), 0, nil)
				defer b.Close()
				list = append(list, members(b, i))
			}
			bal, err := balancer.New(balancer.Config{Name: "b", Logger: log}, list...)
			require.NoError(t, err)
			defer bal.Close()
			h := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "b"}, Transport: bal, Logger: log}
			serveMany(h, 10, time.Second)
			o.down.Store(true)
			serveMany(h, 100, time.Second)
			o.down.Store(false)
			serveMany(h, 10, time.Second)
			require.Equal(t, "100", told.attr("balancer: member works again", "failures"))
		}, map[string]int{client: 100, "WARN balancer: member changed state": 3, "INFO balancer: member works again": 3}},
		"3 members, without a try of all": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			var list []balancer.MemberConfig
			for i := range 3 {
				b := o.backend(fmt.Sprintf("http://m%d.test", i), 0, nil)
				defer b.Close()
				list = append(list, members(b, i))
				list[i].Retry = 5 * time.Second
			}
			bal, err := balancer.New(balancer.Config{Name: "b", Logger: log, NoForceRecovery: true}, list...)
			require.NoError(t, err)
			defer bal.Close()
			h := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "b"}, Transport: bal, Logger: log}
			o.down.Store(true)
			serveMany(h, 100, time.Second)
			o.down.Store(false)
			serveMany(h, 20, time.Second)
		}, map[string]int{client: 100, "WARN balancer: member changed state": 3, "INFO balancer: member works again": 3}},
		"one of 3 members": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			var well outage
			var list []balancer.MemberConfig
			for i := range 3 {
				from := &well
				if i == 0 {
					from = o
				}
				b := from.backend(fmt.Sprintf("http://m%d.test", i), 0, nil)
				defer b.Close()
				list = append(list, members(b, i))
				list[i].Retry = time.Second
			}
			bal, err := balancer.New(balancer.Config{Name: "b", Logger: log}, list...)
			require.NoError(t, err)
			defer bal.Close()
			h := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "b"}, Transport: bal, Logger: log}
			o.down.Store(true)
			serveMany(h, 100, time.Second)
			o.down.Store(false)
			serveMany(h, 10, time.Second)
		}, map[string]int{"WARN balancer: member changed state": 1, "INFO balancer: member works again": 1}},
		"a lone backend": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			b := o.backend("http://b.test", 7*time.Second, log)
			defer b.Close()
			h := &proxy.Handler{Target: b.URL, Transport: &proxy.Transport{Backend: b}, Logger: log}
			o.down.Store(true)
			serveMany(h, 100, time.Second)
			o.down.Store(false)
			serveMany(h, 10, time.Second)
			require.NotEqual(t, "100", told.attr("backend: changed state", "duration"))
		}, map[string]int{client: 105, "WARN backend: changed state": 1, "INFO backend: changed state": 1}},
		"a lone backend without Retry": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			b := o.backend("http://b.test", 0, log)
			defer b.Close()
			h := &proxy.Handler{Target: b.URL, Transport: &proxy.Transport{Backend: b}, Logger: log}
			o.down.Store(true)
			serveMany(h, 100, time.Second)
			o.down.Store(false)
			serveMany(h, 10, time.Second)
			require.Equal(t, "100", told.attr("backend: changed state", "failures"))
		}, map[string]int{client: 100, "WARN backend: changed state": 1, "INFO backend: changed state": 1}},
		"checks": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			b := o.backend("http://b.test", 0, nil)
			defer b.Close()
			m := members(b, 0)
			m.Check = &balancer.Check{Interval: time.Second, Method: "GET"}
			bal, err := balancer.New(balancer.Config{Name: "b", Logger: log}, m)
			require.NoError(t, err)
			defer bal.Close()
			time.Sleep(10 * time.Second)
			o.down.Store(true)
			time.Sleep(100 * time.Second)
			o.down.Store(false)
			time.Sleep(10 * time.Second)
		}, map[string]int{"WARN balancer: health check failed": 1, "INFO balancer: health check passed": 1}},
		"discovery": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			bal, err := balancer.New(balancer.Config{Name: "b", Logger: log, DiscoveryInterval: time.Second, Discovery: discoverFunc(func(context.Context) ([]balancer.MemberConfig, time.Duration, error) {
				if o.down.Load() {
					return nil, 0, errors.New("no such host")
				}
				return []balancer.MemberConfig{{URL: "http://m.test"}}, time.Second, nil
			})})
			require.NoError(t, err)
			defer bal.Close()
			time.Sleep(10 * time.Second)
			o.down.Store(true)
			time.Sleep(100 * time.Second)
			o.down.Store(false)
			time.Sleep(10 * time.Second)
		}, map[string]int{"WARN balancer: discovery failed": 1, "INFO balancer: discovery works again": 1}},
		"a breaker": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			b := o.backend("http://b.test", 0, nil)
			defer b.Close()
			br := &breaker.Transport{Next: &proxy.Transport{Backend: b}, MinRequests: 5, Logger: log}
			h := &proxy.Handler{Target: b.URL, Transport: br, Logger: log}
			o.down.Store(true)
			serveMany(h, 100, time.Second)
			time.Sleep(10 * time.Minute) // until it is tried again
			o.down.Store(false)
			serveMany(h, 20, time.Second)
		}, map[string]int{client: 100, "WARN breaker: changed state": 1, "INFO breaker: changed state": 1}},
		"a store that fails": {func(t *testing.T, o *outage, log *slog.Logger, told *logged) {
			b := o.backend("http://b.test", 0, nil)
			defer b.Close()
			c := &cache.Cache{Store: &failingStore{}, Logger: log}
			defer c.Close()
			h := c.Wrap(&proxy.Handler{Target: b.URL, Transport: stored(&proxy.Transport{Backend: b}), Logger: log})
			serveMany(h, 3, time.Minute)
			failing := new(outage)
			failing.down.Store(true)
			c.Store.(*failingStore).commits = failing
			serveMany(h, 100, time.Minute)
			failing.down.Store(false)
			serveMany(h, 3, time.Minute)
			require.Equal(t, "100", told.attr("cache: store works again", "failures"))
		}, map[string]int{"ERROR cache: store failed": 1, "INFO cache: store works again": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := &logged{}
				tc.run(t, new(outage), slog.New(told), told)
				require.Equal(t, tc.want, told.counts())
			})
		})
	}
}

type discoverFunc func(context.Context) ([]balancer.MemberConfig, time.Duration, error)

func (f discoverFunc) Discover(ctx context.Context) ([]balancer.MemberConfig, time.Duration, error) {
	return f(ctx)
}

// stored makes what a transport answers fit for a cache.
func stored(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := rt.RoundTrip(r)
		if err == nil {
			resp.Header.Set("Cache-Control", "max-age=10, stale-while-revalidate=10")
		}
		return resp, err
	})
}

// failingStore begins everything, but commits nothing while it fails.
type failingStore struct {
	memory.Store
	commits *outage
}

func (s *failingStore) Create(ctx context.Context, m *store.Meta) (store.Writer, error) {
	w, err := s.Store.Create(ctx, m)
	return failingWriter{w, s}, err
}

type failingWriter struct {
	store.Writer
	s *failingStore
}

func (w failingWriter) Commit(m *store.Meta, old ...store.Entry) error {
	if w.s.commits != nil && w.s.commits.down.Load() {
		return errors.New("disk full")
	}
	return w.Writer.Commit(m, old...)
}

// TestDiskThatFailsIsToldOnce: by the store and by the cache, over many times
// that it is tried again.
func TestDiskThatFailsIsToldOnce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(root, nil, 0o600))
	told := &logged{}
	d := &disk.Store{Root: filepath.Join(root, "cache"), Retry: time.Nanosecond, Logger: slog.New(told)}
	c := &cache.Cache{Store: d, Logger: slog.New(told)}
	h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "hi")
	}))
	serveMany(h, 100, 0)
	c.Close()
	require.NoError(t, d.Close())
	total := 0
	for text, n := range told.counts() {
		require.Equal(t, 1, n, text)
		total += n
	}
	require.LessOrEqual(t, total, 3, told.counts())
	require.GreaterOrEqual(t, total, 1)
}

// TestLogsCarryTheContext: of every request, at every level, also what goes on
// behind it.
func TestLogsCarryTheContext(t *testing.T) {
	// Where a new name would do, one of these does as well.
	keys := strings.Fields("balancer member backend rule client user peer method host path to target status error duration failures from result " +
		"fits exception reused local remote names op key panic stack sent received lost")
	told := &logged{}
	log := slog.New(told)
	o := new(outage)
	var cleanup []func()
	later := func(f func()) { cleanup = append(cleanup, f) }
	backendFor := func(at string, retry time.Duration) *backend.Backend {
		b := o.backend(at, retry, log)
		later(func() { _ = b.Close() })
		return b
	}
	handlerFor := func(b *backend.Backend, wrap func(http.RoundTripper) http.RoundTripper) *proxy.Handler {
		var rt http.RoundTripper = &proxy.Transport{Backend: b}
		if wrap != nil {
			rt = wrap(rt)
		}
		return &proxy.Handler{Target: b.URL, Transport: rt, Logger: log}
	}
	plain := handlerFor(backendFor("http://b.test", 0), nil)
	nobody := &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Logger: log}
	everybody := &access.Clients{Access: &access.Access{}}
	m := &proxy.Mux{Logger: log}
	m.Handle("/x", plain)
	bal, err := balancer.New(balancer.Config{Name: "b", Logger: log, Method: balancer.First{}},
		balancer.MemberConfig{Name: "m0", URL: "http://m0.test", RoundTripper: &proxy.Transport{Backend: backendFor("http://m0.test", 0)}},
		balancer.MemberConfig{Name: "m1", URL: "http://m1.test", RoundTripper: &proxy.Transport{Backend: backendFor("http://m1.test", time.Hour)}})
	require.NoError(t, err)
	later(func() { _ = bal.Close() })
	c := &cache.Cache{Store: &failingStore{commits: o}, Logger: log}
	later(c.Close)
	background := &cache.Cache{Logger: log}
	later(background.Close)
	fetches := 0
	shadow := &mirror.Transport{Next: &proxy.Transport{Backend: backendFor("http://b.test", 0)}, To: &proxy.Transport{Backend: backendFor("http://copy.test", 0)}, Logger: log}
	authBackend := o.backend("fcgi://auth.test/a", 0, log)
	later(func() { _ = authBackend.Close() })
	handlers := map[string]http.Handler{
		"Handler":  plain,
		"Retry":    handlerFor(backendFor("http://b.test", time.Second), nil),
		"h2c":      handlerFor(backendFor("h2c://b.test", 0), nil),
		"access":   nobody.Wrap(plain),
		"RemoteIP": (&access.RemoteIP{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Logger: log}).Wrap(plain),
		"Mux":      m,
		"balancer": &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "b"}, Transport: bal, Logger: log},
		"breaker": handlerFor(backendFor("http://b.test", 0), func(rt http.RoundTripper) http.RoundTripper {
			return &breaker.Transport{Next: rt, MinRequests: 1, Logger: log}
		}),
		"mirror": &proxy.Handler{Target: &url.URL{Scheme: "http", Host: "b.test"}, Transport: shadow, Logger: log},
		"cache":  c.Wrap(handlerFor(backendFor("http://b.test", 0), stored)),
		"background": background.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if fetches++; fetches > 1 {
				panic("in the background")
			}
			w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=1000")
			w.Header().Set("Etag", `"1"`)
			_, _ = io.WriteString(w, "hi")
		})),
		"Forward":    &proxy.Forward{Clients: everybody, Logger: log},
		"CONNECT":    &connect.Handler{Clients: everybody, DialContext: o.dial, Logger: log},
		"authorizer": (&fcgi.Authorizer{URL: authBackend.URL, Transport: &fcgi.Transport{Backend: authBackend, Logger: log}, Logger: log}).Wrap(plain),
	}
	for name, h := range handlers {
		for i, down := range []bool{false, true, true, false} {
			o.down.Store(down)
			told.mu.Lock()
			told.lines = nil
			told.mu.Unlock()
			id := fmt.Sprint(name, i)
			r := httptest.NewRequest("GET", "http://front.test/x", nil)
			switch name {
			case "CONNECT":
				r = httptest.NewRequest("CONNECT", "b.test:443", nil)
			case "RemoteIP":
				r.Header.Set("X-Forwarded-For", "nonsense")
			}
			r = r.WithContext(context.WithValue(r.Context(), requestID{}, id))
			h.ServeHTTP(httptest.NewRecorder(), r)
			switch name {
			case "background":
				require.Eventually(t, func() bool { return i == 0 || told.counts()["ERROR cache: handler panicked in the background"] > 0 }, 10*time.Second, time.Millisecond)
			case "mirror":
				shadow.CloseIdleConnections()
			}
			told.mu.Lock()
			for _, line := range told.lines {
				requireUniqueNames(t, line.json.Bytes())
				for key := range line.attrs {
					require.Contains(t, keys, key, line.text)
				}
				if strings.HasPrefix(fmt.Sprint(line.id), "mirror") { // a copy may be late
					continue
				}
				require.Equal(t, id, line.id, "%s: %v %s %v", name, line.level, line.text, line.attrs)
			}
			told.mu.Unlock()
		}
	}
	for _, f := range slices.Backward(cleanup) {
		f()
	}
}
