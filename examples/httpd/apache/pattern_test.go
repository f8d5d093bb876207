package apache

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPerlPatterns: each directive with an expression takes what PCRE knows and
// package regexp does not.
func TestPerlPatterns(t *testing.T) {
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Answer", "one two")
		w.Header().Set("X-Seen", r.Header.Get("X-Env")+","+r.Header.Get("X-Edit"))
	})
	addr := start(t, `
SetEnvIf Request_URI "^/(?!other)" IN=1
RequestHeader set X-Env %{IN}e
RequestHeader edit X-Edit "(.)\1" "<$1>"
Header edit* X-Answer "(?<=n)e|o(?!n)" "#"
<LocationMatch "^/(?!other|public)">
    Header set X-Location fits
</LocationMatch>
<ProxyMatch "^http://(?!nobody)">
    Header set X-Proxy fits
</ProxyMatch>
ProxyPass / http://backend.test/
`, backend).addr()
	for path, want := range map[string]string{
		"/a":     "1,a<b>c|on# tw#|fits|fits",
		"/other": "(null),a<b>c|on# tw#||fits",
	} {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
		require.NoError(t, err)
		req.Header.Set("X-Edit", "abbc")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		h := resp.Header
		require.Equal(t, want, strings.Join([]string{h.Get("X-Seen"), h.Get("X-Answer"), h.Get("X-Location"), h.Get("X-Proxy")}, "|"), path)
	}
}
