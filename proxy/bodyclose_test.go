package proxy

import (
	"io"
	"net/http"
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
