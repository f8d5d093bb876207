package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/examples/programs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room is a chat: each message goes to all who are in it.
type room struct {
	mu      sync.Mutex
	members map[*websocket.Conn]bool
}

func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(w, req, nil)
	if err != nil {
		return
	}
	defer c.Close()
	r.mu.Lock()
	r.members[c] = true
	r.mu.Unlock()
	for {
		kind, b, err := c.ReadMessage()
		r.mu.Lock()
		if err != nil {
			delete(r.members, c)
			r.mu.Unlock()
			return
		}
		for other := range r.members {
			_ = other.WriteMessage(kind, b)
		}
		r.mu.Unlock()
	}
}

func (r *room) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members)
}

func TestServe(t *testing.T) {
	chat := &room{members: make(map[*websocket.Conn]bool)}
	back := httptest.NewServer(chat)
	defer back.Close()
	addr := programs.FreeAddr(t)
	stop := programs.Run(t, func(ctx context.Context) error {
		return serve(ctx, addr, "ws"+strings.TrimPrefix(back.URL, "http")+"/chat")
	}, addr)
	dial := func(origin string) (*websocket.Conn, *http.Response, error) {
		return websocket.DefaultDialer.Dial("ws://"+addr+"/chat", http.Header{"Origin": {origin}})
	}
	var clients [3]*websocket.Conn
	for i := range clients {
		c, _, err := dial("http://" + addr)
		require.NoError(t, err)
		defer c.Close()
		clients[i] = c
		require.NoError(t, clients[i].SetReadDeadline(time.Now().Add(time.Minute)))
	}
	require.Eventually(t, func() bool { return chat.count() == 3 }, 20*time.Second, time.Millisecond)
	_, resp, err := dial("http://elsewhere.example")
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)

	say := func(kind int, text string) { require.NoError(t, clients[0].WriteMessage(kind, []byte(text))) }
	say(websocket.TextMessage, "/secret plan")
	say(websocket.TextMessage, "darn, it works")
	for _, c := range clients {
		_, b, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "****, it works", string(b))
	}
	say(websocket.BinaryMessage, "x")
	_, _, err = clients[0].ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseUnsupportedData), "%v", err)
	require.NoError(t, clients[1].WriteMessage(websocket.TextMessage, make([]byte, 64<<10+1)))
	_, _, err = clients[1].ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseMessageTooBig), "%v", err)

	go stop()
	_, _, err = clients[2].ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
	require.Error(t, serve(t.Context(), addr, "ftp://b/chat"))
}
