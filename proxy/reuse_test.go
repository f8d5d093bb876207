package proxy

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestWhichConnectionsAreKept: only after a complete message of HTTP/1.1 whose
// end was marked, and if neither side said close.
func TestWhichConnectionsAreKept(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		close  bool // the request says so
		kept   int64
		method string // GET if it is empty
	}{
		"length":                {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", kept: 1},
		"chunked":               {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", kept: 1},
		"no body":               {answer: "HTTP/1.1 204 No Content\r\n\r\n", kept: 1},
		"keep-alive":            {answer: "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab", kept: 1},
		"backend says close":    {answer: "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nab", kept: 0},
		"request says close":    {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", close: true, kept: 0},
		"HTTP/1.0":              {answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab", kept: 0},
		"body behind a 204":     {answer: "HTTP/1.1 204 No Content\r\n\r\nab", kept: 0},
		"body behind a 304":     {answer: "HTTP/1.1 304 Not Modified\r\n\r\nab", kept: 0},
		"more than its length":  {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", kept: 0},
		"HEAD":                  {method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", kept: 1},
		"HEAD, chunked":         {method: "HEAD", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", kept: 1},
		"HEAD without a length": {method: "HEAD", answer: "HTTP/1.1 200 OK\r\n\r\n", kept: 1},
		"HEAD with a body":      {method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"},
		"304 with a length":     {answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", kept: 1},
		"205":                   {answer: "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", kept: 1},
		"interim answers":       {answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", kept: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := answering(t, tc.answer)
			b := testBackend(t, o.url())
			req, _ := http.NewRequest(cmp.Or(tc.method, "GET"), o.url().String(), nil)
			req.Close = tc.close
			resp, err := (&Transport{Backend: b}).RoundTrip(req)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.Equal(t, tc.kept, b.Stats().Open)
			require.Equal(t, tc.kept, b.Stats().Idle)
		})
	}
}

// TestIdleTimeIsLearnt: what the backend says in Keep-Alive shortens the time
// for which its connection is kept.
func TestIdleTimeIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}}
		defer b.Close()
		b.DialContext = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				r := bufio.NewReader(far)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=10, max=5\r\nContent-Length: 0\r\n\r\n")
				}
			}()
			return near, nil
		}
		req, _ := http.NewRequest("GET", "http://b.test/", nil)
		resp, err := (&Transport{Backend: b}).RoundTrip(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		time.Sleep(8900 * time.Millisecond)
		require.EqualValues(t, 1, b.Stats().Idle)
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, b.Stats().Idle, "closed before the backend does")
	})
}

// TestUnreachable: whatever keeps a connection from coming about is 503, of the
// phase dial, and safe to send elsewhere.
func TestUnreachable(t *testing.T) {
	for name, b := range map[string]func(t *testing.T) *backend.Backend{
		"name does not resolve": func(t *testing.T) *backend.Backend {
			b := testBackend(t, &url.URL{Scheme: "http", Host: "b.example."})
			b.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("no name server")
			}}
			return b
		},
		"unknown certificate": func(t *testing.T) *backend.Backend {
			_, b := tlsBackend(t, http.NotFoundHandler(), "https", nil, nil)
			b.TLS = nil
			return b
		},
		"no socket": func(t *testing.T) *backend.Backend {
			b := testBackend(t, &url.URL{Scheme: "http", Host: "b.test"})
			b.Socket = t.TempDir() + "/none"
			return b
		},
		"connect timeout": func(t *testing.T) *backend.Backend {
			b := testBackend(t, &url.URL{Scheme: "http", Host: "b.test"})
			b.ConnectTimeout = time.Millisecond
			b.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := b(t)
			req, _ := http.NewRequest("GET", b.URL.String(), nil)
			_, err := (&Transport{Backend: b}).RoundTrip(req)
			var e *exchange.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, exchange.OpDial, e.Op)
			require.Equal(t, http.StatusServiceUnavailable, exchange.StatusOf(err))
			require.True(t, exchange.MayResend(err))
			require.Equal(t, backend.StateError, b.State())
			require.Zero(t, b.Stats().Open)
		})
	}
}
