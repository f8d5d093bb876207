package wstunnel_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/wstunnel"
)

// member is a WebSocket server that tells its name.
func member(t *testing.T, name string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.WriteMessage(websocket.TextMessage, []byte(name))
		_, _, _ = c.ReadMessage()
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// plainWriter is a ResponseWriter of middleware that knows of nothing but
// Unwrap.
type plainWriter struct{ http.ResponseWriter }

func (w plainWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// TestBehindABalancer: handshakes are spread over members, sessions stay with
// theirs, a tunnel counts as a request of its member, and a member that is down
// is passed over; all under an access log, access rules and other middleware.
func TestBehindABalancer(t *testing.T) {
	for _, messages := range []bool{false, true} {
		down := httptest.NewServer(nil)
		down.Close()
		tr := &wstunnel.Transport{}
		defer tr.CloseIdleConnections()
		b, err := balancer.New(balancer.Config{Name: "ws", Sticky: balancer.Sticky{Cookie: "ROUTE", SetCookie: &balancer.RouteCookie{}}},
			balancer.MemberConfig{URL: member(t, "a"), Route: "a", RoundTripper: tr},
			balancer.MemberConfig{URL: member(t, "b"), Route: "b", RoundTripper: tr},
			balancer.MemberConfig{URL: "ws" + strings.TrimPrefix(down.URL, "http"), Route: "c", RoundTripper: tr},
		)
		require.NoError(t, err)
		defer b.Close()
		h, err := wstunnel.NewHandler("/", "ws://balancer.test/")
		require.NoError(t, err)
		h.Proxy.Transport = b
		if messages {
			h.Messages = &wstunnel.Messages{}
		}
		log, err := accesslog.New(io.Discard, "%h %r %>s")
		require.NoError(t, err)
		inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(plainWriter{w}, r) })
		front := httptest.NewServer(log.Wrap(access.RequireIP(netip.MustParsePrefix("127.0.0.0/8"))(inner)))
		defer front.Close()

		open := func(cookie string) (*websocket.Conn, string, *http.Response) {
			header := http.Header{}
			if cookie != "" {
				header.Set("Cookie", cookie)
			}
			c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(front.URL, "http"), header)
			require.NoError(t, err)
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			_, name, err := c.ReadMessage()
			require.NoError(t, err)
			return c, string(name), resp
		}
		names := map[string]int{}
		var conns []*websocket.Conn
		for range 6 {
			c, name, resp := open("")
			conns = append(conns, c)
			names[name]++
			require.Contains(t, resp.Header.Get("Set-Cookie"), "ROUTE=", "the 101 carries the session")
		}
		require.Equal(t, 6, names["a"]+names["b"])
		require.NotZero(t, names["a"])
		require.NotZero(t, names["b"])
		for _, want := range []string{"b", "a", "b", "b"} {
			c, name, _ := open("ROUTE=x." + want)
			conns = append(conns, c)
			require.Equal(t, want, name)
		}
		busy := func() (n int) {
			for _, m := range b.Members() {
				n += int(m.Busy())
			}
			return n
		}
		require.Equal(t, len(conns), busy())
		for _, c := range conns {
			_ = c.Close()
		}
		require.Eventually(t, func() bool { return busy() == 0 }, time.Minute, time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, h.Shutdown(ctx))
	}
}
