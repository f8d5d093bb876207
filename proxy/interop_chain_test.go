package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// chainOrigin is behind both proxies. Its events go on when one was seen.
func chainOrigin(seen <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/head", func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "Via"} {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
		}
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "done")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("/take", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 100_000))
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/socket", echoMessages)
	return mux
}

// echoMessages is the other end of a WebSocket.
func echoMessages(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
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
		_ = c.WriteMessage(kind, append([]byte("echo "), data...))
	}
}

// apacheProxy starts httpd as a reverse proxy to at.
func apacheProxy(t *testing.T, at string) string {
	httpd := startApache(t, fmt.Sprintf(`
ProxyPass / %s/ upgrade=websocket flushpackets=on
ProxyVia On
ProxyTimeout 20
`, at))
	return "http://" + httpd.Addr
}

// TestChainWithApache: what passes one proxy passes two, in either order.
func TestChainWithApache(t *testing.T) {
	programs.Find(t, "apache2", "apache2", "httpd")
	ours := func(t *testing.T, at string) (string, *recorder) {
		h, b, rec := handlerFor(t, mustParse(t, at))
		b.Timeout = 20 * time.Second
		h.Via, h.ServerName = ViaOn, "ours.test"
		h.TrustedProxies, _ = prefixes("127.0.0.0/8")
		return frontOf(t, h).URL, rec
	}
	for name, tc := range map[string]struct {
		start func(t *testing.T, origin string) (string, *recorder)
		via   string
	}{
		"httpd in front": {func(t *testing.T, origin string) (string, *recorder) {
			at, rec := ours(t, origin)
			return apacheProxy(t, at), rec
		}, "1.1 apache.test, 1.1 ours.test"},
		"httpd behind": {func(t *testing.T, origin string) (string, *recorder) {
			return ours(t, apacheProxy(t, origin))
		}, "1.1 ours.test, 1.1 apache.test"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan struct{})
			at, rec := tc.start(t, frontOf(t, chainOrigin(seen)).URL)
			checkChain(t, at, tc.via, seen)
			require.Eventually(t, func() bool {
				return slices.ContainsFunc(rec.all(), func(r exchange.Record) bool { return r.Upgraded })
			}, 10*time.Second, time.Millisecond)
		})
	}
}

func checkChain(t *testing.T, at, via string, seen chan<- struct{}) {
	cl := client(t)
	resp, got := do(t, cl, "GET", at+"/head", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, nil)
	port := regexp.MustCompile(`apache\.test:\d+`) // httpd names its port as well
	text := port.ReplaceAllString(string(got), "apache.test")
	require.Contains(t, text, "X-Forwarded-For: 192.0.2.1, 127.0.0.1, 127.0.0.1\n")
	require.Contains(t, text, "X-Forwarded-Host: "+strings.TrimPrefix(at, "http://"))
	require.Contains(t, text, "Via: "+via+"\n")
	first, second, _ := strings.Cut(via, ", ")
	require.Equal(t, second+", "+first, port.ReplaceAllString(strings.Join(resp.Header["Via"], ", "), "apache.test"), "the answer comes the other way")

	var hints atomic.Value
	req, err := http.NewRequest("GET", at+"/hints", nil)
	require.NoError(t, err)
	resp, err = cl.Do(req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			hints.Store(fmt.Sprint(code, " ", header.Get("Link")))
			return nil
		},
	})))
	require.NoError(t, err)
	require.Equal(t, "done", body(t, resp))
	require.Empty(t, resp.Header.Get("Link"))
	require.Equal(t, "103 </a.css>; rel=preload", hints.Load())

	resp, err = cl.Get(at + "/events")
	require.NoError(t, err)
	for range 3 {
		event := make([]byte, len("data: 1\n\n"))
		_, err = io.ReadFull(resp.Body, event)
		require.NoError(t, err)
		require.Equal(t, "data: 1\n\n", string(event))
		seen <- struct{}{}
	}
	require.Empty(t, body(t, resp))

	for _, reader := range []io.Reader{strings.NewReader(fileContent), struct{ io.Reader }{strings.NewReader(fileContent)}} {
		_, got = do(t, cl, "POST", at+"/take", nil, reader)
		require.Equal(t, fmt.Sprint(len(fileContent)), string(got))
	}

	resp, err = cl.Get(at + "/cut")
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	require.Error(t, err, "the cut arrives")

	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(at, "http")+"/socket", nil)
	require.NoError(t, err)
	defer c.Close()
	for _, message := range []string{"a", fileContent} {
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(message)))
		_, got, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "echo "+message, string(got))
	}
	require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")))
	_, _, err = c.ReadMessage()
	require.Truef(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), "%v", err)
}

// TestChainLoopEnds: two proxies that point at each other.
func TestChainLoopEnds(t *testing.T) {
	programs.Find(t, "apache2", "apache2", "httpd")
	h := &Handler{ServerName: "ours.test", Via: ViaOn}
	rec := &recorder{}
	h.OnRecord = rec.add
	front := frontOf(t, h)
	at := apacheProxy(t, front.URL)
	h.Target = mustParse(t, at)
	t.Cleanup(h.own.CloseIdleConnections)
	resp, _ := do(t, client(t), "GET", at, nil, nil)
	require.Equal(t, http.StatusLoopDetected, resp.StatusCode)
	require.Len(t, rec.all(), 2)
}
