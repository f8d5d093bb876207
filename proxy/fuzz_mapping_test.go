package proxy

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// FuzzMapping maps what any client may send, by rules as people write them. The
// request must never choose the host, leave the path of the target, or put a
// byte into the request line that ends something.
func FuzzMapping(f *testing.F) {
	for _, s := range []string{
		"/app/x", "/app/a%20b?q=1", "/app/..%2Fx", "/app/%2e%2e/app/x", "/app/..;/app/x", "//app//x", "/app/%2541%25",
		"/m/a%0D%0Ab", "/m/a%3Fb", "/m/x../y", "/m@evil.test/", "/m:81/", "@evil.test/", "/%", "/a\"%2F", "*", "/app/%2f", "/m/%2F2F",
	} {
		f.Add(s)
	}
	type bound struct {
		ru   *rule
		path string // all results begin with it
	}
	var rules []bound
	for _, m := range []Mapping{MappingRaw, MappingDecoded, MappingServlet} {
		rules = append(rules,
			bound{prefixRule(f, "/", "http://b.test:81/", m), "/"},
			bound{prefixRule(f, "", "http://b.test:81", m), "/"},
			bound{prefixRule(f, "/app", "http://b.test:81/x%2Fy", m), "/x%2Fy"},
			bound{prefixRule(f, "/app/", "http://b.test:81/x/", m), "/x/"},
			bound{prefixRule(f, "/app/deep/", "http://b.test:81/", m), "/"},
		)
		for _, p := range [][2]string{
			{`^/m/(.*)$`, "/x/$1"}, {`(?s)^/m(.*)$`, "$1"}, {`(.*)`, "$1"}, {`^/m/.(.*)`, "/x/.$1"}, {`(.)2F`, "/x/$12F$0"}, {`/m`, "/x"},
		} {
			ru, err := newMatchRule(regexp.MustCompile(p[0]), "http://b.test:81"+p[1], m)
			if err != nil {
				f.Fatal(err)
			}
			path, _, _ := strings.Cut(p[1], "$")
			rules = append(rules, bound{ru, path})
		}
	}

	f.Fuzz(func(t *testing.T, target string) {
		edited := &url.URL{}
		edited.Path, edited.RawQuery, _ = strings.Cut(target, "?") // by middleware
		ins := []*url.URL{edited, {Path: target, RawPath: target}}
		if u, err := url.ParseRequestURI(target); err == nil {
			ins = append(ins, u)
		}
		for _, in := range ins {
			for _, b := range rules {
				checkMapping(t, b.ru, b.path, *in)
			}
		}
	})
}

func checkMapping(t *testing.T, ru *rule, path string, in url.URL) {
	before := in
	var out url.URL
	ok, err := ru.apply(&in, &out)
	if in != before {
		t.Fatalf("the request changed: %#v", in)
	}
	if err != nil {
		if ok || exchange.StatusOf(err) != http.StatusBadRequest {
			t.Fatalf("%v, %v, status %d", ok, err, exchange.StatusOf(err))
		}
		return
	}
	if ok != ru.matches(&in) && ok {
		t.Fatalf("apply takes %#v, matches does not", in)
	}
	if !ok {
		return
	}
	sent := out.RequestURI()
	escaped, _, _ := strings.Cut(sent, "?")
	switch {
	case out.Scheme != "http" || out.Host != "b.test:81" || out.User != nil || out.Opaque != "":
		t.Fatalf("%#v became %#v", in, out)
	case !strings.HasPrefix(escaped, path):
		t.Fatalf("%#v became %q, not under %q", in, sent, path)
	case syntax.HasBlankOrControl(sent) || strings.Contains(sent, "#"):
		t.Fatalf("%#v became %q", in, sent)
	case out.RawPath != "" && out.RawPath != out.EscapedPath():
		t.Fatalf("%#v: net/url does not accept RawPath %q for %q", in, out.RawPath, out.Path)
	case out.RawQuery != in.RawQuery:
		t.Fatalf("query %q became %q", in.RawQuery, out.RawQuery)
	}
	if survey, err := survey(escaped, ru.mode == MappingServlet); err != nil || survey.dots || survey.foreign {
		t.Fatalf("%#v became %q: %v %+v", in, escaped, err, survey)
	}
	again, err := url.Parse(out.String())
	if err != nil || again.Path != out.Path || again.EscapedPath() != escaped || again.RawQuery != out.RawQuery || again.Host != out.Host {
		t.Fatalf("%q reads as %#v, want %#v: %v", out.String(), again, out, err)
	}
}

// FuzzReverse maps values of Location as any backend may send them.
func FuzzReverse(f *testing.F) {
	for _, s := range []string{
		"http://b.test/rev/x?y#z", "HTTP://B.TEST:80/rev", "/rel/x", "//b.test/rev", "http://u@b.test/rev", "http:///", "://", "http://[::1/rev",
		"http://b.test/rev\r\nX: y", "http://b.test/rev\\x", "balancer://b.test/rev", "http://root.test//evil.test", "http://b.test:/rev",
	} {
		f.Add(s)
	}
	rules := compiledReverse(f,
		ReverseRule{"/rev", "http://b.test/rev"},
		ReverseRule{"/rel/", "/rel/"},
		ReverseRule{"/bal", "balancer://x/y"},
		ReverseRule{"/", "http://root.test"},
	)
	views := []reverseView{
		{frontScheme: "https", frontHost: "front.test:8443", backendHost: "b.test", backendPath: "/m/"},
		{backendHost: "b.test:80"},
	}
	f.Fuzz(func(t *testing.T, v string) {
		for _, view := range views {
			shared := []string{v, v}
			h := http.Header{"Location": shared}
			rewriteLocations(h, rules, view)
			got := h["Location"]
			if shared[0] != v || len(got) != 2 || got[0] != got[1] {
				t.Fatalf("%q: shared slice %q, got %q", v, shared, got)
			}
			if got[0] == v {
				continue
			}
			front := "/"
			if view.frontHost != "" {
				front = "https://front.test:8443/"
			}
			if !strings.HasPrefix(got[0], front) || strings.HasPrefix(got[0], "//") || strings.ContainsAny(got[0], "\r\n\x00") {
				t.Fatalf("%q became %q", v, got[0])
			}
			if u, err := url.Parse(v); err == nil && u.Host != "" {
				if host := u.Hostname(); !strings.EqualFold(host, "b.test") && !strings.EqualFold(host, "root.test") && !strings.EqualFold(host, "front.test") {
					t.Fatalf("%q of another host became %q", v, got[0])
				}
			}
		}
	})
}

// FuzzCookies maps Set-Cookie as any backend may send it.
func FuzzCookies(f *testing.F) {
	for _, s := range []string{
		"a=b; Domain=int.test; Path=/int/x; HttpOnly", "path=/int; Path=/int;path=/int", "a=b;;;=;path;path=", ";domain=.INT.test ", "a=b; Path = /int/\t;",
	} {
		f.Add(s)
	}
	domains := []CookieRule{{"int.test", "pub.test"}}
	paths := []CookieRule{{"/int", "/p"}}
	f.Fuzz(func(t *testing.T, v string) {
		shared := []string{v}
		h := http.Header{"Set-Cookie": shared}
		rewriteCookies(h, domains, paths)
		got := h.Get("Set-Cookie")
		if shared[0] != v {
			t.Fatalf("shared slice became %q", shared)
		}
		before, after := strings.Split(v, ";"), strings.Split(got, ";")
		if len(before) != len(after) || before[0] != after[0] {
			t.Fatalf("%q became %q", v, got)
		}
		for i := range before {
			if before[i] == after[i] {
				continue
			}
			name, value, _ := strings.Cut(before[i], "=")
			undone := strings.NewReplacer("pub.test", "int.test", "/p", "/int").Replace(after[i])
			name = strings.ToLower(strings.Trim(name, " \t"))
			if name != "path" && name != "domain" || !strings.Contains(strings.ToLower(value), "int") || len(undone) < len(after[i]) {
				t.Fatalf("%q became %q", before[i], after[i])
			}
		}
	})
}
