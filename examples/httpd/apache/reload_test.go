package apache

import (
	"fmt"
	"io"
	"net"
	"net/http"
	nfcgi "net/http/fcgi"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
)

// halves answers with a first half at once, and with the second when it is let
// go; an upload must come in two halves, too.
type halves struct {
	begun atomic.Int64
	letGo chan struct{}
}

func (h *halves) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		first := make([]byte, 5)
		if _, err := io.ReadFull(r.Body, first); err != nil {
			return
		}
		h.begun.Add(1)
		rest, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %s and %s", first, rest)
		return
	}
	if r.Header.Get("Upgrade") != "" {
		soakBackend(w, r)
		return
	}
	_, _ = io.WriteString(w, "first ")
	_ = http.NewResponseController(w).Flush()
	h.begun.Add(1)
	<-h.letGo
	_, _ = io.WriteString(w, "second")
}

// TestReloadKeepsWhatIsRunning: downloads, uploads and tunnels that have begun
// under one configuration end well under another, whatever they lead through,
// while the new one serves the new requests.
func TestReloadKeepsWhatIsRunning(t *testing.T) {
	back := &halves{letGo: make(chan struct{})}
	app, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = nfcgi.Serve(app, back)
	}()
	t.Cleanup(func() {
		_ = app.Close()
		<-served
	})
	config := func(n int) string {
		return fmt.Sprintf(`Listen 80
<Proxy balancer://b>
	BalancerMember http://backend.test
</Proxy>
ProxyPass /http/ http://backend.test/%[1]d/ upgrade=websocket
ProxyPass /lb/ balancer://b/%[1]d/ upgrade=websocket
ProxyPass /fcgi/ fcgi://app.test:9000/srv/%[1]d/
ProxyPass /ajp/ ajp://ajp.test/%[1]d/
ErrorDocument 404 "configuration %[1]d"
`, n)
	}
	letGo := sync.OnceFunc(func() { close(back.letGo) })
	p := start(t, config(0), back, "-resolve", "app.test:9000="+app.Addr().String(),
		"-resolve", "ajp.test:8009="+startAJP(t, &ajp.Server{Handler: back}))
	t.Cleanup(letGo) // or a failure would wait for ever
	addr := p.server.addresses()["80"]
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	paths := []string{"/http/x", "/lb/x", "/fcgi/x.php", "/ajp/x"}
	const each = 5
	var down, up atomic.Int64
	var work sync.WaitGroup
	var uploads []*io.PipeWriter
	for _, path := range paths {
		for range each {
			work.Go(func() {
				if text, err := text(client.Get("http://" + addr + path)); err == nil && text == "first second" {
					down.Add(1)
				} else {
					t.Errorf("download from %s: %q, %v", path, text, err)
				}
			})
			body, w := io.Pipe()
			uploads = append(uploads, w)
			work.Go(func() {
				r, _ := http.NewRequest("POST", "http://"+addr+path, body)
				r.ContentLength = 1 << 16
				if text, err := text(client.Do(r)); err == nil && text == "got first and "+soakBytes(1<<16-5) {
					up.Add(1)
				} else {
					t.Errorf("upload to %s: %.50q, %v", path, text, err)
				}
			})
		}
	}
	for _, w := range uploads {
		_, err := io.WriteString(w, "first"+soakBytes(100)) // enough to get through buffers
		require.NoError(t, err)
	}
	open := func(path string) *websocket.Conn {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+addr+path, nil)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	tunnels := []*websocket.Conn{open("/http/ws"), open("/lb/ws")}
	all := int64(len(paths) * each)
	require.Eventually(t, func() bool { return back.begun.Load() == 2*all }, 30*time.Second, time.Millisecond)

	for n := 1; n <= 3; n++ {
		p.write(config(n))
		p.signals <- syscall.SIGHUP
		require.Eventually(t, func() bool { return strings.Count(p.stderr.String(), "reloaded\n") == n }, 30*time.Second, time.Millisecond)
		_, page := p.get("80", "h.test/")
		require.Equal(t, fmt.Sprint("configuration ", n), page)
	}
	require.Zero(t, down.Load()+up.Load(), "none has ended before")
	letGo()
	for _, w := range uploads {
		_, err := io.WriteString(w, soakBytes(1<<16 - 5)[100:])
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	work.Wait()
	tunnels = append(tunnels, open("/http/ws"), open("/lb/ws")) // new ones are taken, too
	for _, c := range tunnels {
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("still here")))
		_, message, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "still here", string(message))
	}
	t.Logf("%d downloads, %d uploads, %d tunnels over 3 reloads", down.Load(), up.Load(), len(tunnels))
	require.Equal(t, [2]int64{all, all}, [2]int64{down.Load(), up.Load()})
}

// text reads an answer.
func text(resp *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}
