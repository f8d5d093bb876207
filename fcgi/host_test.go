package fcgi

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
)

// TestHostOfTheClient: HTTP_HOST is what the client has named, or what was set
// in its place. The place of the application is no secret that clients learn by
// naming none.
func TestHostOfTheClient(t *testing.T) {
	for name, tc := range map[string]struct {
		client, set string
		want        any // nil: there is none
	}{
		"named":             {client: "Site.test:81", want: "Site.test:81"},
		"none":              {},
		"none, but one set": {set: "set.test", want: "set.test"},
		"set":               {client: "site.test", set: "set.test", want: "set.test"},
	} {
		t.Run(name, func(t *testing.T) {
			envs := make(chan map[string]string, 1)
			_, tr := newPeer(t, func(c *peerConn, _ int) {
				if a, ok := c.request(); ok {
					envs <- a.env
					c.say(join(stdout("A: b\r\n\r\n"), end(0, 0)))
				}
			})
			h := behindHandler(tr).(*proxy.Handler)
			if tc.set != "" {
				h.Rewrite = func(pr *httputil.ProxyRequest) { pr.Out.Host = tc.set }
			}
			r := httptest.NewRequest("GET", "/a.php", nil)
			r.Host = tc.client
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			env := <-envs
			if tc.want == nil {
				require.NotContains(t, env, "HTTP_HOST")
				return
			}
			require.Equal(t, tc.want, env["HTTP_HOST"])
		})
	}
}
