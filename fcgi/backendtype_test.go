package fcgi

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBackendType: a script is named by its path, or by its URL as Apache does by
// default.
func TestBackendType(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok {
			c.say(join(stdout("A: b\r\n\r\n"+a.env["SCRIPT_FILENAME"]), end(0, 0)))
		}
	})
	for kind, want := range map[BackendType]string{BackendGeneric: "/srv/a.php", BackendFPM: "proxy:fcgi://app/srv/a.php"} {
		tr.Type = kind
		r, err := http.NewRequest("GET", "fcgi://app/srv/a.php", nil)
		require.NoError(t, err)
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(b))
	}
}
