package apache

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// echoSockets sends messages back at /ws, refuses at /ws/closed, and answers
// requests that are no handshake with what they asked for.
var echoSockets = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		echo(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/closed") {
		http.Error(w, "no room", http.StatusForbidden)
		return
	}
	c, err := (&websocket.Upgrader{Subprotocols: []string{"chat"}, EnableCompression: true}).Upgrade(w, r, http.Header{"X-Path": {r.URL.RequestURI()}})
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, b, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, b) != nil {
			return
		}
	}
})

// dial opens a WebSocket through the program.
func (p *program) dial(url string, fields http.Header) (*websocket.Conn, *http.Response, error) {
	d := &websocket.Dialer{
		Subprotocols: []string{"chat"}, EnableCompression: true, HandshakeTimeout: time.Minute,
		NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.server.addresses()["80"])
		},
	}
	return d.Dial("ws://"+url, fields)
}

// requireEcho sends a message and wants it back.
func requireEcho(t *testing.T, c *websocket.Conn, kind int, message string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, c.WriteMessage(kind, []byte(message)))
	got, b, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, kind, got)
	require.True(t, message == string(b), "another message came back")
}

// TestWebSocketConfiguration runs conf/websocket.conf as it stands.
func TestWebSocketConfiguration(t *testing.T) {
	config, err := os.ReadFile("../conf/websocket.conf")
	require.NoError(t, err)
	back := httptest.NewServer(echoSockets)
	defer back.Close()
	p := start(t, string(config), echo, "-resolve", "localhost:8080="+back.Listener.Addr().String())
	c, resp, err := p.dial("ws.example.com/ws/room?x=1", nil)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "/ws/room?x=1", resp.Header.Get("X-Path"))
	require.Equal(t, "chat", c.Subprotocol())
	require.Contains(t, resp.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate")
	requireEcho(t, c, websocket.TextMessage, "hello")
	requireEcho(t, c, websocket.BinaryMessage, strings.Repeat("long ", 1<<20))

	resp, text := p.get("80", "ws.example.com/ws/page")
	require.Equal(t, 200, resp.StatusCode, "plain requests are answered, too")
	require.Equal(t, "localhost:8080 /ws/page", text)
	_, text = p.get("80", "ws.example.com/page")
	require.Equal(t, "localhost:8080 /page", text)

	_, resp, err = p.dial("ws.example.com/ws/closed", nil)
	require.ErrorIs(t, err, websocket.ErrBadHandshake)
	require.Equal(t, 403, resp.StatusCode)
	_, resp, err = p.dial("ws.example.com/page", nil)
	require.ErrorIs(t, err, websocket.ErrBadHandshake, "http:// takes no upgrade unless upgrade= is given")
	require.Equal(t, 200, resp.StatusCode)

	go p.stop()
	_, _, err = c.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "the client is told when the server stops: %v", err)
}

// TestWebSocketRules: what may upgrade, where to, and what becomes of requests
// that do not.
func TestWebSocketRules(t *testing.T) {
	secure := httptest.NewTLSServer(echoSockets)
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o644))
	for name, tc := range map[string]struct {
		config          string
		upgraded, plain int
	}{
		"ws":               {`ProxyPass "/ws/" "ws://backend.test/ws/"`, 101, 200},
		"wss":              {"SSLProxyEngine On\nSSLProxyCACertificateFile " + ca + "\nProxyPass /ws/ wss://example.com/ws/", 101, 200},
		"http":             {"ProxyPass /ws/ http://backend.test/ws/", 200, 200},
		"upgrade":          {"ProxyPass /ws/ http://backend.test/ws/ upgrade=websocket", 101, 200},
		"upgrade ANY":      {"ProxyPass /ws/ http://backend.test/ws/ upgrade=ANY", 101, 200},
		"upgrade of other": {"ProxyPass /ws/ http://backend.test/ws/ upgrade=other", 200, 200},
		"list":             {"ProxyPass /ws/ http://backend.test/ws/ upgrade=other,websocket", 101, 200},
		"NONE":             {"ProxyPass /ws/ ws://backend.test/ws/ upgrade=NONE", 200, 200},
		"fallback":         {"ProxyWebsocketFallbackToProxyHttp On\nProxyPass /ws/ ws://backend.test/ws/", 101, 200},
		"no fallback":      {"ProxyWebsocketFallbackToProxyHttp Off\nProxyPass /ws/ ws://backend.test/ws/", 101, 426},
		"Off, http":        {"ProxyWebsocketFallbackToProxyHttp Off\nProxyPass /ws/ http://backend.test/ws/ upgrade=websocket", 101, 200},
		"Off in Location":  {"<Location /ws/>\nProxyWebsocketFallbackToProxyHttp Off\nProxyPass ws://backend.test/ws/\n</Location>", 101, 426},
		"balancer":         {"<Proxy balancer://b>\nBalancerMember ws://backend.test\n</Proxy>\nProxyPass /ws/ balancer://b/ws/", 101, 200},
		"balancer, Off":    {"ProxyWebsocketFallbackToProxyHttp Off\n<Proxy balancer://b>\nBalancerMember ws://backend.test\n</Proxy>\nProxyPass /ws/ balancer://b/ws/", 101, 426},
		"used once":        {"ProxyPass /ws/ ws://backend.test/ws/ disablereuse=On", 101, 200},
		"upgrade, once":    {"ProxyPass /ws/ http://backend.test/ws/ upgrade=websocket disablereuse=On", 101, 200},
		"member, once":     {"<Proxy balancer://b>\nBalancerMember http://backend.test disablereuse=On\n</Proxy>\nProxyPass /ws/ balancer://b/ws/ upgrade=websocket", 101, 200},
		"async":            {"ProxyWebsocketAsync On\nProxyWebsocketAsyncDelay 10ms\nProxyPass /ws/ ws://backend.test/ws/", 101, 200},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "Listen 80\nErrorLog /dev/null\n"+tc.config+"\n", echoSockets, "-resolve", "example.com:443="+secure.Listener.Addr().String())
			c, resp, err := p.dial("front.test/ws/x", nil)
			require.NotNil(t, resp, err)
			require.Equal(t, tc.upgraded, resp.StatusCode)
			if tc.upgraded == 101 {
				require.NoError(t, err)
				requireEcho(t, c, websocket.TextMessage, "hello")
				require.NoError(t, c.Close())
			}
			resp, _ = p.get("80", "front.test/ws/x")
			require.Equal(t, tc.plain, resp.StatusCode)
			if tc.plain == 426 {
				require.Equal(t, "websocket", resp.Header.Get("Upgrade"))
			}
		})
	}
}

// TestWebSocketIdleTimeout: it ends tunnels on which nothing moves, in place of
// ProxyTimeout unless it is 0.
func TestWebSocketIdleTimeout(t *testing.T) {
	for config, ends := range map[string]bool{
		"ProxyWebsocketIdleTimeout 50ms":                       true,
		"ProxyTimeout 50ms\nProxyWebsocketIdleTimeout 0":       true,
		"ProxyTimeout 50ms\nProxyWebsocketIdleTimeout 1000000": false,
	} {
		p := start(t, "Listen 80\n"+config+"\nProxyPass /ws/ ws://backend.test/ws/\n", echoSockets)
		c, _, err := p.dial("front.test/ws/x", nil)
		require.NoError(t, err)
		limit := time.Minute
		if !ends {
			limit = 500 * time.Millisecond
		}
		require.NoError(t, c.SetReadDeadline(time.Now().Add(limit)))
		_, _, err = c.ReadMessage()
		require.Error(t, err)
		var ne net.Error
		require.Equal(t, ends, !errors.As(err, &ne) || !ne.Timeout(), "%s: %v", config, err)
		require.NoError(t, c.Close())
	}
	file := filepath.Join(t.TempDir(), "x.conf")
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\nProxyWebsocketIdleTimeout soon\n"), 0o644))
	_, err := Load(file, Options{})
	require.ErrorContains(t, err, "ProxyWebsocketIdleTimeout")
}
