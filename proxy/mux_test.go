package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// named is a handler that says which one it is.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) })
}

// serveTarget sends a request target, as a request line has it, to h.
func serveTarget(t testing.TB, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		u = &url.URL{Path: target}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, &http.Request{Method: method, URL: u, Host: "front.test", Header: http.Header{}})
	return w
}

func TestMuxOrder(t *testing.T) {
	m := Mux{AllowEncodedSlashes: true}
	m.Next = named("next")
	m.Handle("/exlate", named("exlate"))
	m.Except("/exlate/no") // too late
	m.Except("/app/static")
	m.ExceptMatch(regexp.MustCompile(`^/app/.*\.gif$`))
	m.Handle("/app", named("app"))
	m.Handle("/a/b", named("ab"))
	m.Handle("/a", named("a"))
	m.Handle("/slash/", named("slash"))
	m.HandleMatch(regexp.MustCompile(`(?i)\.php$`), named("php"))
	m.Handle("/a%2Fb", named("encoded"))

	tests := []struct{ in, want string }{
		{"/exlate/no", "exlate"},
		{"/app", "app"},
		{"/app/x", "app"},
		{"/apple", "next"},
		{"/app/static", "next"},
		{"/app/static/x.php", "next"},
		{"/app/staticx", "app"},
		{"/app/a.gif", "next"},
		{"/app/a.gif?x", "next"},
		{"/app/a.gif/x", "app"},
		{"/a/b/c", "ab"},
		{"/a/x", "a"},
		{"/A/x", "next"},
		{"/slash", "next"},
		{"/slash/", "slash"},
		{"/x.PHP", "php"},
		{"/", "next"},
		{"*", "next"},
		// other spellings of what an exception protects
		{"//app///static/x", "next"},
		{"/%61pp/%73tatic/x", "next"},
		{"/app/./static/x", "next"},
		{"/app/x/%2e%2E/static", "next"},
		{"/app//b.%67if", "next"},
		{"/app%2Fstatic", "next"},
		{"/a%2fb/c", "encoded"},
	}
	for _, tt := range tests {
		w := serveTarget(t, &m, "GET", tt.in)
		require.Equal(t, http.StatusOK, w.Code, tt.in)
		require.Equal(t, tt.want, w.Body.String(), tt.in)
	}
}

func TestMuxWithoutRules(t *testing.T) {
	var m Mux
	require.Equal(t, http.StatusNotFound, serveTarget(t, &m, "GET", "/x").Code)
	require.Equal(t, http.StatusNotFound, serveTarget(t, &m, "OPTIONS", "*").Code)
}

func TestMuxRefusesMalformedPaths(t *testing.T) {
	var m Mux
	m.Next = named("next")
	m.Handle("/", named("all"))
	for _, target := range []string{"/../x", "/x/../../y", "/a%00b", "/a#b", "@localhost/x", "", "/a%zz"} {
		w := serveTarget(t, &m, "GET", target)
		if target == "/a%zz" { // as a Path it is a literal percent sign
			require.Equal(t, "all", w.Body.String())
			continue
		}
		require.Equal(t, http.StatusBadRequest, w.Code, target)
		require.Equal(t, "400 Bad Request\n", w.Body.String())
	}
}

func TestMuxLeavesConnectToNext(t *testing.T) {
	m := Mux{Next: named("tunnel")}
	m.Handle("", named("all"))
	w := httptest.NewRecorder()
	m.ServeHTTP(w, &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: "b:443"}})
	require.Equal(t, "tunnel", w.Body.String())
	require.Equal(t, "all", serveTarget(t, &m, http.MethodConnect, "/x").Body.String()) // RFC 8441 has a path
}

func TestMuxServletMapping(t *testing.T) {
	m := Mux{Mapping: MappingServlet, Next: named("next")}
	m.Except("/app/admin")
	m.Handle("/app", named("app"))
	require.Equal(t, "next", serveTarget(t, &m, "GET", "/app/x/..;/admin/").Body.String())
	require.Equal(t, "next", serveTarget(t, &m, "GET", "/app;a/admin;b").Body.String())
	require.Equal(t, "app", serveTarget(t, &m, "GET", "/app/admin2").Body.String())
}

func TestMuxProxyPass(t *testing.T) {
	m := Mux{Mapping: MappingDecoded}
	h, err := m.ProxyPass("/app/", "http://b/x/")
	require.NoError(t, err)
	require.Equal(t, MappingDecoded, h.Mapping)
	picked, err := m.pick(&http.Request{URL: &url.URL{Path: "/app/y"}})
	require.NoError(t, err)
	require.Same(t, h, picked)

	h, err = m.ProxyPassMatch(`^/m/(.*)$`, "http://b/$1")
	require.NoError(t, err)
	require.Equal(t, MappingDecoded, h.Mapping)
	picked, err = m.pick(&http.Request{URL: &url.URL{Path: "/m/y"}})
	require.NoError(t, err)
	require.Same(t, h, picked)

	_, err = m.ProxyPass("/app/", "http://b/x")
	require.Error(t, err)
	_, err = m.ProxyPassMatch(`(`, "http://b/x")
	require.Error(t, err)
	require.Len(t, m.list.Load().rules, 2)
}

func TestMuxPanicsOnRulesThatCannotBeMeant(t *testing.T) {
	var m Mux
	require.Panics(t, func() { m.Handle("app", named("x")) })
	require.Panics(t, func() { m.Handle("/app", nil) })
	require.Panics(t, func() { m.HandleMatch(nil, named("x")) })
	require.Panics(t, func() { m.HandleMatch(regexp.MustCompile("x"), nil) })
	require.Panics(t, func() { m.Except("app") })
	require.Panics(t, func() { m.ExceptMatch(nil) })
}

func twentyRules() *Mux {
	var m Mux
	for i := range 20 {
		m.Handle(fmt.Sprintf("/service%02d", i), named("x"))
	}
	return &m
}

func TestMuxAllocatesNothing(t *testing.T) {
	m := twentyRules()
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/service19/index.html"}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if h, err := m.pick(r); h == nil || err != nil {
			t.Fatal(h, err)
		}
	}))
}

func BenchmarkMux20Rules(b *testing.B) {
	m := twentyRules()
	for _, path := range []string{"/service00/index.html", "/service19/index.html", "/none"} {
		b.Run(path[1:], func(b *testing.B) {
			r := &http.Request{Method: "GET", URL: &url.URL{Path: path}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.pick(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
