package exchange_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

var office = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

// TestFacts: what a trusted peer says of scheme and Host, in each of the ways in
// which it may say it, and what nobody else may.
func TestFacts(t *testing.T) {
	for name, tc := range map[string]struct {
		fields       string // "Name: value|Name: value"
		scheme, host string // of a trusted peer; of others, http and own.test
	}{
		"nothing":                        {"", "http", "own.test"},
		"X-Forwarded":                    {"X-Forwarded-Proto: https|X-Forwarded-Host: shop.test", "https", "shop.test"},
		"letters and ports":              {"X-Forwarded-Proto: HTTPS|X-Forwarded-Host: SHOP.test:443", "https", "shop.test"},
		"another port":                   {"X-Forwarded-Proto: https|X-Forwarded-Host: shop.test:8443", "https", "shop.test:8443"},
		"WebSocket":                      {"X-Forwarded-Proto: wss", "https", "own.test"},
		"WebSocket in the clear":         {"X-Forwarded-Proto: ws", "http", "own.test"},
		"no scheme":                      {"X-Forwarded-Proto: javascript|X-Forwarded-Host: a b", "http", "own.test"},
		"a client's claim before":        {"X-Forwarded-Proto: http, https|X-Forwarded-Host: evil.test, shop.test", "https", "shop.test"},
		"in two fields":                  {"X-Forwarded-Proto: http|X-Forwarded-Proto: https", "https", "own.test"},
		"Forwarded":                      {`Forwarded: for=192.0.2.7;proto=https;host=shop.test`, "https", "shop.test"},
		"Forwarded, quoted":              {`Forwarded: For="[2001:db8::1]:80";Proto="https";Host="shop.test:8443"`, "https", "shop.test:8443"},
		"Forwarded, client's before":     {`Forwarded: for=1.1.1.1;proto=http;host=evil.test, for=192.0.2.7;proto=https;host=shop.test`, "https", "shop.test"},
		"Forwarded, two proxies":         {`Forwarded: for=192.0.2.7;proto=https;host=shop.test, for=10.0.0.9;proto=http;host=in.test`, "https", "shop.test"},
		"Forwarded, two and a client's":  {`Forwarded: for=1.1.1.1;proto=http;host=evil.test, for=192.0.2.7;proto=https, for=10.0.0.9;proto=http;host=in.test`, "https", "in.test"},
		"Forwarded, hidden":              {`Forwarded: for=1.1.1.1;host=evil.test, for=_x;proto=https`, "https", "own.test"},
		"Forwarded, no Host":             {`Forwarded: for=192.0.2.7;proto=ftp;host="a b"`, "http", "own.test"},
		"Forwarded, an open quote":       {`Forwarded: for="1.1.1.1;host=evil.test, for=192.0.2.7;proto=https`, "https", "own.test"},
		"Forwarded, a Host that feigns":  {`Forwarded: for=192.0.2.7;proto=http;host="evil.test;proto=https;x"`, "http", "evil.test;proto=https;x"},
		"Forwarded, for in a Host":       {`Forwarded: for=192.0.2.7;proto=https;host=shop.test, for=10.0.0.9;host="in.test;for=192.0.2.9"`, "https", "shop.test"},
		"Forwarded, said twice":          {`Forwarded: for=192.0.2.7;proto=http;host=evil.test;proto=https`, "http", "evil.test"},
		"Forwarded, escaped":             {`Forwarded: for=192.0.2.7;proto="ht\tps";host="shop\.test"`, "https", "shop.test"},
		"Forwarded, an escaped quote":    {`Forwarded: for=192.0.2.7;host="a\";proto=https;x="`, "http", "own.test"},
		"Forwarded, quotes that open":    {`Forwarded: for=192.0.2.7;host="a";proto="https`, "http", "a"},
		"Forwarded, quotes within":       {`Forwarded: for=192.0.2.7;proto=ht"tps"`, "http", "own.test"},
		"X-Forwarded before Forwarded":   {`Forwarded: proto=http;host=b.test|X-Forwarded-Proto: https|X-Forwarded-Host: a.test`, "https", "a.test"},
		"one by each":                    {`Forwarded: proto=http;host=b.test|X-Forwarded-Proto: https`, "https", "b.test"},
		"fields that say something else": {"X-Forwarded-Ssl: on|X-Forwarded-Port: 443|Front-End-Https: on|X_Forwarded_Proto: https", "http", "own.test"},
	} {
		t.Run(name, func(t *testing.T) {
			for peer, trusted := range map[string]bool{"10.0.0.1:80": true, "[::ffff:10.0.0.1]:80": true, "10.0.0.1": true, "11.0.0.1:80": false, "": false, "@": false} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Host, r.RemoteAddr = "own.test", peer
				for field := range strings.SplitSeq(tc.fields, "|") {
					if name, value, ok := strings.Cut(field, ": "); ok {
						r.Header.Add(name, value)
					}
				}
				want := exchange.Facts{Peer: peer, Client: peer, Trusted: trusted, Scheme: "http", Host: "own.test"}
				if trusted {
					want.Scheme, want.Host = tc.scheme, tc.host
				}
				require.Equal(t, want, exchange.FactsOf(r, office))
				seen := 0
				behind := func(_ http.ResponseWriter, r *http.Request) {
					seen++
					r.Header = nil // it was decided
					require.Equal(t, want, exchange.FactsOf(r, nil), "behind a door")
					r.RemoteAddr, want.Client = "192.0.2.77:7", "192.0.2.77:7"
					if want.Trusted {
						require.Equal(t, want, exchange.FactsOf(r, nil), "middleware that sets RemoteAddr")
					}
				}
				(&access.RemoteIP{TrustedProxies: office}).Wrap(http.HandlerFunc(behind)).ServeHTTP(nil, r)
				require.Equal(t, 1, seen)
			}
		})
	}
}

// TestFactsOfTLS: the connection's own scheme, and a user.
func TestFactsOfTLS(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.TLS = &tls.ConnectionState{}
	f := exchange.FactsOf(access.WithUser(r, "ann", "Bearer"), nil)
	require.Equal(t, "https", f.Scheme)
	require.Equal(t, [2]string{"ann", "Bearer"}, [2]string{f.User, f.AuthType})
	require.Equal(t, "192.0.2.1", f.ClientIP())
	r.RemoteAddr = "10.0.0.1:80"
	r.Header.Set("X-Forwarded-Proto", "http")
	require.Equal(t, "http", exchange.FactsOf(r, office).Scheme, "a trusted peer may have taken http in")
}

// TestUnixPeer: one on a unix-domain socket is trusted if that is said.
func TestUnixPeer(t *testing.T) {
	for _, trust := range []bool{true, false} {
		for _, network := range []string{"unix", "tcp"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = "@"
			var local net.Addr = &net.UnixAddr{Net: "unix", Name: "/run/x"}
			if network == "tcp" {
				local = &net.TCPAddr{}
			}
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
			r.Header.Set("X-Forwarded-For", "9.9.9.9, 192.0.2.7")
			r.Header.Set("X-Forwarded-Proto", "https")
			m := &access.RemoteIP{TrustedProxies: office, TrustUnix: trust}
			m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				f := exchange.FactsOf(r, nil)
				require.Equal(t, trust && network == "unix", f.Trusted)
				require.Equal(t, f.Trusted, f.Client == "192.0.2.7:0" && f.Scheme == "https")
			})).ServeHTTP(nil, r)
		}
	}
}

func FuzzFacts(f *testing.F) {
	f.Add("https, http", "a.test, b", `for=10.0.0.1;proto=https, for="[::1]:1";host="x:1"`)
	f.Add("", "", `for="`)
	f.Add("wss", "[::1]:080", `,,;;=;for=;proto=;host=`)
	f.Fuzz(func(t *testing.T, proto, host, forwarded string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:80"
		r.Header = http.Header{"X-Forwarded-Proto": {proto}, "X-Forwarded-Host": {host}, "Forwarded": {forwarded}}
		facts := exchange.FactsOf(r, office)
		require.Contains(t, []string{"http", "https"}, facts.Scheme)
		_, _, err := exchange.ParseHost(facts.Host)
		require.NoError(t, err)
		require.NotEmpty(t, facts.Host)
	})
}

func TestCostOfFacts(t *testing.T) {
	inputs := map[string]parsertest.Input{}
	for name, piece := range map[string]string{"commas": ",", "quotes": `"`, "backslashes": `\`, "elements": "for=10.0.0.1;proto=https, ", "semicolons": ";", "blanks": " ", "escaped": `\"`} {
		inputs[name] = func(n int) func() {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = "10.0.0.1:80"
			text := strings.Repeat(piece, n/len(piece))
			r.Header = http.Header{"X-Forwarded-Proto": {text}, "X-Forwarded-Host": {text}, "Forwarded": {text}}
			return func() { exchange.FactsOf(r, office) }
		}
	}
	parsertest.Linear(t, inputs)
}
