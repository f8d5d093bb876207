package cache

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/cache/tiered"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCostOfKeys: a key is made in one pass over the URL, however often the
// names that are left out stand in it.
func TestCostOfKeys(t *testing.T) {
	c := &Cache{IgnoreURLSessionIdentifiers: []string{"sid", "jsessionid"}}
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]string{
		"query of sessions":       "/?sid=&",
		"query of others between": "/?sid=&a&",
		"query of both":           "/?sid=&jsessionid=1&",
		"query of separators":     "/?&",
		"path of sessions":        "/;sid=;",
		"path of almost those":    "/;sid;si",
		"path of segments":        "/a;sid=/",
	} {
		inputs[name] = func(n int) func() {
			r := &http.Request{Host: "example.org", URL: &url.URL{Path: "/"}}
			if rest, ok := strings.CutPrefix(text, "/?"); ok {
				r.URL.RawQuery = strings.Repeat(rest, n/len(rest))
			} else {
				r.URL.Path = "/" + strings.Repeat(text[1:], n/len(text[1:]))
			}
			return func() { _ = c.keyOf(r) }
		}
	}
	parsertest.Linear(t, inputs)
}

func TestKeys(t *testing.T) {
	base, _ := url.Parse("https://one.example")
	for name, c := range map[string]struct {
		cache  *Cache
		target string
		want   string
	}{
		"plain":               {&Cache{}, "http://Example.ORG/A%2fb?X=1&y", "http://example.org/A%2fb?X=1&y"},
		"default port":        {&Cache{}, "http://example.org:80/", "http://example.org/"},
		"other port":          {&Cache{}, "http://example.org:8080/", "http://example.org:8080/"},
		"https":               {&Cache{}, "https://example.org:443/", "https://example.org/"},
		"empty query":         {&Cache{}, "http://example.org/?", "http://example.org/?"},
		"no path":             {&Cache{}, "http://example.org", "http://example.org/"},
		"dots are kept":       {&Cache{}, "http://example.org/a/../b//c", "http://example.org/a/../b//c"},
		"KeyBaseURL":          {&Cache{KeyBaseURL: base}, "http://example.org/a?b", "https://one.example/a?b"},
		"IgnoreQueryString":   {&Cache{IgnoreQueryString: true}, "http://example.org/a?b", "http://example.org/a"},
		"session in the path": {&Cache{IgnoreURLSessionIdentifiers: []string{"jsessionid"}}, "http://example.org/x;jsessionid=1/a;jsessionid=77?b", "http://example.org/x;jsessionid=1/a?b"},
		"and others there":    {&Cache{IgnoreURLSessionIdentifiers: []string{"jsessionid"}}, "http://example.org/a;jsessionid=77;v=1", "http://example.org/a;v=1"},
		"session in a query":  {&Cache{IgnoreURLSessionIdentifiers: []string{"sid"}}, "http://example.org/a?sid=1&b=2&sid=3&sidx=4&xsid=5", "http://example.org/a?b=2&sidx=4&xsid=5"},
		"session alone":       {&Cache{IgnoreURLSessionIdentifiers: []string{"sid"}}, "http://example.org/a?sid=1", "http://example.org/a"},
		"session at the end":  {&Cache{IgnoreURLSessionIdentifiers: []string{"sid"}}, "http://example.org/a?b&sid=1", "http://example.org/a?b"},
		"Key":                 {&Cache{Key: func(r *http.Request) string { return "k" + r.URL.Path }}, "http://example.org/a", "k/a"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", c.target, nil)
			v := &visit{c: c.cache}
			v.arrives(r, false)
			require.Equal(t, c.want, v.result.Key)
			require.Equal(t, c.want, c.cache.keyOf(r))
		})
	}
}

// The Host of a request to a backend is part of the key when it is not the
// backend's.
func TestKeysOfATransport(t *testing.T) {
	r, _ := http.NewRequest("GET", "http://Backend:9000/a", nil)
	v := &visit{c: new(Cache)}
	v.departs(r)
	require.Equal(t, "http://backend:9000/a", v.result.Key)
	require.Equal(t, []string{"backend:9000", "backend:9000", "Backend:9000"}, []string{v.r.Host, v.r.URL.Host, r.Host})
	r.Host = "www.example.org"
	v.departs(r)
	require.Equal(t, `http://backend:9000/a host="www.example.org"`, v.result.Key)
}

func TestBypass(t *testing.T) {
	script(t, func() *Cache {
		return &Cache{Header: true, ServerName: "c", Bypass: func(r *http.Request) bool { return r.Header.Get("X-Bypass") != "" }}
	},
		turn{ask: []string{"X-Bypass: 1"}, origin: ok("1", "Cache-Control: max-age=60"), body: "1", want: []string{"X-Cache:"}},
		turn{origin: ok("2", "Cache-Control: max-age=60"), body: "2", want: []string{"X-Cache: MISS from c"}},
		turn{ask: []string{"X-Bypass: 1"}, origin: ok("3", "Cache-Control: max-age=60"), body: "3"},
		turn{body: "2", want: []string{"X-Cache: HIT from c"}},
		turn{method: "POST", ask: []string{"X-Bypass: 1"}, origin: ok(""), want: []string{"X-Cache: INVALIDATE from c"}},
		turn{origin: ok("4"), body: "4"})
}

func TestHeadersTellWhatWasDone(t *testing.T) {
	script(t, func() *Cache { return &Cache{Header: true, DetailHeader: true, CacheStatus: "mine"} },
		turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`, "Cache-Status: theirs; hit"), body: "1", want: []string{
			"X-Cache: MISS from example.org", `X-Cache-Detail: "not in the cache" from example.org`,
			`Cache-Status: theirs; hit, mine; fwd=uri-miss; fwd-status=200; ttl=10; stored; key="http://example.org/page"; detail="not in the cache"`}},
		turn{after: time.Second, body: "1", want: []string{
			"X-Cache: HIT from example.org", `X-Cache-Detail: "fresh in the cache" from example.org`}},
		turn{after: time.Minute, origin: status(304), body: "1", want: []string{
			"X-Cache: REVALIDATE from example.org", `X-Cache-Detail: "still the same, says the origin" from example.org`}},
		turn{path: "/private", origin: ok("2", "Cache-Control: private"), body: "2", want: []string{
			"X-Cache: MISS from example.org", `X-Cache-Detail: "private in the response" from example.org`,
			`Cache-Status: mine; fwd=uri-miss; fwd-status=200; key="http://example.org/private"; detail="private in the response"`}},
		turn{method: "POST", path: "/page", origin: ok(""), want: []string{"X-Cache: INVALIDATE from example.org"}})
	script(t, func() *Cache {
		return &Cache{HeaderFunc: func(r *http.Request) bool { return r.URL.Path == "/a" }, DetailHeaderFunc: func(r *http.Request) bool { return false }}
	},
		turn{path: "/a", origin: ok("1"), body: "1", want: []string{"X-Cache: MISS from example.org", "X-Cache-Detail:"}},
		turn{path: "/b", origin: ok("1"), body: "1", want: []string{"X-Cache:"}})
}

func TestOnResult(t *testing.T) {
	var got []Result
	c := &Cache{OnResult: func(_ *http.Request, res *Result) { got = append(got, *res) }}
	h := c.Wrap(newOrigin(t, *ok("1", "Cache-Control: max-age=60")))
	get(h, page)
	get(h, page)
	require.Len(t, got, 2)
	require.Equal(t, OutcomeMiss, got[0].Outcome)
	require.True(t, got[0].Stored)
	require.Equal(t, OutcomeHit, got[1].Outcome)
	require.Equal(t, page, got[1].Key)
	require.Equal(t, "hit", got[1].Outcome.String())
}

func TestSizesThatAreStored(t *testing.T) {
	body := func(n int) *step { return ok(string(make([]byte, n)), "Cache-Control: max-age=60") }
	text := func(n int) string { return string(make([]byte, n)) }
	script(t, func() *Cache { return &Cache{MaxFileSize: 10, MinFileSize: 3} },
		turn{path: "/2", origin: body(2), body: text(2)}, turn{path: "/2", origin: body(2), body: text(2)},
		turn{path: "/3", origin: body(3), body: text(3)}, turn{path: "/3", body: text(3)},
		turn{path: "/10", origin: body(10), body: text(10)}, turn{path: "/10", body: text(10)},
		turn{path: "/11", origin: body(11), body: text(11)}, turn{path: "/11", origin: body(11), body: text(11)})
}

func TestApachesExpiries(t *testing.T) {
	plain := ok("1", `ETag: "1"`)
	script(t, func() *Cache { return &Cache{DefaultExpire: time.Minute} },
		turn{origin: plain, body: "1"}, turn{after: 59 * time.Second, body: "1"}, turn{after: time.Second, origin: status(304), body: "1"})
	script(t, func() *Cache { return &Cache{MaxExpire: time.Minute} },
		turn{origin: ok("1", "Cache-Control: max-age=3600"), body: "1"}, turn{after: 59 * time.Second, body: "1"}, turn{after: time.Second, origin: ok("2"), body: "2"})
	script(t, func() *Cache { return &Cache{MinExpire: time.Minute} },
		turn{origin: ok("1", "Last-Modified: Fri, 31 Dec 1999 23:59:50 GMT"), body: "1"}, turn{after: 59 * time.Second, body: "1"})
	script(t, func() *Cache { return &Cache{LastModifiedFactor: 0.5} },
		turn{origin: ok("1", "Last-Modified: Fri, 31 Dec 1999 23:58:20 GMT"), body: "1"}, turn{after: 49 * time.Second, body: "1"}, turn{after: time.Second, origin: ok("2"), body: "2"})
	script(t, func() *Cache {
		return &Cache{StatusTTL: map[int]time.Duration{404: 10 * time.Second, 503: 5 * time.Second}}
	},
		turn{origin: &step{status: 503, body: "down"}, status: 503, body: "down"}, turn{after: 4 * time.Second, status: 503, body: "down"},
		turn{after: time.Second, origin: status(404), status: 404, body: ""}, turn{after: 9 * time.Second, status: 404, body: ""}, turn{after: time.Second, origin: ok("up"), body: "up"})
	script(t, func() *Cache {
		return &Cache{TTL: func(r *http.Request, status int, h http.Header) (time.Duration, bool) {
			n, err := strconv.Atoi(h.Get("X-TTL"))
			return time.Duration(n) * time.Second, err == nil
		}}
	},
		turn{origin: ok("1", "X-TTL: 20", "Cache-Control: max-age=1"), body: "1"}, turn{after: 19 * time.Second, body: "1"}, turn{after: time.Second, origin: ok("2"), body: "2"})
}

func TestApachesDepartures(t *testing.T) {
	stored := func(c func() *Cache, first turn) {
		t.Helper()
		script(t, c, first, turn{body: first.body})
	}
	stored(func() *Cache { return &Cache{StoreNoStore: true} }, turn{origin: ok("1", "Cache-Control: max-age=60, no-store"), body: "1"})
	stored(func() *Cache { return &Cache{StorePrivate: true} }, turn{origin: ok("1", "Cache-Control: max-age=60, private"), body: "1"})
	stored(func() *Cache { return &Cache{StoreSetCookie: true} }, turn{origin: ok("1", "Cache-Control: max-age=60", "Set-Cookie: a=b"), body: "1"})
	stored(func() *Cache { return &Cache{IgnoreHeaders: []string{"set-cookie"}} }, turn{origin: ok("1", "Cache-Control: max-age=60", "Set-Cookie: a=b"), body: "1"})
	stored(func() *Cache { return &Cache{IgnoreNoLastMod: true, DefaultExpire: time.Minute} }, turn{origin: ok("1"), body: "1"})
	script(t, func() *Cache { return &Cache{IgnoreHeaders: []string{"set-cookie", "X-A"}} },
		turn{origin: ok("1", "Cache-Control: max-age=60", "Set-Cookie: a=b", "X-A: 1"), body: "1", want: []string{"Set-Cookie: a=b"}},
		turn{body: "1", want: []string{"Set-Cookie:", "X-A:"}})
	script(t, func() *Cache { return &Cache{IgnoreCacheControl: true} },
		turn{ask: []string{"Cache-Control: no-store"}, origin: ok("1", "Cache-Control: max-age=60"), body: "1"},
		turn{ask: []string{"Cache-Control: no-cache"}, body: "1"}, turn{ask: []string{"Pragma: no-cache"}, body: "1"})
	script(t, func() *Cache { return &Cache{QueryNeedsExpiry: true} },
		turn{path: "/?a", origin: ok("1", "Last-Modified: Wed, 01 Dec 1999 00:00:00 GMT"), body: "1"}, turn{path: "/?a", origin: ok("2"), body: "2"},
		turn{path: "/?b", origin: ok("3", "Cache-Control: max-age=60"), body: "3"}, turn{path: "/?b", body: "3"})
	script(t, func() *Cache { return &Cache{NormalizeEncoding: []string{"br", "gzip"}} },
		turn{ask: []string{"Accept-Encoding: gzip, deflate"}, origin: ok("gz", "Cache-Control: max-age=60", "Vary: Accept-Encoding"), body: "gz"},
		turn{ask: []string{"Accept-Encoding: deflate, gzip;q=0.5"}, body: "gz"},
		turn{ask: []string{"Accept-Encoding: gzip, br"}, origin: ok("br", "Cache-Control: max-age=60", "Vary: Accept-Encoding"), body: "br"},
		turn{ask: []string{"Accept-Encoding: br"}, body: "br"})
	script(t, func() *Cache { return &Cache{TargetedFields: []string{"mine-cache-control"}} },
		turn{origin: ok("1", "Mine-Cache-Control: max-age=60", "CDN-Cache-Control: no-store", "Cache-Control: no-store"), body: "1"}, turn{body: "1"})
}

func TestMaxVariants(t *testing.T) {
	c := &Cache{MaxVariants: 3}
	o := newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: X-V"))
	h := c.Wrap(o)
	for i := range 10 {
		get(h, page, "X-V: "+strconv.Itoa(i))
	}
	require.Equal(t, int64(3), c.Stats().Store.Entries)
	get(h, page, "X-V: 9")
	require.Equal(t, 10, o.count())
}

// The variant that nobody has asked for goes, though others are older.
func TestMaxVariantsKeepsWhatIsUsed(t *testing.T) {
	for name, s := range map[string]store.Store{"memory": &memory.Store{}, "tiered": &tiered.Store{Front: &memory.Store{}, Back: &memory.Store{}}} {
		c := &Cache{MaxVariants: 3, Store: s}
		o := newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: X-V"))
		h := c.Wrap(o)
		for _, v := range []string{"1", "2", "3", "2", "1", "4"} {
			get(h, page, "X-V: "+v)
		}
		require.Equal(t, 4, o.count(), name)
		get(h, page, "X-V: 1")
		get(h, page, "X-V: 2")
		get(h, page, "X-V: 4")
		require.Equal(t, 4, o.count(), name)
		get(h, page, "X-V: 3")
		require.Equal(t, 5, o.count(), name)
	}
}

func TestPurge(t *testing.T) {
	ctx := context.Background()
	for name, kept := range map[string]func() store.Store{
		"memory": func() store.Store { return &memory.Store{} },
		"tiered": func() store.Store { return &tiered.Store{Front: &memory.Store{}, Back: &memory.Store{}} },
		"own":    func() store.Store { return struct{ store.Store }{&memory.Store{}} }, // without tags and figures
	} {
		t.Run(name, func(t *testing.T) {
			make := func() (*Cache, http.Handler, *origin) {
				c := &Cache{Store: kept()}
				o := newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: X-V", `ETag: "x"`, "Surrogate-Key: all one"))
				h := c.Wrap(o)
				for _, path := range []string{"/a/1", "/a/2", "/b"} {
					get(h, "http://example.org"+path, "X-V: 1")
					get(h, "http://example.org"+path, "X-V: 2")
				}
				return c, h, o
			}
			c, h, o := make()
			n, err := c.Purge(ctx, "http://EXAMPLE.org:80/a/1", PurgeRemove)
			require.NoError(t, err)
			require.Equal(t, 2, n, "all variants")
			n, _ = c.Purge(ctx, "http://example.org/a/1", PurgeRemove)
			require.Zero(t, n)
			before := o.count()
			get(h, "http://example.org/a/2", "X-V: 1")
			require.Equal(t, before, o.count())
			get(h, "http://example.org/a/1", "X-V: 1")
			require.Equal(t, before+1, o.count())

			c, _, _ = make()
			n, err = c.PurgePrefix(ctx, "http://example.org/a/", PurgeRemove)
			require.NoError(t, err)
			require.Equal(t, 4, n)

			c, h, o = make()
			n, err = c.PurgeTags(ctx, PurgeSoft, "one")
			require.NoError(t, err)
			require.Equal(t, 6, n)
			get(h, "http://example.org/a/1", "X-V: 1")
			require.Equal(t, `"x"`, o.last().Header.Get("If-None-Match"), "it is asked about, not thrown away")

			c, _, _ = make()
			n, err = c.PurgeAll(ctx, PurgeRemove)
			require.NoError(t, err)
			require.Equal(t, 6, n)
			left := 0
			require.NoError(t, c.Walk(ctx, func(store.Entry) bool { left++; return true }))
			require.Zero(t, left)
			require.Equal(t, int64(6), c.Stats().Purged)
		})
	}
}

func TestPurgeHandler(t *testing.T) {
	c := &Cache{}
	o := newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Cache-Tag: red, blue"))
	h, p := c.Wrap(o), c.PurgeHandler()
	fill := func() {
		for _, path := range []string{"/a", "/b", "/c"} {
			get(h, "http://example.org"+path)
		}
	}
	purged := func(resp *http.Response) string {
		t.Helper()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		return bodyOf(t, resp)
	}
	fill()
	require.Equal(t, "{\"purged\":1}\n", purged(ask(p, "PURGE", "http://example.org/a")))
	require.Equal(t, "{\"purged\":0}\n", purged(ask(p, "PURGE", "http://example.org/a")))
	fill()
	require.Equal(t, "{\"purged\":1}\n", purged(ask(p, "POST", "/?uri=http://example.org/b")))
	fill()
	require.Equal(t, "{\"purged\":3}\n", purged(ask(p, "POST", "/?prefix=http://example.org/")))
	fill()
	require.Equal(t, "{\"purged\":3}\n", purged(ask(p, "POST", "/?tag=red&tag=green&soft=1")))
	require.Equal(t, int64(3), c.Stats().Store.Entries)
	require.Equal(t, "{\"purged\":3}\n", purged(ask(p, "POST", "/?all=1")))
	require.Contains(t, purged(ask(p, "GET", "/")), `"purged":11`)
	require.Equal(t, http.StatusBadRequest, ask(p, "POST", "/").StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, ask(p, "DELETE", "/").StatusCode)
	require.Equal(t, http.StatusForbidden, ask(p, "POST", "/?all=1", "Sec-Fetch-Site: cross-site").StatusCode)
}

// What a store cannot do with one response, it is still asked to do with others.
func TestPurgeGoesOnAfterAFailure(t *testing.T) {
	c := &Cache{Store: &brokenRemove{&memory.Store{}}}
	h := c.Wrap(newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: X-V")))
	get(h, page, "X-V: 1")
	get(h, page, "X-V: 2")
	_, err := c.Purge(t.Context(), page, PurgeRemove)
	require.ErrorIs(t, err, errFull)
	n := 0
	require.NoError(t, c.Walk(t.Context(), func(store.Entry) bool { n++; return true }))
	require.Zero(t, n)
}

// PURGE means the key of its own request, which is not always a URI.
func TestPurgeHandlerTakesTheKeyAsItIs(t *testing.T) {
	for _, uri := range []string{"/a?b#c", "http:a"} {
		c := &Cache{}
		h := c.Wrap(newOrigin(t, *ok("x", "Cache-Control: max-age=60")))
		to := func(h http.Handler, method string) {
			r := httptest.NewRequest(method, "http://example.org/", nil)
			u, err := r.URL.Parse("/")
			require.NoError(t, err)
			switch *u = *r.URL; uri {
			case "http:a":
				u.Path, u.Opaque = "", "a"
			default:
				u.Path, u.RawQuery = "/a", "b#c"
			}
			r.URL = u
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		to(h, http.MethodGet)
		require.Equal(t, int64(1), c.Stats().Store.Entries)
		to(c.PurgeHandler(), "PURGE")
		require.Zero(t, c.Stats().Store.Entries, uri)
	}
}

// brokenRemove is a store whose Remove works, but says that it did not.
type brokenRemove struct{ store.Store }

func (s *brokenRemove) Remove(ctx context.Context, e store.Entry) error {
	return errors.Join(s.Store.Remove(ctx, e), errFull)
}
