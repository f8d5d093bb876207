package filter

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

func mapOf(t testing.TB, words string) *URLMap {
	parts := append(strings.Fields(words), "")
	m, err := ParseURLMap(parts[0], strings.TrimPrefix(parts[1], "="), parts[2])
	require.NoError(t, err)
	return m
}

func TestHTML(t *testing.T) {
	links := map[string][]string{"a": {"href"}, "img": {"src"}, "form": {"action"}}
	for _, tc := range []struct {
		maps     string // separated by "|"
		in, want string
	}{
		{"/in/ /out/", `<a href="/in/x">/in/</a>`, `<a href="/out/x">/in/</a>`},
		{"/in/ /out/", `<A CLASS=b HREF=/in/x?a&amp;b=1>`, `<a class="b" href="/out/x?a&amp;b=1">`},
		{"/in/ /out/", `<img src='/in/x' alt="&quot;"/>`, `<img src="/out/x" alt="&#34;" />`},
		{"/in/ /out/", `<a href="/xin/x"><b href="/in/"><A  Href = '/other'>`, `<a href="/xin/x"><b href="/in/"><A  Href = '/other'>`},
		{"/in/ /out/", "<!DOCTYPE html><!-- /in/ <a href='/in/'> --><p>a < b &lt; c</p>\x80\xff", "<!DOCTYPE html><!-- /in/ <a href='/in/'> --><p>a < b &lt; c</p>\x80\xff"},
		{"/in/ /out/", `<script>var a = "<a href='/in/'>"</script><a href="/in/">`, `<script>var a = "<a href='/in/'>"</script><a href="/out/">`},
		{"/in/ /out/|/out/ /no/", `<a href="/in/x">`, `<a href="/out/x">`},
		{"/in/ /out/ h|/in/ /two/", `<a href="/in/x">`, `<a href="/two/x">`},
		{"^/(\\w+)/ /$1-new/ R", `<a href="/in/x">`, `<a href="/in-new/x">`},
		{"/IN /out i", `<a href="/in/x">`, `<a href="/out/x">`},
		{"b.test /b R", `<a href="http://b.test/x">`, `<a href="http:///b/x">`},
		{"b.test /b R^", `<a href="http://b.test/x">`, `<a href="http://b.test/x">`},
		{"/in /out $", `<a href="/in/x"><a href="/in">`, `<a href="/in/x"><a href="/out">`},
		{"/in/ /out/", `<a href="/in/x`, `<a href="/in/x`},
		{"/in/ /out/", `<form action="/in/"><input value="/in/"></form>`, `<form action="/out/"><input value="/in/"></form>`},
		{"http://b.test /b", `<a href="http://b.test/x">`, `<a href="/b/x">`},
		{"/ /p/", `<a href="/x"><a href="//cdn.test/x">`, `<a href="/p/x"><a href="/p//cdn.test/x">`},
	} {
		p := &Page{Links: links}
		for m := range strings.SplitSeq(tc.maps, "|") {
			p.Maps = append(p.Maps, mapOf(t, m))
		}
		for _, piece := range []int{1, 3, 1 << 20} {
			var s sink
			f := HTML(&s, p)
			for rest := tc.in; rest != ""; {
				n := min(piece, len(rest))
				_, err := io.WriteString(f, rest[:n])
				require.NoError(t, err)
				rest = rest[n:]
			}
			require.NoError(t, f.Close())
			require.Equal(t, tc.want, s.String(), "%s, %d bytes at a time", tc.maps, piece)
		}
	}
	p := &Page{Maps: []*URLMap{mapOf(t, "/in/ /out/"), mapOf(t, "a.test b.test L"), mapOf(t, "b.test c.test"), mapOf(t, "/never/ /no/ ce")}, Links: links, Events: []string{"onclick"}, Extended: true, Strip: true}
	var s sink
	f := HTML(&s, p)
	_, err := io.WriteString(f, `<!-- gone --><a onclick="go('/in/', '/never/')" onload="/in/" href="/x"><style>url(/in/)</style><script>"/in/" "a.test" "/never/"</script>/in/`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, `<a onclick="go(&#39;/out/&#39;, &#39;/never/&#39;)" onload="/in/" href="/x"><style>url(/out/)</style><script>"/out/" "b.test" "/never/"</script>/in/`, s.String())

	long := "<a href=\"/in/\"><p title=\"" + strings.Repeat("x", 2*maxToken) + "\"><a href=\"/in/\">"
	s = sink{}
	f = HTML(&s, p)
	_, err = io.WriteString(f, long)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, strings.Replace(long, "/in/", "/out/", 1), s.String(), "what is too long is passed on, and all behind it")
	for _, bad := range []string{"a b q", "( b R", "a b V"} {
		parts := strings.Fields(bad)
		_, err := ParseURLMap(parts[0], parts[1], parts[2])
		require.Error(t, err, bad)
	}
}

// TestCostOfHTML: a page costs no more than its length.
func TestCostOfHTML(t *testing.T) {
	p := &Page{Maps: []*URLMap{mapOf(t, "/in/ /out/"), mapOf(t, "x*y z Ri")}, Links: map[string][]string{"a": {"href"}}, Events: []string{"onclick"}, Extended: true}
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]string{
		"links": `<a href="/in/">`, "open tags": "<a ", "attributes": "a href=/in/ ", "quotes": `"'`, "comments": "<!--", "scripts": "<script>/in/", "events": `<a onclick="/in/xxxx">`, "entities": "&amp", "text": "x",
	} {
		inputs[name] = func(n int) func() {
			body := strings.Repeat(text, n/len(text))
			return func() {
				f := HTML(discard{}, p)
				for rest := "<a " + body; rest != ""; {
					at := min(512, len(rest))
					_, _ = io.WriteString(f, rest[:at])
					rest = rest[at:]
				}
				_ = f.Close()
			}
		}
	}
	parsertest.Linear(t, inputs)
}
