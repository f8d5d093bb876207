package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

const refused = "400" // in tables of mapped paths

// mapTarget maps a request target as it stands in a request line and returns
// the request target for the backend, "400", or "" if the rule does not take it.
func mapTarget(t testing.TB, ru *rule, target string) string {
	t.Helper()
	in, err := url.ParseRequestURI(target)
	if err != nil {
		return refused // net/http does not let it in
	}
	var out url.URL
	ok, err := ru.apply(in, &out)
	if err != nil {
		var pe *exchange.Error
		require.ErrorAs(t, err, &pe)
		require.Equal(t, http.StatusBadRequest, pe.Status)
		require.Equal(t, exchange.OpRequest, pe.Op)
		require.False(t, ok)
		return refused
	}
	require.Equal(t, ok, ru.matches(in), "matches disagrees with apply for %q", target)
	if !ok {
		return ""
	}
	return out.RequestURI()
}

func prefixRule(t testing.TB, prefix, target string, m Mapping) *rule {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	ru, err := newPrefixRule(prefix, u, m)
	require.NoError(t, err)
	return ru
}

func TestCanonicalPath(t *testing.T) {
	tests := []struct {
		in       string // behind "/c/"
		raw, dec string // behind "/k/", or "400"
	}{
		{"x", "x", "x"},
		{"a%20b", "a%20b", "a%20b"},
		{"a%2Fb", "a%2Fb", "a%2Fb"}, // Apache: 404
		{"a%2fb", "a%2fb", "a%2Fb"}, // Apache: 404
		{"%41", "%41", "A"},
		{"%7Eu", "%7Eu", "~u"},
		{"a%3Bb", "a%3Bb", "a;b"},
		{"a%2Bb", "a%2Bb", "a+b"},
		{"a%28b", "a%28b", "a(b"}, // net/url has no RawPath for it
		{"a(b", "a(b", "a(b"},
		{"a;v=1/b", "a;v=1/b", "a;v=1/b"},
		{"a+b", "a+b", "a+b"},
		{"~u", "~u", "~u"},
		{"'!*(),:@&=$", "'!*(),:@&=$", "'!*(),:@&=$"},
		{"a%3Fb", "a%3Fb", "a%3Fb"},
		{"a%23b", "a%23b", "a%23b"},
		{"a%25b", "a%25b", "a%25b"},
		{"a%252Fb", "a%252Fb", "a%252Fb"}, // not decoded twice (NoDecode trap)
		{"a%5Cb", "a%5Cb", "a%5Cb"},
		{"\"|<>{}^`[]", "%22%7C%3C%3E%7B%7D%5E%60%5B%5D", "%22%7C%3C%3E%7B%7D%5E%60%5B%5D"},
		{"%2F\"", "%2F%22", "%2F%22"}, // one byte to escape does not touch the rest
		{"\xe4", "%E4", "%E4"},
		{"%E4", "%E4", "%E4"},
		{"%e4", "%e4", "%E4"},
		{"%0A", "%0A", "%0A"},
		{"%0D%0A", "%0D%0A", "%0D%0A"},
		{"%00", refused, refused}, // Apache: 404, forwarded with mapping=encoded
		{"a%", refused, refused},
		{"a%zz", refused, refused},
		{"../c/x", "x", "x"},
		{"%2e%2e/c/x", "x", "x"},
		{".%2e/c/x", "x", "x"},
		{"%2E./c/x", "x", "x"},
		{"y/..", "", ""},
		{"y/.", "y/", "y/"},
		{"./x", "x", "x"},
		{"%2e/x", "x", "x"},
		{"...", "...", "..."},
		{".x", ".x", ".x"},
		{"%2ex", "%2ex", ".x"},
		{"..%2Fx", "..%2Fx", "..%2Fx"}, // %2F is no separator
		{"%252e%252e/x", "%252e%252e/x", "%252e%252e/x"},
		{"../../x", refused, refused}, // above the root
		{"..%2f../../../../x", refused, refused},
		{"?", "?", "?"},
		{"?a=%2F&b=%zz", "?a=%2F&b=%zz", "?a=%2F&b=%zz"},
		{"a?b?c", "a?b?c", "a?b?c"},
		{"?q=\xe4", "?q=\xe4", "?q=\xe4"},
		{"?a=b c", refused, refused},
		{"a?b#c", refused, refused},
		{"a#b", refused, refused},
		{"a b", refused, refused},
		{"a//b", "a//b", "a/b"},
		{"a//./b", "a/b", "a/b"}, // a doubled slash goes when dots are resolved
		{"/x", "/x", "x"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			for m, want := range map[Mapping]string{MappingRaw: tt.raw, MappingDecoded: tt.dec} {
				if want != refused {
					want = "/k/" + want
				}
				got := mapTarget(t, prefixRule(t, "/c/", "http://b/k/", m), "/c/"+tt.in)
				require.Equal(t, want, got, "mapping %d of %q", m, "/c/"+tt.in)
			}
		})
	}
}

func TestServletMapping(t *testing.T) {
	ru := prefixRule(t, "/srv", "http://b/srv", MappingServlet)
	tests := []struct{ in, want string }{
		{"/srv", "/srv"},
		{"/srvx", ""},
		{"/srv;p=1/x", "/srv;p=1/x"},
		{"/srv/..;/srv/x", "/srv/x"},
		{"/x/..;/srv/y", "/srv/y"},
		{"/x/..;a=b/srv/y", "/srv/y"},
		{"/x/%2e%2e;/srv/y", "/srv/y"},
		{"/x/../srv/y", "/srv/y"},
		{"/srv/..;/x", ""},
		{"/srv//x", "/srv/x"},
		{"/srv/./x", "/srv/x"},
		{"/srv/.;p/x", "/srv/x"},
		{"/srv/x;p=1", "/srv/x;p=1"},
		{"/srv;p=1", "/srv"}, // the last parameter is lost, as in Apache
		{"/srv/a%2Fb", "/srv/a%2Fb"},
		{"/srv/a%3Bb", "/srv/a%3Bb"},
		{"/srv/a%252Fb", "/srv/a%252Fb"},
		{"/srv%3Bp", ""},
		{"/;p/srv/x", "/srv/x"},
		{"/srv/;p/../y", ""}, // the container does not see ";p", so ".." leaves /srv
		{"/..;/srv/x", refused},
		{"/;p/../srv", refused},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, mapTarget(t, ru, tt.in), tt.in)
	}
	nested := prefixRule(t, "/a/b/", "http://b/c/", MappingServlet)
	require.Equal(t, "/c/x;q", mapTarget(t, nested, "/a;p/b;r/x;q"))
	require.Equal(t, "/c/x", mapTarget(t, nested, "/notexisting/..;/a/b/x"))
	require.Equal(t, "/c/x", mapTarget(t, nested, "/notexisting/../a/b/x"))
}

// Paths that middleware made by hand, not net/http.
func TestCanonicalPathOfEditedURL(t *testing.T) {
	tests := []struct {
		name string
		in   url.URL
		want string
	}{
		{"Path alone", url.URL{Path: "/a b%?c"}, "/a%20b%25%3Fc"},
		{"RawPath left behind", url.URL{Path: "/new", RawPath: "/old%2F"}, "/new"},
		{"RawPath longer", url.URL{Path: "/a", RawPath: "/a%2F"}, "/a"},
		{"RawPath shorter", url.URL{Path: "/a/b", RawPath: "/a"}, "/a/b"},
		{"RawPath malformed", url.URL{Path: "/a", RawPath: "/a%z"}, refused},
		{"RawPath with question mark", url.URL{Path: "/a?b", RawPath: "/a?b"}, refused},
		{"RawPath with blank", url.URL{Path: "/a b", RawPath: "/a b"}, refused},
		{"NUL", url.URL{Path: "/a\x00"}, refused},
		{"empty", url.URL{}, refused},
		{"empty absolute", url.URL{Scheme: "http", Host: "front"}, "/"},
		{"authority", url.URL{Host: "front:1"}, refused},
		{"no slash", url.URL{Path: "@localhost/foobar.html"}, refused}, // CVE-2011-3368
		{"scheme", url.URL{Path: "x:@localhost/"}, refused},            // CVE-2011-4317
		{"opaque", url.URL{Scheme: "http", Opaque: "front/x", Path: "/y"}, refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := canonicalPath(&tt.in, MappingRaw)
			if tt.want == refused {
				var pe *exchange.Error
				require.ErrorAs(t, err, &pe)
				require.Equal(t, http.StatusBadRequest, pe.Status)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, c.wire)
		})
	}
}

func TestCanonicalPathErrorsKeepTheCause(t *testing.T) {
	_, err := canonicalPath(&url.URL{Path: "/../x"}, MappingRaw)
	require.EqualError(t, errors.Unwrap(err), "path: climbs above the root")
}

func TestCanonicalPathAllocatesNothingForPlainPaths(t *testing.T) {
	for _, p := range []string{"/", "/index.html", "/.well-known/a.b/-_~$&+,:;=@", "/a/..b/.c", "/" + strings.Repeat("abc/", 40)} {
		u := &url.URL{Path: p}
		for _, m := range []Mapping{MappingRaw, MappingDecoded, MappingServlet} {
			n := testing.AllocsPerRun(100, func() {
				if c, err := canonicalPath(u, m); err != nil || c.wire != p {
					t.Fatal(p, c, err)
				}
			})
			require.Zero(t, n, "%q, mapping %d", p, m)
		}
	}
}

func TestTextIndex(t *testing.T) {
	c, err := canonicalise("/a%20b//c%2fd%2541", MappingRaw)
	require.NoError(t, err)
	text, index := c.text()
	require.Equal(t, "/a b/c%2Fd%41", text)
	require.Equal(t, []int{0, 1, 2, 5, 6, 8, 9, 10, 11, 12, 13, 16, 17, 18}, index)
}
