package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestHTTP2Record: requests over HTTP/2 are told as those over HTTP/1.
func TestHTTP2Record(t *testing.T) {
	for _, protocol := range []string{"h2c", "https that chooses http/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			u, b := protocols[protocol](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ab") }))
			rec := &recorder{}
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			front := frontOf(t, &Handler{Target: u, Transport: tr, OnRecord: rec.add})
			for range 2 {
				resp, err := client(t).Get(front.URL)
				require.NoError(t, err)
				require.Equal(t, "ab", body(t, resp))
			}
			require.Eventually(t, func() bool { return len(rec.all()) == 2 }, 10*time.Second, time.Millisecond)
			for i, r := range rec.all() {
				require.Equal(t, b.String(), r.Backend)
				require.Equal(t, 1, r.Attempts)
				require.Equal(t, i == 1, r.Reused)
				require.Positive(t, r.Connected)
				require.Greater(t, r.FirstByte, r.Connected)
			}
		})
	}
}

// TestHTTP2DefaultTLS: a backend of the scheme h2 needs no setting to be
// offered HTTP/2, and one that chooses something else is refused.
func TestHTTP2DefaultTLS(t *testing.T) {
	for served, status := range map[string]int{"h2": 200, "http/1.1": 502} {
		t.Run(served, func(t *testing.T) {
			u, b := tlsBackend(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }), "h2", []string{served}, nil)
			if status != 200 {
				b.TLS.NextProtos = []string{"h2", "http/1.1"}
			}
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			req, _ := http.NewRequest("GET", u.String(), nil)
			resp, err := tr.RoundTrip(req)
			if status != 200 {
				require.ErrorIs(t, err, exchange.ErrMalformed)
				require.Zero(t, b.Stats().Open)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "HTTP/2.0", body(t, resp))
		})
	}
}

// TestHTTP2ConnectionsAreShared: requests that come all at once wait for the
// connection that is being opened, also where ALPN is yet to decide, and more
// than one connection takes are served within MaxConns.
func TestHTTP2ConnectionsAreShared(t *testing.T) {
	for _, protocol := range []string{"h2c", "h2", "https that chooses h2"} {
		t.Run(protocol, func(t *testing.T) {
			u, b := protocols[protocol](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
			b.MaxConns, b.AcquireTimeout = 1, time.Minute
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			for range 300 { // streams of one connection: 250
				wg.Go(func() {
					req, _ := http.NewRequestWithContext(ctx, "GET", u.String(), nil)
					resp, err := tr.RoundTrip(req)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, b.Stats().Created)
		})
	}
}

// TestHTTP2LineAtTheLimit: with all streams of the only connection in use, a
// request waits for one of them.
func TestHTTP2LineAtTheLimit(t *testing.T) {
	hold := make(chan struct{})
	u, b := protocols["h2c"](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-hold }))
	b.MaxConns, b.Timeout = 1, time.Minute
	tr := &Transport{Backend: b}
	t.Cleanup(tr.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	start := func(n int) {
		for range n {
			wg.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", u.String(), nil)
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			})
		}
	}
	streams := func() (active, pending int) {
		p := tr.h2PoolOf(b)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, e := range p.conns {
			s := e.cc.State()
			active, pending = active+s.StreamsActive, pending+s.StreamsPending
		}
		return active, pending
	}
	start(250)
	require.Eventually(t, func() bool { n, _ := streams(); return n == 250 }, 20*time.Second, time.Millisecond)
	start(5)
	require.Eventually(t, func() bool { _, n := streams(); return n > 0 }, 20*time.Second, time.Millisecond)
	close(hold)
	wg.Wait()
	require.EqualValues(t, 1, b.Stats().Created)
}

// TestHTTP2UnderProxyProtocol: a connection that was announced for one client
// serves no other.
func TestHTTP2UnderProxyProtocol(t *testing.T) {
	var mu sync.Mutex
	var announced []string
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}), Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		_ = s.Serve(&announcedListener{l, func(line string) {
			mu.Lock()
			announced = append(announced, line)
			mu.Unlock()
		}})
	}()
	t.Cleanup(func() { _ = s.Close() })
	u := mustParse(t, "h2c://"+l.Addr().String())
	b := testBackend(t, u)
	b.ProxyProtocol, b.MaxConns, b.AcquireTimeout = backend.ProxyProtocolV1, 2, 10*time.Second
	tr := &Transport{Backend: b}
	t.Cleanup(tr.CloseIdleConnections)
	for _, from := range []string{"192.0.2.1:1", "192.0.2.2:2", "192.0.2.1:1", "192.0.2.3:3"} {
		ctx := backend.WithClient(context.Background(), backend.ClientFrom(from, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}))
		req, _ := http.NewRequestWithContext(ctx, "GET", u.String(), nil)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{
		"PROXY TCP4 192.0.2.1 10.0.0.1 1 80\r\n",
		"PROXY TCP4 192.0.2.2 10.0.0.1 2 80\r\n",
		"PROXY TCP4 192.0.2.3 10.0.0.1 3 80\r\n",
	}, announced)
}

// announcedListener takes the PROXY line off each connection.
type announcedListener struct {
	net.Listener
	told func(line string)
}

func (l *announcedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	l.told(line)
	return &readerConn{c, r}, err
}

type readerConn struct {
	net.Conn
	r io.Reader
}

func (c *readerConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// TestHTTP2OutOfUse: an administrator's word holds for open connections, too.
func TestHTTP2OutOfUse(t *testing.T) {
	u, b := protocols["h2c"](t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tr := &Transport{Backend: b}
	t.Cleanup(tr.CloseIdleConnections)
	get := func() error {
		req, _ := http.NewRequest("GET", u.String(), nil)
		resp, err := tr.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	require.NoError(t, get())
	b.SetFlags(backend.Disabled, 0)
	err := get()
	require.ErrorIs(t, err, backend.ErrUnusable)
	require.Equal(t, http.StatusServiceUnavailable, exchange.StatusOf(err))
	b.SetFlags(0, backend.Disabled)
	require.NoError(t, get())
}

// framesOrigin speaks HTTP/2 by frames; serve gets each request, with n counted
// over all connections from 1.
func framesOrigin(t *testing.T, serve func(f *http2.Framer, n int, stream uint32) bool) *origin {
	var mu sync.Mutex
	n := 0
	return newOrigin(t, func(c *originConn, _ int) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c.r, preface); err != nil {
			return
		}
		f := http2.NewFramer(c.Conn, c.r)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				mu.Lock()
				n++
				now := n
				mu.Unlock()
				if !serve(f, now, frame.StreamID) {
					return
				}
			}
		}
	})
}

// answerFrames answers 200 without a body.
func answerFrames(f *http2.Framer, stream uint32) {
	var b strings.Builder
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte(b.String()), EndHeaders: true, EndStream: true})
}

// TestHTTP2Resend: what the backend says it has not looked at is sent again
// whatever the method is; what it may have acted on, only if that does no harm
// and it was the connection that failed.
func TestHTTP2Resend(t *testing.T) {
	refuse := func(f *http2.Framer, stream uint32) bool {
		_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		return true
	}
	goAway := func(f *http2.Framer, stream uint32) bool {
		_ = f.WriteGoAway(stream-2, http2.ErrCodeNo, nil)
		return true
	}
	fail := func(f *http2.Framer, stream uint32) bool {
		_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
		return true
	}
	closes := func(*http2.Framer, uint32) bool { return false }
	for name, tc := range map[string]struct {
		method string
		then   func(f *http2.Framer, stream uint32) bool
		tries  int
		ok     bool
		may    bool // be sent again by somebody else
	}{
		"refused stream":     {"POST", refuse, 2, true, false},
		"going away":         {"POST", goAway, 2, true, false},
		"failed stream":      {"GET", fail, 1, false, true},
		"failed POST":        {"POST", fail, 1, false, false},
		"closed connection":  {"GET", closes, 2, true, false},
		"closed during POST": {"POST", closes, 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			tries := 0
			o := framesOrigin(t, func(f *http2.Framer, n int, stream uint32) bool {
				mu.Lock()
				tries = n - 1
				mu.Unlock()
				if n == 2 {
					return tc.then(f, stream)
				}
				answerFrames(f, stream)
				return true
			})
			u := o.url()
			u.Scheme = "h2c"
			tr := &Transport{Backend: testBackend(t, u)}
			t.Cleanup(tr.CloseIdleConnections)
			send := func(method string) error {
				req, _ := http.NewRequest(method, u.String(), strings.NewReader("body"))
				resp, err := tr.RoundTrip(req)
				if err == nil {
					_ = resp.Body.Close()
				}
				return err
			}
			require.NoError(t, send("GET"), "opens the connection")
			err := send(tc.method)
			if tc.ok {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
				require.Equal(t, tc.may, exchange.MayResend(err), "%v", err)
				var e *exchange.Error
				require.True(t, errors.As(err, &e) && exchange.StatusOf(e) == http.StatusBadGateway, "%v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, tc.tries, tries)
		})
	}
}

// TestHTTP2SlowUploadIsNoTimeout: as TestSlowUploadIsNoTimeout.
func TestHTTP2SlowUploadIsNoTimeout(t *testing.T) {
	u, b := protocols["h2c"](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s", got)
	}))
	b.Timeout = time.Second
	tr := &Transport{Backend: b}
	t.Cleanup(tr.CloseIdleConnections)
	pr, pw := io.Pipe()
	go func() {
		for _, s := range []string{"he", "ll", "o"} {
			_, _ = io.WriteString(pw, s)
			<-time.After(1250 * time.Millisecond)
		}
		_ = pw.Close()
	}()
	req, _ := http.NewRequest("POST", u.String(), pr)
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, "hello", body(t, resp))
}

// TestHTTP2Cancelled: requests that are cancelled before they are written leave
// nothing behind on the connection.
func TestHTTP2Cancelled(t *testing.T) {
	u, b := protocols["h2c"](t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tr := &Transport{Backend: b}
	for range 30 {
		ctx, cancel := context.WithCancel(context.Background())
		hooks := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { cancel() }}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, hooks), "GET", u.String(), nil)
		if resp, err := tr.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
		}
	}
	require.Eventually(t, func() bool {
		tr.CloseIdleConnections()
		return b.Stats().Open == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// TestHTTP2Lengths: lengths that contradict each other do not reach a client,
// to whom they frame the body.
func TestHTTP2Lengths(t *testing.T) {
	for values, want := range map[string]string{"5 5": "5", "5 0": "", "x": ""} {
		t.Run(values, func(t *testing.T) {
			u := framesOrigin(t, func(f *http2.Framer, _ int, stream uint32) bool {
				var b strings.Builder
				e := hpack.NewEncoder(&b)
				_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
				for _, v := range strings.Fields(values) {
					_ = e.WriteField(hpack.HeaderField{Name: "content-length", Value: v})
				}
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte(b.String()), EndHeaders: true})
				_ = f.WriteData(stream, true, []byte("hello"))
				return true
			}).url()
			u.Scheme = "h2c"
			tr := &Transport{Backend: testBackend(t, u)}
			t.Cleanup(tr.CloseIdleConnections)
			resp, err := client(t).Get(frontOf(t, &Handler{Target: u, Transport: tr}).URL)
			require.NoError(t, err)
			defer resp.Body.Close()
			if want == "" {
				require.Equal(t, http.StatusBadGateway, resp.StatusCode)
				return
			}
			require.Equal(t, []string{want}, resp.Header["Content-Length"])
			require.Equal(t, "hello", body(t, resp))
		})
	}
}

// TestHTTP2SlowReader: the time that passes while nobody reads the answer is not
// the backend's.
func TestHTTP2SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req, _ := http.NewRequest("GET", "http://b.test", nil)
		w := watchH2(&backend.Backend{URL: req.URL, Timeout: time.Second}, h2Use{conn: &h2Conn{cc: new(http2.ClientConn)}}, req)
		w.answered.Store(true)
		pr, pw := io.Pipe()
		b := w.responseBody(&http.Response{Body: pr})
		defer b.Close()
		go func() { _, _ = io.WriteString(pw, "ab") }()
		p := make([]byte, 1)
		for range 2 {
			_, err := b.Read(p)
			require.NoError(t, err)
			time.Sleep(time.Minute)
			require.NoError(t, w.ctx.Err())
		}
		context.AfterFunc(w.ctx, func() { _ = pw.CloseWithError(w.ctx.Err()) })
		begun := time.Now()
		_, err := b.Read(p)
		require.ErrorIs(t, err, errH2Timeout)
		require.Equal(t, time.Second, time.Since(begun))
	})
}
