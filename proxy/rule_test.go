package proxy

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrefixRule(t *testing.T) {
	tests := []struct{ prefix, target, in, want string }{
		{"/plain", "http://b/plain", "/plain", "/plain"},
		{"/plain", "http://b/plain", "/plain/", "/plain/"},
		{"/plain", "http://b/plain", "/plainx", ""},
		{"/plain", "http://b/plain", "/plai", ""},
		{"/plain", "http://b/plain", "/PLAIN", ""},
		{"/plain", "http://b/plain", "//plain/x", "/plain/x"},
		{"/plain", "http://b/plain", "/plain//x", "/plain//x"}, // Apache: /plain/x
		{"/plain", "http://b/plain", "/%70lain/%78", "/plain/%78"},
		{"/plain", "http://b/plain", "/plain%2Fx", ""},
		{"/plain", "http://b/plain", "/other/../plain/x", "/plain/x"},
		{"/plain", "http://b/plain", "/plain/../x", ""},
		{"/plain", "http://b/plain", "*", ""},
		{"/slash/", "http://b/S/", "/slash", ""},
		{"/slash/", "http://b/S/", "/slash/", "/S/"},
		{"/slash/", "http://b/S/", "/slash/x", "/S/x"},
		{"/slash/", "http://b/S/", "/slash//x", "/S//x"},
		{"/slash/", "http://b/S/", "/%73lash//x", "/S//x"},
		{"//two///parts", "http://b/p", "/two/parts/x", "/p/x"},
		{"//two///parts", "http://b/p", "//two////parts/x", "/p/x"},
		{"/a b", "http://b/x%20y", "/a%20b/c", "/x%20y/c"},
		{"/a", "http://b/x%2Fy", "/a/c", "/x%2Fy/c"},
		{"/a%2Fb", "http://b/x", "/a%2fb/c", "/x/c"},
		{"/a%2Fb", "http://b/x", "/a/b/c", ""},
		{"/a/b", "http://b/AB", "/a/b/c", "/AB/c"},
		{"/a", "http://b", "/a", "/"},
		{"/a", "http://b", "/a/x", "/x"},
		{"/a", "http://b", "/a?q", "/?q"},
		{"/a/b", "http://b", "/a%2Fb/x", ""},
		{"", "http://b", "/x/y", "/x/y"},
		{"", "http://b/", "/x/y", "/x/y"},
		{"/", "http://b", "/x/y", "/x/y"},
		{"/", "http://b/", "//evil.test/x", "//evil.test/x"},
		{"", "http://b/base", "/x", "/base/x"},
		{"/", "http://b/base/", "/x", "/base/x"},
		{"/", "http://b", "http://front.test", "/"}, // absolute-form without a path
		{"/", "http://b", "http://front.test/x", "/x"},
		{"/r/", "http://b/?k=v", "/r/x", "/x?k=v"},
		{"/r/", "http://b/?k=v", "/r/x?a=%2F", "/x?k=v&a=%2F"},
		{"/reverse/", "http://b/", "/reverse/nonesuch/file%25", "/nonesuch/file%25"}, // PR 15207
		{"/reverse/", "http://b/", "/reverse/env.pl?reverse-proxy", "/env.pl?reverse-proxy"},
		// CVE-2021-40438: what looks like a socket is a path
		{"/", "http://b", "/unix:/run/x.sock|http://c/", "/unix:/run/x.sock%7Chttp://c/"},
		{"/", "http://b", "/?unix:AAAA|http://c/", "/?unix:AAAA|http://c/"},
	}
	for _, tt := range tests {
		t.Run(tt.prefix+" "+tt.target+" "+tt.in, func(t *testing.T) {
			require.Equal(t, tt.want, mapTarget(t, prefixRule(t, tt.prefix, tt.target, MappingRaw), tt.in))
		})
	}
}

func TestPrefixRuleJointOfSlashes(t *testing.T) {
	tests := []struct{ prefix, target, in, lenient string }{
		{"/noslash", "http://b/NS/", "/noslash/x", "/NS//x"},
		{"/slashno/", "http://b/SN", "/slashno/x", "/SNx"},
		{"/slashno/", "http://b", "/slashno/x", "/x"}, // in Apache the host becomes "bx"
		{"/root", "http://b/", "/root/x", "//x"},
		{"", "http://b/base/", "/x", "/base//x"},
		{"/", "http://b/base", "/x", "/basex"},
	}
	for _, tt := range tests {
		t.Run(tt.prefix+" "+tt.target, func(t *testing.T) {
			u, err := url.Parse(tt.target)
			require.NoError(t, err)
			_, err = newPrefixRule(tt.prefix, u, MappingRaw)
			require.ErrorContains(t, err, "slash")
			ru, err := newPrefixRuleLenient(tt.prefix, u, MappingRaw)
			require.NoError(t, err)
			require.Equal(t, tt.lenient, mapTarget(t, ru, tt.in))
		})
	}
}

func TestPrefixRuleErrors(t *testing.T) {
	tests := []struct{ prefix, target string }{
		{"a", "http://b/a"},
		{"~", "http://b"},
		{"/a/../b", "http://b/x"},
		{"/a/.", "http://b/x"},
		{"/a", "/x"},
		{"/a", "http:x"},
		{"/a", "//b/x"},
		{"/a", "http://b/x#f"},
		{"/a", "http://b/%00"},
		{"/a", "http://b/../x"},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.target)
		require.NoError(t, err)
		_, err = newPrefixRuleLenient(tt.prefix, u, MappingRaw)
		require.Error(t, err, "%q %q", tt.prefix, tt.target)
	}
	_, err := newPrefixRule("/", nil, MappingRaw)
	require.Error(t, err)
}

func TestApplyTakesEverythingButTheRestFromTheTarget(t *testing.T) {
	ru := prefixRule(t, "/a", "https://user:secret@b:8443/x", MappingRaw)
	in := &url.URL{
		Scheme: "http", User: url.UserPassword("u", "p"), Host: "front.test", OmitHost: true,
		Path: "/a/(c d)", RawPath: "/a/(c%20d)", ForceQuery: true,
	}
	ok, err := ru.apply(in, in)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, &url.URL{
		Scheme: "https", Host: "b:8443", Path: "/x/(c d)", RawPath: "/x/(c%20d)", ForceQuery: true,
	}, in)
}

func TestApplyLeavesOutAloneWhenItDoesNotFit(t *testing.T) {
	ru := prefixRule(t, "/a", "http://b/x", MappingRaw)
	before := url.URL{Scheme: "kept", Host: "kept", Path: "/kept"}
	for _, in := range []url.URL{{Path: "/b"}, {Path: "/a/../../a"}, {Path: "/a", RawQuery: "a b"}} {
		out := before
		ok, _ := ru.apply(&in, &out)
		require.False(t, ok)
		require.Equal(t, before, out)
	}
}

func TestApplyAllocations(t *testing.T) {
	tests := []struct {
		prefix, target string
		most           float64
	}{
		{"/", "http://b/", 0},
		{"", "http://b", 0},
		{"/app/", "http://b/app/", 0},
		{"/app", "http://b", 0},
		{"/app/", "http://b/x/", 1},
	}
	in := &url.URL{Path: "/app/index.html", RawQuery: "a=b"}
	var out url.URL
	for _, tt := range tests {
		ru := prefixRule(t, tt.prefix, tt.target, MappingRaw)
		n := testing.AllocsPerRun(100, func() {
			if ok, err := ru.apply(in, &out); !ok || err != nil {
				t.Fatal(ok, err)
			}
		})
		require.LessOrEqual(t, n, tt.most, "%q %q", tt.prefix, tt.target)
	}
}

func BenchmarkApplyPrefix(b *testing.B) {
	in := &url.URL{Path: "/app/static/js/main.7f3c.js", RawQuery: "v=3"}
	for _, bb := range []struct{ name, prefix, target string }{
		{"same", "/app/", "http://b/app/"},
		{"moved", "/app/", "http://b/x/"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ru := prefixRule(b, bb.prefix, bb.target, MappingRaw)
			var out url.URL
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := ru.apply(in, &out); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
	b.Run("escaped", func(b *testing.B) {
		ru := prefixRule(b, "/app/", "http://b/x/", MappingRaw)
		in := &url.URL{Path: "/app/a b/(c).js", RawPath: "/app/a%20b/(c).js"}
		var out url.URL
		b.ReportAllocs()
		for b.Loop() {
			if ok, err := ru.apply(in, &out); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}

func matchRule(t testing.TB, pattern, target string, m Mapping) *rule {
	t.Helper()
	ru, err := newMatchRule(regexp.MustCompile(pattern), target, m)
	require.NoError(t, err)
	return ru
}
