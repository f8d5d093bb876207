package wstunnel_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/modproxy/modproxy/wstunnel"
)

// newEcho is a backend that sends each message back, and tells its path.
func newEcho() *httptest.Server {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			_ = c.WriteMessage(kind, []byte(r.URL.Path+": "+string(data)))
		}
	}))
}

func wsURL(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }

// say sends a message and returns the answer, or why there is none.
func say(url, text string, h http.Header) string {
	c, resp, err := websocket.DefaultDialer.Dial(url, h)
	if err != nil {
		return resp.Status
	}
	defer c.Close()
	_ = c.WriteMessage(websocket.TextMessage, []byte(text))
	_, answer, err := c.ReadMessage()
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

// ProxyPass "/chat/" "ws://…/rooms/", for pages of two sites alone, and a
// graceful end.
func ExampleNewHandler() {
	backend := newEcho()
	defer backend.Close()

	h, err := wstunnel.NewHandler("/chat/", wsURL(backend)+"/rooms/")
	if err != nil {
		fmt.Println(err)
		return
	}
	h.Origins = []string{"self", "https://app.example"}
	h.IdleTimeout = 10 * time.Minute
	front := httptest.NewServer(h)
	defer front.Close()

	fmt.Println(say(wsURL(front)+"/chat/lobby", "hello", http.Header{"Origin": {"https://app.example"}}))
	fmt.Println(say(wsURL(front)+"/chat/lobby", "hello", http.Header{"Origin": {"https://evil.example"}}))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(h.Shutdown(ctx))
	// Output:
	// /rooms/lobby: hello
	// 403 Forbidden
	// <nil>
}

// Paths lead to backends by a mux, as those of other handlers do.
func ExampleHandler_paths() {
	backend := newEcho()
	defer backend.Close()

	mux := http.NewServeMux()
	for path, to := range map[string]string{"/chat/": "/a/", "/ticker/": "/b/"} {
		h, err := wstunnel.NewHandler(path, wsURL(backend)+to)
		if err != nil {
			fmt.Println(err)
			return
		}
		mux.Handle(path, h)
	}
	front := httptest.NewServer(mux)
	defer front.Close()

	fmt.Println(say(wsURL(front)+"/chat/x", "hello", nil))
	fmt.Println(say(wsURL(front)+"/ticker/x", "hello", nil))
	// Output:
	// /a/x: hello
	// /b/x: hello
}

// Messages are limited, looked at, changed and refused.
func ExampleMessages() {
	backend := newEcho()
	defer backend.Close()

	h, err := wstunnel.NewHandler("/", wsURL(backend)+"/")
	if err != nil {
		fmt.Println(err)
		return
	}
	h.Messages = &wstunnel.Messages{
		MaxSize:      64 << 10,
		PingInterval: 30 * time.Second,
		OnMessage: func(m *wstunnel.Message) error {
			if bytes.Contains(m.Data, []byte("password")) {
				return &wstunnel.CloseError{Code: 1008, Reason: "not here"}
			}
			m.Data = bytes.ReplaceAll(m.Data, []byte("damn"), []byte("d***"))
			return nil
		},
	}
	front := httptest.NewServer(h)
	defer front.Close()

	fmt.Println(say(wsURL(front)+"/x", "damn it", nil))
	fmt.Println(say(wsURL(front)+"/x", "my password is", nil))
	// Output:
	// /x: d*** it
	// websocket: close 1008 (policy violation): not here
}
