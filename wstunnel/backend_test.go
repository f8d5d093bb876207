package wstunnel

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// echoServer is a WebSocket server that sends messages back and answers Pings
// and Closes, as gorilla/websocket does.
func echoServer(t testing.TB, up websocket.Upgrader) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			_, _ = io.WriteString(w, "plain "+r.Method+" "+r.URL.Path)
			return
		}
		c, err := up.Upgrade(w, r, http.Header{"X-Back": {r.URL.Path}})
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			if err := c.WriteMessage(kind, data); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// handlerTo returns a Handler for all paths of a server.
func handlerTo(t testing.TB, url string) *Handler {
	h, err := NewHandler("/", "ws"+strings.TrimPrefix(url, "http")+"/")
	require.NoError(t, err)
	t.Cleanup(h.Proxy.CloseIdleConnections)
	return h
}

// serve starts a front, which is down when the test ends, with all its tunnels.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func wsURL(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }

// dial opens a WebSocket that does not wait for ever.
func dial(t testing.TB, d *websocket.Dialer, url string, h http.Header) *websocket.Conn {
	if d == nil {
		d = &websocket.Dialer{}
	}
	c, _, err := d.Dial(url, h)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	return c
}

// scripted is a backend that does what the test says with each connection,
// once it has read the head of a request.
func scripted(t testing.TB, script func(c net.Conn, r *http.Request, buf *bufio.Reader)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				buf := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(buf)
					if err != nil {
						return
					}
					script(c, r, buf)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// switching is the head of a right answer to a handshake.
func switching(r *http.Request, more ...string) string {
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + r.Header.Get("Upgrade") + "\r\n"
	if key := r.Header.Get(fieldKey); key != "" {
		head += "Sec-WebSocket-Accept: " + acceptOf(key) + "\r\n"
	}
	for _, field := range more {
		head += field + "\r\n"
	}
	return head + "\r\n"
}

const (
	someKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshake0 = "GET /x HTTP/1.1\r\nHost: front\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + someKey + "\r\n"
)

// rawDial sends text to a front and returns the connection.
func rawDial(t testing.TB, s *httptest.Server, text string) (*net.TCPConn, *bufio.Reader) {
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	return c.(*net.TCPConn), bufio.NewReader(c)
}

// answerOf reads the head of an answer.
func answerOf(t testing.TB, r *bufio.Reader) *http.Response {
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	return resp
}

// descriptors counts those of the process.
func descriptors(t testing.TB) int {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are counted on Linux")
	}
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// nothingLeft fails if a tunnel, a connection to the backend or a descriptor is
// left when the test is over.
func nothingLeft(t testing.TB, h *Handler, before int) {
	t.Helper()
	require.Eventually(t, func() bool { return h.Proxy.Tunnels.Count() == 0 }, patience, time.Millisecond, "a tunnel is left")
	h.Proxy.CloseIdleConnections()
	if before > 0 {
		require.Eventually(t, func() bool { return descriptors(t) <= before }, patience, 5*time.Millisecond, "descriptors are left")
	}
}

// failures has the errors of a handler told to the test.
func failures(h *Handler) <-chan error {
	errs := make(chan error, 100)
	h.Proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		select {
		case errs <- err:
		default:
		}
		w.WriteHeader(exchange.StatusOf(err))
	}
	return errs
}

// backendOf is the backend of a handler, with a time limit.
func backendOf(h *Handler, timeout time.Duration) *backend.Backend {
	u := *h.Proxy.Target
	u.Path = ""
	return &backend.Backend{URL: &u, Timeout: timeout}
}

// rawEcho switches, and sends back what comes until that ends.
func rawEcho(c net.Conn, r *http.Request, buf *bufio.Reader) {
	_, _ = io.WriteString(c, switching(r))
	_, _ = io.Copy(c, buf)
	_ = c.Close()
}

// endless switches, and sends for ever.
func endless(c net.Conn, r *http.Request, _ *bufio.Reader) {
	_, _ = io.WriteString(c, switching(r))
	for {
		if _, err := c.Write(make([]byte, 4096)); err != nil {
			return
		}
	}
}
