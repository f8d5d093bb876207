package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/internal/browser"
	"github.com/modproxy/modproxy/examples/internal/tomcat"
)

const patience = time.Minute

// run serves an application until the test ends, or stop is called, which
// returns when the program has.
func run(t *testing.T, to string, messages bool) (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr = l.Addr().String()
	require.NoError(t, l.Close())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, addr, to, messages) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, patience, 5*time.Millisecond)
	return addr, stop
}

// dial opens a WebSocket as a page of the site would.
func dial(t *testing.T, addr, path string, d websocket.Dialer) *websocket.Conn {
	c, _, err := d.Dial("ws://"+addr+path, http.Header{"Origin": {"http://" + addr}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func TestServe(t *testing.T) {
	for _, messages := range []bool{false, true} {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer c.Close()
			for {
				kind, data, err := c.ReadMessage()
				if err != nil || c.WriteMessage(kind, data) != nil {
					return
				}
			}
		}))
		defer app.Close()
		addr, stop := run(t, app.URL+"/", messages)
		c := dial(t, addr, "/", websocket.Dialer{EnableCompression: true})
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("hello")))
		_, got, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		_, resp, err := websocket.DefaultDialer.Dial("ws://"+addr+"/", http.Header{"Origin": {"http://evil.test"}})
		require.Error(t, err)
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
		closed := make(chan error, 1)
		go func() {
			_, _, err := c.ReadMessage()
			_ = c.Close()
			closed <- err
		}()
		stop()
		require.True(t, websocket.IsCloseError(<-closed, websocket.CloseGoingAway))
	}
	require.Error(t, serve(context.Background(), "", "ftp://x/", false))
}

// TestTomcat has Tomcat's WebSocket examples for the application, and a browser
// for one of those who chat.
func TestTomcat(t *testing.T) {
	cat := tomcat.Start(t, tomcat.Options{HTTP: true})
	for name, messages := range map[string]bool{"bytes": false, "messages": true} {
		t.Run(name, func(t *testing.T) {
			addr, stop := run(t, "http://"+cat.HTTPAddr+"/", messages)
			const base = "/examples/websocket/"
			for _, endpoint := range []string{"echoAnnotation", "echoStreamAnnotation", "echoProgrammatic"} {
				for _, compressed := range []bool{false, true} {
					c := dial(t, addr, base+endpoint, websocket.Dialer{EnableCompression: compressed})
					for _, m := range []struct {
						kind int
						text string
					}{{websocket.TextMessage, "grüße"}, {websocket.BinaryMessage, "\x00\xff"}} {
						require.NoError(t, c.WriteMessage(m.kind, []byte(m.text)))
						got := ""
						for got != m.text { // Tomcat may send it in pieces
							kind, data, err := c.ReadMessage()
							require.NoError(t, err)
							require.Equal(t, m.kind, kind)
							got += string(data)
						}
					}
					require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")))
					_, _, err := c.ReadMessage()
					require.True(t, websocket.IsCloseError(err, 1000), "%v", err)
				}
			}

			b := browser.Start(t)
			b.Open("http://" + addr + base + "chat.xhtml")
			b.Eventually(`document.querySelector("#console").textContent.includes("connection opened")`)
			c := dial(t, addr, base+"chat", websocket.Dialer{})
			await := func(part string) {
				t.Helper()
				for {
					_, data, err := c.ReadMessage()
					require.NoError(t, err)
					if string(data) == part || len(data) > len(part) && string(data[len(data)-len(part):]) == part {
						return
					}
				}
			}
			await("has joined.")
			require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("is a browser there?")))
			b.Eventually(`document.querySelector("#console").textContent.includes("is a browser there?")`)
			b.Eval(`document.querySelector("#chat").value = "here I am"; Chat.sendMessage()`, nil)
			await("here I am")
			b.Eval(`Chat.socket.addEventListener("close", e => { window.code = e.code })`, nil)
			_ = c.Close()
			stop()
			b.Eventually(`window.code === 1001`)
		})
	}
}
