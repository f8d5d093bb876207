package wstunnel

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestHandshakes: what a client may ask for, and what a backend may answer.
func TestHandshakes(t *testing.T) {
	for name, tc := range map[string]struct {
		ask    string // fields that replace those of a right handshake, or come on top
		answer func(r *http.Request) string
		status int
		op     exchange.Op // of the failure
	}{
		"right":                 {"", nil, 101, ""},
		"subprotocol":           {"Sec-WebSocket-Protocol: a, b", with("Sec-WebSocket-Protocol: b"), 101, ""},
		"no subprotocol chosen": {"Sec-WebSocket-Protocol: a, b", nil, 101, ""},
		"extension":             {"Sec-WebSocket-Extensions: x; y=1, permessage-deflate", with("Sec-WebSocket-Extensions: permessage-deflate"), 101, ""},

		"no key":               {"-Sec-WebSocket-Key", nil, 400, exchange.OpRequest},
		"short key":            {"Sec-WebSocket-Key: dGhl", nil, 400, exchange.OpRequest},
		"key of other bits":    {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", nil, 400, exchange.OpRequest},
		"two keys":             {"-Sec-WebSocket-Key|Sec-WebSocket-Key: " + someKey + "|Sec-WebSocket-Key: " + someKey, nil, 400, exchange.OpRequest},
		"two versions":         {"-Sec-WebSocket-Version|Sec-WebSocket-Version: 13|Sec-WebSocket-Version: 8", nil, 400, exchange.OpRequest},
		"body":                 {"Content-Length: 1", nil, 400, exchange.OpRequest},
		"chunked body":         {"Transfer-Encoding: chunked", nil, 400, exchange.OpRequest},
		"subprotocol twice":    {"Sec-WebSocket-Protocol: a, a", nil, 400, exchange.OpRequest},
		"subprotocol no token": {"Sec-WebSocket-Protocol: a b", nil, 400, exchange.OpRequest},
		"extensions malformed": {"Sec-WebSocket-Extensions: a;", nil, 400, exchange.OpRequest},
		"page of another site": {"Origin: https://evil.test", nil, 403, exchange.OpRequest},
		"page of no site":      {"Origin: null", nil, 403, exchange.OpRequest},
		"page of ours":         {"Origin: http://front", nil, 101, ""},
		"page of a friend":     {"Origin: https://A.friend.test", nil, 101, ""},
		"page of a friend's":   {"Origin: https://friend.test", nil, 403, exchange.OpRequest},
		"page of a false one":  {"Origin: https://afriend.test", nil, 403, exchange.OpRequest},
		"page without TLS":     {"Origin: http://a.friend.test", nil, 403, exchange.OpRequest},
		"two origins":          {"Origin: http://front|Origin: http://front", nil, 403, exchange.OpRequest},
		"origin with a path":   {"Origin: https://a.friend.test/x", nil, 403, exchange.OpRequest},

		"false accept": {"", func(r *http.Request) string {
			return strings.Replace(switching(r), acceptOf(someKey), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1)
		}, 502, exchange.OpUpgrade},
		"no accept": {"", func(r *http.Request) string {
			return strings.Replace(switching(r), "Sec-WebSocket-Accept", "X-Accept", 1)
		}, 502, exchange.OpUpgrade},
		"two accepts":          {"", with("Sec-WebSocket-Accept: " + acceptOf(someKey)), 502, exchange.OpUpgrade},
		"subprotocol unasked":  {"", with("Sec-WebSocket-Protocol: a"), 502, exchange.OpUpgrade},
		"another subprotocol":  {"Sec-WebSocket-Protocol: a, b", with("Sec-WebSocket-Protocol: c"), 502, exchange.OpUpgrade},
		"two subprotocols":     {"Sec-WebSocket-Protocol: a, b", with("Sec-WebSocket-Protocol: a, b"), 502, exchange.OpUpgrade},
		"subprotocols in two":  {"Sec-WebSocket-Protocol: a, b", with("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"), 502, exchange.OpUpgrade},
		"extension unasked":    {"", with("Sec-WebSocket-Extensions: permessage-deflate"), 502, exchange.OpUpgrade},
		"another extension":    {"Sec-WebSocket-Extensions: x", with("Sec-WebSocket-Extensions: y"), 502, exchange.OpUpgrade},
		"extension twice":      {"Sec-WebSocket-Extensions: x", with("Sec-WebSocket-Extensions: x, x"), 502, exchange.OpUpgrade},
		"malformed extensions": {"Sec-WebSocket-Extensions: x", with("Sec-WebSocket-Extensions: x;;"), 502, exchange.OpUpgrade},
		"another protocol":     {"", func(r *http.Request) string { return strings.Replace(switching(r), "websocket", "other", 1) }, 502, exchange.OpUpgrade},
		"no protocol":          {"", func(r *http.Request) string { return strings.Replace(switching(r), "Upgrade: websocket\r\n", "", 1) }, 502, exchange.OpUpgrade},
		"no Connection":        {"", func(r *http.Request) string { return strings.Replace(switching(r), "Connection: Upgrade\r\n", "", 1) }, 502, exchange.OpUpgrade},
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{}, 1)
			back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
				answer := tc.answer
				if answer == nil {
					answer = with()
				}
				_, _ = io.WriteString(c, answer(r))
				_, _ = io.Copy(io.Discard, buf)
				_ = c.Close()
				closed <- struct{}{}
			})
			h := handlerTo(t, back)
			h.Origins = []string{"self", "https://*.friend.test"}
			errs := failures(h)
			c, r := rawDial(t, serve(t, h), asking(tc.ask)+"\r\n"+map[string]string{"body": "x", "chunked body": "0\r\n\r\n"}[name])
			resp := answerOf(t, r)
			require.Equal(t, tc.status, resp.StatusCode)
			if tc.status != http.StatusSwitchingProtocols {
				var e *exchange.Error
				require.ErrorAs(t, <-errs, &e)
				require.Equal(t, tc.op, e.Op)
				require.Empty(t, resp.Header.Get("Upgrade"))
			}
			if tc.status == http.StatusBadGateway {
				<-closed // at once, while the client's is open
			}
			_ = c.Close()
			nothingLeft(t, h, 0)
		})
	}
}

// with returns a right answer with more fields.
func with(more ...string) func(*http.Request) string {
	return func(r *http.Request) string { return switching(r, more...) }
}

// asking changes a right handshake: "-Name" takes a field out, "Name: value"
// replaces it or comes on top.
func asking(changes string) string {
	head := handshake0
	if changes == "" {
		return head
	}
	added := map[string]bool{}
	for change := range strings.SplitSeq(changes, "|") {
		name, _, replaces := strings.Cut(change, ": ")
		name = strings.TrimPrefix(name, "-")
		if i := strings.Index(head, "\r\n"+name+": "); i >= 0 && !added[name] {
			end := i + 2 + strings.Index(head[i+2:], "\r\n")
			head = head[:i] + head[end:]
		}
		if added[name] = true; replaces {
			head += change + "\r\n"
		}
	}
	return head
}

// TestOtherAnswersAreOrdinary: whatever is no 101 is passed on as it is, and
// both connections serve on.
func TestOtherAnswersAreOrdinary(t *testing.T) {
	accepted := 0
	back := scripted(t, func(c net.Conn, r *http.Request, _ *bufio.Reader) {
		accepted++
		switch {
		case r.Header.Get("Upgrade") == "":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
		case r.URL.Path == "/x":
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nContent-Length: 2\r\n\r\nno")
		case r.URL.Path == "/version":
			_, _ = io.WriteString(c, "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n")
		default:
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake")
		}
	})
	h := handlerTo(t, back)
	front := serve(t, h)
	c, r := rawDial(t, front, handshake0+"\r\n")
	for _, step := range []struct {
		path, next string
		status     int
		body       string
	}{
		{"/x", strings.Replace(handshake0, "/x", "/version", 1), 403, "no"},
		{"/version", strings.Replace(handshake0, "/x", "/fake", 1), 426, ""},
		{"/fake", "GET /plain HTTP/1.1\r\nHost: front\r\n", 200, "fake"},
		{"/plain", handshake0, 200, "plain"},
		{"/x", "", 403, "no"},
	} {
		resp := answerOf(t, r)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, step.status, resp.StatusCode, step.path)
		require.Equal(t, step.body, string(body))
		switch step.path {
		case "/x":
			require.Equal(t, "because", resp.Header.Get("X-Why"))
		case "/version":
			require.Equal(t, "13, 8", resp.Header.Get(fieldVersion))
			require.Equal(t, "websocket", resp.Header.Get("Upgrade"))
		}
		if step.next != "" {
			_, _ = io.WriteString(c, step.next+"\r\n")
		}
	}
	_ = c.Close()
	require.Equal(t, 5, accepted, "all over one connection")
	nothingLeft(t, h, 0)
}

// TestFakeUpgradeHidesNothing: after an upgrade that the backend did not make,
// what follows is a request like any other, with all that stands in front of
// the handler (CVE-2019-17567, CVE-2020-1927).
func TestFakeUpgradeHidesNothing(t *testing.T) {
	seen := make(chan string, 4)
	back := scripted(t, func(c net.Conn, r *http.Request, _ *bufio.Reader) {
		seen <- r.URL.Path
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	h := handlerTo(t, back)
	front := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	}))
	_, r := rawDial(t, front, handshake0+"\r\nGET /secret HTTP/1.1\r\nHost: front\r\n\r\n")
	resp := answerOf(t, r)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, http.StatusForbidden, answerOf(t, r).StatusCode)
	require.Equal(t, "/x", <-seen)
	require.Empty(t, seen)
}

// TestUnasked: a 101 for a request without an upgrade is refused.
func TestUnasked(t *testing.T) {
	closed := make(chan struct{}, 1)
	back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+acceptOf(someKey)+"\r\n\r\n")
		_, _ = io.Copy(io.Discard, buf)
		closed <- struct{}{}
	})
	h := handlerTo(t, back)
	front := serve(t, h)
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: front\r\n\r\n",
		asking("-Connection") + "\r\n",
		asking("-Upgrade") + "\r\n",
		asking("Upgrade: h2c") + "\r\n",
		asking("Upgrade: other") + "\r\n",
		strings.Replace(handshake0, "HTTP/1.1", "HTTP/1.0", 1) + "\r\n",
	} {
		_, r := rawDial(t, front, request)
		require.Equal(t, http.StatusBadGateway, answerOf(t, r).StatusCode, request)
		<-closed
	}
}

// TestFallback: plain requests pass, or are told to upgrade.
func TestFallback(t *testing.T) {
	back := echoServer(t, websocket.Upgrader{})
	h := handlerTo(t, back.URL)
	resp, err := http.Get(serve(t, h).URL + "/page")
	require.NoError(t, err)
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	require.Equal(t, "plain GET /page", string(body))

	h = handlerTo(t, back.URL)
	h.NoFallback = true
	front := serve(t, h)
	resp, err = http.Get(front.URL)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusUpgradeRequired, resp.StatusCode)
	require.Equal(t, "websocket", resp.Header.Get("Upgrade"))
	require.Equal(t, "Upgrade", resp.Header.Get("Connection"))
	_ = dial(t, nil, wsURL(front), nil).Close()
	nothingLeft(t, h, 0)
}

// TestSubprotocols: offers are narrowed to those allowed, and may choose the
// handler.
func TestSubprotocols(t *testing.T) {
	choosing := func(name string) *Handler {
		return handlerTo(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := (&websocket.Upgrader{Subprotocols: websocket.Subprotocols(r)}).Upgrade(w, r, http.Header{"X-Back": {name}, "X-Offered": r.Header[fieldProtocol]})
			if err == nil {
				_ = c.Close()
			}
		})).URL)
	}
	h := choosing("default")
	h.Subprotocols = []string{"b", "c"}
	h.Routes = map[string]http.Handler{"x": choosing("x"), "y": choosing("y")}
	front := serve(t, h)
	for _, tc := range []struct{ offers, back, offered string }{
		{"a, b, c", "default", "b, c"}, {"a", "default", ""}, {"b, y, x", "y", "y"}, {"x", "x", "x"}, {"", "default", ""},
	} {
		d := &websocket.Dialer{}
		if tc.offers != "" {
			d.Subprotocols = strings.Split(tc.offers, ", ")
		}
		c, resp, err := d.Dial(wsURL(front), nil)
		require.NoError(t, err)
		require.Equal(t, tc.back, resp.Header.Get("X-Back"))
		require.Equal(t, tc.offered, resp.Header.Get("X-Offered"))
		_ = c.Close()
	}
	for _, h := range []*Handler{h, h.Routes["x"].(*Handler), h.Routes["y"].(*Handler)} {
		nothingLeft(t, h, 0)
	}
}

// TestBackendIsDown: a handshake that nobody answers is 503.
func TestBackendIsDown(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	h := handlerTo(t, s.URL)
	_, resp, err := websocket.DefaultDialer.Dial(wsURL(serve(t, h)), nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

// TestTransport: the answers that a Transport returns are those asked for.
func TestTransport(t *testing.T) {
	answer := with()
	back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
		_, _ = io.WriteString(c, answer(r))
		_, _ = io.Copy(c, buf)
		_ = c.Close()
	})
	for name, base := range map[string]http.RoundTripper{"own": nil, "net/http": &http.Transport{}} {
		t.Run(name, func(t *testing.T) {
			tr := &Transport{Base: base}
			request := func() *http.Request {
				r, err := http.NewRequest("GET", "ws"+strings.TrimPrefix(back, "http")+"/", nil)
				require.NoError(t, err)
				r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, fieldVersion: {"13"}, fieldKey: {someKey}}
				return r
			}
			answer = with()
			r := request()
			resp, err := tr.RoundTrip(r)
			require.NoError(t, err)
			require.Same(t, r, resp.Request)
			rw := resp.Body.(io.ReadWriteCloser)
			_, _ = io.WriteString(rw, "hello")
			got := make([]byte, 5)
			_, err = io.ReadFull(rw, got)
			require.NoError(t, err)
			require.Equal(t, "hello", string(got))
			require.NoError(t, rw.Close())

			answer = with("Sec-WebSocket-Protocol: x")
			_, err = tr.RoundTrip(request())
			require.ErrorIs(t, err, exchange.ErrMalformed)
			require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err))

			r = request()
			delete(r.Header, fieldKey)
			_, err = tr.RoundTrip(r)
			require.Equal(t, http.StatusBadRequest, exchange.StatusOf(err))
			r = request()
			r.Header.Set("Upgrade", "other")
			_, err = tr.RoundTrip(r)
			require.Equal(t, http.StatusBadRequest, exchange.StatusOf(err))
			tr.CloseIdleConnections()
		})
	}
}

// TestHandlerWithoutProxy answers, and does not panic.
func TestHandlerWithoutProxy(t *testing.T) {
	w := httptest.NewRecorder()
	(&Handler{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	_, err := NewHandler("/", "ftp://x/")
	require.Error(t, err)
	var e *exchange.Error
	require.True(t, errors.As((&Handler{}).Shutdown(t.Context()), &e))
}

// TestConnectionsUsedOnce serve tunnels, too: through the Handler in each mode,
// through the Transport, over HTTP/2.
func TestConnectionsUsedOnce(t *testing.T) {
	back := echoServer(t, websocket.Upgrader{})
	once := func(h *Handler) *backend.Backend {
		b := backendOf(h, patience)
		b.DisableReuse = true
		return b
	}
	fronts := map[string]http.Handler{}
	for mode, set := range modes {
		h := handlerTo(t, back.URL)
		set(h)
		h.Proxy.Transport = &proxy.Transport{Backend: once(h)}
		fronts[mode] = h
	}
	h := handlerTo(t, back.URL)
	fronts["Transport"] = &proxy.Handler{Target: h.Proxy.Target, Transport: &Transport{Base: &proxy.Transport{Backend: once(h)}}}
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			c := dial(t, nil, wsURL(serve(t, front)), nil)
			require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("hello")))
			_, got, err := c.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, "hello", string(got))
		})
	}
}
