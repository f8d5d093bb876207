package ajp

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestFactsThatContainersAreTold: of a request that a Handler sends, they are those
// that were decided at the door.
func TestFactsThatContainersAreTold(t *testing.T) {
	type told struct {
		remote, port string
		server       string
		serverPort   int
		secure       bool
		host         string
	}
	usual := told{"192.0.2.7", "4000", "in.test", 8080, false, "in.test:8080"}
	for name, tc := range map[string]struct {
		remote string
		h      *proxy.Handler
		change func(w *told)
	}{
		"usual":                        {"192.0.2.7:4000", &proxy.Handler{}, func(*told) {}},
		"without a port":               {"192.0.2.7", &proxy.Handler{}, func(w *told) { w.port = "" }},
		"IPv6":                         {"[2001:db8::7]:4000", &proxy.Handler{}, func(w *told) { w.remote = "2001:db8::7" }},
		"IPv6 without a port":          {"2001:db8::7", &proxy.Handler{}, func(w *told) { w.remote, w.port = "2001:db8::7", "" }},
		"IPv6 in brackets, no port":    {"[2001:db8::7]", &proxy.Handler{}, func(w *told) { w.remote, w.port = "2001:db8::7", "" }},
		"a zone":                       {"[fe80::7%eth0]:4000", &proxy.Handler{}, func(w *told) { w.remote = "fe80::7" }},
		"a unix-domain socket":         {"@", &proxy.Handler{}, func(w *told) { w.remote, w.port = "127.0.0.1", "" }},
		"a named unix-domain socket":   {"/run/client.sock", &proxy.Handler{}, func(w *told) { w.remote, w.port = "127.0.0.1", "" }},
		"nobody":                       {"", &proxy.Handler{}, func(w *told) { w.remote, w.port = "127.0.0.1", "" }},
		"a trusted peer":               {"10.0.0.1:4000", &proxy.Handler{}, func(w *told) { w.remote, w.server, w.serverPort, w.secure = "10.0.0.1", "shop.test", 443, true }},
		"a trusted peer, PreserveHost": {"10.0.0.1:4000", &proxy.Handler{PreserveHost: true}, func(w *told) { w.remote, w.server, w.serverPort, w.secure = "10.0.0.1", "shop.test", 443, true }},
		"CanonicalURL, the scheme":     {"192.0.2.7:4000", &proxy.Handler{CanonicalURL: &url.URL{Scheme: "https"}}, func(w *told) { w.secure = true }},
		"CanonicalURL":                 {"192.0.2.7:4000", &proxy.Handler{CanonicalURL: &url.URL{Scheme: "https", Host: "site.test:8443"}}, func(w *told) { w.secure, w.server, w.serverPort = true, "site.test", 8443 }},
		"a Host that Rewrite sets": {"10.0.0.1:4000", &proxy.Handler{Rewrite: func(pr *httputil.ProxyRequest) { pr.Out.Host = "set.test" }}, func(w *told) {
			w.remote, w.server, w.host, w.serverPort, w.secure = "10.0.0.1", "set.test", "set.test", 443, true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := usual, told{}
			tc.change(&want)
			h := tc.h
			h.Target, h.TrustedProxies = &url.URL{Scheme: "ajp", Host: "b.test", Path: "/"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			one, other := net.Pipe()
			defer one.Close()
			defer other.Close()
			h.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				f := new(Transport).facts(&backend.Conn{Conn: one}, r)
				b, err := appendForwardRequest(nil, r, bodyNone, &f, DefaultPacketSize)
				require.Nil(t, err)
				var fr forwardRequest
				require.NoError(t, parseForwardRequest(string(b[headSize+1:]), &fr))
				got = told{fr.remoteAddr, fr.attributes.RemotePort, fr.serverName, fr.serverPort, fr.secure, fr.header.Get("Host")}
				return &http.Response{StatusCode: 204, ProtoMajor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
			})
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host, r.RemoteAddr = "in.test:8080", tc.remote
			r.Header.Set("X-Forwarded-Host", "shop.test")
			r.Header.Set("X-Forwarded-Proto", "https")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusNoContent, w.Code)
			require.Equal(t, want, got)
		})
	}
}

// TestAttributesThatAreNone: nothing of them is sent, whoever has given them.
func TestAttributesThatAreNone(t *testing.T) {
	for name, bad := range map[string]string{"NUL": "root\x00x", "long": strings.Repeat("x", 1<<16)} {
		for kind, set := range map[string]func(f *facts, v string){
			"user": func(f *facts, v string) { f.remoteUser = v }, "how": func(f *facts, v string) { f.authType = v },
			"route": func(f *facts, v string) { f.route = v }, "secret": func(f *facts, v string) { f.secret = v },
			"a name": func(f *facts, v string) { f.named = []Attribute{{v, "x"}} }, "a value": func(f *facts, v string) { f.named = []Attribute{{"x", v}} },
		} {
			var f facts
			set(&f, bad)
			_, err := appendForwardRequest(nil, httptest.NewRequest(http.MethodGet, "/", nil), bodyNone, &f, DefaultPacketSize)
			require.NotNil(t, err, "%s %s", name, kind)
			require.Equal(t, http.StatusInternalServerError, exchange.StatusOf(err))
		}
	}
	r := access.WithUser(httptest.NewRequest(http.MethodGet, "/", nil), "Ænn\n", "Basic")
	f := new(Transport).facts(nil, r)
	require.Equal(t, "Ænn\n", f.remoteUser)
}
