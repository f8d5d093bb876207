package proxy

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// writerFunc is a writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestBodyClosedWhileItsEndIsWritten: the connection may be somebody else's by
// then.
func TestBodyClosedWhileItsEndIsWritten(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
	b := testBackend(t, o.url())
	tr := &Transport{Backend: b}
	for range 2 {
		req, _ := http.NewRequest("GET", o.url().String(), nil)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		n, err := resp.Body.(io.WriterTo).WriteTo(writerFunc(func(p []byte) (int, error) {
			require.EqualValues(t, 1, b.Stats().Idle)
			require.NoError(t, resp.Body.Close()) // as another goroutine may
			return len(p), nil
		}))
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
	}
	require.Equal(t, 1, o.connections())
}

// closes counts how often a body is closed.
type closes struct {
	io.Reader
	n atomic.Int32
}

func (c *closes) Close() error {
	c.n.Add(1)
	return nil
}

// TestRequestBodyIsClosedOnce, also where a hook panics while it is sent.
func TestRequestBodyIsClosedOnce(t *testing.T) {
	o := answering(t, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	tr := &Transport{Backend: testBackend(t, o.url())}
	for name, got1xx := range map[string]func(int, textproto.MIMEHeader) error{
		"answered": nil,
		"panics":   func(int, textproto.MIMEHeader) error { panic("hook") },
	} {
		t.Run(name, func(t *testing.T) {
			body := &closes{Reader: strings.NewReader("hello")}
			req, _ := http.NewRequest("POST", o.url().String(), body)
			req.ContentLength = 5
			req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: got1xx}))
			if got1xx == nil {
				resp, err := tr.RoundTrip(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			} else {
				require.PanicsWithValue(t, "hook", func() { _, _ = tr.RoundTrip(req) })
			}
			require.EqualValues(t, 1, body.n.Load())
		})
	}
}
