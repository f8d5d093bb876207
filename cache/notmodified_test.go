package cache

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/cache/tiered"
)

// everyStore makes each kind of store.
var everyStore = map[string]func(t *testing.T) store.Store{
	"Memory": func(*testing.T) store.Store { return &memory.Store{} },
	"Disk":   func(t *testing.T) store.Store { return diskFor(t) },
	"Tiered": func(t *testing.T) store.Store { return &tiered.Store{Front: &memory.Store{}, Back: diskFor(t)} },
}

func diskFor(t *testing.T) *disk.Store {
	d := &disk.Store{Root: t.TempDir(), DirLevels: -1}
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// everyway runs a test with each store, by both faces of a cache.
func everyway(t *testing.T, test func(t *testing.T, c *Cache, front func(*Cache, http.Handler) http.Handler)) {
	for store, make := range everyStore {
		for face, front := range fronts {
			t.Run(store+"/"+face, func(t *testing.T) {
				clocked(t, func(t *testing.T) {
					c := &Cache{Store: make(t)}
					defer c.Close()
					test(t, c, front)
				})
			})
		}
	}
}

// Many origins give one tag to all variants of a page, and answer 304 to it
// whoever asks. Nobody gets the body or the fields of another's.
func TestVariantsWithOneTagStayApart(t *testing.T) {
	alice := map[string]string{
		"Accept-Encoding": "gzip", "Origin": "https://one.example", "Cookie": "user=alice", "Accept-Language": "de", "Host": "one.example", "X-Any": "1, 2",
	}
	bob := map[string]string{
		"Accept-Encoding": "", "Origin": "https://two.example", "Cookie": "user=bob", "Accept-Language": "en", "Host": "two.example", "X-Any": "2, 1",
	}
	for name := range alice {
		for mode, collapse := range map[string]Collapse{"CollapseStream": CollapseStream, "CollapseLock": CollapseLock, "CollapseOff": CollapseOff} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				everyway(t, func(t *testing.T, c *Cache, front func(*Cache, http.Handler) http.Handler) {
					c.Collapse = collapse
					c.KeyBaseURL = &url.URL{Scheme: "http", Host: "site.example"}
					testVariants(t, name, front(c, oneTag(name)), alice[name], bob[name])
				})
			})
		}
	}
}

// oneTag answers with a body and a field that are for one variant, and with the
// tag of all.
func oneTag(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value := r.Header.Get(name)
		if name == "Host" {
			value = r.Host
		}
		w.Header()["X-For"] = []string{value}
		w.Header().Set("Vary", name)
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Cache-Control", "public, max-age=10, stale-while-revalidate=20")
		w.Header().Set("Content-Type", "text/plain")
		switch {
		case r.Header.Get("X-Fail") != "":
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Header.Get("If-None-Match") != "":
			w.WriteHeader(http.StatusNotModified)
		default:
			_, _ = io.WriteString(w, "for "+value)
		}
	})
}

func testVariants(t *testing.T, name string, h http.Handler, alice, bob string) {
	check := func(what, method, value string, lines ...string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://site.example/", nil)
		require.NoError(t, err)
		r.Header = headerOf(lines...)
		if name == "Host" {
			r.Host = value
		} else if value != "" {
			r.Header.Set(name, value)
		}
		resp := askWith(h, r)
		synctest.Wait()
		require.Equal(t, []string{value}, resp.Header["X-For"], what)
		if body := bodyOf(t, resp); resp.StatusCode == http.StatusOK && method == http.MethodGet {
			require.Equal(t, "for "+value, body, what)
		}
	}
	check("a miss", "GET", alice)
	check("a miss under Vary", "GET", bob)
	check("hit", "GET", alice)
	check("hit of the other", "GET", bob)
	time.Sleep(15 * time.Second)
	check("stale", "GET", alice)
	check("stale, after the other was validated in the background", "GET", bob)
	check("validated in the background", "GET", alice)
	time.Sleep(time.Minute)
	check("validated", "GET", alice)
	check("validated, after the other", "GET", bob)
	time.Sleep(time.Minute)
	check("HEAD", "HEAD", alice)
	check("after HEAD for the other", "GET", bob)
	check("after HEAD", "GET", alice)
	time.Sleep(time.Minute)
	check("the origin fails", "GET", alice, "X-Fail: 1")
	check("the origin fails for the other", "GET", bob, "X-Fail: 1")
	check("conditional", "GET", bob, `If-None-Match: "a"`)
	check("conditional of the other", "GET", alice, `If-None-Match: "a"`)
	check("range", "GET", bob, "Range: bytes=0-0")
}

// A part of one variant is not joined with that of another, whatever their tags
// are.
func TestPartsOfVariantsStayApart(t *testing.T) {
	everyway(t, func(t *testing.T, c *Cache, front func(*Cache, http.Handler) http.Handler) {
		h := front(c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who := r.Header.Get("Cookie")
			w.Header().Set("Vary", "Cookie")
			w.Header().Set("Etag", `"a"`)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Type", "text/plain")
			body := who + who
			switch r.Header.Get("Range") {
			case "bytes=0-0":
				w.Header().Set("Content-Range", "bytes 0-0/2")
				w.WriteHeader(http.StatusPartialContent)
				body = who
			case "bytes=1-1":
				w.Header().Set("Content-Range", "bytes 1-1/2")
				w.WriteHeader(http.StatusPartialContent)
				body = who
			}
			_, _ = io.WriteString(w, body)
		}))
		for _, r := range []string{"0-0", "1-1"} {
			for _, who := range []string{"a", "b"} {
				require.Equal(t, who, bodyOf(t, get(h, page, "Cookie: "+who, "Range: bytes="+r)))
				synctest.Wait()
			}
		}
		require.Equal(t, "aa", bodyOf(t, get(h, page, "Cookie: a")))
		require.Equal(t, "bb", bodyOf(t, get(h, page, "Cookie: b")))
	})
}

// What a 304 says is stored by the rules for what a 200 says.
func TestFieldsOf304(t *testing.T) {
	notForAlice := []string{ // of one hop, or of the body
		"Connection", "X-Hop", "Keep-Alive", "Proxy-Authenticate", "Upgrade", "Te", "Vary", "Content-Encoding", "Content-Length",
		"Content-Range", "Content-Digest", "Content-Md5", "Repr-Digest", "Digest",
	}
	public := []string{"Cache-Control: public, max-age=10", "X-Old: 1"}
	for name, c := range map[string]struct {
		targets []string // TargetedFields, if not nil
		first   []string // fields of the 200, besides the tag; nil: public
		alice   []string // of the request that leads to the 304
		then    []string // fields of that
		gone    bool     // bob gets nothing of what was stored
		stays   bool     // bob's request is validated once more
		bob     []string // fields that he gets; "Name:" is not there
	}{
		"a new field":              {then: []string{"X-New: 1"}, bob: []string{"X-New: 1", "X-Old: 1"}},
		"another value":            {then: []string{"X-Old: 2"}, bob: []string{"X-Old: 2"}},
		"Set-Cookie":               {then: []string{"Set-Cookie: user=alice"}, bob: []string{"Set-Cookie:"}},
		"Set-Cookie, public again": {then: []string{"Set-Cookie: user=alice", "Cache-Control: public, max-age=10"}, bob: []string{"Set-Cookie:"}},
		"Set-Cookie, s-maxage":     {then: []string{"Set-Cookie: user=alice", "Cache-Control: s-maxage=10"}, bob: []string{"Set-Cookie:"}},
		"Set-Cookie, targeted":     {then: []string{"Set-Cookie: user=alice", "CDN-Cache-Control: max-age=10"}, bob: []string{"Set-Cookie:"}},
		"Set-Cookie beside one":    {first: append(public, "Set-Cookie: for=all"), then: []string{"Set-Cookie: user=alice"}, bob: []string{"Set-Cookie: for=all"}},
		"private":                  {then: []string{"Cache-Control: private, max-age=10", "X-User: alice"}, gone: true},
		"private, targeted":        {then: []string{"CDN-Cache-Control: private, max-age=10", "X-User: alice"}, gone: true},
		"private, once targeted":   {first: []string{"CDN-Cache-Control: max-age=10", "Cache-Control: max-age=5"}, then: []string{"Cache-Control: private", "X-User: alice"}, gone: true},
		"private beside targeted":  {first: []string{"CDN-Cache-Control: max-age=10", "Cache-Control: private"}, then: []string{"Cache-Control: private", "X-New: 1"}, bob: []string{"X-New: 1"}},
		"no-store":                 {then: []string{"Cache-Control: no-store", "X-User: alice"}, gone: true},
		"no-store, targeted":       {then: []string{"CDN-Cache-Control: no-store", "X-User: alice"}, gone: true},
		"no-store for surrogates":  {targets: []string{"Surrogate-Control"}, then: []string{"Surrogate-Control: no-store", "X-User: alice"}, gone: true},
		"must-understand":          {then: []string{"Cache-Control: no-store, must-understand, max-age=10", "X-New: 1"}, bob: []string{"X-New: 1"}},
		"Vary: *":                  {then: []string{"Vary: *", "X-User: alice"}, gone: true},
		"Vary that is no list":     {then: []string{"Vary: a b", "X-User: alice"}, gone: true},
		"Vary adds a field":        {alice: []string{"X-Who: alice"}, then: []string{"Vary: X-Who"}, gone: true},
		"private by name":          {then: []string{`Cache-Control: max-age=10, private="X-User"`, "X-User: alice"}, bob: []string{"X-User:"}},
		"no-cache by name":         {then: []string{`Cache-Control: max-age=10, no-cache="x-user"`, "X-User: alice"}, bob: []string{"X-User:"}},
		"by name what was stored":  {then: []string{`Cache-Control: max-age=10, private="X-Old"`}, bob: []string{"X-Old:"}},
		"Connection names it":      {then: []string{"Connection: X-Hop, close", "X-Hop: 1"}, bob: []string{"X-Hop:", "Connection:"}},
		"Connection names Vary":    {first: append(public, "Vary: X-Who"), then: []string{"Connection: Vary, X-Hop", "Vary: X-Hop", "X-Hop: 1"}, bob: []string{"X-Hop:"}},
		"hop by hop":               {then: []string{"Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Upgrade: h2c", "Te: x"}, bob: []string{"Keep-Alive:", "Proxy-Authenticate:", "Upgrade:", "Te:"}},
		"of the body":              {then: []string{"Content-Length: 99", "Content-Encoding: br", "Content-Range: bytes 0-0/9"}, bob: []string{"Content-Length: 4", "Content-Encoding:", "Content-Range:"}},
		"digests of the body":      {then: []string{"Content-Digest: sha-256=:x:", "Repr-Digest: sha-256=:x:", "Digest: md5=x", "Content-Md5: x"}, bob: []string{"Content-Digest:", "Repr-Digest:", "Digest:", "Content-Md5:"}},
		"Content-Location":         {then: []string{"Content-Location: /x"}, bob: []string{"Content-Location: /x"}},
		"Authorization":            {alice: []string{"Authorization: Basic YTph"}, then: []string{"X-User: alice"}, stays: true, bob: []string{"X-User:"}},
		"Authorization, max-age":   {alice: []string{"Authorization: Basic YTph"}, then: []string{"Cache-Control: max-age=10", "X-User: alice"}, stays: true, bob: []string{"X-User:"}},
		"Authorization, public":    {alice: []string{"Authorization: Basic YTph"}, then: []string{"Cache-Control: public, max-age=10", "X-New: 1"}, bob: []string{"X-New: 1"}},
		"no-store in the request":  {alice: []string{"Cache-Control: no-store"}, then: []string{"X-User: alice"}, stays: true, bob: []string{"X-User:"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.first == nil {
				c.first = public
			}
			everyway(t, func(t *testing.T, cache *Cache, front func(*Cache, http.Handler) http.Handler) {
				cache.TargetedFields = c.targets
				o := newOrigin(t, *ok("body", append(c.first, `ETag: "a"`)...), *status(304, append(c.then, `ETag: "a"`)...),
					step{handle: func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Cache-Control", "no-store")
						if r.Header.Get("If-None-Match") == `"a"` && c.stays {
							w.Header().Set("Cache-Control", "public, max-age=10")
							w.WriteHeader(http.StatusNotModified)
							return
						}
						_, _ = io.WriteString(w, "for bob")
					}})
				h := front(cache, o)
				require.Equal(t, "body", bodyOf(t, get(h, page)))
				synctest.Wait()
				time.Sleep(15 * time.Second)
				resp := get(h, page, c.alice...)
				synctest.Wait()
				require.Equal(t, "body", bodyOf(t, resp))
				for _, line := range c.then {
					if name, _, _ := cut(line); resp.Header.Get(name) == "" && !slices.Contains(notForAlice, name) {
						t.Errorf("alice does not get %s", line)
					}
				}
				resp = get(h, page)
				require.Empty(t, resp.Header["X-User"])
				want := 2
				if c.gone || c.stays {
					want = 3
				}
				require.Equal(t, want, o.count(), "requests to the origin")
				if c.gone {
					require.Equal(t, "for bob", bodyOf(t, resp))
					require.Empty(t, resp.Header["X-Old"])
					return
				}
				require.Equal(t, "body", bodyOf(t, resp))
				requireLines(t, resp.Header, c.bob, "bob")
			})
		})
	}
}

func cut(line string) (name, value string, ok bool) {
	for n, v := range headerOf(line) {
		return n, v[0], true
	}
	return "", "", false
}

// A 304 may tell that an answer varies by more, but not by less: the stored body
// was chosen by all that its own Vary named.
func TestVaryOf304TakesNothingAway(t *testing.T) {
	for _, vary := range []string{"", "Accept-Encoding"} {
		script(t, plainCache,
			turn{ask: []string{"Cookie: alice"}, origin: ok("for alice", "Cache-Control: max-age=10", `ETag: "a"`, "Vary: Cookie"), body: "for alice"},
			turn{after: 20 * time.Second, ask: []string{"Cookie: alice"}, origin: status(304, `ETag: "a"`, "Vary: "+vary), body: "for alice"},
			turn{ask: []string{"Cookie: alice"}, body: "for alice"},
			turn{ask: []string{"Cookie: bob"}, origin: ok("for bob", "Cache-Control: max-age=10", "Vary: Cookie"), body: "for bob"})
	}
}

// StoreSetCookie asks for cookies to be stored, also those of a 304.
func TestStoreSetCookieOf304(t *testing.T) {
	script(t, func() *Cache { return &Cache{StoreSetCookie: true} },
		turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), body: "1"},
		turn{after: 20 * time.Second, origin: status(304, `ETag: "1"`, "Set-Cookie: a=b"), body: "1", want: []string{"Set-Cookie: a=b"}},
		turn{body: "1", want: []string{"Set-Cookie: a=b"}})
}

// A response to HEAD updates what is stored by the same rules.
func TestFieldsOfHead(t *testing.T) {
	everyway(t, func(t *testing.T, c *Cache, front func(*Cache, http.Handler) http.Handler) {
		o := newOrigin(t, *ok("body", "Cache-Control: public, max-age=10", `ETag: "a"`),
			*ok("body", "Cache-Control: public, max-age=60", `ETag: "a"`, "Set-Cookie: user=alice", "Connection: X-Hop", "X-Hop: 1", "Content-Digest: x", "X-New: 1"))
		h := front(c, o)
		get(h, page)
		synctest.Wait()
		time.Sleep(15 * time.Second)
		require.Equal(t, "user=alice", ask(h, "HEAD", page).Header.Get("Set-Cookie"))
		resp := get(h, page)
		require.Equal(t, 2, o.count())
		requireLines(t, resp.Header, []string{"Set-Cookie:", "X-Hop:", "Content-Digest:", "X-New: 1"}, "bob")
	})
}

// A 304 whose tag nothing has is answered by asking without conditions.
func TestTagOf304(t *testing.T) {
	for tag, same := range map[string]bool{
		`"a"`: true, `W/"a"`: true, "": true, `"b"`: false, `W/"b"`: false, `"A"`: false, `a`: false, `"a", "b"`: false,
	} {
		t.Run(tag, func(t *testing.T) {
			everyway(t, func(t *testing.T, c *Cache, front func(*Cache, http.Handler) http.Handler) {
				h := front(c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", "max-age=10")
					w.Header().Set("Content-Type", "text/plain")
					if r.Header.Get("If-None-Match") == "" {
						w.Header().Set("Etag", `"a"`)
						_, _ = io.WriteString(w, time.Now().Format(time.TimeOnly))
						return
					}
					if tag != "" {
						w.Header().Set("Etag", tag)
					}
					w.WriteHeader(http.StatusNotModified)
				}))
				first := bodyOf(t, get(h, page))
				synctest.Wait()
				time.Sleep(15 * time.Second)
				require.Equal(t, same, bodyOf(t, get(h, page)) == first)
			})
		})
	}
}
