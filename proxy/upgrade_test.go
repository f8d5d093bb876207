package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

func TestWebSocket(t *testing.T) {
	up := websocket.Upgrader{Subprotocols: []string{"chat"}}
	back := frontOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, http.Header{"X-Back": {"1"}, "Keep-Alive": {"5"}})
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			_ = c.WriteMessage(kind, append([]byte("echo "), data...))
		}
	}))
	u := *mustParse(t, back.URL)
	h, b, rec := handlerFor(t, &u)
	h.Tunnels = &tunnel.Registry{}
	front := frontOf(t, h)
	d := websocket.Dialer{Subprotocols: []string{"chat"}}
	c, resp, err := d.Dial("ws"+strings.TrimPrefix(front.URL, "http")+"/x", nil)
	require.NoError(t, err)
	require.Equal(t, "1", resp.Header.Get("X-Back"))
	require.Empty(t, resp.Header.Get("Keep-Alive"), "the hop-by-hop filter runs over a 101, too")
	require.Equal(t, "chat", c.Subprotocol())
	for _, size := range []int{1, 100, 100_000} {
		text := strings.Repeat("x", size)
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(text)))
		_, got, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "echo "+text, string(got))
	}
	require.Equal(t, 1, h.Tunnels.Count())
	require.True(t, rec.last(t).Upgraded)
	require.EqualValues(t, 1, b.Stats().Busy)
	_ = c.Close()
	require.Eventually(t, func() bool { return h.Tunnels.Count() == 0 && b.Stats().Open == 0 }, 20*time.Second, time.Millisecond)
	require.Greater(t, b.Stats().Sent, int64(100_000))
}

// TestWebSocketEveryWay: over TLS and in clear text on both sides, and to a
// unix-domain socket. The client's end ends the backend's, and the other way
// round.
func TestWebSocketEveryWay(t *testing.T) {
	backends := map[string]func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend){
		"http": protocols["http"], "https": protocols["https"], "unix": onUnixSocket,
		"wss": func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
			return tlsBackend(t, h, "wss", nil, nil)
		},
	}
	for behind, startBackend := range backends {
		for _, front := range []string{"http/1.1", "https"} {
			t.Run(front+" to "+behind, func(t *testing.T) {
				u, b := startBackend(t, http.HandlerFunc(echoMessages))
				b.Timeout = 20 * time.Second
				h := &Handler{Target: u, Transport: &Transport{Backend: b}, Tunnels: &tunnel.Registry{}}
				at, cl := clientFronts[front](t, h)
				d := websocket.Dialer{TLSClientConfig: cl.Transport.(*http.Transport).TLSClientConfig}
				for _, closing := range []int{websocket.CloseNormalClosure, 0} {
					c, _, err := d.Dial("ws"+strings.TrimPrefix(at, "http"), nil)
					require.NoError(t, err)
					_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
					for _, message := range []string{"", "a", fileContent} {
						require.NoError(t, c.WriteMessage(websocket.BinaryMessage, []byte(message)))
						_, got, err := c.ReadMessage()
						require.NoError(t, err)
						require.Equal(t, "echo "+message, string(got))
					}
					if closing != 0 {
						require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(closing, "")))
						_, _, err = c.ReadMessage()
						require.Truef(t, websocket.IsCloseError(err, closing), "%v", err)
					}
					_ = c.Close()
					require.Eventually(t, func() bool { return h.Tunnels.Count() == 0 && b.Stats().Open == 0 }, 20*time.Second, time.Millisecond)
				}
			})
		}
	}
}

// switching answers 101 to the protocol, then echoes.
func switching(t *testing.T, protocol string) *origin {
	return newOrigin(t, func(c *originConn, _ int) {
		if _, ok := c.head(); !ok {
			return
		}
		c.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\nhello ")
		_, _ = io.Copy(c.Conn, c.r)
	})
}

// TestSwitchSaysTheClientsPlace: a 101 is an answer like others to the rules that
// map what it says of places.
func TestSwitchSaysTheClientsPlace(t *testing.T) {
	o := switching(t, "websocket\r\nLocation: http://in.test/x\r\nSet-Cookie: a=b; Path=/in; Domain=in.test")
	h, _, _ := handlerFor(t, o.url())
	h.Reverse = []ReverseRule{{Path: "/out/", URL: "http://in.test/"}}
	h.CookieDomains, h.CookiePaths = []CookieRule{{"in.test", "out.test"}}, []CookieRule{{"/in", "/out"}}
	c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.Equal(t, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Location": {"http://f/out/x"}, "Set-Cookie": {"a=b; Path=/out; Domain=out.test"},
	}, resp.Header)
}

func TestBytesBeforeTheSwitchAreKept(t *testing.T) {
	o := switching(t, "websocket")
	h, _, _ := handlerFor(t, o.url())
	c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	got := make([]byte, len("hello early"))
	_, err = io.ReadFull(r, got)
	require.NoError(t, err)
	require.Equal(t, "hello early", string(got))
}

func TestUpgradeRules(t *testing.T) {
	for name, tc := range map[string]struct {
		allow     []string
		asked     string
		connected bool // Connection: Upgrade is sent
		answered  string
		status    int
	}{
		"default":           {nil, "websocket", true, "WebSocket", 101},
		"default refuses":   {nil, "foo", true, "foo", 502},
		"listed":            {[]string{"foo"}, "FOO", true, "foo", 101},
		"with a version":    {[]string{"foo/2"}, "foo/2", true, "foo/2", 101},
		"any":               {[]string{"*"}, "bar", true, "bar", 101},
		"none":              {[]string{}, "websocket", true, "websocket", 502},
		"h2c is never":      {[]string{"*", "h2c"}, "h2c", true, "h2c", 502},
		"another protocol":  {nil, "websocket", true, "foo", 502},
		"no Connection":     {nil, "websocket", false, "websocket", 502},
		"more than a token": {[]string{"*"}, "a b", true, "a b", 502},
	} {
		t.Run(name, func(t *testing.T) {
			o := switching(t, tc.answered)
			h, b, rec := handlerFor(t, o.url())
			h.Upgrades = tc.allow
			c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			connection := ""
			if tc.connected {
				connection = "Connection: keep-alive, Upgrade\r\n"
			}
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\n"+connection+"Upgrade: "+tc.asked+"\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err)
			require.Equal(t, tc.status, resp.StatusCode)
			if tc.status != 101 {
				var e *exchange.Error
				require.ErrorAs(t, rec.last(t).Err, &e)
				require.Equal(t, exchange.OpUpgrade, e.Op)
				require.Eventually(t, func() bool { return b.Stats().Open == 0 }, 20*time.Second, time.Millisecond, "the backend's connection is closed at once")
			}
		})
	}
}

// TestUpgradeToHTTP2IsDropped: the request is served as HTTP/1.1, even where
// all upgrades are allowed, and the backend does not hear of it.
func TestUpgradeToHTTP2IsDropped(t *testing.T) {
	for _, protocol := range []string{"h2c", "H2C"} {
		o := echoOrigin(t)
		h, b, rec := handlerFor(t, o.url())
		h.Upgrades = []string{"*", "h2c"}
		got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "GET /x HTTP/1.1\r\nHost: f\r\nConnection: close, Upgrade, HTTP2-Settings\r\n"+
			"Upgrade: "+protocol+"\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
		require.True(t, strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n"), got)
		_, text, _ := strings.Cut(got, "\r\n\r\n")
		r := seen(t, text)
		for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} {
			require.Empty(t, r.Header[name], name)
		}
		require.False(t, rec.last(t).Upgraded)
		require.EqualValues(t, 1, b.Stats().Idle)
	}
}

func TestRefusedUpgradeIsAnOrdinaryAnswer(t *testing.T) {
	o := answering(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	h, b, _ := handlerFor(t, o.url())
	got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: f\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n")
	require.True(t, strings.HasPrefix(got, "HTTP/1.1 403 Forbidden\r\n"), got)
	require.True(t, strings.HasSuffix(got, "\r\n\r\nno"), got)
	require.EqualValues(t, 1, b.Stats().Idle)
}

// TestUpgradeAdvertised: what a 426 asks for, and what any other answer offers, is
// passed on as far as the client may switch to it here.
func TestUpgradeAdvertised(t *testing.T) {
	for name, tc := range map[string]struct {
		allow   []string
		fields  string
		version string
		passes  string
	}{
		"one":          {nil, "Upgrade: websocket", "1.1", "websocket"},
		"not allowed":  {nil, "Upgrade: foo/2", "1.1", ""},
		"h2c":          {[]string{"*"}, "Upgrade: h2c", "1.1", ""},
		"list":         {nil, "Upgrade: foo/2, websocket, h2c", "1.1", "websocket"},
		"list of all":  {[]string{"*"}, "Upgrade: foo/2,websocket ,h2c", "1.1", "foo/2, websocket"},
		"two fields":   {[]string{"*"}, "Upgrade: foo/2\r\nUpgrade: bar, baz", "1.1", "foo/2, bar, baz"},
		"malformed":    {[]string{"*"}, "Upgrade: a b, ,foo", "1.1", "foo"},
		"old client":   {nil, "Upgrade: websocket", "1.0", ""},
		"HTTP/2":       {nil, "Upgrade: websocket", "2", ""},
		"nothing said": {nil, "X-A: 1", "1.1", ""},
	} {
		for _, status := range []string{"426 Upgrade Required", "200 OK", "404 Not Found", "426 overridden"} {
			t.Run(name+"/"+status, func(t *testing.T) {
				o := answering(t, "HTTP/1.1 "+status+"\r\nConnection: Upgrade, X-N\r\nX-N: 1\r\n"+tc.fields+"\r\nContent-Length: 2\r\n\r\nno")
				h, _, _ := handlerFor(t, o.url())
				h.Upgrades = tc.allow
				h.ModifyResponse = func(r *http.Response) error { return nil }
				if strings.HasSuffix(status, "overridden") {
					h.ErrorOverride = &ErrorOverride{}
				}
				var got http.Header
				if tc.version == "2" {
					at, cl := h2Front(t, h)
					resp, err := cl.Get(at)
					require.NoError(t, err)
					_ = body(t, resp)
					got = resp.Header
				} else {
					text := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "GET / HTTP/"+tc.version+"\r\nHost: f\r\nConnection: close\r\n\r\n")
					head, _, _ := strings.Cut(text, "\r\n\r\n")
					_, lines, _ := strings.Cut(head, "\r\n")
					got, _ = exchange.ParseFields(lines+"\r\n", nil)
				}
				if tc.passes == "" {
					require.Empty(t, got["Upgrade"])
					require.NotContains(t, strings.Join(got["Connection"], ","), "Upgrade")
				} else {
					require.Equal(t, []string{tc.passes}, got["Upgrade"])
					require.Contains(t, got["Connection"], "Upgrade")
				}
				require.Empty(t, got.Get("X-N"))
			})
		}
	}
}

// upper is a connection as ModifyResponse may put it in: what passes is changed.
type upper struct {
	io.ReadWriteCloser
	closes *atomic.Int32
}

func (u upper) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	copy(p, bytes.ToUpper(p[:n]))
	return n, err
}

func (u upper) Close() error {
	u.closes.Add(1)
	return u.ReadWriteCloser.Close()
}

// TestModifyResponseOfASwitch: it sees the protocol, what it puts in is what the
// tunnel goes through, as in httputil, and the header tells afterwards what was said.
func TestModifyResponseOfASwitch(t *testing.T) {
	for name, tc := range map[string]struct {
		modify func(*http.Response, *atomic.Int32)
		status int
		echo   string
		closes int32
	}{
		"left alone":       {func(*http.Response, *atomic.Int32) {}, 101, "hello early", 0},
		"wrapped":          {func(r *http.Response, n *atomic.Int32) { r.Body = upper{r.Body.(io.ReadWriteCloser), n} }, 101, "HELLO EARLY", 1},
		"not writable":     {func(r *http.Response, n *atomic.Int32) { r.Body = http.NoBody }, 502, "", 0},
		"nothing":          {func(r *http.Response, n *atomic.Int32) { r.Body = nil }, 502, "", 0},
		"another protocol": {func(r *http.Response, n *atomic.Int32) { r.Header.Set("Upgrade", "foo") }, 502, "", 0},
		"refused after": {func(r *http.Response, n *atomic.Int32) {
			r.Body, r.StatusCode = upper{r.Body.(io.ReadWriteCloser), n}, 200
		}, 502, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := switching(t, "websocket")
			h, b, _ := handlerFor(t, o.url())
			var closes atomic.Int32
			h.ModifyResponse = func(r *http.Response) error {
				require.Equal(t, "websocket", r.Header.Get("Upgrade"))
				r.Header.Set("X-Modified", "yes")
				tc.modify(r, &closes)
				return nil
			}
			after := make(chan http.Header, 1)
			front := frontOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Outer", "yes")
				h.ServeHTTP(w, r)
				after <- w.Header().Clone()
			}))
			c, err := net.Dial("tcp", front.Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: foo, websocket\r\n\r\nearly")
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			require.Equal(t, tc.status, resp.StatusCode)
			said := <-after
			if tc.status == 101 {
				got := make([]byte, len(tc.echo))
				_, err = io.ReadFull(r, got)
				require.NoError(t, err)
				require.Equal(t, tc.echo, string(got))
				for _, h := range []http.Header{resp.Header, said} {
					require.Equal(t, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "X-Modified": {"yes"}, "X-Outer": {"yes"}}, h)
				}
			}
			_ = c.Close()
			require.Eventually(t, func() bool { return b.Stats().Open == 0 && closes.Load() == tc.closes }, 20*time.Second, time.Millisecond)
		})
	}
}
