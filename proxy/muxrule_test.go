package proxy

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// asked is a request for rules.
func asked(method, host, target string, h http.Header) *http.Request {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		panic(err)
	}
	if h == nil {
		h = http.Header{}
	}
	return &http.Request{Method: method, URL: u, Host: host, Header: h, ProtoMajor: 1, ProtoMinor: 1}
}

func served(m *Mux, r *http.Request) string {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Body.String()
}

// TestMuxRules is a table of what a rule can ask for, and of neighbours that
// must not fit.
func TestMuxRules(t *testing.T) {
	one := func(ru Rule) Rule { ru.Handler = named("fits"); return ru }
	pattern := func(p string) Rule { return mustParsePattern(p) }
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	re := regexp.MustCompile
	for name, tt := range map[string]struct {
		rule     Rule
		fit, not []*http.Request
	}{
		"host": {Rule{Hosts: []string{"Shop.Example"}},
			[]*http.Request{asked("GET", "shop.example", "/", nil), asked("GET", "SHOP.example:8443", "/x", nil), asked("GET", "shop.example.", "/", nil), asked("GET", "shop.example.:80", "/", nil)},
			[]*http.Request{asked("GET", "", "/", nil), asked("GET", "a.shop.example", "/", nil), asked("GET", "shop.example.com", "/", nil), asked("GET", "xshop.example", "/", nil)}},
		"wildcard": {Rule{Hosts: []string{"*.Example.com"}},
			[]*http.Request{asked("GET", "a.example.com", "/", nil), asked("GET", "a.b.EXAMPLE.com:1", "/", nil), asked("GET", "a.example.com.", "/", nil)},
			[]*http.Request{asked("GET", "example.com", "/", nil), asked("GET", ".example.com", "/", nil), asked("GET", "aexample.com", "/", nil), asked("GET", "a.example.com.evil", "/", nil)}},
		"hosts": {Rule{Hosts: []string{"a.test", "*.b.test", "xn--bcher-kva.example"}},
			[]*http.Request{asked("GET", "a.test", "/", nil), asked("GET", "x.b.test", "/", nil), asked("GET", "xn--bcher-kva.example", "/", nil)},
			[]*http.Request{asked("GET", "b.test", "/", nil), asked("GET", "x.a.test", "/", nil)}},
		"addresses": {Rule{Hosts: []string{"[2001:db8::1]", "192.0.2.7"}},
			[]*http.Request{asked("GET", "[2001:DB8:0::1]:80", "/", nil), asked("GET", "192.0.2.7:80", "/", nil)},
			[]*http.Request{asked("GET", "[2001:db8::2]", "/", nil), asked("GET", "192.0.2.70", "/", nil)}},
		"method": {Rule{Methods: []string{"GET", "PUT"}},
			[]*http.Request{asked("GET", "h", "/", nil), asked("HEAD", "h", "/", nil), asked("PUT", "h", "/", nil)},
			[]*http.Request{asked("POST", "h", "/", nil), asked("get", "h", "/", nil)}},
		"HEAD alone":            {Rule{Methods: []string{"HEAD"}}, []*http.Request{asked("HEAD", "h", "/", nil)}, []*http.Request{asked("GET", "h", "/", nil)}},
		"pattern":               {pattern("GET shop.example/app/"), []*http.Request{asked("GET", "shop.example", "/app/x", nil)}, []*http.Request{asked("POST", "shop.example", "/app/x", nil), asked("GET", "h", "/app/x", nil), asked("GET", "shop.example", "/app", nil)}},
		"pattern of a method":   {pattern("DELETE \t/app"), []*http.Request{asked("DELETE", "h", "/app", nil)}, []*http.Request{asked("GET", "h", "/app", nil)}},
		"pattern of a host":     {pattern("*.shop.example/"), []*http.Request{asked("PUT", "a.shop.example", "/x", nil)}, []*http.Request{asked("GET", "shop.example", "/x", nil)}},
		"pattern for all":       {pattern(""), []*http.Request{asked("PUT", "", "/x", nil)}, nil},
		"prefix with a blank":   {pattern("/a b/"), []*http.Request{asked("PUT", "h", "/a%20b/x", nil)}, []*http.Request{asked("GET", "h", "/a", nil)}},
		"prefix and expression": {Rule{Path: "/app", Match: re(`\.gif$`)}, []*http.Request{asked("GET", "h", "/app/x.gif", nil)}, []*http.Request{asked("GET", "h", "/app/x", nil), asked("GET", "h", "/x.gif", nil)}},
		"field present": {Rule{Header: []Condition{{Name: "x-beta"}}},
			[]*http.Request{asked("GET", "h", "/", header("X-Beta", "")), asked("GET", "h", "/", header("X-Beta", "1"))}, []*http.Request{asked("GET", "h", "/", nil)}},
		"field equal": {Rule{Header: []Condition{{Name: "X-Beta", Values: []string{"1", ""}}}},
			[]*http.Request{asked("GET", "h", "/", header("X-Beta", "0", "X-Beta", "1")), asked("GET", "h", "/", header("X-Beta", ""))},
			[]*http.Request{asked("GET", "h", "/", header("X-Beta", "11")), asked("GET", "h", "/", nil), asked("GET", "h", "/", header("X-Alpha", "1"))}},
		"field matched": {Rule{Header: []Condition{{Name: "Accept", Match: re(`\bjson\b`)}, {Name: "X"}}},
			[]*http.Request{asked("GET", "h", "/", header("Accept", "text/html", "Accept", "application/json", "X", "y"))},
			[]*http.Request{asked("GET", "h", "/", header("Accept", "application/json")), asked("GET", "h", "/", header("Accept", "jsonp", "X", ""))}},
		"parameter present": {Rule{Query: []Condition{{Name: "a b"}}}, []*http.Request{asked("GET", "h", "/?a+b", nil), asked("GET", "h", "/?x&a%20b=1", nil)}, []*http.Request{asked("GET", "h", "/", nil), asked("GET", "h", "/?A+b", nil)}},
		"parameter equal": {Rule{Query: []Condition{{Name: "v", Values: []string{"1&2"}}}},
			[]*http.Request{asked("GET", "h", "/?v=1%262", nil), asked("GET", "h", "/?v=3&v=1%262", nil)}, []*http.Request{asked("GET", "h", "/?v=1&2", nil), asked("GET", "h", "/?v", nil)}},
		"parameter matched": {Rule{Query: []Condition{{Name: "v", Match: re("^[0-9]+$")}}}, []*http.Request{asked("GET", "h", "/?v=x&v=12", nil)}, []*http.Request{asked("GET", "h", "/?v=1x", nil), asked("GET", "h", "/?v=%zz", nil)}},
		"all of it": {Rule{Methods: []string{"POST"}, Hosts: []string{"h"}, Path: "/p/", Header: []Condition{{Name: "A"}}, Query: []Condition{{Name: "q"}}},
			[]*http.Request{asked("POST", "h", "/p/?q", header("A", "b"))},
			[]*http.Request{asked("GET", "h", "/p/?q", header("A", "b")), asked("POST", "i", "/p/?q", header("A", "b")), asked("POST", "h", "/?q", header("A", "b")), asked("POST", "h", "/p/?q", nil), asked("POST", "h", "/p/", header("A", "b"))}},
	} {
		t.Run(name, func(t *testing.T) {
			m := Mux{Next: named("next")}
			m.Add(one(tt.rule))
			var e Mux // the same as an exception
			e.Next = named("next")
			e.Add(tt.rule)
			e.Handle("", named("behind"))
			for _, r := range tt.fit {
				require.Equal(t, "fits", served(&m, r), "%s %s%s %v", r.Method, r.Host, r.URL, r.Header)
				require.Equal(t, "next", served(&e, r))
			}
			for _, r := range tt.not {
				require.Equal(t, "next", served(&m, r), "%s %s%s %v", r.Method, r.Host, r.URL, r.Header)
				require.Equal(t, "behind", served(&e, r))
			}
		})
	}
}

// TestMuxPatterns: the methods that take a prefix take a pattern.
func TestMuxPatterns(t *testing.T) {
	m := Mux{Next: named("next")}
	m.Except("POST shop.example/app/locked")
	h, err := m.ProxyPass("shop.example/app/", "http://back.test/x/")
	require.NoError(t, err)
	require.Equal(t, "/app/", h.Prefix)
	require.Equal(t, "/x/y", sentPath(t, h, "/app/y"))
	m.Handle("GET /app/", named("app"))
	require.Equal(t, "next", served(&m, asked("POST", "shop.example", "/app/locked", nil)))
	require.Equal(t, "app", served(&m, asked("GET", "other.example", "/app/locked", nil)))
	picked, err := m.pick(asked("PUT", "SHOP.example:80", "/app/", nil))
	require.NoError(t, err)
	require.Same(t, h, picked)
	for _, bad := range []string{"app", "GET", "GET app", " /x", "G(T /x", "shop.example:80/x", "a@b/x", "*.*.test/", "*/x", "[::1/x", "GET a b/x", "/a/../b"} {
		require.Panics(t, func() { m.Handle(bad, named("x")) }, bad)
		require.Panics(t, func() { m.Except(bad) }, bad)
		_, err := m.ProxyPass(bad, "http://back.test/")
		require.Error(t, err, bad)
	}
	for _, bad := range []Rule{
		{Path: "app"}, {Path: "/../x"}, {Methods: []string{""}}, {Methods: []string{"G T"}}, {Hosts: []string{""}}, {Hosts: []string{"a", "b:80"}}, {Hosts: []string{"b:"}}, {Hosts: []string{"*.[::1]"}},
		{Header: []Condition{{}}}, {Header: []Condition{{Name: "a b"}}}, {Header: []Condition{{Name: "host"}}}, {Query: []Condition{{}}},
		{Query: []Condition{{Name: "a", Values: []string{"b"}, Match: regexp.MustCompile("b")}}},
	} {
		require.Panics(t, func() { m.Add(bad) }, "%+v", bad)
		require.Error(t, m.Replace(Rule{}, bad), "%+v", bad)
	}
	require.Equal(t, "app", served(&m, asked("GET", "other.example", "/app/x", nil)), "nothing has changed")
}

// TestMuxPages: the Mux answers as a Handler does, HEAD without a body.
func TestMuxPages(t *testing.T) {
	var m Mux
	m.Handle("GET /a", named("a"))
	m.Handle("PUT /a", named("a"))
	m.Handle("DELETE other.test/a", named("a"))
	m.Add(Rule{Methods: []string{"PATCH"}, Path: "/a", Header: []Condition{{Name: "X-Patch"}}, Handler: named("a")}) // it fits none of these
	m.Except("POST /a/except")
	for _, tt := range []struct {
		method, target, allow, page string
		status                      int
	}{
		{"GET", "/../x", "", "400 Bad Request\n", 400}, {"GET", "/b", "", "404 Not Found\n", 404}, {"GET", "/%2fa", "", "404 Not Found\n", 404},
		{"POST", "/a/x", "GET, HEAD, PUT", "405 Method Not Allowed\n", 405}, {"POST", "/a/except", "", "404 Not Found\n", 404}, {"DELETE", "/b", "", "404 Not Found\n", 404},
		{"HEAD", "/../x", "", "", 400}, {"HEAD", "/b", "", "", 404}, {"OPTIONS", "/a", "GET, HEAD, PUT", "405 Method Not Allowed\n", 405},
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, asked(tt.method, "front.test", tt.target, nil))
		require.Equal(t, tt.status, w.Code, "%+v", tt)
		require.Equal(t, tt.page, w.Body.String())
		require.Equal(t, tt.allow, w.Header().Get("Allow"))
		require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.NotEmpty(t, w.Header().Get("Content-Length"))
	}
	m.Next = named("next") // which may take the method
	require.Equal(t, "next", served(&m, asked("POST", "front.test", "/a/x", nil)))
}

// TestMuxWhileServing: rules come and go, and each request sees one list.
func TestMuxWhileServing(t *testing.T) {
	m := Mux{Next: named("next")}
	a, b := Rule{Path: "/a", Handler: named("one")}, Rule{Path: "/b", Handler: named("one")}
	require.NoError(t, m.Replace(a, b))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, path := range []string{"/a", "/b"} {
					if got := served(&m, asked("GET", "h", path, nil)); got != "one" && got != "two" {
						t.Errorf("%s: %q", path, got)
						return
					}
				}
			}
		})
	}
	for i := range 500 {
		name := []string{"one", "two"}[i%2]
		a.Handler, b.Handler = named(name), named(name)
		require.NoError(t, m.Replace(a, b))
		m.Handle("/c", named("late"))
		require.Equal(t, "late", served(&m, asked("GET", "h", "/c", nil)))
	}
	close(stop)
	wg.Wait()
	require.NoError(t, m.Replace())
	require.Equal(t, "next", served(&m, asked("GET", "h", "/a", nil)))
	rules := []Rule{{Hosts: []string{"h"}, Handler: named("kept")}}
	require.NoError(t, m.Replace(rules...))
	rules[0].Hosts[0] = "i" // the Mux has its own
	require.Equal(t, "kept", served(&m, asked("GET", "h", "/a", nil)))
}
