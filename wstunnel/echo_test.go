package wstunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// modes are the ways in which a WebSocket passes.
var modes = map[string]func(h *Handler){
	"bytes":               func(*Handler) {},
	"messages":            func(h *Handler) { h.Messages = &Messages{} },
	"messages with hook":  func(h *Handler) { h.Messages = &Messages{OnMessage: func(*Message) error { return nil }} },
	"client compressed":   func(h *Handler) { h.Messages = &Messages{CompressClient: true} },
	"backend compressed":  func(h *Handler) { h.Messages = &Messages{CompressBackend: true} },
	"both are compressed": func(h *Handler) { h.Messages = &Messages{CompressClient: true, CompressBackend: true} },
}

// TestEcho: whatever a client sends comes back as it was.
func TestEcho(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			h := handlerTo(t, echoServer(t, websocket.Upgrader{EnableCompression: true, Subprotocols: []string{"b"}}).URL)
			set(h)
			front := serve(t, h)
			for _, compressed := range []bool{false, true} {
				d := &websocket.Dialer{EnableCompression: compressed, Subprotocols: []string{"a", "b"}}
				c, resp, err := d.Dial(wsURL(front)+"/chat?x=1", nil)
				require.NoError(t, err)
				t.Cleanup(func() { _ = c.Close() })
				_ = c.SetReadDeadline(time.Now().Add(patience))
				require.Equal(t, "/chat", resp.Header.Get("X-Back"))
				require.Equal(t, "b", c.Subprotocol())
				wantExtension := compressed && (h.Messages == nil || h.Messages.CompressClient)
				require.Equal(t, wantExtension, resp.Header.Get(fieldExtensions) != "")
				random := make([]byte, 100_000)
				_, _ = rand.Read(random)
				for _, m := range []struct {
					kind int
					data []byte
				}{
					{websocket.TextMessage, nil}, {websocket.TextMessage, []byte("grüße")}, {websocket.BinaryMessage, []byte{0, 0xff}},
					{websocket.BinaryMessage, random}, {websocket.TextMessage, bytes.Repeat([]byte("ü"), 70_000)},
				} {
					require.NoError(t, c.WriteMessage(m.kind, m.data))
					kind, got, err := c.ReadMessage()
					require.NoError(t, err)
					require.Equal(t, m.kind, kind)
					require.True(t, bytes.Equal(m.data, got), "%d bytes were changed", len(m.data))
				}
				fragmented(t, c)
				pinged(t, c)
				require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "done")))
				_, _, err = c.ReadMessage()
				var ce *websocket.CloseError
				require.ErrorAs(t, err, &ce)
				require.Equal(t, 4321, ce.Code)
				_ = c.Close()
			}
			nothingLeft(t, h, 0)
		})
	}
}

// fragmented sends a message in several frames, with a Ping between them.
func fragmented(t *testing.T, c *websocket.Conn) {
	w, err := c.NextWriter(websocket.TextMessage)
	require.NoError(t, err)
	part := strings.Repeat("x", 5000) // more than the buffer: a frame of its own
	for range 3 {
		_, _ = io.WriteString(w, part)
		require.NoError(t, c.WriteControl(websocket.PingMessage, []byte("inside"), time.Now().Add(patience)))
	}
	require.NoError(t, w.Close())
	_, got, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(part, 3), string(got))
}

// pinged sees a Ping answered by the other end.
func pinged(t *testing.T, c *websocket.Conn) {
	pong := ""
	c.SetPongHandler(func(data string) error { pong = data; return nil })
	require.NoError(t, c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)))
	require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("behind it")))
	_, _, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "are you there", pong)
}

// TestLongMessage: 16 MB there and back.
func TestLongMessage(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			h := handlerTo(t, echoServer(t, websocket.Upgrader{EnableCompression: true}).URL)
			set(h)
			c := dial(t, &websocket.Dialer{EnableCompression: true}, wsURL(serve(t, h)), nil)
			data := make([]byte, 16<<20)
			if mode != "bytes" && mode != "messages" {
				data = data[:1<<20] // the others take their time
			}
			_, _ = rand.Read(data)
			sent := make(chan error, 1)
			go func() { sent <- c.WriteMessage(websocket.BinaryMessage, data) }()
			_, got, err := c.ReadMessage()
			require.NoError(t, err)
			require.NoError(t, <-sent)
			require.True(t, bytes.Equal(data, got))
		})
	}
}

// TestCloseCodes: those of either side reach the other, with their reasons.
func TestCloseCodes(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			seen := make(chan *websocket.CloseError, 1)
			up := websocket.Upgrader{}
			back := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer c.Close()
				if r.URL.Path == "/closes" {
					_ = c.WriteMessage(websocket.TextMessage, []byte("last"))
					_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "because"))
				}
				_, _, err = c.ReadMessage()
				ce, _ := err.(*websocket.CloseError)
				seen <- ce
			}))
			h := handlerTo(t, back.URL)
			set(h)
			front := serve(t, h)

			c := dial(t, nil, wsURL(front)+"/closes", nil)
			clients := []*websocket.Conn{c}
			_, got, err := c.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, "last", string(got))
			_, _, err = c.ReadMessage()
			require.Equal(t, &websocket.CloseError{Code: 4001, Text: "because"}, err)
			require.Equal(t, 4001, (<-seen).Code, "the client's answer")

			for _, sent := range []websocket.CloseError{{Code: 1000, Text: "done"}, {Code: 1005}, {Code: 3999, Text: strings.Repeat("r", 123)}} {
				c = dial(t, nil, wsURL(front), nil)
				clients = append(clients, c)
				require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(sent.Code, sent.Text)))
				require.Equal(t, &sent, <-seen)
				_, _, err = c.ReadMessage()
				require.True(t, websocket.IsCloseError(err, sent.Code), "%v", err)
			}

			c = dial(t, nil, wsURL(front), nil) // and one that just leaves
			_ = c.NetConn().Close()
			require.Equal(t, websocket.CloseAbnormalClosure, (<-seen).Code)
			for _, c := range clients {
				_ = c.Close()
			}
			nothingLeft(t, h, 0)
		})
	}
}

// TestIdleAndLife: a tunnel ends when it has been idle, or has lived, for as
// long as it may; at the end of its life the client is told.
func TestIdleAndLife(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			h := handlerTo(t, echoServer(t, websocket.Upgrader{}).URL)
			set(h)
			h.IdleTimeout = 50 * time.Millisecond
			c := dial(t, nil, wsURL(serve(t, h)), nil)
			_, _, err := c.ReadMessage()
			require.True(t, websocket.IsCloseError(err, websocket.CloseAbnormalClosure), "%v", err)
			nothingLeft(t, h, 0)

			h = handlerTo(t, echoServer(t, websocket.Upgrader{}).URL)
			set(h)
			h.MaxLife = 50 * time.Millisecond
			c = dial(t, nil, wsURL(serve(t, h)), nil)
			_, _, err = c.ReadMessage()
			require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
			_ = c.Close()
			nothingLeft(t, h, 0)
		})
	}
}

// TestShutdownOfMany: each of 500 clients is told to go away, and nothing is
// left of their tunnels.
func TestShutdownOfMany(t *testing.T) {
	for _, mode := range []string{"bytes", "messages"} {
		t.Run(mode, func(t *testing.T) {
			before := descriptors(t)
			back := echoServer(t, websocket.Upgrader{})
			h := handlerTo(t, back.URL)
			modes[mode](h)
			front := serve(t, h)
			const many = 500
			codes := make(chan error, many)
			for range many {
				c := dial(t, nil, wsURL(front), nil)
				require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("x")))
				_, _, err := c.ReadMessage()
				require.NoError(t, err)
				go func() {
					_, _, err := c.ReadMessage() // answers the Close
					codes <- err
					_ = c.Close()
				}()
			}
			require.Equal(t, many, h.Proxy.Tunnels.Count())
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			require.NoError(t, h.Shutdown(ctx), "all have left by themselves")
			for range many {
				err := <-codes
				require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
			}
			_, resp, err := websocket.DefaultDialer.Dial(wsURL(front), nil)
			require.Error(t, err)
			require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
			front.Close()
			back.Close()
			nothingLeft(t, h, before)
		})
	}
}
