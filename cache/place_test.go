package cache

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
)

// arrival is one way to ask for a page.
type arrival struct {
	secure        bool
	target        string // in absolute form; empty for "/login"
	host          string
	fields        string // "Name: value", separated by "|"
	fromTrustable bool
}

func (a arrival) request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/login", nil)
	if a.target != "" {
		r = httptest.NewRequest(http.MethodGet, a.target, nil)
		r.TLS = nil
	}
	if a.host != "" {
		r.Host = a.host
	}
	if a.secure {
		r.TLS = &tls.ConnectionState{}
	}
	for f := range strings.SplitSeq(a.fields, "|") {
		if name, value, ok := strings.Cut(f, ": "); ok {
			r.Header.Add(name, value)
		}
	}
	r.RemoteAddr = "192.0.2.1:1"
	if a.fromTrustable {
		r.RemoteAddr = "10.0.0.1:1"
	}
	return r
}

// reflection is what an origin may make an answer of.
func reflection(r *http.Request) string {
	scheme, at := r.URL.Scheme, r.URL.Host
	if scheme == "" { // in origin form
		scheme, at = "http", r.Host
		if r.TLS != nil {
			scheme = "https"
		}
	}
	said := fmt.Sprintf("%s://%s %s", scheme, at, r.Host)
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port"} {
		if v := r.Header[name]; name != "X-Forwarded-Port" || len(v) > 0 && v[0] != "443" { // the port that is meant without it
			said += fmt.Sprintf(" %s=%q", name, v)
		}
	}
	for _, name := range forwardedElse {
		if v := r.Header[name]; len(v) > 0 {
			said += fmt.Sprintf(" %s=%q", name, v)
		}
	}
	for _, v := range r.Header["Forwarded"] {
		for pair := range strings.FieldsFuncSeq(v, func(c rune) bool { return c == ';' || c == ',' }) {
			if !strings.HasPrefix(strings.Trim(pair, " "), "for=") {
				said += " " + pair
			}
		}
	}
	return said
}

// forwardedElse are fields that applications make links, or their answers, of.
var forwardedElse = []string{"X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Uri", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Path"}

var trustable = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

// TestNobodyGetsWhatAnotherWasTold asks in every way in which a page can be asked
// for, behind every front: each answer is the one that it would have been
// without those before it.
func TestNobodyGetsWhatAnotherWasTold(t *testing.T) {
	arrivals := []arrival{}
	for _, secure := range []bool{false, true} {
		for _, target := range []string{"", "http://site.test/login", "https://site.test/login", "https://SITE.test:443/login"} {
			arrivals = append(arrivals, arrival{secure: secure, target: target, host: "site.test"})
		}
		for _, host := range []string{"SITE.test", "site.test:80", "site.test:0443", "site.test:8080", "site.test.", "other.test"} {
			arrivals = append(arrivals, arrival{secure: secure, host: host})
		}
	}
	for _, trusted := range []bool{false, true} {
		for _, fields := range []string{
			"X-Forwarded-Proto: https", "X-Forwarded-Proto: http", "X-Forwarded-Proto: https, http", "X-Forwarded-Host: evil.test", "X-Forwarded-Host: EVIL.test:80",
			"X-Forwarded-Host: site.test", "X-Forwarded-Host: site.test, evil.test", "X-Forwarded-Host: evil.test|X-Forwarded-Host: site.test", "X-Forwarded-Port: 444", "X-Forwarded-Port: 443|X-Forwarded-Proto: https",
			"Forwarded: for=1.2.3.4;host=evil.test;proto=https", `Forwarded: for="a;host=b`, `Forwarded: for="a;b";host=x`, `Forwarded: for=x, host="evil.test"`, "X-Forwarded-Host: a b\"",
		} {
			arrivals = append(arrivals, arrival{host: "site.test", fields: fields, fromTrustable: trusted})
		}
		for _, name := range forwardedElse {
			arrivals = append(arrivals, arrival{host: "site.test", fields: name + ": a|X-Forwarded-For: 192.0.2.9", fromTrustable: trusted},
				arrival{host: "site.test", fields: name + ": b|" + name + ": a", fromTrustable: trusted})
		}
	}
	origin := roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ProtoMajor: 1, ContentLength: -1, Header: http.Header{"Cache-Control": {"max-age=60"}}, Body: io.NopCloser(strings.NewReader(reflection(r))), Request: r}, nil
	})
	behind := func(h *proxy.Handler, wrap func(http.RoundTripper) http.RoundTripper) http.Handler {
		h.Target, h.Transport = parsed("http://back.test/"), wrap(origin)
		return h
	}
	bare := func(next http.RoundTripper) http.RoundTripper { return next }
	handlers := map[string]func() *proxy.Handler{
		"Auto":         func() *proxy.Handler { return &proxy.Handler{} },
		"trusting":     func() *proxy.Handler { return &proxy.Handler{TrustedProxies: trustable} },
		"Forwarded":    func() *proxy.Handler { return &proxy.Handler{TrustedProxies: trustable, ForwardedField: true} },
		"Append":       func() *proxy.Handler { return &proxy.Handler{Forwarded: proxy.ForwardedAppend, ForwardedField: true} },
		"Apache":       func() *proxy.Handler { return &proxy.Handler{Forwarded: proxy.ForwardedApache} },
		"Off":          func() *proxy.Handler { return &proxy.Handler{Forwarded: proxy.ForwardedOff} },
		"PreserveHost": func() *proxy.Handler { return &proxy.Handler{PreserveHost: true, TrustedProxies: trustable} },
	}
	fronts := map[string]func() http.Handler{
		"a handler": func() http.Handler {
			return (&Cache{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				_, _ = io.WriteString(w, reflection(r))
			}))
		},
		"Forward": func() http.Handler { return (&Cache{}).Wrap(openForward(origin)) },
		"Forward behind middleware": func() http.Handler {
			f := openForward(origin)
			return (&Cache{}).WrapForward(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.ServeHTTP(w, r) }))
		},
		"Forward over a RoundTripper": func() http.Handler { return openForward((&Cache{}).Transport(origin)) },
	}
	for name, h := range handlers {
		if len(h().TrustedProxies) > 0 {
			fronts["trusting Handler, "+name] = func() http.Handler { return (&Cache{TrustedProxies: trustable}).Wrap(behind(h(), bare)) }
		}
		fronts["Handler, "+name] = func() http.Handler { return (&Cache{}).Wrap(behind(h(), bare)) }
		fronts["RoundTripper, "+name] = func() http.Handler { return behind(h(), (&Cache{}).Transport) }
	}
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			alone := make([]string, len(arrivals))
			for i, a := range arrivals {
				alone[i] = answerTo(t, front(), a)
			}
			for range 2 { // in either order, for who comes first fills the cache
				h := front()
				for i, a := range arrivals {
					require.Equal(t, alone[i], answerTo(t, h, a), "%+v", a)
				}
				slices.Reverse(arrivals)
				slices.Reverse(alone)
			}
		})
	}
}

func answerTo(t *testing.T, h http.Handler, a arrival) string {
	resp := askWith(h, a.request())
	if resp.StatusCode == http.StatusBadRequest {
		return "400"
	}
	require.Equal(t, 200, resp.StatusCode)
	return bodyOf(t, resp)
}

// openForward is a forward proxy for all, which goes nowhere but to origin.
func openForward(origin http.RoundTripper) *proxy.Forward {
	return &proxy.Forward{
		Clients:    &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}},
		Transports: map[string]http.RoundTripper{"http": origin, "https": origin},
		Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = io.WriteString(w, "own "+r.Host)
		}),
	}
}

// TestSpellingsOfAPlace: those of one place share what is stored, and are told
// the same; those of two do not.
func TestSpellingsOfAPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		cache *Cache
		a, b  arrival
		same  bool
		key   string // of b
	}{
		"case and port":                  {a: arrival{host: "site.test"}, b: arrival{host: "SITE.test:80"}, same: true, key: "http://site.test/login"},
		"empty port":                     {a: arrival{host: "site.test"}, b: arrival{host: "site.test:"}, same: true, key: "http://site.test/login"},
		"zeros":                          {a: arrival{host: "site.test:8080"}, b: arrival{host: "site.test:08080"}, same: true, key: "http://site.test:8080/login"},
		"https port":                     {a: arrival{secure: true, host: "site.test"}, b: arrival{secure: true, host: "site.test:443"}, same: true, key: "https://site.test/login"},
		"IPv6":                           {a: arrival{host: "[::1]"}, b: arrival{host: "[0:0::0:1]:80"}, same: true, key: "http://[::1]/login"},
		"port of the other scheme":       {a: arrival{host: "site.test"}, b: arrival{host: "site.test:443"}, key: "http://site.test:443/login"},
		"scheme":                         {a: arrival{host: "site.test"}, b: arrival{host: "site.test", secure: true}, key: "https://site.test/login"},
		"absolute form":                  {a: arrival{host: "site.test"}, b: arrival{target: "http://site.test/login"}, same: true, key: "http://site.test/login"},
		"absolute form, TLS":             {a: arrival{host: "site.test", secure: true}, b: arrival{secure: true, target: "https://SITE.test:443/login"}, same: true, key: "https://site.test/login"},
		"another's scheme":               {a: arrival{host: "site.test", secure: true}, b: arrival{target: "https://site.test/login"}, key: "http://site.test/login"},
		"another's scheme, TLS":          {a: arrival{host: "site.test"}, b: arrival{secure: true, target: "http://site.test/login"}, key: "https://site.test/login"},
		"words of a trusted proxy":       {cache: &Cache{TrustedProxies: trustable}, a: arrival{host: "site.test", secure: true}, b: arrival{host: "in.test", fields: "X-Forwarded-Proto: https|X-Forwarded-Host: Site.test:443", fromTrustable: true}, key: "https://site.test/login"},
		"the scheme of a trusted proxy":  {cache: &Cache{TrustedProxies: trustable}, a: arrival{host: "site.test", secure: true}, b: arrival{host: "site.test", fields: "X-Forwarded-Proto: https|X-Forwarded-Port: 443", fromTrustable: true}, same: true, key: "https://site.test/login"},
		"Forwarded of a trusted proxy":   {cache: &Cache{TrustedProxies: trustable}, a: arrival{host: "site.test", fields: "Forwarded: for=1.2.3.4;proto=http", fromTrustable: true}, b: arrival{host: "site.test", fields: `Forwarded: for="[::1]";host="site.test"`, fromTrustable: true}, same: true, key: "http://site.test/login"},
		"the scheme of anybody":          {cache: &Cache{TrustedProxies: trustable}, a: arrival{host: "site.test", secure: true}, b: arrival{host: "site.test", fields: "X-Forwarded-Proto: https"}, key: "http://site.test/login"},
		"who the client is":              {a: arrival{host: "site.test", fields: "Forwarded: for=1.2.3.4|X-Forwarded-For: 1.2.3.4"}, b: arrival{host: "site.test", fields: "Forwarded: for=5.6.7.8;by=_x|X-Forwarded-For: 5.6.7.8"}, same: true, key: "http://site.test/login"},
		"KeyBaseURL":                     {cache: &Cache{KeyBaseURL: parsed("https://one.test")}, a: arrival{host: "site.test"}, b: arrival{host: "other.test", secure: true, fields: "X-Forwarded-Proto: http"}, same: true, key: "https://one.test/login"},
		"Key":                            {cache: &Cache{Key: func(r *http.Request) string { return r.URL.Path }}, a: arrival{host: "site.test"}, b: arrival{host: "other.test", fields: "X-Forwarded-Proto: http"}, same: true, key: "/login"},
		"a trusted proxy's empty fields": {cache: &Cache{TrustedProxies: trustable}, a: arrival{host: "site.test"}, b: arrival{host: "site.test", fields: "X-Forwarded-Proto: ftp", fromTrustable: true}, key: "http://site.test/login"},
	} {
		t.Run(name, func(t *testing.T) {
			c, key := cmp.Or(tc.cache, &Cache{}), ""
			c.OnResult = func(_ *http.Request, res *Result) { key = res.Key }
			asked := 0
			h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set("Cache-Control", "max-age=60")
			}))
			askWith(h, tc.a.request())
			askWith(h, tc.b.request())
			require.Equal(t, tc.same, asked == 1)
			require.Equal(t, tc.key, key)
		})
	}
}

// TestPurgeOfAPlace: what is stored for a URI goes by a purge or a change, whatever
// the origin was told beside it and by whichever way the request for that comes,
// and nothing else; also what was stored before the process began.
func TestPurgeOfAPlace(t *testing.T) {
	places := []arrival{
		{host: "site.test"}, {host: "site.test", fields: "X-Forwarded-Host: evil.test"}, {target: "https://site.test/login"},
		{host: "site.test", fields: "X-Forwarded-Host: " + strings.Repeat("a", 9000)}, {host: "site.test", fields: "X-Forwarded-Proto: https"},
	}
	by := func(method string, a arrival) *http.Request {
		r := a.request()
		r.Method = method
		return r
	}
	backend := func(c *Cache) http.Handler { // which a Handler tells what clients know
		return &proxy.Handler{Target: parsed("http://site.test/"), Transport: c.Transport(handled{cachedForAMinute}), Forwarded: proxy.ForwardedOff, PreserveHost: true}
	}
	ways := map[string]struct {
		front func(*Cache) http.Handler
		purge func(t *testing.T, c *Cache, h http.Handler)
	}{
		"Purge": {wrapped, func(t *testing.T, c *Cache, _ http.Handler) {
			n, err := c.Purge(t.Context(), "http://SITE.test:80/login", PurgeRemove)
			require.NoError(t, err)
			require.Equal(t, len(places), n)
		}},
		"PURGE": {wrapped, func(t *testing.T, c *Cache, _ http.Handler) {
			require.Equal(t, "{\"purged\":5}\n", bodyOf(t, askWith(c.PurgeHandler(), by("PURGE", arrival{host: "site.test", fields: "X-Forwarded-Proto: ftp"}))))
		}},
		"POST":                {wrapped, func(_ *testing.T, _ *Cache, h http.Handler) { askWith(h, by("POST", places[0])) }},
		"POST, told of a way": {wrapped, func(_ *testing.T, _ *Cache, h http.Handler) { askWith(h, by("POST", places[1])) }},
		"Purge behind a Handler": {backend, func(t *testing.T, c *Cache, _ http.Handler) {
			n, err := c.Purge(t.Context(), "http://site.test/login", PurgeRemove)
			require.NoError(t, err)
			require.Equal(t, 4, n, "an absolute target is no other request to a backend")
		}},
		"Purge by a Cache that only purges": {backend, func(t *testing.T, c *Cache, _ http.Handler) {
			n, err := (&Cache{Store: c.Store}).Purge(t.Context(), "http://site.test/login", PurgeRemove)
			require.NoError(t, err)
			require.Equal(t, 4, n)
		}},
	}
	for name, way := range ways {
		for store, make := range everyStore {
			t.Run(name+"/"+store, func(t *testing.T) {
				kept := make(t)
				outcome := func(c *Cache, h http.Handler, a arrival) (o Outcome) {
					c.OnResult = func(_ *http.Request, res *Result) { o = res.Outcome }
					askWith(h, a.request())
					return o
				}
				before := &Cache{Store: kept}
				for _, a := range append(places, arrival{target: "http://site.test/login2"}) {
					askWith(way.front(before), a.request())
				}
				after := &Cache{Store: kept} // of the next process
				h := way.front(after)
				way.purge(t, after, h)
				for _, a := range places[:2] {
					require.NotEqual(t, OutcomeHit, outcome(after, h, a), "%+v", a)
				}
				require.Equal(t, OutcomeHit, outcome(after, h, arrival{target: "http://site.test/login2"}))
			})
		}
	}
}

func wrapped(c *Cache) http.Handler { return c.Wrap(cachedForAMinute) }

var cachedForAMinute = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Etag", `"a"`)
	if r.Header.Get("If-None-Match") != "" {
		w.WriteHeader(http.StatusNotModified)
	}
})

// What is told makes no key that another query is, which over HTTP/2 may have
// blanks and quotes.
func TestQueryIsNotWhatIsTold(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			h := front(&Cache{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				_, _ = io.WriteString(w, r.URL.RawQuery)
			}))
			told := `X-Forwarded-Host="evil.test"`
			for _, q := range []string{"x " + told, "x " + told + ` by="192.0.2.1"`, "x"} {
				r := arrival{target: "http://site.test/login?x"}.request()
				if r.URL.RawQuery = q; q == "x" {
					r.Header.Set("X-Forwarded-Host", "evil.test")
				}
				require.Equal(t, q, bodyOf(t, askWith(h, r)))
			}
		})
	}
}

// Who makes up what the origin is told takes no room from those who do not.
func TestMadeUpPlacesDoNotEvict(t *testing.T) {
	c, hit := &Cache{MaxVariants: 4}, false
	c.OnResult = func(_ *http.Request, res *Result) { hit = res.Outcome == OutcomeHit }
	h := wrapped(c)
	askWith(h, arrival{host: "site.test"}.request())
	for i := range 50 {
		askWith(h, arrival{host: "site.test", fields: fmt.Sprint("X-Forwarded-Host: a", i)}.request())
		askWith(h, arrival{host: "site.test"}.request())
		require.True(t, hit)
	}
	require.LessOrEqual(t, c.Stats().Store.Entries, int64(4))
}

func parsed(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}
