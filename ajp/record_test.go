package ajp

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// recorder keeps the records of a handler.
type recorder struct {
	mu      sync.Mutex
	records []exchange.Record
}

func (r *recorder) add(_ *http.Request, rec *exchange.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, *rec)
}

func (r *recorder) all() []exchange.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]exchange.Record(nil), r.records...)
}

// recordingHandler is a proxy in front of a container.
func recordingHandler(t *testing.T, target string) (*proxy.Handler, *Transport, *recorder) {
	u, err := url.Parse(target)
	require.NoError(t, err)
	tr, rec := newTransport(t, &Transport{}), &recorder{}
	return &proxy.Handler{Target: u, Transport: tr, OnRecord: rec.add}, tr, rec
}

// TestRecord tells of AJP what it tells of HTTP.
func TestRecord(t *testing.T) {
	target := startContainer(t, func(n int, c net.Conn) {
		for i := 0; takePacket(c) != nil; i++ {
			if n == 1 && i == 1 {
				return // it reads the second request and closes
			}
			_, _ = c.Write(packets(sendHeaders(200, http.Header{"Content-Length": {"5"}}), appendChunk(nil, []byte("hello")), endResponse))
		}
	})
	h, tr, rec := recordingHandler(t, target)
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://front.test/", nil))
		require.Equal(t, "hello", w.Body.String())
	}
	for i, want := range []struct {
		attempts, failed int
		reused           bool
	}{{1, 0, false}, {2, 1, false}, {1, 0, true}} {
		got := rec.all()[i]
		require.NoError(t, got.Err)
		require.Equal(t, target, got.Backend)
		require.Equal(t, want.attempts, got.Attempts)
		require.Equal(t, want.reused, got.Reused)
		require.Len(t, got.Failed, want.failed)
		require.EqualValues(t, 5, got.ResponseBytes)
		require.Equal(t, want.reused, got.Connect == 0)
		require.Positive(t, got.Connected)
		require.GreaterOrEqual(t, got.FirstByte, got.Connected)
		require.GreaterOrEqual(t, got.Duration, got.FirstByte)
	}
	require.ErrorIs(t, rec.all()[1].Failed[0].Err, exchange.ErrStaleConn)
	s := tr.Stats()
	require.Equal(t, s, h.Stats())
	require.Equal(t, target, s[0].Name)
	require.EqualValues(t, 4, s[0].Elected)
}

// TestRecordOfABody counts what was read from the client.
func TestRecordOfABody(t *testing.T) {
	h, _, rec := recordingHandler(t, startServer(t, &Server{Handler: echo}))
	const size = 30000
	for _, length := range []int64{size, -1} {
		r := httptest.NewRequest("POST", "http://front.test/", strings.NewReader(strings.Repeat("x", size)))
		r.ContentLength = length
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, size, w.Body.Len())
	}
	for _, got := range rec.all() {
		require.EqualValues(t, size, got.RequestBytes)
		require.EqualValues(t, size, got.ResponseBytes)
	}
}

// TestRecordOfAClientThatLeaves blames no container.
func TestRecordOfAClientThatLeaves(t *testing.T) {
	for name, say := range map[string][]byte{"before the head": nil, "within the body": packets(sendHeaders(200, nil), appendChunk(nil, []byte("begun")))} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{})
			h, tr, rec := recordingHandler(t, startContainer(t, func(_ int, c net.Conn) {
				if takePacket(c) != nil {
					_, _ = c.Write(say)
					close(reached)
					_, _ = io.Copy(io.Discard, c)
				}
			}))
			front := httptest.NewServer(h)
			defer front.Close()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, err := http.NewRequestWithContext(ctx, "GET", front.URL, nil)
			require.NoError(t, err)
			go func() {
				<-reached
				leave()
			}()
			if resp, err := front.Client().Do(r); err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				require.Error(t, err)
				_ = resp.Body.Close()
			}
			require.Eventually(t, func() bool { return len(rec.all()) == 1 }, 20*time.Second, time.Millisecond)
			got := rec.all()[0]
			require.Equal(t, exchange.StatusClientClosedRequest, got.Status)
			require.ErrorIs(t, got.Err, exchange.ErrClientGone)
			require.True(t, got.Aborted)
			require.Equal(t, 1, got.Attempts)
			require.Equal(t, say != nil, got.BackendStatus == 200)
			require.Zero(t, tr.Stats()[0].Errors)
		})
	}
}

// TestTraceContextPasses: traceparent, tracestate (whose order counts) and
// baggage belong to the tracing of others.
func TestTraceContextPasses(t *testing.T) {
	got := make(chan http.Header, 1)
	h, _, _ := recordingHandler(t, startServer(t, &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })}))
	r := httptest.NewRequest("GET", "http://front.test/", nil)
	fields := map[string][]string{
		"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"Tracestate":  {"rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE, x@y=\"z;1\""},
		"Baggage":     {"userId=alice;prop=1", "serverNode=DF%2028, isProduction=false"},
	}
	for name, values := range fields {
		r.Header[name] = values
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
	seen := <-got
	for name, values := range fields {
		require.Equal(t, values, seen[name])
	}
}
