package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// server is a real member that can be killed and started again at its address.
type server struct {
	t    *testing.T
	name string
	addr string
	mu   sync.Mutex
	http *http.Server
	hits atomic.Int64
}

func newServer(t *testing.T, name string) *server {
	s := &server{t: t, name: name, addr: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	var l net.Listener
	require.Eventually(s.t, func() bool {
		var err error
		l, err = net.Listen("tcp", s.addr)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = l.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func(h *http.Server) { _ = h.Serve(l) }(s.http)
}

// kill closes the listener and all connections at once.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.http.Close()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.hits.Add(1)
	_, _ = io.WriteString(w, s.name)
}

func (s *server) config() MemberConfig {
	return MemberConfig{Name: s.name, URL: "http://" + s.addr, Retry: 20 * time.Millisecond}
}

// load sends GETs 64 at a time until stop is called, which returns how many
// were sent and what went wrong.
func load(t *testing.T, b *Balancer) (stop func() (int64, []error), count *atomic.Int64) {
	var wg sync.WaitGroup
	count = &atomic.Int64{}
	var mu sync.Mutex
	var errs []error
	ctx, cancel := context.WithCancel(t.Context())
	r := get(t, "balancer://x/")
	for range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				if _, err := sent(b, r); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
				count.Add(1)
			}
		}()
	}
	return func() (int64, []error) {
		cancel()
		wg.Wait()
		return count.Load(), errs
	}, count
}

// more waits for n further requests.
func more(t *testing.T, count *atomic.Int64, n int64) {
	want := count.Load() + n
	require.Eventually(t, func() bool { return count.Load() >= want }, time.Minute, time.Millisecond)
}

// TestKilledMembers: while one member lives, no client of an idempotent request
// sees an error.
func TestKilledMembers(t *testing.T) {
	servers := []*server{newServer(t, "a"), newServer(t, "b"), newServer(t, "c")}
	b := newTest(t, Config{RetryIdempotent: true}, servers[0].config(), servers[1].config(), servers[2].config())
	stop, count := load(t, b)
	kills := 0
	for round := range 12 {
		more(t, count, 500)
		s := servers[round%2] // c lives
		s.kill()
		kills++
		more(t, count, 500)
		if round%3 == 2 { // both are down for a while
			servers[(round+1)%2].kill()
			kills++
			more(t, count, 500)
			servers[(round+1)%2].start()
		}
		s.start()
	}
	n, errs := stop()
	t.Logf("%d requests, %d kills, %d errors; a %d, b %d, c %d", n, kills, len(errs), servers[0].hits.Load(), servers[1].hits.Load(), servers[2].hits.Load())
	require.Empty(t, errs)
	require.Positive(t, servers[0].hits.Load())
	for _, m := range b.Members() {
		require.Zero(t, m.Busy())
	}
	// A member that is back is used again soon after Retry.
	before := servers[0].hits.Load()
	require.Eventually(t, func() bool {
		send(t, b)
		return servers[0].hits.Load() > before
	}, 30*time.Second, time.Millisecond)
}

func TestAllDownAndBack(t *testing.T) {
	s := newServer(t, "a")
	b := newTest(t, Config{Name: "x"}, s.config())
	target, err := url.Parse("balancer://x/")
	require.NoError(t, err)
	var rec exchange.Record
	front := httptest.NewServer(&proxy.Handler{Prefix: "/", Target: target, Transport: b, OnRecord: func(_ *http.Request, r *exchange.Record) { rec = *r }})
	defer front.Close()
	client := front.Client()
	ask := func() *http.Response {
		resp, err := client.Get(front.URL)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp
	}
	require.Equal(t, 200, ask().StatusCode)
	require.Equal(t, "a", rec.Member)
	require.Equal(t, "x", rec.Balancer)
	require.Equal(t, "byrequests", rec.Why)
	s.kill()
	resp := ask()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	require.Equal(t, http.StatusServiceUnavailable, ask().StatusCode)
	s.start()
	require.Eventually(t, func() bool { return ask().StatusCode == 200 }, 30*time.Second, 5*time.Millisecond)
}

// TestLiveChangesLoseNothing adds, removes, updates and switches while requests
// run.
func TestLiveChangesLoseNothing(t *testing.T) {
	a, c, d := newServer(t, "a"), newServer(t, "c"), newServer(t, "d")
	b := newTest(t, Config{}, a.config())
	stop, count := load(t, b)
	for range 10 {
		_, err := b.Add(c.config())
		require.NoError(t, err)
		more(t, count, 200)
		require.NoError(t, b.Update([]MemberConfig{d.config(), c.config(), a.config()}))
		more(t, count, 200)
		b.SetMethod(Random2{})
		require.NoError(t, b.Remove(t.Context(), "d"))
		more(t, count, 200)
		b.SetMethod(&ByBusyness{})
		require.NoError(t, b.Member("c").Drain(t.Context()))
		require.NoError(t, b.Update([]MemberConfig{a.config()}))
		more(t, count, 200)
	}
	n, errs := stop()
	t.Logf("%d requests, %d errors; a %d, c %d, d %d", n, len(errs), a.hits.Load(), c.hits.Load(), d.hits.Load())
	require.Empty(t, errs)
	require.Positive(t, d.hits.Load())
}

func TestFullPoolIsNoErrorOfTheMember(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	defer s.Close()
	defer close(release)
	b := newTest(t, Config{}, MemberConfig{URL: s.URL})
	m := b.Members()[0]
	m.Backend().MaxConns, m.Backend().AcquireTimeout = 1, 10*time.Millisecond
	done := make(chan error, 1)
	go func() {
		_, err := sent(b, get(t, "balancer://x/"))
		done <- err
	}()
	<-entered
	_, err := sent(b, get(t, "balancer://x/"))
	require.Equal(t, 503, exchange.StatusOf(err))
	st, _ := m.State()
	require.Equal(t, StateUsable, st)
	require.Zero(t, m.Stats().Errors)
	release <- struct{}{}
	require.NoError(t, <-done)
}

// TestThroughTheHandler: ProxyPassReverse knows the member, a cookie is set on
// a 101, and a tunnel counts as busy until it ends.
func TestThroughTheHandler(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Location", "http://"+r.Host+"/app/next")
			w.WriteHeader(http.StatusFound)
			return
		}
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		_, _ = io.Copy(c, buffered)
	}))
	defer s.Close()
	b := newTest(t, Config{Name: "x", Sticky: Sticky{SetCookie: &RouteCookie{}}}, MemberConfig{Name: "m", URL: s.URL + "/app", Route: "r"})
	target, err := url.Parse("balancer://x/")
	require.NoError(t, err)
	front := httptest.NewServer(&proxy.Handler{
		Prefix: "/", Target: target, Transport: b,
		Reverse: []proxy.ReverseRule{{Path: "/", URL: "balancer://x/"}},
	})
	defer front.Close()
	client := front.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Get(front.URL)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, front.URL+"/next", resp.Header.Get("Location"))
	require.True(t, strings.HasPrefix(resp.Header.Get("Set-Cookie"), "ROUTEID=.r;"))

	c, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	require.NoError(t, err)
	head := make([]byte, 0, 1024)
	for !strings.Contains(string(head), "\r\n\r\n") {
		var p [1]byte
		_, err := io.ReadFull(c, p[:])
		require.NoError(t, err)
		head = append(head, p[0])
	}
	require.Contains(t, string(head), "101 Switching")
	require.Contains(t, string(head), "Set-Cookie: ROUTEID=.r;")
	_, err = io.WriteString(c, "ping")
	require.NoError(t, err)
	echo := make([]byte, 4)
	_, err = io.ReadFull(c, echo)
	require.NoError(t, err)
	require.Equal(t, "ping", string(echo))
	m := b.Member("m")
	require.Equal(t, int64(1), m.Busy())
	_ = c.Close()
	require.Eventually(t, func() bool { return m.Busy() == 0 }, 30*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { sent, received := m.Traffic(); return sent == 4 && received == 4 }, 30*time.Second, time.Millisecond)
}

// TestGarbageAndCuts: real bytes of a broken member.
func TestGarbageAndCuts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Add(1)
	answers := []string{"", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"}
	go func() {
		defer wg.Done()
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, answers[n%len(answers)])
			_ = c.Close()
		}
	}()
	defer wg.Wait()
	defer l.Close()
	good := newServer(t, "good")
	b := newTest(t, Config{RetryIdempotent: true, Eject: &Ejection{}}, MemberConfig{Name: "bad", URL: "http://" + l.Addr().String()}, good.config())
	for range 40 {
		require.Equal(t, "good", send(t, b))
	}
	st, cause := b.Member("bad").State()
	require.Equal(t, StateError, st)
	require.True(t, errors.Is(cause, errEjected))
	require.Equal(t, int64(5), b.Member("bad").Elected())
}
