package proxy

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

var frontView = reverseView{frontScheme: "http", frontHost: "front.test", backendHost: "127.0.0.1:21001"}

func compiledReverse(t testing.TB, rules ...ReverseRule) []reverseRule {
	t.Helper()
	c, err := compileReverse(rules)
	require.NoError(t, err)
	return c
}

func TestRewriteLocations(t *testing.T) {
	const b = "http://127.0.0.1:21001"
	rules := compiledReverse(t,
		ReverseRule{"/rev", b + "/rev"},
		ReverseRule{"/rev", "http://other.test/o"},
		ReverseRule{"/rev", "/rel"},
		ReverseRule{"/rev", "http://def.test:80/d"},
		ReverseRule{"/tls", "https://def.test/d"},
		ReverseRule{"/", "http://root.test"},
		ReverseRule{"/app", "http://app.test/x/"},
		ReverseRule{"/nos/", "http://nos.test/n"},
		ReverseRule{"/six/", "http://[2001:DB8::1]:80/s/"},
	)
	const same = "same"
	tests := []struct{ in, want string }{
		{b + "/rev/x?y#z", "http://front.test/rev/x?y#z"},
		{b + "/rev", "http://front.test/rev"},
		{b + "/rev?y", "http://front.test/rev?y"},
		{b + "/rev#y", "http://front.test/rev#y"},
		{b + "/rev//x", "http://front.test/rev//x"},
		{b + "/rev/%2F%0d%0a", "http://front.test/rev/%2F%0d%0a"},
		{"HTTP://OTHER.TEST/o/1", "http://front.test/rev/1"},
		{"http://other.test/O/1", same}, // Apache: path case is ignored
		{"/rel/1", "http://front.test/rev/1"},
		{"/rel?x", "http://front.test/rev?x"},
		{b + "/rel/1", "http://front.test/rev/1"},
		{"https://127.0.0.1:21001/rel/1", "http://front.test/rev/1"},
		{"http://FRONT.test:80/rel/1", "http://front.test/rev/1"},
		{"http://front.test:8080/rel/1", same},
		{"http://elsewhere.test/rel/1", same}, // Apache: any host
		{b + "/revolution", same},             // Apache: /revolution
		{"/relative", same},
		{"http://def.test/d/1", "http://front.test/rev/1"}, // Apache: port is compared as text
		{"http://def.test:80/d/1", "http://front.test/rev/1"},
		{"http://def.test:443/d/1", same},
		{"https://def.test:443/d/1", "http://front.test/tls/1"},
		{"http://def.test:/d/1", "http://front.test/rev/1"},
		{"http://root.test", "http://front.test/"},
		{"http://root.test/x", "http://front.test/x"},
		{"http://root.test?q", "http://front.test/?q"},
		{"http://root.test//evil.test/x", "http://front.test//evil.test/x"},
		{"http://app.test/x/y", "http://front.test/app/y"},
		{"http://app.test/x/", "http://front.test/app/"},
		{"http://app.test/x", same},
		{"http://nos.test/n/x", "http://front.test/nos/x"},
		{"http://nos.test/n", "http://front.test/nos/"},
		{"http://[2001:db8::1]/s/x", "http://front.test/six/x"},
		{"//other.test/o/1", same},
		{"//rel/1", same},
		{"/rev/x", same},
		{"relative", same},
		{"?q", same},
		{"", same},
		{b + "/", same},
		{b, same},
		{"http://user@root.test/x", same},
		{"http://127.0.0.1:21001:21001/rev", same},
		{"http://other.test:port/o", same},
		{"http:///rev", same},
		{"http://root.test@evil.test/x", same},
		{"http://root.test\\@evil.test/x", same},
		{"http://root.test.evil.test/x", same},
		{"://root.test/x", same},
		{"mailto:a@root.test", same},
		{b + "/rev/x\r\nSet-Cookie: a=b", same},
		{b + "/rev/\x7f", same},
		{b + "/rev/a b", "http://front.test/rev/a b"},
		{"http://root.test/\xff", "http://front.test/\xff"},
	}
	for _, tt := range tests {
		for _, name := range []string{"Location", "Content-Location", "URI", "Destination"} {
			h := http.Header{}
			h.Set(name, tt.in)
			rewriteLocations(h, rules, frontView)
			want := tt.want
			if want == same {
				want = tt.in
			}
			require.Equal(t, want, h.Get(name), "%s: %q", name, tt.in)
		}
	}

	h := http.Header{"Link": {"<" + b + "/rev/x>"}, "Refresh": {"0; url=" + b + "/rev/x"}, "Referer": {b + "/rev/x"}}
	want := h.Clone()
	rewriteLocations(h, rules, frontView)
	require.Equal(t, want, h)
}

func TestRewriteLocationsFirstRuleThatFits(t *testing.T) {
	rules := compiledReverse(t,
		ReverseRule{"/one", "http://b.test/a"},
		ReverseRule{"/two", "http://b.test/a/b"},
	)
	h := http.Header{"Location": {"http://b.test/a/b/c"}}
	rewriteLocations(h, rules, frontView)
	require.Equal(t, "http://front.test/one/b/c", h.Get("Location"))
}

func TestRewriteLocationsOfBalancerMembers(t *testing.T) {
	rules := compiledReverse(t, ReverseRule{"/pr45434", "balancer://pr45434/alias"})
	view := frontView
	for _, tt := range []struct{ memberPath, in, want string }{
		{"", "http://127.0.0.1:21001/alias/5.html", "http://front.test/pr45434/5.html"},
		{"/m/", "http://127.0.0.1:21001/m/alias/5.html", "http://front.test/pr45434/5.html"},
		{"/m", "http://127.0.0.1:21001/alias/5.html", "http://127.0.0.1:21001/alias/5.html"},
		{"", "http://127.0.0.1:21002/alias/5.html", "http://127.0.0.1:21002/alias/5.html"},
		{"", "/alias/5.html", "/alias/5.html"},
	} {
		view.backendPath = tt.memberPath
		h := http.Header{"Location": {tt.in}}
		rewriteLocations(h, rules, view)
		require.Equal(t, tt.want, h.Get("Location"))
	}
}

func TestRewriteLocationsUsesTheClientsView(t *testing.T) {
	rules := compiledReverse(t, ReverseRule{"/", "http://b.test/"})
	for _, tt := range []struct {
		view     reverseView
		in, want string
	}{
		{reverseView{frontScheme: "https", frontHost: "f:8443"}, "http://b.test/x", "https://f:8443/x"},
		{reverseView{}, "http://b.test/x", "/x"}, // HTTP/1.0 without a Host
		{reverseView{}, "http://b.test//evil.test/x", "/evil.test/x"},
		{reverseView{}, `http://b.test/\evil.test/x`, "/evil.test/x"},
	} {
		h := http.Header{"Location": {tt.in}}
		rewriteLocations(h, rules, tt.view)
		require.Equal(t, tt.want, h.Get("Location"))
	}
}

func TestRewriteLocationsLeavesSharedSlicesAlone(t *testing.T) {
	rules := compiledReverse(t, ReverseRule{"/", "http://b.test/"})
	shared := []string{"http://c.test/", "http://b.test/1", "http://b.test/2"}
	h := http.Header{"Location": shared}
	rewriteLocations(h, rules, frontView)
	require.Equal(t, []string{"http://c.test/", "http://front.test/1", "http://front.test/2"}, h["Location"])
	require.Equal(t, []string{"http://c.test/", "http://b.test/1", "http://b.test/2"}, shared)
}

func TestCompileReverseErrors(t *testing.T) {
	for _, r := range []ReverseRule{
		{"", "http://b/"},
		{"rev", "http://b/"},
		{"/a b", "http://b/"},
		{"/rev", ""},
		{"/rev", "b/rev"},
		{"/rev", "//b/rev"},
		{"/rev", "http:///rev"},
		{"/rev", "http://b/rev?x"},
		{"/rev", "http://u:p@b/rev"},
	} {
		_, err := compileReverse([]ReverseRule{r})
		require.Error(t, err, "%v", r)
	}
}

func BenchmarkRewriteLocations(b *testing.B) {
	rules := compiledReverse(b, ReverseRule{"/a", "http://a.test/"}, ReverseRule{"/b", "http://b.test/"})
	values := []string{"http://b.test/x/y"}
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		h["Location"] = values
		rewriteLocations(h, rules, frontView)
	}
}
