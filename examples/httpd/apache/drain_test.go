package apache

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestDrain: who has a connection when a site is drained gets an answer, which is the
// last one, or a tunnel.
func TestDrain(t *testing.T) {
	up := websocket.Upgrader{}
	p := start(t, "ProxyPass / http://backend.test/ upgrade=websocket\n", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, "here")
			return
		}
		c, err := up.Upgrade(w, r, nil)
		if err == nil {
			defer c.Close()
			kind, text, _ := c.ReadMessage()
			_ = c.WriteMessage(kind, text)
		}
	}))
	connect := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", p.server.addresses()["80"])
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		return c, bufio.NewReader(c)
	}
	get := func(c net.Conn, in *bufio.Reader) (closes bool) {
		_, err := io.WriteString(c, "GET /x HTTP/1.1\r\nHost: h.test\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "here", string(body))
		return resp.Close
	}
	one, oneIn := connect()
	two, twoIn := connect()
	require.False(t, get(one, oneIn))
	require.False(t, get(two, twoIn))
	drained := make(chan error, 1)
	go func() { drained <- p.server.Drain(context.Background()) }()
	require.Eventually(t, p.server.drained.Load, 10*time.Second, time.Millisecond)
	require.True(t, get(one, oneIn))
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return two, nil }}
	ws, resp, err := d.Dial("ws://h.test/ws", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"Upgrade"}, resp.Header.Values("Connection"))
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte("still")))
	_, text, err := ws.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "still", string(text))
	require.NoError(t, ws.Close())
	require.NoError(t, one.Close())
	require.NoError(t, <-drained)
}
