package cache

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Section 3 of RFC 9111: what is stored, seen by whether it is used.
func TestRFC9111_3_Storing(t *testing.T) {
	fresh := []string{"Cache-Control: max-age=3600"}
	again := act{wait: 1, by: byCache}
	asks := act{wait: 1}
	with := func(send, answer []string, then act) []act {
		return []act{{send: send, answer: answer}, then}
	}
	play(t, []scene{
		{"max-age", nil, with(nil, fresh, again)},
		{"s-maxage", nil, with(nil, []string{"Cache-Control: s-maxage=3600"}, again)},
		{"Expires", nil, with(nil, []string{"Expires: @3600"}, again)},
		{"nothing", nil, with(nil, nil, asks)},
		{"no-store", nil, with(nil, []string{"Cache-Control: max-age=3600, No-StOrE"}, asks)},
		{"no-store in the request", nil, with([]string{"Cache-Control: no-store"}, fresh, asks)},
		{"no-store in the request does not concern what is stored", nil, []act{{answer: fresh}, {send: []string{"Cache-Control: no-store"}, by: byCache}}},
		{"no-store leaves an older one alone or takes it out, but is not stored", nil, []act{
			{answer: fresh}, {send: []string{"Cache-Control: no-cache"}, answer: []string{"Cache-Control: no-store"}, by: byOrigin}, {by: either, answer: fresh}}},
		{"private", nil, with(nil, []string{"Cache-Control: private, max-age=3600"}, asks)},
		{"must-understand, understood", nil, with(nil, []string{"Cache-Control: must-understand, no-store, max-age=3600"}, again)},
		{"3.5 Authorization", nil, with([]string{"Authorization: a"}, fresh, asks)},
		{"3.5 Authorization, public", nil, with([]string{"Authorization: a"}, []string{"Cache-Control: max-age=3600, public"}, again)},
		{"3.5 Authorization, must-revalidate", nil, with([]string{"Authorization: a"}, []string{"Cache-Control: max-age=3600, must-revalidate"}, again)},
		{"3.5 Authorization, s-maxage", nil, with([]string{"Authorization: a"}, []string{"Cache-Control: s-maxage=3600"}, again)},
		{"Set-Cookie", nil, with(nil, []string{"Cache-Control: max-age=3600", "Set-Cookie: a=b"}, asks)},
		{"Set-Cookie, public", nil, with(nil, []string{"Cache-Control: max-age=3600, public", "Set-Cookie: a=b"}, act{by: byCache, fields: []string{"Set-Cookie: a=b"}})},
		{"Set-Cookie in private", nil, []act{
			{answer: []string{`Cache-Control: max-age=3600, private="Set-Cookie"`, "Set-Cookie: a=b"}, fields: []string{"Set-Cookie: a=b"}},
			{by: byCache, fields: []string{"-Set-Cookie"}}}},
		{"Cookie in the request", nil, []act{{answer: fresh}, {send: []string{"Cookie: a=b"}, by: byCache}}},
		{"POST is not stored", nil, []act{{method: "POST", answer: fresh}, {}}},
		{"PUT is not stored", nil, []act{{method: "PUT", answer: fresh}, {}}},
		{"HEAD is not stored as GET", nil, []act{{method: "HEAD", answer: append(fresh, "Content-Length: 100")}, {answer: fresh}, {by: byCache}}},
		{"only GET and HEAD are answered", nil, []act{{answer: fresh}, {method: "OPTIONS"}, {method: "GET", by: byCache}}},
		{"an error that tells its lifetime", nil, []act{{status: 404, answer: fresh, content: "no"}, {by: byCache, want: 404, text: "no"}}},
		{"an error that does not", nil, []act{{status: 403, answer: []string{"Last-Modified: @-100000"}}, {}}},
	}, onDisk)
}

// Whatever final status, with an explicit lifetime; without, some.
func TestRFC9111_3_Statuses(t *testing.T) {
	var scenes []scene
	heuristic := map[int]bool{200: true, 203: true, 204: true, 404: true, 405: true, 410: true, 414: true, 501: true, 300: true, 301: true, 308: true}
	for _, status := range []int{200, 201, 202, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 499, 500, 501, 502, 503, 504, 599} {
		text := "x"
		if status == 204 {
			text = ""
		}
		scenes = append(scenes,
			scene{fmt.Sprint(status, " fresh"), nil, []act{
				{status: status, answer: []string{"Cache-Control: max-age=10"}, content: "x"},
				{wait: 9, by: byCache, want: status, text: text},
				{wait: 2, content: "y"}}},
			scene{fmt.Sprint(status, " by Last-Modified"), nil, []act{
				{status: status, answer: []string{"Last-Modified: @-100000"}, content: "x"},
				{wait: 9, by: map[bool]who{true: byCache, false: byOrigin}[heuristic[status]], want: map[bool]int{true: status}[heuristic[status]], text: map[bool]string{true: text}[heuristic[status]]}}},
		)
	}
	scenes = append(scenes, scene{"599 by Last-Modified, public", nil, []act{
		{status: 599, answer: []string{"Last-Modified: @-100000", "Cache-Control: public"}, content: "x"}, {by: byCache, want: 599, text: "x"}}})
	play(t, scenes, onDisk)
}

func TestRFC9111_3_1_StoredFields(t *testing.T) {
	play(t, []scene{
		{"those of Connection are not", nil, []act{
			{answer: []string{"Cache-Control: max-age=3600", "Connection: a, b", "A: 1", "B: 2", "C: 3", "Keep-Alive: x", "Proxy-Authenticate: x", "Proxy-Authentication-Info: x", "Upgrade: x"}},
			{by: byCache, fields: []string{"-Connection", "-A", "-B", "C: 3", "-Keep-Alive", "-Proxy-Authenticate", "-Proxy-Authentication-Info", "-Upgrade"}}}},
		{"all others are", nil, []act{
			{answer: []string{"Cache-Control: max-age=3600", "Unknown: x", "WWW-Authenticate: x", "Strict-Transport-Security: x", "X-Frame-Options: deny", "Content-Security-Policy: x", "Many: 1", "Many: 2"}},
			{by: byCache, fields: []string{"Unknown: x", "WWW-Authenticate: x", "Strict-Transport-Security: x", "X-Frame-Options: deny", "Content-Security-Policy: x", "Many: 1, 2", "Content-Type: text/plain"}}}},
		{"5.2.2.4 no-cache with fields", nil, []act{
			{answer: []string{`Cache-Control: no-cache="a, b", max-age=3600`, "A: 1", "B: 2", "C: 3"}, fields: []string{"A: 1", "B: 2"}},
			{by: byCache, fields: []string{"-A", "-B", "C: 3"}}}},
		{"Date stays, Age comes: 4 and 5.1", nil, []act{
			{answer: []string{"Cache-Control: max-age=3600", "Date: @0"}, fields: []string{"-Age"}},
			{wait: 5, by: byCache, fields: []string{"Date: @-5", "Age: 5"}}}},
		{"Age counts on: 4.2.3", nil, []act{
			{answer: []string{"Expires: @3600", "Age: 30"}, fields: []string{"Age: 30"}},
			{wait: 5, by: byCache, fields: []string{"Age: 35"}}}},
		{"apparent age: 4.2.3", nil, []act{
			{answer: []string{"Cache-Control: max-age=3600", "Date: @-100"}},
			{wait: 5, by: byCache, fields: []string{"Age: 105", "Date: @-105"}}}},
	}, onDisk)
}

// Section 4: reuse.
func TestRFC9111_4_ConstructingResponses(t *testing.T) {
	fresh := []string{"Cache-Control: max-age=3600"}
	play(t, []scene{
		{"the URI is the key", nil, []act{{path: "/a?b", answer: fresh}, {path: "/a?c"}, {path: "/a"}, {path: "/A?b"}, {path: "/a?b", by: byCache}}},
		{"nothing of it is normalized", nil, []act{{path: "/a/b", answer: fresh}, {path: "/a//b"}, {path: "/a%2Fb"}, {path: "/a/b/"}, {path: "/a/./b"}, {path: "/%61/b"}, {path: "/a/b", by: byCache}}},
		{"the most recent one is used", nil, []act{
			{answer: []string{"Cache-Control: max-age=3600", "A: 1"}},
			{wait: 1, send: []string{"Cache-Control: no-cache"}, answer: []string{"Cache-Control: max-age=3600", "A: 2"}},
			{wait: 1, by: byCache, fields: []string{"A: 2"}}}},
		{"HEAD from GET", nil, []act{{answer: fresh, content: "12345"}, {method: "HEAD", by: byCache, fields: []string{"Content-Length: 5", "Age: 0"}}}},
		{"unsafe methods are written through", nil, []act{{answer: fresh}, {method: "POST", status: 500}, {by: byCache}}},
	}, onDisk)
}

// Section 4.1 of RFC 9111.
func TestRFC9111_4_1_Vary(t *testing.T) {
	vary := func(value string) []string { return []string{"Cache-Control: max-age=3600", "Vary: " + value} }
	foo := func(value string) []string { return []string{"Foo: " + value} }
	play(t, []scene{
		{"match", nil, []act{{send: foo("1"), answer: vary("Foo")}, {send: foo("1"), by: byCache}}},
		{"no match", nil, []act{{send: foo("1"), answer: vary("Foo")}, {send: foo("2")}}},
		{"left out", nil, []act{{send: foo("1"), answer: vary("Foo")}, {}}},
		{"added", nil, []act{{answer: vary("Foo")}, {send: foo("1")}}},
		{"star", nil, []act{{send: foo("1"), answer: vary("*")}, {send: foo("1")}}},
		{"star among others", nil, []act{{send: foo("1"), answer: vary("Foo, *")}, {send: foo("1")}}},
		{"star on another line", nil, []act{{send: foo("1"), answer: append(vary(""), "Vary: *")}, {send: foo("1")}}},
		{"variants live side by side", nil, []act{
			{send: foo("1"), answer: append(vary("Foo"), "V: 1"), content: "one"}, {send: foo("2"), answer: append(vary("Foo"), "V: 2"), content: "two"},
			{send: foo("1"), by: byCache, text: "one"}, {send: foo("2"), by: byCache, text: "two"}, {answer: vary("Foo"), content: "none"}, {by: byCache, text: "none"}}},
		{"other fields do not count", nil, []act{{send: []string{"Foo: 1", "Other: 2"}, answer: vary("Foo")}, {send: []string{"Foo: 1", "Other: 3"}, by: byCache}}},
		{"two fields", nil, []act{
			{send: []string{"Foo: 1", "Bar: abc"}, answer: vary("Foo, Bar")}, {send: []string{"Foo: 1", "Bar: abc"}, by: byCache}, {send: []string{"Foo: 2", "Bar: abc"}}, {send: foo("1")}}},
		{"both left one out", nil, []act{{send: []string{"Foo: 1", "Baz: 789"}, answer: vary("Foo, Bar, Baz")}, {send: []string{"Foo: 1", "Baz: 789"}, by: byCache}}},
		{"white space and lines", nil, []act{
			{send: foo("1,2"), answer: vary("Foo")}, {send: foo(" 1, 2 "), by: byCache}, {send: []string{"Foo: 1", "Foo: 2"}, by: byCache}}},
		{"the tags of other variants are not offered", nil, []act{
			{send: foo("1"), answer: append(vary("Foo"), `ETag: "1"`), content: "one"},
			{send: foo("2"), answer: append(vary("Foo"), `ETag: "1"`), content: "two", asked: []string{"-If-None-Match"}, text: "two"},
			{send: foo("1"), by: byCache, text: "one"}, {send: foo("2"), by: byCache, text: "two"}}},
		{"with Vary before without", nil, []act{
			{answer: []string{"Cache-Control: max-age=3600"}, content: "plain"},
			{send: append(foo("1"), "Cache-Control: no-cache"), answer: vary("Foo"), content: "one"},
			{send: foo("1"), by: byCache, text: "one"}}},
		{"normalized codings", func(c *Cache) { c.NormalizeEncoding = []string{"gzip"} }, []act{
			{send: []string{"Accept-Encoding: gzip, deflate, br"}, answer: vary("Accept-Encoding"), content: "zipped"},
			{send: []string{"Accept-Encoding: br;q=1, gzip;q=0.8"}, by: byCache, text: "zipped"},
			{send: []string{"Accept-Encoding: br"}, answer: vary("Accept-Encoding"), content: "plain"},
			{by: byCache, text: "plain"}}},
	}, onDisk)
}

// Section 4.2 of RFC 9111: each lifetime ends when it should.
func TestRFC9111_4_2_Freshness(t *testing.T) {
	lasts := func(name string, seconds int, answer ...string) scene {
		steps := []act{{answer: answer}}
		after := act{wait: 1, by: byOrigin}
		if h := headerOf(answer...); len(h["Etag"])+len(h["Last-Modified"]) > 0 {
			after.by = replaced
		}
		if seconds > 0 {
			steps = append(steps, act{wait: seconds - 1, by: byCache})
		} else {
			after.wait = 0
		}
		return scene{name, nil, append(steps, after)}
	}
	play(t, []scene{
		lasts("4.2.1 max-age", 60, "Cache-Control: max-age=60"),
		lasts("4.2.1 max-age=0", 0, "Cache-Control: max-age=0"),
		lasts("4.2.1 s-maxage beats max-age", 5, "Cache-Control: max-age=60, s-maxage=5"),
		lasts("4.2.1 s-maxage beats Expires and max-age=0", 60, "Expires: @-10", "Cache-Control: max-age=0, s-maxage=60"),
		lasts("4.2.1 max-age beats Expires", 60, "Cache-Control: max-age=60", "Expires: @-7200"),
		lasts("4.2.1 max-age beats a broken Expires", 60, "Cache-Control: max-age=60", "Expires: 0"),
		lasts("4.2.1 max-age=0 beats Expires", 0, "Cache-Control: max-age=0", "Expires: @3600"),
		lasts("4.2.1 Expires", 60, "Expires: @60"),
		lasts("4.2.1 Expires before Date", 0, "Expires: @300", "Date: @400"),
		lasts("4.2.1 duplicates that differ", 0, "Cache-Control: max-age=1800, max-age=3600"),
		lasts("4.2.1 no number", 0, "Cache-Control: max-age=a3600"),
		lasts("1.2.2 beyond 2^31", 60, "Cache-Control: max-age=99999999999", "Age: 2147483588"),
		lasts("5.3 no date", 0, "Expires: Thu, 18 Aug 2050 02:01:18 UTC", `ETag: "a"`),
		lasts("4.2.2 a tenth", 100, "Last-Modified: @-1000"),
		lasts("4.2.3 Age", 60, "Cache-Control: max-age=3600", "Age: 3540"),
		lasts("4.2.3 Date", 60, "Cache-Control: max-age=3600", "Date: @-3540"),
		lasts("4.2.3 older than its lifetime", 0, "Cache-Control: max-age=3600", "Age: 7200"),
		lasts("5.1 Age that is no number", 60, "Cache-Control: max-age=60", "Age: abc"),
		lasts("5.2.2.4 no-cache", 0, "Cache-Control: max-age=60, No-CaChE", `ETag: "a"`),
		lasts("5.4 Pragma in a response means nothing", 60, "Cache-Control: max-age=60", "Pragma: no-cache"),
		lasts("4.2.1 max-age=0 with a validator", 0, "Cache-Control: max-age=0", `ETag: "a"`),
		lasts("4.2.1 negative max-age", 0, "Cache-Control: max-age=-3600", `ETag: "a"`),
		lasts("4.2.1 past Expires", 0, "Expires: @-1", `ETag: "a"`),
		lasts("4.2.1 present Expires", 0, "Expires: @0", `ETag: "a"`),
	}, onDisk)
}

// Section 4.2.4 of RFC 9111, and RFC 5861.
func TestRFC9111_4_2_4_ServingStale(t *testing.T) {
	fails := func(control string, wait int, by who, request ...string) []act {
		last := act{wait: wait, send: request, status: 503, by: byOrigin, content: "error"}
		if by == checked {
			last.by, last.want, last.text = byOrigin, 200, "fine"
		}
		return []act{{answer: []string{"Cache-Control: " + control}, content: "fine"}, last}
	}
	play(t, []scene{
		{"503", nil, fails("max-age=2", 3, checked)},
		{"503, CacheStaleOnError off", func(c *Cache) { c.NoStaleOnError = true }, fails("max-age=2", 3, byOrigin)},
		{"must-revalidate", nil, fails("max-age=2, must-revalidate", 3, byOrigin)},
		{"proxy-revalidate", nil, fails("max-age=2, proxy-revalidate", 3, byOrigin)},
		{"s-maxage", nil, fails("s-maxage=2", 3, byOrigin)},
		{"no-cache", nil, fails("max-age=2, no-cache", 3, byOrigin)},
		{"no-cache in the request", nil, fails("max-age=2", 3, byOrigin, "Cache-Control: no-cache")},
		{"stale-if-error", nil, fails("max-age=2, stale-if-error=60", 62, checked)},
		{"stale-if-error, over", nil, fails("max-age=2, stale-if-error=60", 63, byOrigin)},
		{"stale-if-error at once", nil, fails("max-age=0, stale-if-error=60", 0, checked)},
		{"stale-if-error in the request", nil, fails("max-age=2", 12, checked, "Cache-Control: stale-if-error=10")},
		{"stale-if-error in the request, over", nil, fails("max-age=2", 13, byOrigin, "Cache-Control: stale-if-error=10")},
		{"404 is no failure", nil, []act{{answer: []string{"Cache-Control: max-age=2"}}, {wait: 3, status: 404}}},
		{"a failure leaves what is stored", nil, append(fails("max-age=2", 3, checked), act{wait: 1, status: 500, want: 200, text: "fine"}, act{wait: 1, answer: []string{"Cache-Control: max-age=2"}}, act{by: byCache})},

		{"RFC 5861 section 3: stale-while-revalidate", nil, []act{
			{answer: []string{"Cache-Control: max-age=2, stale-while-revalidate=60", `ETag: "a"`}, content: "old"},
			{wait: 62, answer: []string{"Cache-Control: max-age=60", `ETag: "b"`}, content: "new", by: replaced, text: "old", fields: []string{`ETag: "a"`, "Age: 62"}},
			{by: byCache, text: "new", fields: []string{`ETag: "b"`}}}},
		{"RFC 5861 section 3: at once", nil, []act{
			{answer: []string{"Cache-Control: max-age=0, stale-while-revalidate=60", `ETag: "a"`}, content: "old"},
			{answer: []string{"Cache-Control: max-age=60", `ETag: "a"`}, status: 304, by: checked, text: "old"},
			{by: byCache, text: "old", fields: []string{"Cache-Control: max-age=60"}}}},
		{"RFC 5861 section 3: over", nil, []act{
			{answer: []string{"Cache-Control: max-age=2, stale-while-revalidate=60"}}, {wait: 63}}},
		{"RFC 5861 section 3: a failure in the background", nil, []act{
			{answer: []string{"Cache-Control: max-age=2, stale-while-revalidate=60"}, content: "old"},
			{wait: 5, status: 500, want: 200, text: "old"},
			{wait: 5, status: 500, want: 200, text: "old"}}},
		{"RFC 5861 section 3: not against must-revalidate", nil, []act{
			{answer: []string{"Cache-Control: max-age=2, stale-while-revalidate=60, must-revalidate"}, content: "old"}, {wait: 5, content: "new", text: "new"}}},
	}, onDisk)
}

func TestRFC9111_5_2_1_RequestDirectivesObeyed(t *testing.T) {
	control := func(v string) []string { return []string{"Cache-Control: " + v} }
	tagged := append(control("max-age=60"), `ETag: "a"`)
	play(t, []scene{
		{"max-age", nil, []act{{answer: control("max-age=60")}, {wait: 10, send: control("max-age=10"), by: byCache}, {wait: 1, send: control("max-age=10")}}},
		{"max-age=0", nil, []act{{answer: tagged}, {send: control("max-age=0"), status: 304, answer: tagged, by: checked}, {by: byCache}}},
		{"max-age against Age", nil, []act{{answer: append(control("max-age=3600"), "Age: 1800")}, {send: control("max-age=600")}}},
		{"max-stale", nil, []act{{answer: control("max-age=2")}, {wait: 10, send: control("max-stale=8"), by: byCache, fields: []string{"Age: 10"}}, {wait: 1, send: control("max-stale=8")}}},
		{"max-stale, any", nil, []act{{answer: control("max-age=2")}, {wait: 100000, send: control("max-stale"), by: byCache}}},
		{"max-stale against must-revalidate", nil, []act{{answer: control("max-age=2, must-revalidate")}, {wait: 3, send: control("max-stale")}}},
		{"min-fresh", nil, []act{{answer: control("max-age=60")}, {wait: 10, send: control("min-fresh=50"), by: byCache}, {wait: 1, send: control("min-fresh=50")}}},
		{"no-cache", nil, []act{{answer: tagged}, {send: control("no-cache"), status: 304, answer: tagged, by: checked, asked: []string{`If-None-Match: "a"`}}}},
		{"no-cache, Last-Modified", nil, []act{
			{answer: append(control("max-age=60"), "Last-Modified: @-10000")}, {send: control("no-cache"), status: 304, answer: control("max-age=60"), by: checked, asked: []string{"If-Modified-Since: @-10000"}}}},
		{"Pragma", nil, []act{{answer: control("max-age=60")}, {send: []string{"Pragma: no-cache"}}}},
		{"Pragma beside Cache-Control", nil, []act{{answer: control("max-age=60")}, {send: []string{"Pragma: no-cache", "Cache-Control: max-age=30"}, by: byCache}}},
		{"only-if-cached", nil, []act{{send: control("only-if-cached"), by: byCache, want: 504}, {answer: control("max-age=2")}, {send: control("only-if-cached"), by: byCache}, {wait: 2, send: control("only-if-cached"), by: byCache, want: 504}}},
		{"only-if-cached, HEAD", nil, []act{{method: "HEAD", send: control("only-if-cached"), by: byCache, want: 504}}},
		{"only-if-cached, max-stale", nil, []act{{answer: control("max-age=2")}, {wait: 3, send: control("only-if-cached, max-stale"), by: byCache}}},
		{"IgnoreCacheControl", func(c *Cache) { c.IgnoreCacheControl = true }, []act{{answer: control("max-age=60"), send: control("no-store")}, {send: control("no-cache"), by: byCache}, {send: []string{"Pragma: no-cache"}, by: byCache}}},
		{"RFC 8246 immutable", nil, []act{{answer: control("max-age=60, immutable")}, {send: control("max-age=0"), by: byCache}, {send: control("no-cache")}}},
	}, onDisk)
}

func TestRFC9213_TargetedFieldObeyed(t *testing.T) {
	play(t, []scene{
		{"lifetime", nil, []act{{answer: []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store", "Expires: @-10"}, fields: []string{"CDN-Cache-Control: max-age=60"}}, {wait: 59, by: byCache}, {wait: 1}}},
		{"shorter", nil, []act{{answer: []string{"CDN-Cache-Control: max-age=1", "Cache-Control: max-age=60"}}, {wait: 1}}},
		{"no-store", nil, []act{{answer: []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=60"}}, {}}},
		{"private", nil, []act{{answer: []string{"CDN-Cache-Control: private", "Cache-Control: max-age=60"}}, {}}},
		{"broken", nil, []act{{answer: []string{"CDN-Cache-Control: max-age=60, &&&", "Cache-Control: no-store"}}, {}}},
		{"wrong type", nil, []act{{answer: []string{`CDN-Cache-Control: max-age="60"`, "Cache-Control: no-store"}}, {}}},
		{"none for this cache", func(c *Cache) { c.TargetedFields = []string{} }, []act{{answer: []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}}, {}}},
		{"its own first", func(c *Cache) { c.TargetedFields = []string{"my-cache-control", "cdn-cache-control"} }, []act{
			{answer: []string{"CDN-Cache-Control: max-age=60", "My-Cache-Control: max-age=5"}}, {wait: 5}}},
	}, onDisk)
}

func TestLifetimesOfTheOwner(t *testing.T) {
	play(t, []scene{
		{"TTL", func(c *Cache) {
			c.TTL = func(*http.Request, int, http.Header) (time.Duration, bool) { return time.Minute, true }
		}, []act{{answer: []string{"Cache-Control: max-age=1"}}, {wait: 59, by: byCache}, {wait: 1}}},
		{"StatusTTL", func(c *Cache) { c.StatusTTL = map[int]time.Duration{403: time.Minute} }, []act{{status: 403, content: "x"}, {wait: 59, by: byCache, want: 403, text: "x"}, {wait: 1}}},
		{"TTL of what is stored", func(c *Cache) {
			c.TTL = func(_ *http.Request, status int, h http.Header) (time.Duration, bool) {
				return time.Minute, status == 200 && h.Get("X-Kind") == "long" && h.Get("X-More") == ""
			}
		}, []act{{answer: []string{"X-Kind: long", `Etag: "a"`}}, {wait: 59, by: byCache}, {wait: 1, by: checked, status: 304, answer: []string{`Etag: "a"`}},
			{wait: 59, by: byCache}, {wait: 1, by: checked, status: 304, answer: []string{"X-More: 1", "Cache-Control: max-age=5"}}, {wait: 4, by: byCache}, {wait: 1, by: checked, status: 304}}},
		{"StatusTTL, but a lifetime by 304", func(c *Cache) { c.StatusTTL = map[int]time.Duration{200: time.Minute} }, []act{{answer: []string{`Etag: "a"`}}, {wait: 59, by: byCache},
			{wait: 1, by: checked, status: 304, answer: []string{"Cache-Control: max-age=5"}}, {wait: 4, by: byCache}, {wait: 1, by: checked, status: 304}}},
		{"StatusTTL, but a lifetime by HEAD", func(c *Cache) { c.StatusTTL = map[int]time.Duration{200: time.Minute} }, []act{{answer: []string{`Etag: "a"`}},
			{method: "HEAD", send: []string{"Cache-Control: no-cache"}, by: either, answer: []string{`Etag: "a"`, "Cache-Control: max-age=5"}}, {wait: 4, by: byCache, text: "*"}, {wait: 1, by: checked, status: 304}}},
	}, onDisk)
}
