package apache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/examples/internal/ftpd"
)

// soakKeys is how many responses the cache is asked for.
const soakKeys = 18

// soakLoads are the kinds of load of [TestSoak].
var soakLoads = []soakLoad{
	{"http", 6, func(*soak) (string, []string) {
		return "ProxyPass /http/ http://backend.test/ ttl=2\n", nil
	}, func(w *soakWorker) error { return w.exchange("/http/x") }},

	{"h2c", 2, startSoakH2C, func(w *soakWorker) error { return w.exchange("/h2c/x") }},

	{"fcgi", 4, startSoakFCGI, func(w *soakWorker) error { return w.exchange("/fcgi/a.php") }},

	{"ajp", 4, func(s *soak) (string, []string) {
		addr := startAJP(s.t, &ajp.Server{Handler: soakBackend})
		return "ProxyPass /ajp/ ajp://ajp.test/ ttl=2 ping=10\n", []string{"-resolve", "ajp.test:8009=" + addr}
	}, func(w *soakWorker) error { return w.exchange("/ajp/x") }},

	{"balancer, kills", 4, startSoakBalancer, func(w *soakWorker) error { return w.get("/lb/x", w.IntN(4<<10)) }},

	{"balancer, uploads", 2, nothingToStart, func(w *soakWorker) error {
		// What a member had taken when it was killed is sent to no other.
		if err := w.post("/lb/x", w.IntN(100<<10)); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		return nil
	}},

	{"WebSocket", 3, func(*soak) (string, []string) {
		return "ProxyPass /ws/ http://backend.test/ upgrade=websocket ttl=2\n", nil
	}, func(w *soakWorker) error { return w.echo("/ws/x", 1+w.IntN(50)) }},

	{"ws://", 2, func(*soak) (string, []string) {
		return "ProxyPass /wstunnel/ ws://backend.test/ ttl=2\n", nil
	}, func(w *soakWorker) error { return w.echo("/wstunnel/x", 1+w.IntN(50)) }},

	{"CONNECT", 3, func(s *soak) (string, []string) {
		back := httptest.NewServer(soakBackend)
		s.t.Cleanup(back.Close)
		return "Listen 81\n<VirtualHost *:81>\nProxyRequests On\n<Proxy *>\nRequire ip 127.0.0.1\n</Proxy>\n</VirtualHost>\n",
			[]string{"-resolve", "echo.test:443=" + back.Listener.Addr().String()}
	}, func(w *soakWorker) error { return w.connect("echo.test:443", 1+w.IntN(50)) }},

	{"cache", 3, func(s *soak) (string, []string) {
		return "CacheRoot " + s.t.TempDir() + "\nCacheEnable disk /cached/\nProxyPass /cached/ http://backend.test/cached/ ttl=2\n", nil
	}, func(w *soakWorker) error { return w.get(fmt.Sprint("/cached/", w.IntN(soakKeys)), 64<<10) }},

	{"ftp", 2, func(s *soak) (string, []string) {
		addr := ftpd.Serve(s.t, ftpd.Plant(s.t, map[string]string{"file": soakBytes(100 << 10)}), false)
		return "ProxyPass /ftp/ ftp://ftp.test/ ttl=2\n", []string{"-resolve", "ftp.test:21=" + addr}
	}, func(w *soakWorker) error { return w.get("/ftp/file", 100<<10) }},

	{"clients that leave", 4, nothingToStart, func(w *soakWorker) error {
		path := []string{"/http/x", "/h2c/x", "/fcgi/a.php", "/ajp/x", "/lb/x"}[w.IntN(5)]
		return w.leave(path)
	}},
}

func nothingToStart(*soak) (string, []string) { return "", nil }

func startSoakH2C(s *soak) (string, []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	server, done := &http.Server{Handler: soakBackend, Protocols: new(http.Protocols)}, make(chan struct{})
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	s.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return "ProxyPass /h2c/ h2c://h2c.test/ ttl=2\n", []string{"-resolve", "h2c.test:80=" + l.Addr().String()}
}

func startSoakFCGI(s *soak) (string, []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = fcgi.Serve(l, soakBackend)
	}()
	s.t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "ProxyPassMatch ^/fcgi/(.*\\.php)$ fcgi://fcgi.test:9000/srv/$1 enablereuse=on ttl=2\n", []string{"-resolve", "fcgi.test:9000=" + l.Addr().String()}
}

func startSoakBalancer(s *soak) (string, []string) {
	config := "<Proxy balancer://soak>\n"
	var args []string
	for n := range 3 {
		m := newSoakMember(s.t, fmt.Sprintf("m%d.test", n))
		s.members = append(s.members, m)
		config += "BalancerMember http://" + m.name + " retry=1 ttl=2\n"
		args = append(args, "-resolve", m.name+":80="+m.addr)
	}
	return config + "</Proxy>\nProxyPass /lb/ balancer://soak/\n", args
}

// exchange is a download or an upload of some size, known or not.
func (w *soakWorker) exchange(path string) error {
	size := w.IntN(2 << 10)
	if w.IntN(8) == 0 {
		size = w.IntN(512 << 10)
	}
	if w.IntN(3) == 0 {
		return w.post(path, size)
	}
	return w.get(path, size)
}

func (w *soakWorker) get(path string, size int) error {
	r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s%s?n=%d", w.s.addr, path, size), nil)
	if err != nil {
		return err
	}
	return w.do(r, size)
}

func (w *soakWorker) post(path string, size int) error {
	body := io.Reader(strings.NewReader(soakBytes(size)))
	if w.IntN(2) == 0 {
		body = io.MultiReader(body) // whose length is not known
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+w.s.addr+path, body)
	if err != nil {
		return err
	}
	return w.do(r, size)
}

// do sends a request, and wants size bytes of the pattern.
func (w *soakWorker) do(r *http.Request, size int) error {
	resp, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %s: %w", r.Method, r.URL.Path, resp.Status, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s: %.100s", r.Method, r.URL.Path, resp.Status, body)
	case string(body) != soakBytes(size):
		return fmt.Errorf("%s %s: %d bytes are not the %d that were meant", r.Method, r.URL.Path, len(body), size)
	}
	return nil
}

// leave breaks a download off in the middle, or an upload.
func (w *soakWorker) leave(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.IntN(20000))*time.Microsecond)
	defer cancel()
	method, to, body := http.MethodGet, fmt.Sprintf("http://%s%s?n=%d&slow", w.s.addr, path, 1<<20), io.Reader(nil)
	if w.IntN(2) == 0 {
		pr, pw := io.Pipe()
		go func() {
			_, _ = io.WriteString(pw, soakBytes(20<<10))
			<-ctx.Done()
			_ = pw.CloseWithError(ctx.Err())
		}()
		method, to, body = http.MethodPost, "http://"+w.s.addr+path, pr
	}
	r, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil && resp.StatusCode == http.StatusOK {
		return errors.New("a request that was broken off has ended well")
	}
	return nil
}

// connect opens a tunnel, and speaks to the echo at its end.
func (w *soakWorker) connect(to string, messages int) error {
	c, err := net.Dial("tcp", w.s.p.server.addresses()["81"])
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(c, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", to); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return w.speak(c, "/x", messages)
}

// echo connects, and speaks to the echo behind a path.
func (w *soakWorker) echo(path string, messages int) error {
	c, err := net.Dial("tcp", w.s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return w.speak(c, path, messages)
}

// speak makes a WebSocket of a connection, sends some messages, and closes it.
func (w *soakWorker) speak(c net.Conn, path string, messages int) error {
	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	ws, _, err := dialer.Dial("ws://soak.test"+path, nil)
	if err != nil {
		return err
	}
	for range messages {
		message := soakBytes(1 + w.IntN(32<<10))
		if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			return err
		}
		_, got, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		if string(got) != message {
			return errors.New("the echo is not what was sent")
		}
	}
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := ws.WriteMessage(websocket.CloseMessage, bye); err != nil {
		return err
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		return fmt.Errorf("no close in return: %w", err)
	}
	return nil
}
