package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// pipes is a network of its own, in memory, without buffers: who does not read
// stops who writes.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accept <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// bothVersions are spoken in clear text.
func bothVersions() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// serve serves h until the test ends.
func (p *pipes) serve(t *testing.T, s *http.Server) {
	s.Protocols = bothVersions()
	go func() { _ = s.Serve(p) }()
	t.Cleanup(func() { _ = s.Close() })
}

// stallBench is a proxy with two connections to its backend, and clients, in a
// bubble.
type stallBench struct {
	t       *testing.T
	front   *pipes
	server  *http.Server
	handler *Handler
	backend *backend.Backend
	rec     recorder
	wrap    func(http.ResponseWriter) http.ResponseWriter // may be nil
}

func newStallBench(t *testing.T, scheme string, set ...func(*http.Server)) *stallBench {
	origin := newPipes()
	origin.serve(t, &http.Server{Handler: http.HandlerFunc(stallOrigin)})
	u := &url.URL{Scheme: scheme, Host: "origin.test"}
	s := &stallBench{t: t, front: newPipes(), backend: &backend.Backend{URL: u, DialContext: origin.dial, MaxConns: 2, AcquireTimeout: time.Millisecond}}
	tr := &Transport{Backend: s.backend}
	s.handler = &Handler{Target: u, Transport: tr, OnRecord: s.rec.add}
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.wrap != nil {
			w = s.wrap(w)
		}
		s.handler.ServeHTTP(w, r)
	})}
	for _, f := range set {
		f(s.server)
	}
	s.front.serve(t, s.server)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = s.backend.Close()
		synctest.Wait()
	})
	return s
}

// stallOrigin is the backend's application.
func stallOrigin(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	switch r.URL.Path {
	case "/long": // more than any window or buffer
		line := bytes.Repeat([]byte("x"), 32<<10)
		for range 1024 {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	case "/known":
		w.Header().Set("Content-Length", fmt.Sprint(1024*32<<10))
		r.URL.Path = "/long"
		stallOrigin(w, r)
	case "/poll":
		select {
		case <-time.After(30 * time.Minute):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "at last")
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			time.Sleep(5 * time.Minute)
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = rc.Flush()
		}
	case "/early": // a head, and then what the body says
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
			if err == io.EOF {
				return
			}
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	case "/talk": // says something now and then, whatever comes
		_ = rc.EnableFullDuplex()
		for range 20 {
			_, _ = io.WriteString(w, "word ")
			_ = rc.Flush()
			time.Sleep(30 * time.Second)
		}
	default:
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(w, "got %d", len(b))
	}
}

// keep forgets all records but the first n.
func (r *recorder) keep(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = r.records[:n]
}

// dial opens a connection of a client, which is closed at the end.
func (s *stallBench) dial() net.Conn {
	c, err := s.front.dial(context.Background(), "", "")
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// http1 sends a request over HTTP/1, and then nothing more.
func (s *stallBench) http1(request string) net.Conn {
	c := s.dial()
	_, err := io.WriteString(c, request)
	require.NoError(s.t, err)
	return c
}

// http2 returns a client of HTTP/2.
func (s *stallBench) http2() *http.Client {
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
		return s.front.dial(ctx, "", "")
	}}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// served reports what another client gets.
func (s *stallBench) served() string {
	c := s.http1("GET / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n")
	b, err := io.ReadAll(c)
	require.NoError(s.t, err)
	return string(b)
}

// stalled checks what has become of requests whose clients have stalled.
func (s *stallBench) stalled(status int) {
	s.t.Helper()
	all := s.rec.all()
	require.NotEmpty(s.t, all)
	for _, r := range all {
		require.ErrorIs(s.t, r.Err, exchange.ErrClientStalled)
		var e *exchange.Error
		require.ErrorAs(s.t, r.Err, &e)
		require.Equal(s.t, exchange.OpClient, e.Op)
		require.Equal(s.t, status, r.Status)
		require.Equal(s.t, status != http.StatusRequestTimeout, r.Aborted)
	}
	require.True(s.t, s.backend.Usable(time.Now()))
	require.Zero(s.t, s.backend.Stats().Errors)
}

// onlyWriter is a ResponseWriter of others that knows nothing of deadlines.
type onlyWriter struct{ to http.ResponseWriter }

func (w onlyWriter) Header() http.Header         { return w.to.Header() }
func (w onlyWriter) WriteHeader(code int)        { w.to.WriteHeader(code) }
func (w onlyWriter) Write(b []byte) (int, error) { return w.to.Write(b) }
