package files

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

func TestRules(t *testing.T) {
	types, err := ReadTypes(strings.NewReader("# comment\ntext/html html HTM # more\nimage/png\tpng\n\ntext/plain\n"))
	require.NoError(t, err)
	require.Equal(t, Types{"html": "text/html", "htm": "text/html", "png": "image/png"}, types)
	var outer, inner Rules
	outer.Add(Type, "text/x", ".X", "y")
	outer.Add(Charset, "utf-8", "utf8")
	outer.Add(Language, "en", "en")
	outer.Add(Language, "de", "de")
	outer.Add(Encoding, "gzip", "gz")
	outer.Add(Handler, "h", "do")
	inner.Remove(Type, ".x")
	inner.Add(Type, "text/z", "z")
	inner.DefaultLanguage = "fr"
	merged := outer.Merge(inner)
	for name, want := range map[string]Meta{
		"a.html":                          {Type: "text/html"},
		"a.HTM":                           {Type: "text/html"},
		"html":                            {},
		".html":                           {},
		"..a.html":                        {Type: "text/html"},
		"a..html.":                        {Type: "text/html"},
		"a.html.bak":                      {Type: "text/html"},
		"a.utf8.html":                     {Type: "text/html; charset=utf-8"},
		"a.utf8":                          {},
		"a.en.html.gz.de":                 {Type: "text/html", Languages: []string{"en", "de"}, Encodings: []string{"gzip"}},
		"a.do.png":                        {Type: "image/png", Handler: "h"},
		"a.x":                             {Type: "text/x"},
		"a." + strings.Repeat("en.", 200): {},
	} {
		require.Equal(t, want, outer.Of(name, types), name)
	}
	require.Equal(t, Meta{Languages: []string{"fr"}}, merged.Of("a.x", types))
	require.Equal(t, Meta{Type: "text/z", Languages: []string{"en"}}, merged.Of("a.z.en", types))
	require.Equal(t, Meta{Type: "text/x", Languages: []string{"fr"}}, merged.Of("a.y", types))
	require.Equal(t, Meta{Type: "text/x"}, outer.Of("a.x", types), "outer is as it was")
	require.True(t, new(Rules).IsZero())
	require.False(t, outer.IsZero())
	require.Equal(t, "text/css", UsualTypes()["css"])
}

func TestWithCharset(t *testing.T) {
	require.Equal(t, "text/a; b=c; charset=x", WithCharset("text/a ; charset=y;b=c", "x"))
	require.True(t, HasCharset("text/a;b=c; CHARSET=x"))
	require.False(t, HasCharset("text/charset=x"))
}

// TestListing: names are shown as they are, and are never a scheme, a page or
// more than a name.
func TestListing(t *testing.T) {
	root := tree(t, map[string]string{"a.txt": "", "sub/x": "", ".hidden": "", "javascript:alert(1)": "", "<b>&\"'": "", "a?b#c%41": "", "x.bak": ""})
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	l := &Listing{Path: "/<p>/", Ignore: []string{"*.bak", ".??*"}, Footer: "<p>end</p>"}
	page := l.Page(l.Names(entries))
	for _, want := range []string{`<title>Index of /&lt;p&gt;</title>`, `<a href="../">`, `<a href="./javascript:alert%281%29">`, `<a href="a%3Fb%23c%2541">a?b#c%41</a>`, `<a href="sub/">sub/</a>`, "<p>end</p>", "&lt;b&gt;&amp;"} {
		require.Contains(t, page, want)
	}
	for _, not := range []string{"x.bak", ".hidden", "<b>"} {
		require.NotContains(t, page, not)
	}
	require.NotContains(t, (&Listing{Path: "/"}).Page(nil), "Parent")
}

// TestCost: a name costs no more than its length.
func TestCost(t *testing.T) {
	var rules Rules
	rules.Add(Language, "en", "en")
	rules.Add(Charset, "utf-8", "c")
	types := Types{"html": "text/html"}
	inputs := make(map[string]parsertest.Input)
	for name, part := range map[string]string{"suffixes": ".en", "charsets": ".c", "dots": ".", "types": ".html"} {
		inputs[name] = func(n int) func() {
			text := "a" + strings.Repeat(part, n/len(part))
			return func() { rules.Of(text, types) }
		}
	}
	for name, part := range map[string]string{"parameters": ";a=b", "charset parameters": ";charset=x"} {
		inputs[name] = func(n int) func() {
			text := "text/html" + strings.Repeat(part, n/len(part))
			return func() { WithCharset(text, "x"); HasCharset(text) }
		}
	}
	enter := func(string) (Links, error) { return LinksAlways, nil }
	for name, part := range map[string]string{"segments": "/none", "slashes": "/", "dots in paths": "/."} {
		inputs[name] = func(n int) func() {
			text := strings.Repeat(part, n/len(part))
			return func() { _, _ = Find(text, enter) }
		}
	}
	parsertest.Linear(t, inputs)
}

func FuzzRules(f *testing.F) {
	f.Add("a.en.html.gz", "text/html; charset=x; a=b")
	f.Add(".png..utf8", "")
	f.Fuzz(func(t *testing.T, name, kind string) {
		var rules Rules
		rules.Add(Charset, "utf-8", "utf8")
		rules.Add(Language, "en", "en")
		m := rules.Of(name, Types{"html": kind, "png": "image/png"})
		require.LessOrEqual(t, len(m.Languages), len(name))
		require.True(t, HasCharset(WithCharset(kind, "x")))
	})
}
