package halfclose

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
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/proxyprotocol"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// watched is a listener whose connections tell each end that they read.
type watched struct {
	net.Listener
	ends chan struct{}
}

type watchedTCP struct {
	*net.TCPConn
	*watched
}

type watchedUnix struct {
	*net.UnixConn
	*watched
}

func (w *watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	switch c := c.(type) {
	case *net.TCPConn:
		return watchedTCP{c, w}, nil
	case *net.UnixConn:
		return watchedUnix{c, w}, nil
	}
	return c, err
}

func (c watchedTCP) Close() error                { return c.TCPConn.Close() }
func (c watchedTCP) Read(p []byte) (int, error)  { return c.tell(c.TCPConn.Read(p)) }
func (c watchedUnix) Close() error               { return c.UnixConn.Close() }
func (c watchedUnix) Read(p []byte) (int, error) { return c.tell(c.UnixConn.Read(p)) }

func (w *watched) tell(n int, err error) (int, error) {
	if err == io.EOF {
		select {
		case w.ends <- struct{}{}:
		default:
		}
	}
	return n, err
}

// server is an http.Server behind a Listener.
type server struct {
	t    *testing.T
	ends chan struct{} // the client's end was read
	http *http.Server
	*Listener
	above net.Listener // that is served; nil: the Listener
}

func listen(t *testing.T, network string) net.Listener {
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, at)
	require.NoError(t, err)
	return ln
}

// serve serves h until the end of the test; change may be nil.
func serve(t *testing.T, network string, timeout time.Duration, h http.HandlerFunc, change func(*server)) *server {
	w := &watched{listen(t, network), make(chan struct{}, 1)}
	s := &server{t, w.ends, &http.Server{Handler: h}, &Listener{Listener: w, Timeout: timeout}, nil}
	if change != nil {
		change(s)
	}
	if s.above == nil {
		s.above = s.Listener
	}
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.above) }()
	t.Cleanup(func() {
		_ = s.http.Close()
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return s
}

// say connects and sends text.
func (s *server) say(text string) net.Conn {
	c, err := net.Dial(s.Addr().Network(), s.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(c, text)
	require.NoError(s.t, err)
	return c
}

// halfClose ends the client's side.
func halfClose(t *testing.T, c net.Conn) {
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
}

// within waits for what has to come.
func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		require.FailNow(t, "not within "+patience.String(), what)
	}
}

// stays reports whether the context goes on, for as long as net/http needs, and
// much longer, to end it once it has read the client's end.
func stays(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
	return ctx.Err()
}

// TestClientsThatHalfCloseAreAnswered: whatever the request, over whatever socket.
func TestClientsThatHalfCloseAreAnswered(t *testing.T) {
	const get, length = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Content-Length: 2\r\n\r\nab"
	for name, tc := range map[string]struct {
		sends string
		want  int // answers
	}{
		"GET":              {get, 1},
		"GET, closing":     {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 1},
		"GET, HTTP/1.0":    {"GET / HTTP/1.0\r\n\r\n", 1},
		"HEAD":             {"HEAD / HTTP/1.0\r\n\r\n", 1},
		"POST":             {"POST / HTTP/1.1\r\nHost: h\r\n" + length, 1},
		"POST, chunked":    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 1},
		"POST, to confirm": {"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n" + length, 1},
		"two":              {get + get, 2},
		"three, a POST":    {get + "POST / HTTP/1.1\r\nHost: h\r\n" + length + get, 3},
	} {
		for _, network := range []string{"tcp", "unix", "PROXY", "below PROXY"} {
			t.Run(name+", "+network, func(t *testing.T) {
				answered := 0
				var s *server
				handle := func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						t.Error(err)
					}
					if answered++; answered == tc.want {
						within(t, s.ends, "the end of what the client sends")
						if err := stays(r.Context()); err != nil {
							t.Error(err)
							return
						}
					}
					_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
				}
				sends := tc.sends
				on := network
				change := func(to *server) { s = to }
				if strings.HasSuffix(network, "PROXY") {
					on, sends = "tcp", "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n"+sends
					change = func(to *server) {
						s = to
						pl := &proxyprotocol.Listener{Listener: to.Listener, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
						if network == "below PROXY" {
							to.above = pl
						} else {
							pl.Listener = to.Listener.Listener
							to.Listener.Listener = pl
						}
						to.http.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
							if proxyprotocol.HeaderOf(c) == nil {
								t.Error("no header")
							}
							return ctx
						}
					}
				}
				serve(t, on, -1, handle, change)
				c := s.say(sends)
				halfClose(t, c)
				from := bufio.NewReader(c)
				for range tc.want {
					method, _, _ := strings.Cut(tc.sends, " ")
					resp, err := http.ReadResponse(from, &http.Request{Method: method})
					require.NoError(t, err)
					if resp.StatusCode == http.StatusContinue {
						resp, err = http.ReadResponse(from, &http.Request{Method: method})
						require.NoError(t, err)
					}
					got, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					if method != "HEAD" {
						require.Len(t, got, 10_000)
					}
				}
				_, err := from.ReadByte()
				require.ErrorIs(t, err, io.EOF, "the connection is closed behind the last answer")
			})
		}
	}
}

// TestClientsThatLeave: what is known to be no half-close ends the context at once,
// and the silence of what could be one at the timeout.
func TestClientsThatLeave(t *testing.T) {
	reset := func(t *testing.T, c net.Conn) {
		require.NoError(t, c.(*net.TCPConn).SetLinger(0))
		require.NoError(t, c.Close())
	}
	halfCloses := func(t *testing.T, c net.Conn) { halfClose(t, c) }
	closes := func(t *testing.T, c net.Conn) { require.NoError(t, c.Close()) }
	nothing := func(*testing.T, http.ResponseWriter) {}
	writes := func(t *testing.T, w http.ResponseWriter) {
		_, err := io.WriteString(w, "x")
		if err == nil {
			err = http.NewResponseController(w).Flush()
		}
		if err != nil {
			t.Error(err)
		}
	}
	for name, tc := range map[string]struct {
		network string
		timeout time.Duration
		leave   []func(*testing.T, net.Conn)
		do      func(*testing.T, http.ResponseWriter)
		unseen  bool // there is no end to be read
	}{
		"reset":                     {"tcp", -1, []func(*testing.T, net.Conn){reset}, nothing, true},
		"half-close, then reset":    {"tcp", -1, []func(*testing.T, net.Conn){halfCloses, reset}, nothing, false},
		"close, seen by writing":    {"tcp", -1, []func(*testing.T, net.Conn){closes}, writes, false},
		"close, with a timeout":     {"tcp", 50 * time.Millisecond, []func(*testing.T, net.Conn){closes}, nothing, false},
		"half-close, for too long":  {"tcp", 50 * time.Millisecond, []func(*testing.T, net.Conn){halfCloses}, nothing, false},
		"and takes what there is":   {"tcp", 50 * time.Millisecond, []func(*testing.T, net.Conn){halfCloses}, writes, false},
		"close of unix":             {"unix", -1, []func(*testing.T, net.Conn){closes}, nothing, false},
		"half-close, then of unix":  {"unix", -1, []func(*testing.T, net.Conn){halfCloses, closes}, nothing, false},
		"one nanosecond of timeout": {"tcp", 1, []func(*testing.T, net.Conn){halfCloses}, nothing, false},
	} {
		t.Run(name, func(t *testing.T) {
			began, ended := make(chan struct{}), make(chan struct{})
			var s *server
			serve(t, tc.network, tc.timeout, func(w http.ResponseWriter, r *http.Request) {
				close(began)
				if !tc.unseen {
					within(t, s.ends, "the end of what the client sends")
				}
				tc.do(t, w)
				within(t, r.Context().Done(), "the end of the context")
				close(ended)
			}, func(to *server) { s = to })
			c := s.say("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			within(t, began, "the handler")
			for _, leave := range tc.leave {
				leave(t, c)
			}
			within(t, ended, "the handler's end")
		})
	}
}

// TestTimeoutIsOfSilence: an answer that a client goes on taking may last longer
// than the timeout.
func TestTimeoutIsOfSilence(t *testing.T) {
	const timeout = 500 * time.Millisecond
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := serve(t, network, timeout, func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				every := time.NewTicker(timeout / 25)
				defer every.Stop()
				for begin := time.Now(); time.Since(begin) < 5*timeout/2; <-every.C {
					_, _ = io.WriteString(w, "x")
					if err := errors.Join(rc.Flush(), r.Context().Err()); err != nil {
						t.Error(err)
						return
					}
				}
			}, nil)
			c := s.say("GET / HTTP/1.0\r\n\r\n")
			halfClose(t, c)
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Contains(t, string(got), "xx")
		})
	}
}

// TestEndsThatAreNoHalfClose are told at once: nobody waits for an answer, or the
// end is part of what the handler reads.
func TestEndsThatAreNoHalfClose(t *testing.T) {
	const get, post = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\n"
	hijacks := func(read func(net.Conn, *bufio.ReadWriter) error) func(*server) http.HandlerFunc {
		return func(s *server) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				within(s.t, s.ends, "the end of what the client sends")
				c, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					s.t.Error(err)
					return
				}
				defer c.Close()
				before := r.Context().Err()
				_, _ = fmt.Fprintf(c, "context %v, read %v", before, read(c, rw))
			}
		}
	}
	reads := func(*server) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		}
	}
	for name, tc := range map[string]struct {
		sends, want string
		handler     func(*server) http.HandlerFunc
	}{
		"before a request":          {"", "", reads},
		"in the head":               {"GET / HTTP/1.1\r\nHo", "HTTP/1.1 400 ", reads},
		"in a preface of h2c":       {"PRI * HTTP/2.", "HTTP/1.1 400 ", reads},
		"in the body":               {post + "Content-Length: 9\r\n\r\nab", "HTTP/1.1 400 ", reads},
		"in the body's last byte":   {post + "Content-Length: 3\r\n\r\nab", "HTTP/1.1 400 ", reads},
		"in a chunk":                {post + "Transfer-Encoding: chunked\r\n\r\n9\r\nab", "HTTP/1.1 400 ", reads},
		"behind an answer":          {get, "HTTP/1.1 200 OK", reads},
		"hijacked":                  {get, "context <nil>, read EOF", hijacks(func(c net.Conn, _ *bufio.ReadWriter) error { _, err := c.Read(make([]byte, 1)); return err })},
		"hijacked, read by the way": {get, "context <nil>, read EOF", hijacks(func(_ net.Conn, rw *bufio.ReadWriter) error { _, err := rw.ReadByte(); return err })},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "tcp", -1, nil, func(s *server) {
				s.http.Handler = tc.handler(s)
				s.http.Protocols = new(http.Protocols)
				s.http.Protocols.SetHTTP1(true)
				s.http.Protocols.SetUnencryptedHTTP2(true)
			})
			c := s.say(tc.sends)
			if name == "behind an answer" {
				_, err := http.ReadResponse(bufio.NewReader(c), nil)
				require.NoError(t, err)
				tc.want = ""
			}
			halfClose(t, c)
			got, err := io.ReadAll(c)
			require.NoError(t, err, "the connection is closed")
			require.Equal(t, tc.want, string(got[:min(len(got), len(tc.want))]), string(got))
			require.True(t, tc.want != "" || len(got) == 0, string(got))
		})
	}
}

// TestServerThatStops: a client that is waited for holds a stop up like any other.
func TestServerThatStops(t *testing.T) {
	for name, stop := range map[string]func(*http.Server) error{
		"Close": (*http.Server).Close,
		"Shutdown": func(s *http.Server) error {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("shut down while a client is answered: %w", err)
			}
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			began, ended := make(chan struct{}), make(chan struct{})
			var s *server
			serve(t, "tcp", -1, func(w http.ResponseWriter, r *http.Request) {
				within(t, s.ends, "the end of what the client sends")
				close(began)
				within(t, r.Context().Done(), "the end of the context")
				close(ended)
			}, func(to *server) { s = to })
			halfClose(t, s.say("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
			within(t, began, "the handler")
			require.NoError(t, stop(s.http))
			within(t, ended, "the handler's end")
		})
	}
}

// TestTLSAbove: a Listener below TLS changes nothing, with HTTP/1 and HTTP/2.
func TestTLSAbove(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d %s", r.ProtoMajor, b)
		}))
		s.Listener = &Listener{Listener: s.Listener}
		s.EnableHTTP2 = http2
		s.StartTLS()
		resp, err := s.Client().Post(s.URL, "text/plain", strings.NewReader("ab"))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, map[bool]string{false: "1 ab", true: "2 ab"}[http2], string(got))
		s.Close()
	}
}

// TestZeroListener fails with words, and closes.
func TestZeroListener(t *testing.T) {
	var l Listener
	_, err := l.Accept()
	require.Equal(t, errNoListener, err)
	require.NoError(t, l.Close())
	require.Nil(t, l.Addr())
}

// notSocket is a connection without a socket, as a *tls.Conn is.
type notSocket struct{ net.Conn }

type oneListener struct {
	net.Listener
	c net.Conn
}

func (o oneListener) Accept() (net.Conn, error) { return o.c, nil }

// TestConnections: what is no socket is left alone, and what a socket can do is not
// lost.
func TestConnections(t *testing.T) {
	plain := notSocket{}
	c, err := (&Listener{Listener: oneListener{c: plain}}).Accept()
	require.NoError(t, err)
	require.Equal(t, plain, c)

	ln := listen(t, "tcp")
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer far.Close()
	c, err = (&Listener{Listener: ln}).Accept()
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	require.NoError(t, far.SetDeadline(time.Now().Add(patience)))

	n, err := c.(io.ReaderFrom).ReadFrom(strings.NewReader("hello"))
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	_, _ = io.WriteString(far, "back")
	halfClose(t, far)
	var to strings.Builder
	_, err = c.(io.WriterTo).WriteTo(&to)
	require.NoError(t, err)
	require.Equal(t, "back", to.String())
	require.NoError(t, c.(interface{ SetLinger(int) error }).SetLinger(0))
	_, err = c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	socket, ahead := c.(interface{ Detached() (net.Conn, []byte) }).Detached()
	require.IsType(t, &net.TCPConn{}, socket)
	require.Empty(t, ahead)
	require.Equal(t, socket, c.(interface{ NetConn() net.Conn }).NetConn())

	odd := &conn{Conn: plain}
	require.ErrorIs(t, odd.CloseWrite(), errors.ErrUnsupported)
	require.ErrorIs(t, odd.SetLinger(0), errors.ErrUnsupported)
}

// TestDeadlinesHold: those that are set while an end is kept back are obeyed.
func TestDeadlinesHold(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(c net.Conn) error
		want error
	}{
		"passed, of reads": {func(c net.Conn) error { return c.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"passed, of both":  {func(c net.Conn) error { return c.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"soon":             {func(c net.Conn) error { return c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) }, os.ErrDeadlineExceeded},
		"closed":           {net.Conn.Close, net.ErrClosed},
	} {
		for _, timeout := range []time.Duration{-1, time.Hour} {
			t.Run(name+", "+timeout.String(), func(t *testing.T) {
				w := &watched{listen(t, "tcp"), make(chan struct{}, 1)}
				defer w.Close()
				far, err := net.Dial("tcp", w.Addr().String())
				require.NoError(t, err)
				defer far.Close()
				c, err := (&Listener{Listener: w, Timeout: timeout}).Accept()
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, c.SetReadDeadline(time.Time{}))
				done := make(chan error, 1)
				go func() {
					_, err := c.Read(make([]byte, 1))
					done <- err
				}()
				halfClose(t, far)
				within(t, w.ends, "the end of what the client sends")
				require.NoError(t, tc.set(c))
				select {
				case err = <-done:
				case <-time.After(patience):
				}
				require.ErrorIs(t, err, tc.want)
			})
		}
	}
}

// TestCosts: nothing is allocated for a request.
func TestCosts(t *testing.T) {
	ln := listen(t, "tcp")
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer far.Close()
	c, err := (&Listener{Listener: ln}).Accept()
	require.NoError(t, err)
	defer c.Close()
	b := make([]byte, 1)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = far.Write(b)
		_ = c.SetReadDeadline(time.Time{})
		_, _ = c.Read(b)
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	}))
}

// BenchmarkGET is a GET over a connection that is kept, through a Listener and
// without.
func BenchmarkGET(b *testing.B) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"without": func(l net.Listener) net.Listener { return l },
		"with":    func(l net.Listener) net.Listener { return &Listener{Listener: l} },
	} {
		b.Run(name, func(b *testing.B) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
			s.Listener = wrap(s.Listener)
			s.Start()
			defer s.Close()
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			require.NoError(b, err)
			defer c.Close()
			buf := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if _, err := c.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
