package proxy

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestTransportSpools: a backend that cannot read chunks gets a length, the
// client its 100, and the request is sent again however long it is.
func TestTransportSpools(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 20000)
	t.Run("framing", func(t *testing.T) {
		o := bodyOrigin(t)
		h, b, _ := handlerFor(t, o.url())
		dir := t.TempDir()
		h.Transport.(*Transport).Spool = &exchange.Spool{Max: int64(len(long)), Dir: dir}
		front := frontOf(t, h)
		for _, text := range []string{"", "hello", long} {
			req, _ := http.NewRequest("POST", front.URL, struct{ io.Reader }{strings.NewReader(text)})
			req.Header.Set("Expect", "100-continue")
			resp, err := client(t).Do(req)
			require.NoError(t, err)
			require.Equal(t, text, body(t, resp))
			require.Equal(t, fmt.Sprintf("[] %d", len(text)), strings.TrimSpace(resp.Header.Get("X-Frame")))
			require.Empty(t, resp.Header.Get("X-Expect"))
		}
		resp, err := client(t).Post(front.URL, "a/b", struct{ io.Reader }{strings.NewReader(long + "x")})
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
		require.EqualValues(t, 3, b.Stats().Elected, "no connection was taken for it")
		requireNothingIn(t, dir)
	})
	t.Run("sent again", func(t *testing.T) {
		o := staleOrigin(t)
		b := testBackend(t, o.url())
		tr := &Transport{Backend: b, Spool: &exchange.Spool{}}
		for _, text := range []string{"x", long} {
			req, _ := http.NewRequest("PUT", o.url().String(), struct{ io.Reader }{strings.NewReader(text)})
			resp, err := tr.RoundTrip(req)
			require.NoError(t, err)
			require.Equal(t, "PUT"+text, body(t, resp))
		}
		require.EqualValues(t, 2, b.Stats().Created)
	})
}

func requireNothingIn(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
