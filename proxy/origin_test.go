package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// origin is a scripted TCP backend: it does with each connection what it is
// told, right or wrong.
type origin struct {
	t  *testing.T
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex // guards the rest
	conns []net.Conn
	count int
}

// newOrigin starts an origin that serves each connection with serve; n counts
// the connections from 1.
func newOrigin(t *testing.T, serve func(c *originConn, n int)) *origin {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := &origin{t: t, l: l}
	o.wg.Add(1)
	go func() {
		defer o.wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.count++
			n := o.count
			o.conns = append(o.conns, c)
			o.mu.Unlock()
			o.wg.Add(1)
			go func() {
				defer o.wg.Done()
				defer c.Close()
				serve(&originConn{Conn: c, r: bufio.NewReader(c)}, n)
			}()
		}
	}()
	t.Cleanup(o.close)
	return o
}

func (o *origin) close() {
	_ = o.l.Close()
	o.mu.Lock()
	for _, c := range o.conns {
		_ = c.Close()
	}
	o.mu.Unlock()
	done := make(chan struct{})
	go func() { o.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		o.t.Error("a script of the origin hangs")
	}
}

func (o *origin) url() *url.URL { return &url.URL{Scheme: "http", Host: o.l.Addr().String()} }

// connections returns how many connections were made so far.
func (o *origin) connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count
}

// originConn is one connection of an origin.
type originConn struct {
	net.Conn
	r *bufio.Reader
}

// head reads the head of a request, as text.
func (c *originConn) head() (string, bool) {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), false
		}
		if line == "\r\n" {
			return b.String(), true
		}
	}
}

// request reads a whole request with its body.
func (c *originConn) request() (*http.Request, string, bool) {
	r, err := http.ReadRequest(c.r)
	if err != nil {
		return nil, "", false
	}
	b, err := io.ReadAll(r.Body)
	return r, string(b), err == nil
}

func (c *originConn) say(s string) { _, _ = io.WriteString(c.Conn, s) }

// untilClosed waits for the other side to close.
func (c *originConn) untilClosed() { _, _ = io.Copy(io.Discard, c.r) }

// reset closes the connection with RST.
func (c *originConn) reset() {
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// answering is an origin that gives the same answer to each request.
func answering(t *testing.T, answer string) *origin {
	return newOrigin(t, func(c *originConn, _ int) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			c.say(answer)
		}
	})
}

// testBackend returns a backend for u with short limits, closed at the end.
func testBackend(t *testing.T, u *url.URL) *backend.Backend {
	b := &backend.Backend{URL: u, Timeout: 5 * time.Second}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// becomesIdle waits until the connection to the backend is given back: the
// client may have all of a body before that.
func becomesIdle(t *testing.T, b *backend.Backend) {
	t.Helper()
	require.Eventually(t, func() bool { return b.Stats().Busy == 0 }, 10*time.Second, time.Millisecond)
}

// frontOf serves h on a real listener.
func frontOf(t *testing.T, h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// handlerFor returns a handler in front of u, and the records of its requests.
func handlerFor(t *testing.T, u *url.URL) (*Handler, *backend.Backend, *recorder) {
	b := testBackend(t, u)
	rec := &recorder{}
	return &Handler{Target: u, Transport: &Transport{Backend: b}, OnRecord: rec.add}, b, rec
}

// recorder keeps records.
type recorder struct {
	mu      sync.Mutex
	records []exchange.Record
}

func (r *recorder) add(_ *http.Request, rec *exchange.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, *rec)
}

func (r *recorder) all() []exchange.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]exchange.Record(nil), r.records...)
}

// last waits for a record and returns the newest.
func (r *recorder) last(t *testing.T) exchange.Record {
	t.Helper()
	require.Eventually(t, func() bool { return len(r.all()) > 0 }, 20*time.Second, time.Millisecond)
	all := r.all()
	return all[len(all)-1]
}

// exchangeRaw sends bytes to a front and returns all that comes back until it
// closes.
func exchangeRaw(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	b, _ := io.ReadAll(c)
	return string(b)
}

// client returns an http.Client of its own.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// body reads an answer's body to its end.
func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

func prefixes(s ...string) (out []netip.Prefix, err error) {
	for _, one := range s {
		p, err := netip.ParsePrefix(one)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// closeSpy is a body that tells whether it was closed.
type closeSpy struct {
	io.Reader
	closed atomic.Bool
}

func (s *closeSpy) Close() error {
	s.closed.Store(true)
	return nil
}

func (s *closeSpy) isClosed() bool { return s.closed.Load() }

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}

// exchangeUpTo sends bytes and reads until the answer holds want.
func exchangeUpTo(t *testing.T, addr, request, want string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, request)
	var got strings.Builder
	b := make([]byte, 1)
	for !strings.Contains(got.String(), want) {
		_, err := c.Read(b)
		require.NoError(t, err, got.String())
		got.Write(b)
	}
}
