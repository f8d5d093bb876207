package wstunnel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy"
)

// TestExtendedConnect runs itself in a process of its own, since net/http looks
// only once whether extended CONNECT is on.
func TestExtendedConnect(t *testing.T) {
	const on = "http2xconnect=1"
	if strings.Contains(os.Getenv("GODEBUG"), on) {
		testOverHTTP2(t)
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^TestExtendedConnect$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), "GODEBUG="+on)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestExtendedConnect/WebSocket")
}

// overHTTP2 starts a front that speaks HTTP/2, and returns a client's
// connection to it.
func overHTTP2(t *testing.T, h http.Handler) *http2.ClientConn {
	front := httptest.NewUnstartedServer(h)
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	nc, err := tls.Dial("tcp", front.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	require.NoError(t, err)
	cc, err := (&http2.Transport{}).NewClientConn(nc)
	require.NoError(t, err)
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// h2Stream is the client's end of an extended CONNECT.
type h2Stream struct {
	net.Conn // for its name alone
	io.Reader
	io.WriteCloser
	cancel func()
}

func (s *h2Stream) Read(p []byte) (int, error)     { return s.Reader.Read(p) }
func (s *h2Stream) Write(p []byte) (int, error)    { return s.WriteCloser.Write(p) }
func (s *h2Stream) Close() error                   { s.cancel(); return s.WriteCloser.Close() }
func (*h2Stream) SetDeadline(time.Time) error      { return nil }
func (*h2Stream) SetReadDeadline(time.Time) error  { return nil }
func (*h2Stream) SetWriteDeadline(time.Time) error { return nil }

// connect sends an extended CONNECT.
func connect(t *testing.T, cc *http2.ClientConn, protocol string, fields http.Header) (*http.Response, *h2Stream) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	pr, pw := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://front.test/x?y=1", pr)
	require.NoError(t, err)
	r.Header = fields.Clone()
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header[":protocol"] = []string{protocol}
	resp, err := cc.RoundTrip(r)
	require.NoError(t, err)
	return resp, &h2Stream{Reader: resp.Body, WriteCloser: pw, cancel: cancel}
}

func testOverHTTP2(t *testing.T) {
	t.Run("WebSocket", func(t *testing.T) {
		for mode, set := range modes {
			t.Run(mode, func(t *testing.T) {
				h := handlerTo(t, echoServer(t, websocket.Upgrader{Subprotocols: []string{"b"}}).URL)
				set(h)
				b := backendOf(h, patience)
				b.DisableReuse = true // a tunnel needs no other
				h.Proxy.Transport = &proxy.Transport{Backend: b}
				cc := overHTTP2(t, h)
				resp, s := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}, fieldProtocol: {"a, b"}})
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.Equal(t, "b", resp.Header.Get(fieldProtocol))
				require.Equal(t, "/x", resp.Header.Get("X-Back"))
				for _, name := range []string{fieldAccept, "Upgrade", "Connection"} {
					require.Empty(t, resp.Header[name], name)
				}
				p, err := dialed(s, false)
				require.NoError(t, err)
				data := make([]byte, 300_000)
				_, _ = rand.Read(data)
				for _, data := range [][]byte{[]byte("hello"), data, nil} {
					sent := make(chan error, 1)
					go func() { sent <- p.WriteMessage(websocket.BinaryMessage, data) }()
					_, got, err := p.ReadMessage()
					require.NoError(t, err)
					require.NoError(t, <-sent)
					require.True(t, bytes.Equal(data, got))
				}
				pinged(t, p.Conn)
				require.NoError(t, p.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "done")))
				_, _, err = p.ReadMessage()
				require.True(t, websocket.IsCloseError(err, 1000), "%v", err)
				_, err = io.Copy(io.Discard, s) // the stream ends cleanly
				require.NoError(t, err)
				nothingLeft(t, h, 0)
			})
		}
	})
	t.Run("another protocol", func(t *testing.T) {
		back := scripted(t, rawEcho)
		h := handlerTo(t, back)
		h.Protocols = []string{"raw"}
		cc := overHTTP2(t, h)
		resp, s := connect(t, cc, "raw", nil)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		_, _ = io.WriteString(s, "hello")
		_ = s.WriteCloser.Close() // half-closed
		got, err := io.ReadAll(s)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		resp, _ = connect(t, cc, "websocket", nil)
		require.Equal(t, http.StatusNotImplemented, resp.StatusCode)
		nothingLeft(t, h, 0)
	})
	t.Run("refused", func(t *testing.T) {
		back := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusUpgradeRequired)
			_, _ = io.WriteString(w, "no")
		}))
		h := handlerTo(t, back.URL)
		h.Origins = []string{"self"}
		cc := overHTTP2(t, h)
		resp, s := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}})
		require.Equal(t, http.StatusUpgradeRequired, resp.StatusCode)
		got, err := io.ReadAll(s)
		require.NoError(t, err)
		require.Equal(t, "no", string(got))
		resp, _ = connect(t, cc, "websocket", http.Header{"Origin": {"https://evil.test"}})
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	})
	t.Run("shutdown", func(t *testing.T) {
		h := handlerTo(t, echoServer(t, websocket.Upgrader{}).URL)
		cc := overHTTP2(t, h)
		_, s := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}})
		p, err := dialed(s, false)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return h.Proxy.Tunnels.Count() == 1 }, patience, time.Millisecond) // it begins behind the head
		done := make(chan error, 1)
		go func() { done <- h.Shutdown(t.Context()) }()
		_, _, err = p.ReadMessage()
		require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
		p.sendClose(websocket.CloseGoingAway, "")
		require.NoError(t, <-done)
		resp, _ := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}})
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	})
	t.Run("client is gone", func(t *testing.T) {
		h := handlerTo(t, echoServer(t, websocket.Upgrader{}).URL)
		cc := overHTTP2(t, h)
		_, s := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}})
		_ = s.Close()
		nothingLeft(t, h, 0)
	})
	t.Run("client is gone and the backend does not read", func(t *testing.T) {
		for _, mode := range []string{"bytes", "messages"} {
			idle := make(chan struct{})
			h := handlerTo(t, scripted(t, func(c net.Conn, r *http.Request, _ *bufio.Reader) {
				_, _ = io.WriteString(c, switching(r))
				<-idle
			}))
			modes[mode](h)
			if h.Messages != nil {
				h.Messages.MaxSize = -1
			}
			cc := overHTTP2(t, h)
			_, s := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}})
			go func() { _, _ = io.WriteString(s, endlessFrame(true)+strings.Repeat("x", 64<<20)) }()
			for sent := int64(-1); sent != h.Proxy.Tunnels.List()[0].Sent || sent == 0; time.Sleep(50 * time.Millisecond) {
				sent = h.Proxy.Tunnels.List()[0].Sent
			}
			_ = s.Reader.(io.Closer).Close() // resets the stream
			nothingLeft(t, h, 0)
			close(idle)
		}
	})
	t.Run("idle", func(t *testing.T) {
		h := handlerTo(t, echoServer(t, websocket.Upgrader{}).URL)
		h.IdleTimeout = 100 * time.Millisecond
		cc := overHTTP2(t, h)
		_, s := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}})
		_, err := io.Copy(io.Discard, s)
		var reset http2.StreamError
		require.True(t, errors.As(err, &reset), "it must not look like a clean end: %v", err)
		nothingLeft(t, h, 0)
	})
	t.Run("client does not read", func(t *testing.T) {
		back := scripted(t, endless)
		h := handlerTo(t, back)
		h.IdleTimeout = 100 * time.Millisecond
		cc := overHTTP2(t, h)
		_, s := connect(t, cc, "websocket", http.Header{fieldVersion: {"13"}})
		nothingLeft(t, h, 0)
		_, err := io.Copy(io.Discard, s)
		var reset http2.StreamError
		require.True(t, errors.As(err, &reset), "it must not look like a clean end: %v", err)
	})
}

var _ proxy.Switcher = (*streamWriter)(nil)
