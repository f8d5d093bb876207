package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// slowBackend takes 1 s to connect to, 2 s to answer and 3 s for the body.
func slowBackend() *backend.Backend {
	return &backend.Backend{URL: mustURL("http://slow.test"), MaxConns: 1, DialContext: func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(time.Second)
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			r := bufio.NewReader(far)
			for {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				time.Sleep(2 * time.Second)
				_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
				time.Sleep(3 * time.Second)
				_, _ = io.WriteString(far, "hello")
			}
		}()
		return near, nil
	}}
}

// TestRecordTimes: one request opens a connection, another stands in line for
// it.
func TestRecordTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slowBackend()
		defer b.Close()
		rec := &recorder{}
		h := &Handler{Target: b.URL, Transport: &Transport{Backend: b}, OnRecord: rec.add}
		done := make(chan struct{})
		for range 2 {
			go func() {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "http://front.test/", strings.NewReader("seven b")))
				done <- struct{}{}
			}()
			synctest.Wait()
		}
		<-done
		<-done
		all := rec.all()
		for i := range all {
			require.NoError(t, all[i].Err)
			all[i].Start = time.Time{}
		}
		common := exchange.Record{Client: "192.0.2.1:1234", Backend: "http://slow.test", Attempts: 1, Status: 200, BackendStatus: 200, RequestBytes: 7, ResponseBytes: 5}
		first, second := common, common
		first.Connect, first.Connected, first.FirstByte, first.Duration = time.Second, time.Second, 3*time.Second, 6*time.Second
		second.Acquire, second.Connected, second.FirstByte, second.Duration = 6*time.Second, 6*time.Second, 8*time.Second, 11*time.Second
		second.Reused = true
		for i, want := range []exchange.Record{first, second} {
			require.Equal(t, want, all[i])
		}
	})
}

// TestRecordOfARepeatedRequest: a connection that turned out to be closed is an
// attempt of its own.
func TestRecordOfARepeatedRequest(t *testing.T) {
	o := newOrigin(t, func(c *originConn, n int) {
		for i := 0; ; i++ {
			if _, _, ok := c.request(); !ok {
				return
			}
			if n == 1 && i == 1 {
				return // it reads the second request and closes
			}
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	h, b, rec := handlerFor(t, o.url())
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://front.test/", nil))
		require.Equal(t, 200, w.Code)
	}
	all := rec.all()
	require.Empty(t, all[0].Failed)
	require.Equal(t, 2, all[1].Attempts)
	require.False(t, all[1].Reused)
	require.Equal(t, b.String(), all[1].Backend)
	require.Positive(t, all[1].Connect)
	require.Len(t, all[1].Failed, 1)
	failed := all[1].Failed[0]
	require.ErrorIs(t, failed.Err, exchange.ErrStaleConn)
	require.Equal(t, b.String(), failed.Backend)
	require.Zero(t, failed.Status)
	require.LessOrEqual(t, failed.Start+failed.Duration, all[1].Connected)
	require.Contains(t, all[1].LogValue().String(), "failed=")
}

// TestRecordOfAClientThatLeaves, before and after the head of the answer.
func TestRecordOfAClientThatLeaves(t *testing.T) {
	for name, say := range map[string]string{"before the head": "", "within the body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{})
			o := newOrigin(t, func(c *originConn, _ int) {
				if _, _, ok := c.request(); ok {
					c.say(say)
					close(reached)
					c.untilClosed()
				}
			})
			h, _, rec := handlerFor(t, o.url())
			outside := &recorder{}
			front := frontOf(t, (&Observer{Done: outside.add}).Wrap(h))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, err := http.NewRequestWithContext(ctx, "POST", front.URL, strings.NewReader("body"))
			require.NoError(t, err)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if resp, err := client(t).Do(r); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}()
			<-reached
			leave()
			<-gone
			for _, got := range []exchange.Record{rec.last(t), outside.last(t)} {
				require.Equal(t, exchange.StatusClientClosedRequest, got.Status)
				require.ErrorIs(t, got.Err, exchange.ErrClientGone)
				require.True(t, got.Aborted)
				require.Equal(t, 1, got.Attempts)
				require.EqualValues(t, 4, got.RequestBytes)
				require.Equal(t, say != "", got.BackendStatus == 200)
				require.Equal(t, say != "", got.FirstByte > 0)
			}
		})
	}
}

// TestRecordOfATunnel ends with the switch of protocols.
func TestRecordOfATunnel(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		_, _ = c.head()
		c.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
		c.untilClosed()
	})
	h, _, rec := handlerFor(t, o.url())
	h.Tunnels = &tunnel.Registry{}
	outside := &recorder{}
	front := frontOf(t, (&Observer{Done: outside.add}).Wrap(h))
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	for _, got := range []exchange.Record{rec.last(t), outside.last(t)} {
		require.True(t, got.Upgraded)
		require.False(t, got.Aborted)
		require.Equal(t, 101, got.Status)
		require.NoError(t, got.Err)
	}
	require.Eventually(t, func() bool { s := h.Tunnels.Stats(); return s.Sent == 5 && s.Received == 2 }, 10*time.Second, time.Millisecond)
	s := h.Tunnels.Stats()
	require.Equal(t, backend.Counts{Elected: 1, Busy: 1, Sent: 5, Received: 2}, s.Counts)
	require.Len(t, s.Running, 1)
	require.Equal(t, "websocket", s.Running[0].Protocol)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, h.Tunnels.Shutdown(ctx), context.Canceled)
	s = h.Tunnels.Stats()
	require.Equal(t, backend.Counts{Elected: 1, Errors: 1, Sent: 5, Received: 2}, s.Counts, "what is over counts on")
	require.Empty(t, s.Running)
}

// TestTraceContextPasses: traceparent, tracestate (whose order counts) and
// baggage belong to the tracing of others.
func TestTraceContextPasses(t *testing.T) {
	fields := map[string][]string{
		"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"Tracestate":  {"rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE, x@y=\"z;1\""},
		"Baggage":     {"userId=alice;prop=1", "serverNode=DF%2028, isProduction=false"},
	}
	for _, protocol := range []string{"http", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			got := make(chan http.Header, 1)
			u, b := protocols[protocol](t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			front := frontOf(t, (&Observer{Done: func(*http.Request, *exchange.Record) {}}).Wrap(&Handler{Target: u, Transport: tr}))
			r, err := http.NewRequest("GET", front.URL, nil)
			require.NoError(t, err)
			for name, values := range fields {
				r.Header[name] = values
			}
			resp, err := client(t).Do(r)
			require.NoError(t, err)
			body(t, resp)
			h := <-got
			for name, values := range fields {
				require.Equal(t, values, h[name])
			}
		})
	}
}
