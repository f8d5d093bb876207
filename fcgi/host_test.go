package fcgi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
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

// TestServerOfTheClient: SERVER_NAME, SERVER_PORT, REQUEST_SCHEME and HTTPS fit each
// other, as the client or a trusted peer has it or CanonicalURL says. The port is
// that of the connection only where the client has come to that.
func TestServerOfTheClient(t *testing.T) {
	office := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, tc := range map[string]struct {
		host   string
		h      *proxy.Handler
		peer   string
		secure bool
		want   [4]string
	}{
		"plain":                          {"in.test", &proxy.Handler{}, "192.0.2.7:1", false, [4]string{"in.test", "8080", "http", ""}},
		"plain, a port":                  {"in.test:81", &proxy.Handler{}, "192.0.2.7:1", false, [4]string{"in.test", "8080", "http", ""}},
		"TLS":                            {"in.test", &proxy.Handler{}, "192.0.2.7:1", true, [4]string{"in.test", "8080", "https", "on"}},
		"trusted":                        {"in.test:8080", &proxy.Handler{}, "10.0.0.1:1", false, [4]string{"shop.test", "443", "https", "on"}},
		"CanonicalURL, the scheme":       {"shop.test", &proxy.Handler{CanonicalURL: &url.URL{Scheme: "https"}}, "192.0.2.7:1", false, [4]string{"shop.test", "443", "https", "on"}},
		"CanonicalURL, scheme and port":  {"shop.test:8443", &proxy.Handler{CanonicalURL: &url.URL{Scheme: "https"}}, "192.0.2.7:1", false, [4]string{"shop.test", "8443", "https", "on"}},
		"CanonicalURL":                   {"in.test", &proxy.Handler{CanonicalURL: &url.URL{Scheme: "https", Host: "site.test:444"}}, "192.0.2.7:1", false, [4]string{"site.test", "444", "https", "on"}},
		"CanonicalURL, the connection's": {"in.test", &proxy.Handler{CanonicalURL: &url.URL{Scheme: "http", Host: "site.test"}}, "192.0.2.7:1", true, [4]string{"site.test", "80", "http", ""}},
		"CanonicalURL, trusted":          {"in.test", &proxy.Handler{CanonicalURL: &url.URL{Scheme: "http", Host: "site.test"}}, "10.0.0.1:1", false, [4]string{"site.test", "80", "http", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			envs := make(chan map[string]string, 1)
			_, tr := newPeer(t, func(c *peerConn, _ int) {
				if a, ok := c.request(); ok {
					envs <- a.env
					c.say(join(stdout("A: b\r\n\r\n"), end(0, 0)))
				}
			})
			h := tc.h
			h.Target, h.Prefix, h.Transport, h.TrustedProxies = &url.URL{Scheme: "fcgi", Host: "app", Path: "/srv/"}, "/", tr, office
			r := httptest.NewRequest(http.MethodGet, "/a.php", nil)
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})))
			r.Host, r.RemoteAddr = tc.host, tc.peer
			if tc.secure {
				r.TLS = &tls.ConnectionState{}
			}
			r.Header.Set("X-Forwarded-Host", "shop.test")
			r.Header.Set("X-Forwarded-Proto", "https")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			env := <-envs
			require.Equal(t, tc.want, [4]string{env["SERVER_NAME"], env["SERVER_PORT"], env["REQUEST_SCHEME"], env["HTTPS"]})
		})
	}
}
