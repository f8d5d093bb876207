package proxy

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/accesslog"
)

// TestAccessLogAroundTheHandler: splicing, tunnels and clients that left.
func TestAccessLogAroundTheHandler(t *testing.T) {
	release := make(chan struct{})
	long := strings.Repeat("x", 1<<20)
	o := newOrigin(t, func(c *originConn, _ int) {
		for {
			r, _, ok := c.request()
			if !ok {
				return
			}
			switch r.URL.Path {
			case "/long":
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + long)
			case "/switch":
				c.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			case "/stall":
				<-release
			}
		}
	})
	t.Cleanup(func() { close(release) })
	h, _, _ := handlerFor(t, o.url())
	var out programs.Output
	l, err := accesslog.New(&out, "%U %>s %B %X")
	require.NoError(t, err)
	front := frontOf(t, l.Wrap(h))
	resp, err := client(t).Get(front.URL + "/long")
	require.NoError(t, err)
	require.Equal(t, long, body(t, resp))
	exchangeUpTo(t, front.Listener.Addr().String(), "GET /switch HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "101 Switching")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", front.URL+"/stall", nil)
	_, err = client(t).Do(req)
	require.Error(t, err)
	require.Eventually(t, func() bool { return strings.Count(out.String(), "\n") == 3 }, 20*time.Second, time.Millisecond)
	require.Equal(t, "/long 200 1048576 +\n/switch 101 0 -\n/stall 499 0 X\n", out.String())
}
