package proxy

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRewriteCookies(t *testing.T) {
	domains := []CookieRule{{"int.test", "pub.test"}, {".two.test", ".pub2.test"}, {"local", "remote"}}
	paths := []CookieRule{{"/int", "/pub"}, {"/root/", "/"}, {"/local", "/remote"}}
	const same = "same"
	tests := []struct{ in, want string }{
		{"a=b; Domain=int.test; Path=/int/x; HttpOnly", "a=b; Domain=pub.test; Path=/pub/x; HttpOnly"}, // Apache: Path=/pub
		{"a=b; domain=.int.test", "a=b; domain=pub.test"},                                              // Apache: unchanged
		{"a=b; domain=two.test", "a=b; domain=.pub2.test"},
		{"a=b; PATH=/internal; DOMAIN=INT.TESTING", same}, // Apache: a prefix is enough
		{"a=b; DOMAIN=INT.TEST; PATH=/INT", "a=b; DOMAIN=pub.test; PATH=/INT"},
		{"a=b; domain=sub.int.test", same},
		{"path=/int; Path=/int", "path=/int; Path=/pub"},
		{"path=/int", same},
		{"domain=int.test; Secure", same},
		{"a=b; fakedomain=int.test; fakepath=/int", same},
		{"fakedomain=local;domain=local", "fakedomain=local;domain=remote"},
		{"fakepath=/local;path=/local", "fakepath=/local;path=/remote"},
		{"domain=local;path=/local;foo=bar", "domain=local;path=/remote;foo=bar"},
		{"a=b;domain=local;path=/local;foo=bar", "a=b;domain=remote;path=/remote;foo=bar"},
		// repeated attributes, CVE-2026-34356
		{"a=b; path=/int; path=/int/y; path=/int", "a=b; path=/pub; path=/pub/y; path=/pub"},
		{"a=b; domain=local; domain=x; domain=local", "a=b; domain=remote; domain=x; domain=remote"},
		{"a=/int; Path=/root/x", "a=/int; Path=/x"},
		{"a=b; Path=/root", same},
		{"a=b;\t Path\t=  /int/ ;  Secure ", "a=b;\t Path\t=  /pub/ ;  Secure "},
		{"a=b; Domain=int.test ; Secure", "a=b; Domain=pub.test ; Secure"},
		{`a=b; Path="/int"`, same},
		{"a=b; Path=; Domain=", same},
		{"a=b; Path; Domain", same},
		{"a=b;", same},
		{";", same},
		{"", same},
		{";Path=/int;", ";Path=/pub;"},
		{"a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/int", "a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/pub"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			h := http.Header{"Set-Cookie": {tt.in}}
			rewriteCookies(h, domains, paths)
			want := tt.want
			if want == same {
				want = tt.in
			}
			require.Equal(t, want, h.Get("Set-Cookie"))
		})
	}
}

func TestRewriteCookiesLeavesTheRestAlone(t *testing.T) {
	shared := []string{"a=b; Path=/x", "c=d; Path=/int"}
	h := http.Header{"Set-Cookie": shared, "Cookie": {"a=b; Path=/int"}}
	rewriteCookies(h, nil, []CookieRule{{"", "/never"}, {"/int", "/pub"}})
	require.Equal(t, http.Header{
		"Set-Cookie": {"a=b; Path=/x", "c=d; Path=/pub"},
		"Cookie":     {"a=b; Path=/int"},
	}, h)
	require.Equal(t, []string{"a=b; Path=/x", "c=d; Path=/int"}, shared)
	rewriteCookies(h, nil, nil)
}

// TestCookieOfTheWholePath: a path that is the rule's becomes what the rule
// says; a slash behind it would keep the cookie from "/app" itself.
func TestCookieOfTheWholePath(t *testing.T) {
	for in, want := range map[string]string{"a=b; Path=/": "a=b; Path=/app", "a=b; Path=/x": "a=b; Path=/app/x"} {
		h := http.Header{"Set-Cookie": {in}}
		rewriteCookies(h, nil, []CookieRule{{"/", "/app"}})
		require.Equal(t, want, h.Get("Set-Cookie"))
	}
}

func BenchmarkRewriteCookies(b *testing.B) {
	paths := []CookieRule{{"/int", "/pub"}}
	values := []string{"session=0123456789abcdef; Path=/int; HttpOnly; SameSite=Lax"}
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		h["Set-Cookie"] = values
		rewriteCookies(h, nil, paths)
	}
}
