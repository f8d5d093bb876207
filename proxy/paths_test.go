package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// sentPath serves a target and tells what a backend gets: its path and query,
// or the status if it gets none.
func sentPath(t *testing.T, h *Handler, target string) string {
	t.Helper()
	sent := ""
	h.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		sent = r.URL.RequestURI()
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
	w := serveTarget(t, h, "GET", target)
	if sent == "" {
		return fmt.Sprint(w.Code)
	}
	require.Equal(t, 200, w.Code, target)
	return sent
}

// TestNoDotSegmentsReachABackend: whatever maps the path, and whatever Rewrite
// makes of it.
func TestNoDotSegmentsReachABackend(t *testing.T) {
	back := mustParse(t, "http://back.test")
	base := mustParse(t, "http://back.test/base")
	rewriting := func(f func(*httputil.ProxyRequest)) *Handler { return &Handler{Rewrite: f} }
	handlers := map[string]func() *Handler{
		"SetURL": func() *Handler { return rewriting(func(pr *httputil.ProxyRequest) { pr.SetURL(back) }) },
		"of Out": func() *Handler {
			return rewriting(func(pr *httputil.ProxyRequest) { pr.Out.URL.Scheme, pr.Out.URL.Host = "http", "back.test" })
		},
		"of In": func() *Handler {
			return rewriting(func(pr *httputil.ProxyRequest) {
				u := *pr.In.URL
				u.Scheme, u.Host = "http", "back.test"
				pr.Out.URL = &u
			})
		},
		"target": func() *Handler { return &Handler{Target: back} },
		"both": func() *Handler {
			return &Handler{Target: back, Rewrite: func(pr *httputil.ProxyRequest) {
				pr.Out.URL.Path, pr.Out.URL.RawPath = pr.In.URL.Path, pr.In.URL.RawPath
			}}
		},
		"an empty": func() *Handler { return &Handler{Target: back, Rewrite: func(*httputil.ProxyRequest) {}} },
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			for target, want := range map[string]string{
				"/../x": "400", "/%2e%2e/x": "400", "/%2E./x": "400", "/.%2e": "400", "/a/../../x": "400", "/a/%2e%2E/..": "400", "//..": "400", "/./..": "400",
				"/a/../x": "/x", "/a/%2e%2e/x": "/x", "/./x": "/x", "/%2e/x?q=/../y": "/x?q=/../y", "/a/..": "/", "/a/b/.": "/a/b/", "/a%20b/./c": "/a%20b/c",
				"/a/...": "/a/...", "/..a/b": "/..a/b", "/a//b": "/a//b", "/%252e%252e/x": "/%252e%252e/x", `/x/..\y`: "/x/..%5Cy", "/a;x/..;y": "/a;x/..;y",
			} {
				require.Equal(t, want, sentPath(t, h(), target), target)
				in, _ := url.ParseRequestURI(target)
				u, ok, err := h().MapURL(in)
				require.Equal(t, want == "400", err != nil, target)
				require.Equal(t, want != "400", ok, target)
				require.Equal(t, ok, h().Takes(in), target)
				if ok {
					require.Equal(t, want, u.RequestURI())
				}
			}
			servlet := h()
			servlet.Mapping = MappingServlet
			require.Equal(t, "400", sentPath(t, servlet, "/..;x/y"))
			require.Equal(t, "/y", sentPath(t, servlet, "/x/..;a=b/y"))
		})
	}

	for name, f := range map[string]func(*httputil.ProxyRequest){
		"cut off": func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Path = strings.TrimPrefix(pr.In.URL.Path, "/api")
			pr.Out.URL.RawPath = ""
			pr.SetURL(base)
		},
		"query": func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Path = "/files/" + pr.In.URL.Query().Get("name")
			pr.SetURL(base)
		},
		"RawPath": func(pr *httputil.ProxyRequest) {
			pr.SetURL(base)
			pr.Out.URL.Path, pr.Out.URL.RawPath = "/a/../b", "/a/%2e%2e/b"
		},
		"Opaque": func(pr *httputil.ProxyRequest) { pr.SetURL(base); pr.Out.URL.Opaque = "/a/../b" },
	} {
		require.Equal(t, "400", sentPath(t, rewriting(f), "/api../x?name=../../etc/passwd"), name)
		require.Equal(t, "400", sentPath(t, &Handler{Target: base, Rewrite: f}, "/api../x?name=../../etc/passwd"), name)
	}
	dots := rewriting(func(pr *httputil.ProxyRequest) { pr.SetURL(base) })
	require.Equal(t, "/base/api../x", sentPath(t, dots, "/api../x"))

	// "OPTIONS *" has no path, and a request that middleware has made need not.
	h := rewriting(func(pr *httputil.ProxyRequest) {
		pr.Out.URL = &url.URL{Scheme: "http", Host: "back.test", Path: "/new"}
	})
	require.Equal(t, "/new", sentPath(t, h, "*"))
	require.Equal(t, "/new", sentPath(t, h, ""))
}

// TestEncodedSlashes: by default no Handler with a target, and no Mux with a
// rule, takes a path that a backend might read otherwise than they do.
func TestEncodedSlashes(t *testing.T) {
	for _, path := range []string{"/%2fadmin/", "/%2Fadmin/", "/x/..%2fadmin/", "/x/..%2Fadmin/", "//%2fadmin/", "/a%2Fb", "/x/%2e%2e/%2fadmin/"} {
		target := mustParse(t, "http://back.test/")
		match := func() *Handler {
			h, err := NewMatchHandler("^(/.*)", "http://back.test$1")
			require.NoError(t, err)
			return h
		}
		in, err := url.ParseRequestURI(path)
		require.NoError(t, err)
		for name, h := range map[string]*Handler{
			"target": {Target: target}, "prefix": {Target: target, Prefix: "/"}, "decoded": {Target: target, Mapping: MappingDecoded},
			"servlet": {Target: target, Mapping: MappingServlet}, "expression": match(),
			"with Rewrite": {Target: target, Rewrite: func(*httputil.ProxyRequest) {}},
		} {
			require.Equal(t, "404", sentPath(t, h, path), "%s %s", name, path)
			require.False(t, h.Takes(in), name)
			_, ok, err := h.MapURL(in)
			require.False(t, ok)
			require.Equal(t, 404, exchange.StatusOf(err))
		}
		for _, h := range []*Handler{{Target: target, AllowEncodedSlashes: true}, {Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(target) }}} {
			require.Contains(t, strings.ToLower(sentPath(t, h, path)), "%2f", path)
			require.True(t, h.Takes(in))
			u, ok, err := h.MapURL(in)
			require.NoError(t, err)
			require.True(t, ok)
			require.Contains(t, strings.ToLower(u.RequestURI()), "%2f")
		}

		m := Mux{Next: named("next")}
		require.Equal(t, "next", serveTarget(t, &m, "GET", path).Body.String(), "nothing is asked of the path")
		m.Except("/other")
		require.Equal(t, "404 Not Found\n", serveTarget(t, &m, "GET", path).Body.String())
		m.AllowEncodedSlashes = true
		require.Equal(t, "next", serveTarget(t, &m, "GET", path).Body.String())
		h, err := m.ProxyPass("/", "http://back.test/")
		require.NoError(t, err)
		require.True(t, h.AllowEncodedSlashes)
	}
	// What was no escaped slash is none: an escape of an escape, the query, a
	// RawPath that middleware has left behind.
	h := &Handler{Target: mustParse(t, "http://back.test/")}
	require.Equal(t, "/%252Fx?a=%2F", sentPath(t, h, "/%252Fx?a=%2F"))
	u, ok, err := h.MapURL(&url.URL{Path: "/new", RawPath: "/old%2F"})
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "/new", u.RequestURI())
}

// TestAccessByAddress is the README's: no spelling of a path gets around a rule.
func TestAccessByAddress(t *testing.T) {
	o := echoOrigin(t)
	app, _, _ := handlerFor(t, o.url())
	app.Prefix = "/"
	var m Mux
	m.Handle("/admin/", access.RequireIP(netip.MustParsePrefix("10.0.0.0/8"))(app))
	m.Handle("/", app)
	for path, want := range map[string]int{
		"/admin/": 403, "//admin/": 403, "/x/../admin/": 403, "/%61dmin/": 403, "/x/%2e%2E/admin/": 403, "/./admin/x": 403, "/admin//": 403,
		"/%2fadmin/": 404, "/x/..%2fadmin/": 404, "/x/..%2Fadmin/": 404, "/%2Fadmin/": 404, "/..%2f/admin/": 404, "/../admin/": 400, "/x": 200,
	} {
		require.Equal(t, want, serveTarget(t, &m, "GET", path).Code, path)
	}
}

// TestNoConnectToABackend: CONNECT is for a forward proxy, in every form.
func TestNoConnectToABackend(t *testing.T) {
	o := echoOrigin(t)
	target, b, _ := handlerFor(t, o.url())
	rewriting, c, _ := handlerFor(t, o.url())
	rewriting.Target, rewriting.Rewrite = nil, func(pr *httputil.ProxyRequest) { pr.SetURL(o.url()) }
	var m, empty Mux
	m.Handle("", target)
	for name, tt := range map[string]struct {
		h                 http.Handler
		authority, inPath int
	}{
		"target": {target, 405, 405}, "Rewrite": {rewriting, 405, 405}, "Mux": {&m, 404, 405}, "Mux without rules": {&empty, 404, 404},
		"next of a Mux": {&Mux{Next: rewriting}, 405, 405},
	} {
		t.Run(name, func(t *testing.T) {
			addr := frontOf(t, tt.h).Listener.Addr().String()
			for line, want := range map[string]int{
				"CONNECT origin.test:443": tt.authority, "CONNECT /path": tt.inPath, "CONNECT /": tt.inPath,
			} {
				answer := exchangeRaw(t, addr, line+" HTTP/1.1\r\nHost: origin.test:443\r\nConnection: close\r\n\r\n")
				require.Contains(t, answer, fmt.Sprintf("HTTP/1.1 %d ", want), line)
				require.Equal(t, want == 405, strings.Contains(answer, "\r\nAllow: GET, "), line)
			}
			for _, proto := range []int{1, 2} { // RFC 8441, too
				w := httptest.NewRecorder()
				tt.h.ServeHTTP(w, &http.Request{Method: "CONNECT", ProtoMajor: proto, URL: &url.URL{Path: "/x"}, Host: "front.test", Header: http.Header{":protocol": {"websocket"}}})
				require.Equal(t, tt.inPath, w.Code)
			}
		})
	}
	require.Zero(t, b.Stats().Elected+c.Stats().Elected)
}
