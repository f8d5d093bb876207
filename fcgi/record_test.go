package fcgi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// recorder keeps the records of a handler.
type recorder struct {
	mu  sync.Mutex
	all []exchange.Record
}

func (r *recorder) add(_ *http.Request, rec *exchange.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, *rec)
}

// TestRecord tells of FastCGI what it tells of HTTP.
func TestRecord(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, n int) {
		for i := 0; ; i++ {
			a, ok := c.request()
			if !ok || n == 1 && i == 1 {
				return // it reads the second request and closes
			}
			c.say(join(stdout("Content-Type: text/plain\r\n\r\ngot "+a.env["CONTENT_LENGTH"]), end(0, 0)))
		}
	})
	h := behindHandler(tr).(*proxy.Handler)
	rec := &recorder{}
	h.OnRecord = rec.add
	for n := range 3 {
		// A PUT may be sent twice, a long one is streamed.
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("PUT", "http://front.test/a.php", strings.NewReader(strings.Repeat("b", 10+n/2*20000))))
		require.Equal(t, fmt.Sprint("got ", 10+n/2*20000), w.Body.String())
	}
	for i, want := range []struct {
		attempts, failed int
		reused           bool
		received         int64
		sent             int64
	}{{1, 0, false, 10, 6}, {2, 1, false, 10, 6}, {1, 0, true, 20010, 9}} {
		got := rec.all[i]
		require.NoError(t, got.Err)
		require.Equal(t, tr.Backend.String(), got.Backend)
		require.Equal(t, want.attempts, got.Attempts)
		require.Equal(t, want.reused, got.Reused)
		require.Len(t, got.Failed, want.failed)
		require.Equal(t, want.received, got.RequestBytes)
		require.Equal(t, want.sent, got.ResponseBytes)
		require.Equal(t, want.reused, got.Connect == 0)
		require.Positive(t, got.Connected)
		require.GreaterOrEqual(t, got.FirstByte, got.Connected)
		require.GreaterOrEqual(t, got.Duration, got.FirstByte)
	}
	require.ErrorIs(t, rec.all[1].Failed[0].Err, exchange.ErrStaleConn)
	require.Equal(t, tr.Backend.String(), rec.all[1].Failed[0].Backend)
	require.Equal(t, tr.Backend.String(), h.Stats()[0].Name)
}

// TestStatsOfMadeBackends: those made on first use are told, too.
func TestStatsOfMadeBackends(t *testing.T) {
	given := child(t, func(http.ResponseWriter, *http.Request) {})
	tr := &Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	require.Empty(t, tr.Stats())
	r, err := http.NewRequest("GET", given.Backend.URL.String()+"/a.php", nil)
	require.NoError(t, err)
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	readAll(t, resp)
	require.EqualValues(t, 1, tr.Stats()[0].Elected)
}

// TestTraceHooks are called as proxy.Transport does.
func TestTraceHooks(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		for {
			if _, ok := c.request(); !ok {
				return
			}
			c.say(join(stdout("A: b\r\n"), stdout("\r\nok"), end(0, 0)))
		}
	})
	for _, reused := range []bool{false, true} {
		var got []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn:              func(i httptrace.GotConnInfo) { got = append(got, fmt.Sprint("conn ", i.Reused)) },
			WroteRequest:         func(httptrace.WroteRequestInfo) { got = append(got, "wrote") },
			GotFirstResponseByte: func() { got = append(got, "first") },
		})
		r, err := http.NewRequestWithContext(ctx, "GET", "fcgi://app/a.php", nil)
		require.NoError(t, err)
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, "ok", readAll(t, resp))
		require.Equal(t, []string{fmt.Sprint("conn ", reused), "wrote", "first"}, got)
	}
}

// TestTraceContextPasses: the variables hold what the client has sent, fields
// that come in several lines as one list in their order.
func TestTraceContextPasses(t *testing.T) {
	got := make(chan map[string]string, 1)
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok {
			got <- a.env
			c.say(join(stdout("A: b\r\n\r\n"), end(0, 0)))
		}
	})
	r, err := http.NewRequestWithContext(context.Background(), "GET", serverOf(t, behindHandler(tr))+"/a.php", nil)
	require.NoError(t, err)
	r.Header = http.Header{
		"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"Tracestate":  {"rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE, x@y=\"z;1\""},
		"Baggage":     {"userId=alice;prop=1", "serverNode=DF%2028, isProduction=false"},
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	env := <-got
	for name, values := range r.Header {
		require.Equal(t, strings.Join(values, ", "), env["HTTP_"+strings.ToUpper(name)])
	}
}
