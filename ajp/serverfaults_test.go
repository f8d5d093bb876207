package ajp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

func TestServerRefusesWhatItCannotRead(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	addr := strings.TrimPrefix(url, "ajp://")
	good := func(edit func(r *http.Request)) []byte {
		r := httptest.NewRequest("GET", "ajp://h/", nil)
		r.Body = nil
		edit(r)
		b, err := appendForwardRequest(nil, r, bodyNone, &facts{host: "h", remoteAddr: "1.2.3.4:5"}, DefaultPacketSize)
		require.Nil(t, err)
		return b
	}
	plain := good(func(*http.Request) {})
	lied := func(at int, by byte) []byte {
		b := bytes.Clone(plain)
		b[at] += by
		return b
	}
	for name, says := range map[string][]byte{
		"magic":        append([]byte("GET / HTTP/1.1\r\n"), plain...),
		"too long":     {0x12, 0x34, 0xff, 0xff, 2},
		"no type":      {0x12, 0x34, 0, 0},
		"shutdown":     {0x12, 0x34, 0, 1, typeShutdown},
		"ping":         {0x12, 0x34, 0, 1, typePing},
		"length":       lied(3, 0xff),
		"method":       lied(5, 50),
		"protocol":     lied(7, 1),
		"string":       lied(7, 200),
		"end":          lied(len(plain)-1, 0x80),
		"field number": lied(0x22, 9),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Write(says)
			require.NoError(t, err)
			require.NoError(t, c.(*net.TCPConn).CloseWrite())
			_ = c.SetReadDeadline(time.Now().Add(patience))
			got, _ := io.ReadAll(c) // it may end by a reset
			require.Empty(t, got)
		})
	}
	for name, fields := range map[string][2]string{
		"both":     {"Content-Length", "5"},
		"coding":   {"Transfer-Encoding", "gzip"},
		"negative": {"Content-Length", "-5"},
	} {
		t.Run(name, func(t *testing.T) {
			b := appendHead(nil)
			b = append(b, typeForwardRequest, 4)
			for _, s := range []string{"HTTP/1.1", "/", "1.2.3.4", "", "h"} {
				b = appendString(b, s)
			}
			b = append(b, 0, 80, 0)
			n := 1
			at := len(b)
			b = appendInt(b, 1)
			b = appendString(appendString(b, fields[0]), fields[1])
			if name == "both" {
				n++
				b = appendString(appendString(b, "Transfer-Encoding"), "chunked")
			}
			putInt(b[at:], n)
			b = append(b, attrEnd)
			putHead(b, toContainer, len(b)-headSize)
			c, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Write(b)
			require.NoError(t, err)
			_ = c.SetReadDeadline(time.Now().Add(patience))
			r := bufio.NewReader(c)
			kind, length, err := peekPacket(r, DefaultPacketSize)
			require.NoError(t, err)
			require.EqualValues(t, typeSendHeaders, kind)
			text, err := payload(r, length)
			require.NoError(t, err)
			var h answerHead
			require.NoError(t, parseSendHeaders(text, &h))
			require.Equal(t, http.StatusBadRequest, h.status)
		})
	}
}

// TestServerTakesPacketsInAnyPieces sends a request and its body byte by byte.
func TestServerTakesPacketsInAnyPieces(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return slowWriter{c}, err
	}
	b := newBackend(t, url)
	b.DialContext = dial
	resp, err := (&Transport{Backend: b}).RoundTrip(httptest.NewRequest("POST", url+"/", strings.NewReader("hello, world")))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "hello, world", string(text))
	require.NoError(t, resp.Body.Close())
}

func TestServeWantsASecretOnOpenAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	require.ErrorIs(t, Serve(l, echo), ErrNoSecret)
	for _, s := range []*Server{{Secret: "s"}, {OpenToAll: true}} {
		l, err := net.Listen("tcp", "0.0.0.0:0")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.listeners) == 1
		}, patience, time.Millisecond)
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-goOn
		}
		fmt.Fprint(w, "done")
	})}
	url := startServer(t, s)
	b := newBackend(t, url)
	tr := &Transport{Backend: b}
	resp, err := tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil)) // leaves an idle connection
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	answered := make(chan string, 1)
	go func() {
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", url+"/slow", nil))
		if err != nil {
			answered <- err.Error()
			return
		}
		text, _ := io.ReadAll(resp.Body)
		answered <- string(text)
	}()
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.Canceled)
	close(goOn)
	require.NoError(t, s.Shutdown(context.Background()))
	require.Equal(t, "done", <-answered)
	require.Zero(t, b.Stats().Open)
}

func TestHandlersContextEndsWithTheClient(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	url := startServer(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(begun)
		<-r.Context().Done()
		close(ended)
	})})
	tr := &Transport{Backend: newBackend(t, url)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-begun
		cancel()
	}()
	_, err := tr.RoundTrip(httptest.NewRequest("POST", url+"/", strings.NewReader("x")).WithContext(ctx))
	require.ErrorIs(t, err, exchange.ErrClientGone)
	<-ended
}

// TestReadingAfterTheHandlerHoldsNobodyUp has a goroutine that still waits for
// the body when its handler has returned.
func TestReadingAfterTheHandlerHoldsNobodyUp(t *testing.T) {
	ended := make(chan error, 1)
	url := startServer(t, &Server{ReadTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reading := make(chan struct{})
		go func() {
			close(reading)
			_, err := r.Body.Read(make([]byte, 1))
			ended <- err
		}()
		<-reading
		w.WriteHeader(http.StatusForbidden)
	})})
	pr, pw := io.Pipe()
	defer pw.Close()
	resp, err := (&Transport{Backend: newBackend(t, url)}).RoundTrip(httptest.NewRequest("POST", url+"/", pr))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Error(t, <-ended)
}

// TestPongAfterTheTimeLimitOfAnAnswer has a connection that was idle for longer
// than an answer may take.
func TestPongAfterTheTimeLimitOfAnAnswer(t *testing.T) {
	s := &Server{Handler: echo}
	url := startServer(t, s)
	b := newBackend(t, url)
	again := func() {
		c, err := b.Get(t.Context())
		require.NoError(t, err)
		require.NoError(t, ping(c, patience))
		c.Release(true)
	}
	again()
	s.mu.Lock()
	for c := range s.conns {
		require.NoError(t, c.nc.SetWriteDeadline(time.Unix(1, 0))) // as left by an answer of long ago
	}
	s.mu.Unlock()
	again()
	require.EqualValues(t, 1, b.Stats().Created)
}

// TestCloseEndsContexts has a handler that does not read the body.
func TestCloseEndsContexts(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	s := &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		<-ctx.Done()
		ended <- ctx.Err()
	})}
	url := startServer(t, s)
	tr := &Transport{Backend: newBackend(t, url)}
	done := make(chan error, 1)
	go func() {
		_, err := tr.RoundTrip(httptest.NewRequest("POST", url+"/", strings.NewReader("x")))
		done <- err
	}()
	<-begun
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Error(t, <-done)
}

// TestAllowAttributeThatPanics refuses the request, and ends nothing else.
func TestAllowAttributeThatPanics(t *testing.T) {
	url := startServer(t, &Server{Handler: echo, AllowAttribute: func(string) bool { panic("oops") }})
	tr := newTransport(t, &Transport{Backend: newBackend(t, url), Attributes: func(*http.Request) []Attribute { return []Attribute{{"a", "b"}} }})
	for range 2 {
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
	}
}
