package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// TestConnectionField: what a request has in Connection, and what is the
// transport's to say, stand beside each other.
func TestConnectionField(t *testing.T) {
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	for name, tc := range map[string]struct {
		h    http.Header
		opt  http1.HeadOptions
		want string // empty: none
	}{
		"nothing to say":       {nil, http1.HeadOptions{}, ""},
		"keep":                 {nil, http1.HeadOptions{Keep: true}, "keep-alive"},
		"close":                {nil, http1.HeadOptions{Close: true, Keep: true}, "close"},
		"trailers":             {http.Header{"Te": {"trailers"}}, http1.HeadOptions{}, "TE"},
		"trailers, keep":       {http.Header{"Te": {"trailers"}}, http1.HeadOptions{Keep: true}, "TE, keep-alive"},
		"trailers, close":      {http.Header{"Te": {"trailers"}}, http1.HeadOptions{Close: true}, "TE, close"},
		"upgrade":              {upgrade, http1.HeadOptions{Keep: true}, "Upgrade"},
		"upgrade, close":       {upgrade, http1.HeadOptions{Close: true}, "Upgrade"},
		"upgrade, trailers":    {http.Header{"Connection": {"upgrade"}, "Upgrade": {"x"}, "Te": {"trailers"}}, http1.HeadOptions{Close: true}, "upgrade, TE"},
		"upgrade to nothing":   {http.Header{"Connection": {"Upgrade"}}, http1.HeadOptions{Close: true}, "Upgrade, close"},
		"upgrade that is none": {http.Header{"Upgrade": {"x"}}, http1.HeadOptions{Close: true}, "close"},
		"named, close":         {http.Header{"Connection": {"X-Hop"}, "X-Hop": {"1"}}, http1.HeadOptions{Close: true}, "X-Hop, close"},
		"named, keep":          {http.Header{"Connection": {"X-Hop"}, "X-Hop": {"1"}}, http1.HeadOptions{Keep: true}, "X-Hop"},
		"several":              {http.Header{"Connection": {"X-A", "", "X-B"}, "Te": {"trailers"}}, http1.HeadOptions{Close: true}, "X-A, X-B, TE, close"},
		"all said":             {http.Header{"Connection": {"Close, te"}, "Te": {"trailers"}}, http1.HeadOptions{Close: true}, "Close, te"},
		"empty":                {http.Header{"Connection": {}}, http1.HeadOptions{}, ""},
		"empty value, close":   {http.Header{"Connection": {""}}, http1.HeadOptions{Close: true}, "close"},
	} {
		r := &http.Request{URL: mustParse(t, "http://b.test/"), Header: tc.h}
		b := http1.AppendRequestHead(nil, r, http1.FramingNone, tc.opt)
		read, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(b))))
		require.NoError(t, err, name)
		want := []string{tc.want}
		if tc.want == "" {
			want = nil
		}
		require.Equal(t, want, read.Header["Connection"], name)
	}
	require.Error(t, exchange.CheckRequest(&http.Request{URL: mustParse(t, "http://b.test/"), Header: http.Header{"Connection": {"a\r\nb: c"}}}))
}

// TestUpgradeOverConnectionsUsedOnce: a client may switch protocols whether or
// not connections are used again, and whoever they are bound to.
func TestUpgradeOverConnectionsUsedOnce(t *testing.T) {
	target := newOrigin(t, func(c *originConn, _ int) {
		if start, err := c.r.Peek(6); err != nil {
			return
		} else if string(start) == "PROXY " {
			_, _ = c.r.ReadString('\n')
		} else if start[0] == '\r' {
			head := make([]byte, 16)
			_, _ = io.ReadFull(c.r, head)
			_, _ = c.r.Discard(int(head[14])<<8 | int(head[15]))
		}
		head, ok := c.head()
		if !ok || !strings.Contains(head, "\r\nUpgrade: websocket\r\n") || !strings.Contains(head, "\r\nConnection: Upgrade") || strings.Contains(head, "close") {
			c.say("HTTP/1.1 400 No Upgrade\r\nContent-Length: 0\r\n\r\n")
			return
		}
		c.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, c.r)
	}).url()
	for name, set := range map[string]func(h *Handler, b *backend.Backend){
		"reused":    func(*Handler, *backend.Backend) {},
		"used once": func(_ *Handler, b *backend.Backend) { b.DisableReuse = true },
		"none kept": func(_ *Handler, b *backend.Backend) { b.MaxIdle = -1 },
		"Close by Rewrite": func(h *Handler, _ *backend.Backend) {
			h.Rewrite = func(pr *httputil.ProxyRequest) { pr.Out.Close = true }
		},
		"PROXY protocol v1": func(_ *Handler, b *backend.Backend) { b.ProxyProtocol = backend.ProxyProtocolV1 },
		"PROXY protocol v2": func(_ *Handler, b *backend.Backend) { b.ProxyProtocol, b.DisableReuse = backend.ProxyProtocolV2, true },
	} {
		for _, te := range []string{"", "TE: trailers\r\n"} {
			t.Run(fmt.Sprint(name, te != ""), func(t *testing.T) {
				h, b, _ := handlerFor(t, target)
				set(h, b)
				c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
				_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+te+"\r\n")
				require.NoError(t, err)
				r := bufio.NewReader(c)
				resp, err := http.ReadResponse(r, nil)
				require.NoError(t, err)
				require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
				_, err = io.WriteString(c, "echo")
				require.NoError(t, err)
				echo := make([]byte, 4)
				_, err = io.ReadFull(r, echo)
				require.NoError(t, err)
				require.Equal(t, "echo", string(echo))
			})
		}
	}
}
