package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/internal/browser"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/wstunnel"
)

// TestTomcatAndChromium has Tomcat's WebSocket examples for the application, and a browser
// for one of those who chat.
func TestTomcatAndChromium(t *testing.T) {
	cat := programs.Tomcat(t, programs.TomcatOptions{HTTP: true})
	for name, messages := range map[string]*wstunnel.Messages{"bytes": nil, "messages": {CompressClient: true, CompressBackend: true}} {
		t.Run(name, func(t *testing.T) {
			h, err := wstunnel.NewHandler("/", "ws://"+cat.Addr+"/")
			require.NoError(t, err)
			h.Messages, h.Origins, h.Proxy.PreserveHost = messages, []string{"self"}, true
			front := httptest.NewServer(h)
			defer front.Close()
			defer h.Proxy.CloseIdleConnections()
			addr := strings.TrimPrefix(front.URL, "http://")
			dial := func(path string, compressed bool) *websocket.Conn {
				d := websocket.Dialer{EnableCompression: compressed}
				c, _, err := d.Dial("ws://"+addr+path, http.Header{"Origin": {front.URL}})
				require.NoError(t, err)
				t.Cleanup(func() { _ = c.Close() })
				_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
				return c
			}
			const base = "/examples/websocket/"
			for _, endpoint := range []string{"echoAnnotation", "echoStreamAnnotation", "echoProgrammatic"} {
				for _, compressed := range []bool{false, true} {
					c := dial(base+endpoint, compressed)
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
			c := dial(base+"chat", false)
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
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, h.Shutdown(ctx))
			b.Eventually(`window.code === 1001`)
		})
	}
}
