package cache

import (
	"net/http"
	"testing"
	"time"
)

// Each test holds for a handler and a RoundTripper behind the cache.

func TestCacheRFC9111_2_KeyIsMethodAndURI(t *testing.T) {
	fresh := "Cache-Control: max-age=60"
	script(t, plainCache,
		turn{path: "/a?x=1", origin: ok("1", fresh), body: "1"},
		turn{path: "/a?x=2", origin: ok("2", fresh), body: "2"},
		turn{path: "/a", origin: ok("3", fresh), body: "3"},
		turn{path: "/A", origin: ok("4", fresh), body: "4"},
		turn{path: "/%61?x=1", origin: ok("5", fresh), body: "5"},
		turn{path: "/a?", origin: ok("6", fresh), body: "6"},
		turn{path: "/a?x=1", body: "1"},
		turn{path: "/a?x=2", body: "2"},
		turn{path: "/a", body: "3"},
		turn{path: "/%61?x=1", body: "5"},
		turn{method: "OPTIONS", path: "/a", origin: ok("x", fresh)},
		turn{method: "POST", path: "/z", origin: ok("x", fresh)},
		turn{path: "/z", origin: ok("7", fresh), body: "7"},
	)
}

func TestCacheRFC9111_3_WhatIsNotStored(t *testing.T) {
	for name, c := range map[string]struct {
		ask    []string
		origin *step
	}{
		"no-store in the response": {nil, ok("1", "Cache-Control: max-age=60, no-store")},
		"no-store in the request":  {[]string{"Cache-Control: no-store"}, ok("1", "Cache-Control: max-age=60")},
		"private":                  {nil, ok("1", "Cache-Control: max-age=60, private")},
		"Authorization":            {[]string{"Authorization: Basic eDp5"}, ok("1", "Cache-Control: max-age=60")},
		"Vary *":                   {nil, ok("1", "Cache-Control: max-age=60", "Vary: *")},
		"nothing to go by":         {nil, ok("1")},
		"Set-Cookie":               {nil, ok("1", "Cache-Control: max-age=60", "Set-Cookie: a=b")},
		"500":                      {nil, &step{status: 500, body: "1"}},
		"must-understand":          {nil, &step{status: 299, body: "1", header: headerOf("Cache-Control: max-age=60, must-understand")}},
	} {
		t.Run(name, func(t *testing.T) {
			code := c.origin.status
			script(t, plainCache,
				turn{ask: c.ask, origin: c.origin, status: code, body: "1", want: []string{"Age:"}},
				turn{origin: ok("2", "Cache-Control: no-store"), body: "2"})
		})
	}
}

func TestCacheRFC9111_3_WhatIsStored(t *testing.T) {
	for name, c := range map[string]struct {
		ask    []string
		origin *step
		lines  []string // of the hit
	}{
		"max-age":                           {nil, ok("1", "Cache-Control: max-age=60"), nil},
		"Expires":                           {nil, ok("1", "Expires: Sat, 01 Jan 2000 01:00:00 GMT"), nil},
		"public and Authorization":          {[]string{"Authorization: Basic eDp5"}, ok("1", "Cache-Control: max-age=60, public"), nil},
		"s-maxage and Authorization":        {[]string{"Authorization: Basic eDp5"}, ok("1", "Cache-Control: s-maxage=60"), nil},
		"must-revalidate and Authorization": {[]string{"Authorization: Basic eDp5"}, ok("1", "Cache-Control: max-age=60, must-revalidate"), nil},
		"404":                               {nil, &step{status: 404, body: "1", header: headerOf("Cache-Control: max-age=60")}, nil},
		"501 with heuristics":               {nil, &step{status: 501, body: "1", header: headerOf("Last-Modified: Mon, 01 Nov 1999 00:00:00 GMT")}, nil},
		"500 that says so":                  {nil, &step{status: 500, body: "1", header: headerOf("Cache-Control: max-age=60")}, nil},
		"no-store with must-understand":     {nil, ok("1", "Cache-Control: max-age=60, no-store, must-understand"), nil},
		"Set-Cookie with public":            {nil, ok("1", "Cache-Control: public, max-age=60", "Set-Cookie: a=b"), []string{"Set-Cookie: a=b"}},
		"private by name":                   {nil, ok("1", `Cache-Control: max-age=60, private="X-A"`, "X-A: 1", "X-B: 2"), []string{"X-A:", "X-B: 2"}},
		"no-cache by name":                  {nil, ok("1", `Cache-Control: max-age=60, no-cache="x-a, x-b"`, "X-A: 1", "X-B: 2"), []string{"X-A:", "X-B:"}},
		"hop by hop":                        {nil, ok("1", "Cache-Control: max-age=60", "Connection: X-A", "X-A: 1", "Keep-Alive: timeout=5"), []string{"X-A:", "Keep-Alive:", "Connection:"}},
		"all others":                        {nil, ok("1", "Cache-Control: max-age=60", "X-New: 1", "Content-Language: de"), []string{"X-New: 1", "Content-Language: de"}},
	} {
		t.Run(name, func(t *testing.T) {
			code := c.origin.status
			script(t, plainCache,
				turn{ask: c.ask, origin: c.origin, status: code, body: "1"},
				turn{after: time.Second, status: code, body: "1", want: append(c.lines, "Age: 1")})
		})
	}
}

// What breaks off is not taken for the whole.
func TestCacheRFC9111_3_3_IncompleteResponses(t *testing.T) {
	for name, cut := range map[string]*step{
		"cut in the body":  {cut: true, body: "half", header: headerOf("Cache-Control: max-age=60", "Content-Length: 8")},
		"cut without size": {cut: true, body: "half", header: headerOf("Cache-Control: max-age=60", "Transfer-Encoding: chunked")},
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				o := newOrigin(t, *cut, *ok("complete", "Cache-Control: max-age=60"))
				h := new(Cache).Wrap(o)
				func() {
					defer func() { _ = recover() }()
					get(h, page)
				}()
				if got := bodyOf(t, get(h, page)); got != "complete" {
					t.Fatalf("got %q", got)
				}
			})
		})
	}
}

func TestCacheRFC9111_3_3_PartialContent(t *testing.T) {
	part := func(body, at, etag string) *step {
		return &step{status: 206, body: body, header: headerOf("Cache-Control: max-age=60", "Content-Range: bytes "+at, "ETag: "+etag, "Content-Type: text/plain")}
	}
	t.Run("a part never answers for the whole", func(t *testing.T) {
		script(t, plainCache,
			turn{ask: []string{"Range: bytes=0-3"}, origin: part("0123", "0-3/10", `"a"`), status: 206, body: "0123", sent: []string{"Range: bytes=0-3"}},
			turn{origin: ok("0123456789", "Cache-Control: max-age=60", `ETag: "a"`), body: "0123456789"},
			turn{body: "0123456789", want: []string{"Content-Length: 10"}})
	})
	t.Run("a part answers for what it has", func(t *testing.T) {
		script(t, plainCache,
			turn{ask: []string{"Range: bytes=2-5"}, origin: part("2345", "2-5/10", `"a"`), status: 206, body: "2345"},
			turn{ask: []string{"Range: bytes=3-4"}, status: 206, body: "34", want: []string{"Content-Range: bytes 3-4/10", "Content-Length: 2"}},
			turn{ask: []string{"Range: bytes=3-6"}, origin: part("3456", "3-6/10", `"b"`), status: 206, body: "3456"},
			turn{ask: []string{"Range: bytes=2-3"}, origin: part("xx", "2-3/10", `"b"`), status: 206, body: "xx"})
	})
}

func TestCacheRFC9111_3_4_CombiningParts(t *testing.T) {
	part := func(body, at string, lines ...string) *step {
		return &step{status: 206, body: body, header: headerOf(append([]string{"Cache-Control: max-age=60", "Content-Range: bytes " + at, `ETag: "a"`}, lines...)...)}
	}
	script(t, plainCache,
		turn{ask: []string{"Range: bytes=0-3"}, origin: part("0123", "0-3/10", "X-N: 1"), status: 206, body: "0123"},
		turn{ask: []string{"Range: bytes=6-9"}, origin: part("6789", "6-9/10", "X-N: 2"), status: 206, body: "6789"},
		turn{ask: []string{"Range: bytes=0-1,8-9"}, status: 206, body: "*"},
		turn{ask: []string{"Range: bytes=2-7"}, origin: part("234567", "2-7/10", "X-N: 3"), status: 206, body: "234567"},
		turn{body: "0123456789", want: []string{"Content-Length: 10", "Content-Range:", "X-N: 3", `Etag: "a"`}},
		turn{ask: []string{"Range: bytes=-3"}, status: 206, body: "789"})
	script(t, plainCache, // a weak validator joins nothing
		turn{ask: []string{"Range: bytes=0-3"}, origin: part("0123", "0-3/8", `ETag: W/"x"`), status: 206, body: "0123"},
		turn{ask: []string{"Range: bytes=4-7"}, origin: part("4567", "4-7/8", `ETag: W/"x"`), status: 206, body: "4567"},
		turn{origin: ok("01234567", "Cache-Control: max-age=60"), body: "01234567"})
}

func TestCacheRFC9111_3_5_Authorization(t *testing.T) {
	auth := []string{"Authorization: Basic eDp5"}
	script(t, plainCache, // what is stored without it may answer a request with it
		turn{origin: ok("1", "Cache-Control: max-age=60"), body: "1"},
		turn{ask: auth, body: "1"})
	script(t, plainCache, // a 304 for one who is authorized freshens only what is public
		turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), body: "1"},
		turn{after: 20 * time.Second, ask: auth, origin: status(304, "Cache-Control: max-age=10", `ETag: "1"`), body: "1"},
		turn{origin: ok("2", "Cache-Control: max-age=10"), body: "2"})
}

func TestCacheRFC9111_4_FreshIsUsed(t *testing.T) {
	script(t, plainCache,
		turn{origin: ok("1", "Cache-Control: max-age=60"), body: "1", want: []string{"Age:"}},
		turn{after: 59 * time.Second, body: "1", want: []string{"Age: 59"}},
		turn{after: time.Second, origin: ok("2", "Cache-Control: max-age=60"), body: "2", want: []string{"Age:"}})
	script(t, plainCache, // no-cache: each time the origin is asked
		turn{origin: ok("1", "Cache-Control: max-age=60, no-cache", `ETag: "1"`), body: "1"},
		turn{origin: status(304), body: "1", sent: []string{`If-None-Match: "1"`}},
		turn{origin: status(304), body: "1"})
}

func TestCacheRFC9111_4_MostRecentByDate(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := plainCache()
		o := newOrigin(t,
			*ok("en, new", "Cache-Control: max-age=3600", "Vary: Accept-Language", "Date: "+ago(10*time.Second)),
			*ok("de, old", "Cache-Control: max-age=3600", "Vary: Accept-Language", "Date: "+ago(100*time.Second)))
		h := c.Wrap(o)
		get(h, page, "Accept-Language: en")
		get(h, page, "Accept-Language: de")
		if got := bodyOf(t, get(h, page, "Accept-Language: en")); got != "en, new" {
			t.Fatal(got)
		}
	})
}

func TestCacheRFC9111_4_1_Vary(t *testing.T) {
	vary := func(body, names string) *step {
		return ok(body, "Cache-Control: max-age=60", "Vary: "+names, `ETag: "`+body+`"`)
	}
	script(t, plainCache,
		turn{ask: []string{"Accept-Language: en"}, origin: vary("en", "Accept-Language"), body: "en"},
		turn{ask: []string{"Accept-Language: de"}, origin: vary("de", "Accept-Language"), body: "de", sent: []string{"If-None-Match:"}},
		turn{origin: vary("none", "Accept-Language"), body: "none"},
		turn{ask: []string{"Accept-Language: en"}, body: "en"},
		turn{ask: []string{"accept-language:  EN "}, body: "en"},
		turn{ask: []string{"Accept-Language: de"}, body: "de"},
		turn{ask: []string{"X-Other: 1"}, body: "none"})
	script(t, plainCache, // several fields; lines are joined
		turn{ask: []string{"X-A: 1", "X-A: 2", "X-B: 3"}, origin: vary("1", "X-A, X-B"), body: "1"},
		turn{ask: []string{"X-A: 1, 2", "X-B: 3"}, body: "1"},
		turn{ask: []string{"X-A: 2, 1", "X-B: 3"}, origin: vary("2", "X-A, X-B"), body: "2"})
}

func TestCacheRFC9111_4_2_1_Lifetimes(t *testing.T) {
	in := func(d time.Duration) string {
		return "Expires: " + time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat)
	}
	for name, c := range map[string]struct {
		lines []string
		fresh time.Duration
	}{
		"s-maxage before max-age":  {[]string{"Cache-Control: max-age=10, s-maxage=20"}, 20 * time.Second},
		"max-age before Expires":   {[]string{"Cache-Control: max-age=10", in(time.Hour)}, 10 * time.Second},
		"Expires":                  {[]string{in(30 * time.Second)}, 30 * time.Second},
		"Expires against Date":     {[]string{in(30 * time.Second), "Date: Fri, 31 Dec 1999 23:59:50 GMT"}, 40 * time.Second},
		"CDN-Cache-Control first":  {[]string{"CDN-Cache-Control: max-age=40", "Cache-Control: max-age=10"}, 40 * time.Second},
		"the first of two differs": {[]string{"Cache-Control: max-age=30", "Cache-Control: max-age=10", `ETag: "1"`}, 0},
		"ten percent":              {[]string{"Last-Modified: Fri, 31 Dec 1999 23:58:20 GMT"}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			one := turn{origin: ok("1", c.lines...), body: "1"}
			if c.fresh == 0 {
				script(t, plainCache, one, turn{origin: ok("2"), body: "2"})
				return
			}
			// A Date in the past is an age, too.
			age := time.Duration(0)
			if name == "Expires against Date" {
				age = 10 * time.Second
			}
			script(t, plainCache, one,
				turn{after: c.fresh - age - time.Second, body: "1"},
				turn{after: time.Second, origin: ok("2"), body: "2"})
		})
	}
}

func TestCacheRFC9111_4_2_3_Age(t *testing.T) {
	script(t, plainCache,
		turn{origin: ok("1", "Cache-Control: max-age=60", "Age: 20"), body: "1", want: []string{"Age: 20"}},
		turn{after: 10 * time.Second, body: "1", want: []string{"Age: 30"}},
		turn{after: 30 * time.Second, origin: ok("2"), body: "2"})
	script(t, plainCache, // an old Date
		turn{origin: ok("1", "Cache-Control: max-age=60", "Date: Fri, 31 Dec 1999 23:59:30 GMT"), body: "1"},
		turn{after: 10 * time.Second, body: "1", want: []string{"Age: 40"}})
	script(t, plainCache, // the time that the answer took
		turn{origin: &step{handle: func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Age", "10")
			_, _ = w.Write([]byte("1"))
		}}, body: "1"},
		turn{after: 10 * time.Second, body: "1", want: []string{"Age: 25"}})
}

func TestCacheRFC9111_4_2_4_StaleResponses(t *testing.T) {
	t.Run("an error of the origin", func(t *testing.T) {
		script(t, plainCache,
			turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), body: "1"},
			turn{after: 20 * time.Second, origin: &step{status: 503, body: "down"}, body: "1", want: []string{"Age: 20"}})
	})
	for _, forbids := range []string{"must-revalidate", "proxy-revalidate", "s-maxage=10", "no-cache"} {
		t.Run(forbids, func(t *testing.T) {
			script(t, plainCache,
				turn{origin: ok("1", "Cache-Control: max-age=10, "+forbids, `ETag: "1"`), body: "1"},
				turn{after: 20 * time.Second, origin: &step{status: 503, body: "down"}, status: 503, body: "down"})
		})
	}
	script(t, func() *Cache { return &Cache{NoStaleOnError: true} },
		turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), body: "1"},
		turn{after: 20 * time.Second, origin: &step{status: 503, body: "down"}, status: 503, body: "down"})
}

func TestCacheRFC9111_4_3_1_ValidationRequests(t *testing.T) {
	script(t, plainCache,
		turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`, "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT"), body: "1"},
		turn{after: 20 * time.Second, ask: []string{`If-None-Match: "other"`, "If-Range: x", "Range: bytes=0-0"},
			origin: status(304), body: "1",
			sent: []string{`If-None-Match: "1"`, "If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT", "Range:", "If-Range:"}})
	script(t, plainCache, // nothing stored: the client's conditions are ours to answer
		turn{ask: []string{`If-None-Match: "1"`}, origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), status: 304, sent: []string{"If-None-Match:"}},
		turn{body: "1"})
}

func TestCacheRFC9111_4_3_2_ReceivedConditions(t *testing.T) {
	stored := turn{origin: ok("1", "Cache-Control: max-age=60", `ETag: W/"1"`, "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT"), body: "1"}
	script(t, plainCache, stored,
		turn{ask: []string{`If-None-Match: "0", "1"`}, status: 304, want: []string{`Etag: W/"1"`, "Content-Length:", "Cache-Control: max-age=60"}},
		turn{ask: []string{`If-None-Match: *`}, status: 304},
		turn{ask: []string{`If-None-Match: "2"`, "If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT"}, body: "1"},
		turn{ask: []string{"If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT"}, status: 304},
		turn{ask: []string{"If-Modified-Since: Thu, 30 Dec 1999 00:00:00 GMT"}, body: "1"},
		turn{ask: []string{`If-Match: "1"`}, origin: status(412), status: 412},
		turn{ask: []string{"If-Unmodified-Since: Fri, 31 Dec 1999 00:00:00 GMT"}, origin: ok("2"), body: "2"},
		turn{method: "HEAD", ask: []string{`If-None-Match: "1"`}, status: 304})
}

func TestCacheRFC9111_4_3_3_ValidationResponses(t *testing.T) {
	stored := turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), body: "1"}
	script(t, plainCache, stored, // 304
		turn{after: 20 * time.Second, origin: status(304, "Cache-Control: max-age=30", "X-New: 1"), body: "1", want: []string{"X-New: 1", "Age: 0"}},
		turn{after: 29 * time.Second, body: "1", want: []string{"Age: 29", "X-New: 1"}})
	script(t, plainCache, stored, // a full response takes its place
		turn{after: 20 * time.Second, origin: ok("2", "Cache-Control: max-age=10", `ETag: "2"`), body: "2"},
		turn{body: "2"})
	script(t, plainCache, stored, // one that may not be stored does away with it
		turn{after: 20 * time.Second, origin: ok("2", "Cache-Control: no-store"), body: "2"},
		turn{origin: ok("3", "Cache-Control: no-store"), body: "3", sent: []string{"If-None-Match:"}})
	script(t, plainCache, stored, // the origin fails
		turn{after: 20 * time.Second, origin: status(500), body: "1"})
}

func TestCacheRFC9111_4_3_4_FresheningBy304(t *testing.T) {
	variant := func(body, etag string) *step {
		return ok(body, "Cache-Control: max-age=10", "Vary: X-A", "ETag: "+etag)
	}
	script(t, plainCache, // no other variant
		turn{ask: []string{"X-A: 1"}, origin: variant("one", `"s"`), body: "one"},
		turn{ask: []string{"X-A: 2"}, origin: variant("two", `"s"`), body: "two"},
		turn{after: 20 * time.Second, ask: []string{"X-A: 1"}, origin: status(304, `ETag: "s"`, "X-New: 1", "Vary: X-A"), body: "one"},
		turn{ask: []string{"X-A: 2"}, origin: status(304, `ETag: "s"`, "Vary: X-A"), body: "two", want: []string{"X-New:", "Age: 0"}})
	script(t, plainCache, // one that selects nothing is no answer
		turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), body: "1"},
		turn{after: 20 * time.Second, origin: &step{handle: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != "" {
				w.Header().Set("Etag", `"other"`)
				w.WriteHeader(304)
				return
			}
			_, _ = w.Write([]byte("2"))
		}}, body: "2"})
	script(t, plainCache, // fields of the body stay
		turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`, "Content-Encoding: x"), body: "1"},
		turn{after: 20 * time.Second, origin: status(304, "Content-Encoding: y", "Content-Length: 77"), body: "1", want: []string{"Content-Encoding: x", "Content-Length: 1"}})
}

func TestCacheRFC9111_4_3_5_FresheningByHEAD(t *testing.T) {
	stored := turn{origin: ok("1", "Cache-Control: max-age=10", `ETag: "1"`), body: "1"}
	script(t, plainCache, stored,
		turn{after: 20 * time.Second, method: "HEAD", origin: ok("x", "Cache-Control: max-age=10", `ETag: "1"`, "X-New: 1")},
		turn{body: "1", want: []string{"X-New: 1"}})
	script(t, plainCache, stored,
		turn{after: 20 * time.Second, method: "HEAD", origin: ok("x", "Cache-Control: max-age=10", `ETag: "2"`)},
		turn{origin: ok("2", "Cache-Control: max-age=10", `ETag: "2"`), body: "2"})
	script(t, plainCache, stored, // a longer one
		turn{after: 20 * time.Second, method: "HEAD", origin: ok("xyz", "Cache-Control: max-age=10")},
		turn{origin: ok("2", "Cache-Control: max-age=10", `ETag: "2"`), body: "2"})
	script(t, plainCache, // a HEAD is not stored as an empty GET
		turn{method: "HEAD", origin: ok("abc", "Cache-Control: max-age=10")},
		turn{origin: ok("abc", "Cache-Control: max-age=10"), body: "abc"},
		turn{method: "HEAD", want: []string{"Content-Length: 3", "Age: 0"}})
}

func TestCacheRFC9111_4_4_Invalidation(t *testing.T) {
	stored := func(path, body string) turn {
		return turn{path: path, origin: ok(body, "Cache-Control: max-age=60", `ETag: "`+body+`"`), body: body}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "UNKNOWN"} {
		t.Run(method, func(t *testing.T) {
			script(t, plainCache, stored("", "1"),
				turn{method: method, origin: ok("")},
				turn{origin: ok("2", "Cache-Control: max-age=60"), body: "2"})
		})
	}
	for _, method := range []string{"OPTIONS", "TRACE"} {
		script(t, plainCache, stored("", "1"), turn{method: method, origin: ok("")}, turn{body: "1"})
	}
	script(t, plainCache, stored("", "1"), turn{method: "POST", origin: status(500), status: 500}, turn{body: "1"})
	script(t, plainCache, stored("", "1"), turn{method: "POST", origin: status(404), status: 404}, turn{body: "1"})
	script(t, plainCache, stored("/b", "1"), stored("/c", "2"), stored("/d", "3"), // Location and Content-Location
		turn{method: "POST", path: "/a", origin: status(201, "Location: /b", "Content-Location: http://example.org/c"), status: 201},
		turn{path: "/b", origin: status(304), body: "1", sent: []string{`If-None-Match: "1"`}},
		turn{path: "/c", origin: ok("2b"), body: "2b"},
		turn{path: "/d", body: "3"})
	script(t, plainCache, stored("/b", "1"), // another origin has no say
		turn{method: "POST", path: "/a", origin: status(201, "Location: http://example.com/b", "Content-Location: https://example.org/b"), status: 201},
		turn{path: "/b", body: "1"})
}

func TestCacheRFC9111_5_2_1_RequestDirectives(t *testing.T) {
	stored := turn{origin: ok("1", "Cache-Control: max-age=60", `ETag: "1"`), body: "1"}
	asks := func(directive string, after time.Duration) []turn {
		return []turn{stored, {after: after, ask: []string{"Cache-Control: " + directive}, origin: ok("2"), body: "2"}}
	}
	has := func(directive string, after time.Duration) []turn {
		return []turn{stored, {after: after, ask: []string{"Cache-Control: " + directive}, body: "1"}}
	}
	for name, turns := range map[string][]turn{
		"5.2.1.1 max-age":               has("max-age=30", 29*time.Second),
		"5.2.1.1 max-age passed":        asks("max-age=30", 31*time.Second),
		"5.2.1.1 max-age=0":             asks("max-age=0", 0),
		"5.2.1.2 max-stale":             has("max-stale", time.Hour),
		"5.2.1.2 max-stale with limit":  has("max-stale=30", 89*time.Second),
		"5.2.1.2 max-stale passed":      asks("max-stale=30", 92*time.Second),
		"5.2.1.3 min-fresh":             has("min-fresh=30", 29*time.Second),
		"5.2.1.3 min-fresh passed":      asks("min-fresh=30", 31*time.Second),
		"5.2.1.4 no-cache":              asks("no-cache", 0),
		"5.2.1.5 no-store may be a hit": has("no-store", 0),
		"5.2.1.7 only-if-cached":        has("only-if-cached", 0),
		"5.2.1.7 only-if-cached, stale": {stored, {after: time.Hour, ask: []string{"Cache-Control: only-if-cached"}, status: 504, body: "*"}},
		"5.4 Pragma":                    {stored, {ask: []string{"Pragma: no-cache"}, origin: ok("2"), body: "2"}},
		"5.4 Pragma and Cache-Control":  {stored, {ask: []string{"Pragma: no-cache", "Cache-Control: max-age=60"}, body: "1"}},
	} {
		t.Run(name, func(t *testing.T) { script(t, plainCache, turns...) })
	}
}

func TestCacheRFC5861_3_StaleWhileRevalidate(t *testing.T) {
	stored := turn{origin: ok("1", "Cache-Control: max-age=10, stale-while-revalidate=20", `ETag: "1"`), body: "1"}
	script(t, plainCache, stored,
		turn{after: 15 * time.Second, origin: ok("2", "Cache-Control: max-age=10"), body: "1", want: []string{"Age: 15"}, sent: []string{`If-None-Match: "1"`}},
		turn{body: "2"})
	script(t, plainCache, stored,
		turn{after: 15 * time.Second, origin: status(304), body: "1"},
		turn{body: "1", want: []string{"Age: 0"}})
	script(t, plainCache, stored, // over
		turn{after: 31 * time.Second, origin: ok("2"), body: "2"})
	script(t, func() *Cache { return &Cache{StaleWhileRevalidate: time.Minute} },
		turn{origin: ok("1", "Cache-Control: max-age=10"), body: "1"},
		turn{after: 15 * time.Second, origin: ok("2", "Cache-Control: max-age=10"), body: "1"},
		turn{body: "2"})
}

func TestCacheRFC5861_4_StaleIfError(t *testing.T) {
	stored := turn{origin: ok("1", "Cache-Control: max-age=10, stale-if-error=20", `ETag: "1"`), body: "1"}
	script(t, plainCache, stored, turn{after: 25 * time.Second, origin: status(502), body: "1"})
	script(t, plainCache, stored, turn{after: 31 * time.Second, origin: status(502), status: 502})
	script(t, plainCache, stored, turn{after: 25 * time.Second, origin: status(404), status: 404})
}
