package buffer_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	fcgiproxy "github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/buffer"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// far is a backend, and a transport to it.
type far struct {
	b    *backend.Backend
	url  string
	next http.RoundTripper
	h2   bool
}

// unused reports whether no request has a connection. One of HTTP/2 counts as busy
// for as long as it is open.
func (f far) unused() bool {
	s := f.b.Stats()
	return s.Busy == 0 && s.Idle == s.Open || f.h2 && s.Open == 1
}

// fars are backends of each protocol that answer by h.
func fars(t *testing.T, h http.Handler) map[string]far {
	origin := httptest.NewUnstartedServer(h)
	origin.Config.Protocols = new(http.Protocols)
	origin.Config.Protocols.SetHTTP1(true)
	origin.Config.Protocols.SetUnencryptedHTTP2(true)
	origin.Start()
	t.Cleanup(origin.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = fcgi.Serve(l, h) }()

	all := map[string]far{}
	add := func(name, url string, next func(*backend.Backend) http.RoundTripper) {
		b, err := backend.Parse(url)
		require.NoError(t, err)
		b.Timeout = 2 * time.Second
		t.Cleanup(func() { _ = b.Close() })
		all[name] = far{b, url, next(b), name == "h2c"}
	}
	plain := func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} }
	at := origin.Listener.Addr().String()
	add("HTTP/1.1", "http://"+at, plain)
	add("h2c", "h2c://"+at, plain)
	add("FastCGI", "fcgi://"+l.Addr().String(), func(b *backend.Backend) http.RoundTripper { return &fcgiproxy.Transport{Backend: b} })
	add("balancer", "http://"+at, func(b *backend.Backend) http.RoundTripper {
		lb, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: "http://" + at, RoundTripper: plain(b)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = lb.Close() })
		return lb
	})
	return all
}

// each runs the test for each protocol of the backend and of the client. Records
// are those of the requests, each when it is done.
func each(t *testing.T, origin http.Handler, buffered *buffer.Transport, run func(t *testing.T, f far, c *http.Client, url string, records <-chan exchange.Record)) {
	for name, f := range fars(t, origin) {
		for _, h2 := range []bool{false, true} {
			t.Run(name+"/"+map[bool]string{true: "HTTP/2", false: "HTTP/1.1"}[h2], func(t *testing.T) {
				records := make(chan exchange.Record, 10)
				h, err := proxy.NewHandler("/", f.url+"/")
				require.NoError(t, err)
				h.Transport = &buffer.Transport{Next: f.next, Memory: buffered.Memory, Max: buffered.Max, Dir: t.TempDir()}
				h.OnRecord = func(_ *http.Request, r *exchange.Record) { records <- *r }
				front := httptest.NewUnstartedServer(h)
				front.EnableHTTP2 = h2
				front.StartTLS()
				defer front.Close()
				run(t, f, front.Client(), front.URL, records)
			})
		}
	}
}

// TestSlowClientsHoldNoConnection: the backend is done with the request while its
// client has taken next to nothing, for longer than the backend's time limit; and
// the client then gets all of it.
func TestSlowClientsHoldNoConnection(t *testing.T) {
	want := make([]byte, 16<<20) // more than the sockets take
	_, _ = rand.NewChaCha8([32]byte{}).Read(want)
	answered := make(chan struct{}, 10)
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", strconv.Itoa(len(want)))
		}
		_, _ = w.Write(want)
		answered <- struct{}{}
	})
	each(t, origin, &buffer.Transport{}, func(t *testing.T, f far, c *http.Client, url string, records <-chan exchange.Record) {
		for _, path := range []string{"/length", "/chunked"} {
			resp, err := c.Get(url + path)
			require.NoError(t, err)
			defer resp.Body.Close()
			select {
			case <-answered:
			case <-time.After(10 * time.Second):
				t.Fatal("the backend waits for the client")
			}
			require.Eventually(t, f.unused, 5*time.Second, time.Millisecond, "a connection is held")
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.True(t, bytes.Equal(want, got))
			r := <-records
			require.NoError(t, r.Err)
			require.Equal(t, []any{int64(len(want)), 200, 200, 1}, []any{r.ResponseBytes, r.Status, r.BackendStatus, r.Attempts})
			require.Positive(t, r.FirstByte)
		}
	})
}

// TestPausesAreFlushed: what has come is with the client before there is more, and
// so is a stream, which is passed on.
func TestPausesAreFlushed(t *testing.T) {
	var mu sync.Mutex
	var goOn chan struct{}
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		step := goOn
		mu.Unlock()
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
		case "/no":
			w.Header().Set("X-Accel-Buffering", "no")
		case "/length":
			w.Header().Set("Content-Length", "50")
		}
		for i := range 10 {
			_, _ = io.WriteString(w, "piece")
			_ = http.NewResponseController(w).Flush()
			if i < 9 {
				<-step
			}
		}
	})
	for name, tr := range map[string]*buffer.Transport{"default": {}, "file": {Memory: -1}} {
		t.Run(name, func(t *testing.T) {
			each(t, origin, tr, func(t *testing.T, _ far, c *http.Client, url string, records <-chan exchange.Record) {
				for _, path := range []string{"/events", "/no", "/length", "/chunked"} {
					step := make(chan struct{})
					mu.Lock()
					goOn = step
					mu.Unlock()
					resp, err := c.Get(url + path)
					require.NoError(t, err)
					p := make([]byte, 5)
					for i := range 10 {
						_, err := io.ReadFull(resp.Body, p)
						require.NoError(t, err)
						require.Equal(t, "piece", string(p))
						if i < 9 {
							step <- struct{}{}
						}
					}
					_, err = resp.Body.Read(p)
					require.Equal(t, io.EOF, err)
					require.NoError(t, resp.Body.Close())
					require.NoError(t, (<-records).Err)
				}
			})
		})
	}
}

// TestCutAnswers stay cut, whatever their client has taken.
func TestCutAnswers(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "300000")
		}
		_, _ = w.Write(make([]byte, 200_000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	fars := fars(t, origin)
	for _, name := range []string{"HTTP/1.1", "h2c", "balancer"} { // net/http/fcgi ends such an answer well
		f := fars[name]
		for _, path := range []string{"/length", "/chunked"} {
			records := make(chan exchange.Record, 1)
			h, err := proxy.NewHandler("/", f.url+"/")
			require.NoError(t, err)
			h.Transport = &buffer.Transport{Next: f.next}
			h.OnRecord = func(_ *http.Request, r *exchange.Record) { records <- *r }
			front := httptest.NewServer(h)
			resp, err := front.Client().Get(front.URL + path)
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Len(t, got, 200_000)
			require.NoError(t, resp.Body.Close())
			r := <-records
			require.True(t, r.Aborted)
			var e *exchange.Error
			require.ErrorAs(t, r.Err, &e)
			require.Equal(t, exchange.OpBody, e.Op)
			front.Close()
		}
	}
}

// TestClientsThatLeave have the backend's request end.
func TestClientsThatLeave(t *testing.T) {
	left := make(chan struct{}, 10)
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				break
			}
		}
		left <- struct{}{}
	})
	each(t, origin, &buffer.Transport{Max: 1 << 20}, func(t *testing.T, f far, c *http.Client, url string, records <-chan exchange.Record) {
		resp, err := c.Get(url)
		require.NoError(t, err)
		_, err = io.ReadFull(resp.Body, make([]byte, 100))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		<-left
		require.Error(t, (<-records).Err)
		require.Eventually(t, f.unused, 5*time.Second, time.Millisecond)
	})
}
