package access

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
)

func TestAccess(t *testing.T) {
	p := func(words ...string) []netip.Prefix {
		list, err := ParsePrefixes(words...)
		require.NoError(t, err)
		return list
	}
	for name, tc := range map[string]struct {
		access Access
		remote string
		want   int
	}{
		"no rules":             {Access{}, "9.9.9.9:1", 204},
		"no rules, unix":       {Access{}, "@", 204},
		"allowed":              {Access{Allow: p("10.0.0.0/8")}, "10.1.2.3:1", 204},
		"allowed as mapped":    {Access{Allow: p("10.0.0.0/8")}, "[::ffff:10.1.2.3]:1", 204},
		"not allowed":          {Access{Allow: p("10.0.0.0/8")}, "11.1.2.3:1", 403},
		"denied wins":          {Access{Allow: p("10.0.0.0/8"), Deny: p("10.1")}, "10.1.2.3:1", 403},
		"only denied":          {Access{Deny: p("10.1")}, "10.2.2.3:1", 204},
		"IPv6":                 {Access{Allow: p("2001:db8::/32")}, "[2001:db8::1]:1", 204},
		"IPv6 with a zone":     {Access{Allow: p("fe80::/10")}, "[fe80::1%eth0]:1", 204},
		"IPv6 is not IPv4":     {Access{Allow: p("0.0.0.0/0")}, "[2001:db8::1]:1", 403},
		"unix is refused":      {Access{Allow: p("0.0.0.0/0")}, "@", 403},
		"unix may be allowed":  {Access{Allow: p("0.0.0.0/0"), AllowUnix: true}, "@", 204},
		"nonsense is refused":  {Access{Deny: p("10.1")}, "x:1", 403},
		"own answer":           {Access{Deny: p("10.1"), Denied: http.NotFoundHandler()}, "10.1.1.1:1", 404},
		"no address is no one": {Access{Allow: p("0.0.0.0/0")}, "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, statusFrom(tc.access.Wrap(okHandler), tc.remote))
		})
	}
	require.Equal(t, 403, statusFrom(RequireIP()(okHandler), "127.0.0.1:1"), "no prefix lets no one through")
	require.Equal(t, 204, statusFrom(RequireIP(p("127.0.0.1")...)(okHandler), "127.0.0.1:1"))
}

func TestParsePrefixes(t *testing.T) {
	for word, want := range map[string]string{
		"10.1.2.3": "10.1.2.3/32", "10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "10.0.0.0/255.255.0.0": "10.0.0.0/16",
		"172.20": "172.20.0.0/16", "10": "10.0.0.0/8", "192.168.": "192.168.0.0/16", "1.2.3": "1.2.3.0/24",
		"::1": "::1/128", "2001:db8::/32": "2001:db8::/32", "::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
	} {
		got, err := ParsePrefixes(word)
		require.NoError(t, err, word)
		require.Equal(t, want, got[0].String(), word)
	}
	for _, word := range []string{"", "x", "1.2.3.4.5", "300", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "10.0.0.0/", "::1/129", "fe80::1%e", "1..2", "host.test"} {
		_, err := ParsePrefixes(word)
		require.Error(t, err, word)
	}
}

func TestRemoteIP(t *testing.T) {
	trusted, err := ParsePrefixes("10.0.0.0/8", "fd00::/8")
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		header, peer string
		values       []string
		want, left   string
	}{
		"untrusted peer":      {"", "9.9.9.9:1", []string{"1.1.1.1"}, "9.9.9.9:1", "1.1.1.1"},
		"trusted peer":        {"", "10.0.0.1:1", []string{"1.1.1.1"}, "1.1.1.1:0", ""},
		"claim of the client": {"", "10.0.0.1:1", []string{"9.9.9.9, 1.1.1.1"}, "1.1.1.1:0", "9.9.9.9"},
		"two proxies":         {"", "10.0.0.1:1", []string{"1.1.1.1", "10.0.0.2"}, "1.1.1.1:0", ""},
		"all are trusted":     {"", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0", ""},
		"no header":           {"", "10.0.0.1:1", nil, "10.0.0.1:1", ""},
		"no address":          {"", "10.0.0.1:1", []string{"1.1.1.1, x"}, "10.0.0.1:1", "1.1.1.1, x"},
		"stops at nonsense":   {"", "10.0.0.1:1", []string{"1.1.1.1, x, 10.0.0.2"}, "10.0.0.2:0", "1.1.1.1, x"},
		"with a port":         {"", "10.0.0.1:1", []string{"1.1.1.1:99"}, "1.1.1.1:0", ""},
		"IPv6":                {"", "[fd00::1]:1", []string{"2001:db8::1"}, "[2001:db8::1]:0", ""},
		"IPv6 with a port":    {"", "[fd00::1]:1", []string{"[2001:db8::1]:99"}, "[2001:db8::1]:0", ""},
		"unix peer":           {"", "@", []string{"1.1.1.1"}, "@", "1.1.1.1"},
		"other header":        {"x-client", "10.0.0.1:1", []string{"1.1.1.1"}, "1.1.1.1:0", ""},
		"Forwarded":           {"Forwarded", "10.0.0.1:1", []string{`for=9.9.9.9;proto=http, For="[2001:db8::1]:80";by=x`}, "[2001:db8::1]:0", "for=9.9.9.9;proto=http"},
		"Forwarded, hidden":   {"Forwarded", "10.0.0.1:1", []string{`for=_hidden`}, "10.0.0.1:1", "for=_hidden"},
		"a lone quote":        {"", "10.0.0.1:1", []string{`", 1.1.1.1`}, "1.1.1.1:0", `"`},
		"Forwarded, lone":     {"Forwarded", "10.0.0.1:1", []string{`for=", for="[2001:db8::1]:80"`}, "[2001:db8::1]:0", `for="`},
		"Forwarded, escaped":  {"Forwarded", "10.0.0.1:1", []string{`for=9.9.9.9, for=1.1.1.1;by="a\",b"`}, "1.1.1.1:0", "for=9.9.9.9"},
		"Forwarded, in Host":  {"Forwarded", "10.0.0.1:1", []string{`for=9.9.9.9, for=1.1.1.1;host="a;for=8.8.8.8;x"`}, "1.1.1.1:0", "for=9.9.9.9"},
		"Forwarded, twice":    {"Forwarded", "10.0.0.1:1", []string{`for=1.1.1.1;host=a;for=8.8.8.8`}, "10.0.0.1:1", `for=1.1.1.1;host=a;for=8.8.8.8`},
		"hidden ports":        {"Forwarded", "10.0.0.1:1", []string{`for="[2001:db8::1]:_x", for="10.0.0.2:_y"`}, "[2001:db8::1]:0", ""},
		"Forwarded, quoted":   {"Forwarded", "10.0.0.1:1", []string{`for="1.1.1.1, 2.2.2.2"`}, "10.0.0.1:1", `for="1.1.1.1, 2.2.2.2"`},
	} {
		t.Run(name, func(t *testing.T) {
			header := tc.header
			if header == "" {
				header = "X-Forwarded-For"
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tc.peer
			for _, v := range tc.values {
				r.Header.Add(header, v)
			}
			before := r.Header.Clone()
			m := &RemoteIP{Header: tc.header, TrustedProxies: trusted}
			m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
				require.Equal(t, tc.want, in.RemoteAddr)
				require.Equal(t, tc.left, in.Header.Get(header))
				require.Equal(t, tc.peer, exchange.FactsOf(in, nil).Peer)
				require.Equal(t, tc.want, exchange.FactsOf(in, nil).Client)
			})).ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, before, r.Header, "the client's header is not changed")
		})
	}
}

func FuzzRemoteIP(f *testing.F) {
	for _, s := range []string{"1.1.1.1", "9.9.9.9, 10.0.0.1", `for="[2001:db8::1]:80";by=x, for=_a`, `"`, ",,", "[::1", "for="} {
		f.Add(s, true)
		f.Add(s, false)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, value string, forwarded bool) {
		m := &RemoteIP{TrustedProxies: trusted}
		header := "X-Forwarded-For"
		if forwarded {
			header = "Forwarded"
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header[header] = []string{value}
		out := m.resolve(r, header)
		if _, ok := clientaddr.Addr(out.RemoteAddr); !ok {
			t.Fatalf("%q made the client %q", value, out.RemoteAddr)
		}
	})
}

var okHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })

// statusFrom is what a client at remote gets of h.
func statusFrom(h http.Handler, remote string) int {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
