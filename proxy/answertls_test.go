package proxy

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnswerTellsItsTLS: as in net/http, an answer tells what the handshake of its
// connection has agreed on, also of one that is reused.
func TestAnswerTellsItsTLS(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	for name, tc := range map[string]struct {
		scheme          string
		served, offered []string
		chosen          string
	}{
		"HTTP/1.1":         {"https", nil, nil, "http/1.1"},
		"HTTP/1.1, chosen": {"https", nil, []string{"h2", "http/1.1"}, "http/1.1"},
		"HTTP/2":           {"h2", []string{"h2"}, nil, "h2"},
		"HTTP/2, chosen":   {"https", []string{"h2"}, []string{"h2", "http/1.1"}, "h2"},
	} {
		t.Run(name, func(t *testing.T) {
			u, b := tlsBackend(t, answer, tc.scheme, tc.served, tc.offered)
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			for range 2 {
				r, err := http.NewRequest("GET", u.String(), nil)
				require.NoError(t, err)
				resp, err := tr.RoundTrip(r)
				require.NoError(t, err)
				_ = resp.Body.Close()
				require.NotNil(t, resp.TLS)
				require.Equal(t, tc.chosen, resp.TLS.NegotiatedProtocol)
				require.NotEmpty(t, resp.TLS.VerifiedChains)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		o := answering(t, "HTTP/1.1 204 No Content\r\n\r\n")
		r, err := http.NewRequest("GET", o.url().String(), nil)
		require.NoError(t, err)
		resp, err := (&Transport{Backend: testBackend(t, o.url())}).RoundTrip(r)
		require.NoError(t, err)
		require.Nil(t, resp.TLS)
	})
}
