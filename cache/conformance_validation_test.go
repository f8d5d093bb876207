package cache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Sections 4.3.1 to 4.3.3 of RFC 9111.
func TestRFC9111_4_3_Validation(t *testing.T) {
	old := []string{"Cache-Control: max-age=2", `ETag: "a"`, "Last-Modified: @-3000"}
	fresh := []string{"Cache-Control: max-age=60", `ETag: "a"`}
	play(t, []scene{
		{"4.3.1 both validators are sent", nil, []act{{answer: old}, {wait: 3, status: 304, answer: fresh, by: checked, asked: []string{`If-None-Match: "a"`, "If-Modified-Since: @-3003"}}}},
		{"4.3.1 a weak tag", nil, []act{{answer: []string{"Cache-Control: max-age=2", `ETag: W/"a"`}}, {wait: 3, status: 304, answer: []string{`ETag: W/"a"`}, by: checked, asked: []string{`If-None-Match: W/"a"`}}}},
		{"4.3.1 the fields that Vary names go along", nil, []act{
			{send: []string{"Abc: 123"}, answer: append(old, "Vary: Abc")}, {wait: 3, send: []string{"Abc: 123"}, status: 304, answer: fresh, by: checked, asked: []string{"Abc: 123", `If-None-Match: "a"`}}}},
		{"4.3.3 304 freshens", nil, []act{{answer: old}, {wait: 3, status: 304, answer: fresh, by: checked, fields: []string{"Cache-Control: max-age=60", "Age: 0", "Date: @0"}}, {wait: 59, by: byCache, fields: []string{"Age: 59", "Date: @-59"}}, {wait: 1, status: 304, answer: fresh, by: checked}}},
		{"4.3.3 200 replaces", nil, []act{{answer: old}, {wait: 3, answer: []string{"Cache-Control: max-age=60", `ETag: "b"`}, content: "new", by: replaced, text: "new"}, {by: byCache, text: "new", fields: []string{`ETag: "b"`}}}},
		{"4.3.3 200 that may not be stored takes the old one's place", nil, []act{{answer: old}, {wait: 3, answer: []string{"Cache-Control: no-store"}, content: "new", by: replaced, text: "new"}, {send: []string{"Cache-Control: max-stale"}, text: "answer of step 3"}}},
		{"4.3.3 404 replaces", nil, []act{{answer: old}, {wait: 3, status: 404, answer: []string{"Cache-Control: max-age=60"}, content: "gone", by: replaced}, {by: byCache, want: 404, text: "gone"}}},
		{"nothing to validate by", nil, []act{{answer: []string{"Cache-Control: max-age=2"}}, {wait: 3, asked: []string{"-If-None-Match", "-If-Modified-Since"}}}},
		{"a tag that is none is not sent", nil, []act{{answer: []string{"Cache-Control: max-age=2", "ETag: abc"}}, {wait: 3, asked: []string{"-If-None-Match"}}}},
	}, onDisk)
}

// Section 4.3.2: a client's conditions.
func TestRFC9111_4_3_2_ConditionsOfClients(t *testing.T) {
	tagged := []string{"Cache-Control: max-age=60", `ETag: "a"`, "Last-Modified: @-3000", "Content-Location: /x", "Foo: 1"}
	inm := func(v string) []string { return []string{"If-None-Match: " + v} }
	ims := func(v string) []string { return []string{"If-Modified-Since: " + v} }
	play(t, []scene{
		{"If-None-Match", nil, []act{{answer: tagged}, {send: inm(`"a"`), by: byCache, want: 304, fields: []string{`ETag: "a"`, "Date: @0", "Cache-Control: max-age=60", "Content-Location: /x", "-Content-Length", "-Content-Type"}}}},
		{"15.4.5 the fields of 304", nil, []act{
			{answer: []string{"Cache-Control: max-age=60", "Expires: @60", "Content-Location: /x", "Vary: Foo", `ETag: "a"`, "Date: @0"}},
			{send: inm(`"a"`), by: byCache, want: 304, fields: []string{"Cache-Control: max-age=60", "Expires: @60", "Content-Location: /x", "Vary: Foo", `ETag: "a"`, "Date: @0"}}}},
		{"If-None-Match, weak", nil, []act{{answer: tagged}, {send: inm(`W/"a"`), by: byCache, want: 304}}},
		{"If-None-Match, many", nil, []act{{answer: tagged}, {send: inm(`"1", "a", "2"`), by: byCache, want: 304}}},
		{"If-None-Match, star", nil, []act{{answer: tagged}, {send: inm("*"), by: byCache, want: 304}}},
		{"If-None-Match, another", nil, []act{{answer: tagged}, {send: inm(`"b"`), by: byCache, want: 200}}},
		{"If-None-Match, HEAD", nil, []act{{answer: tagged}, {method: "HEAD", send: inm(`"a"`), by: byCache, want: 304}}},
		{"If-Modified-Since", nil, []act{{answer: tagged}, {send: ims("@-3000"), by: byCache, want: 304}}},
		{"If-Modified-Since, later", nil, []act{{answer: tagged}, {send: ims("@-2000"), by: byCache, want: 304}}},
		{"If-Modified-Since, earlier", nil, []act{{answer: tagged}, {send: ims("@-4000"), by: byCache, want: 200}}},
		{"If-None-Match goes before, true", nil, []act{{answer: tagged}, {send: append(inm(`"a"`), ims("@-4000")...), by: byCache, want: 304}}},
		{"If-None-Match goes before, false", nil, []act{{answer: tagged}, {send: append(inm(`"b"`), ims("@0")...), by: byCache, want: 200}}},
		{"against Date", nil, []act{{answer: []string{"Cache-Control: max-age=60"}}, {wait: 1, send: ims("@0"), by: byCache, want: 304}, {send: ims("@-3000"), by: byCache, want: 200}}},
		{"of an error", nil, []act{{status: 404, answer: tagged, content: "x"}, {send: inm(`"a"`), by: byCache, want: 404, text: "x"}}},
		{"If-Match goes to the origin", nil, []act{{answer: tagged}, {send: []string{`If-Match: "b"`}, status: 412, by: byOrigin, asked: []string{`If-Match: "b"`}}, {by: byCache}}},
		{"If-Unmodified-Since goes to the origin", nil, []act{{answer: tagged}, {send: []string{"If-Unmodified-Since: @0"}, by: byOrigin}}},
		{"stale: validated with the cache's tag, answered by the client's", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", `ETag: "a"`}}, {wait: 3, send: inm(`"a"`), status: 304, answer: tagged, by: checked, want: 304},
			{wait: 61, send: inm(`"old"`), status: 304, answer: tagged, by: checked, want: 200}}},
		{"stale: replaced by what the client has", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", `ETag: "a"`}}, {wait: 3, send: inm(`"b"`), answer: []string{"Cache-Control: max-age=60", `ETag: "b"`}, by: replaced, want: 304},
			{by: byCache, text: "answer of step 2"}}},
		{"nothing stored: the whole is stored, the client gets 304", nil, []act{{send: inm(`"a"`), answer: tagged, by: either, want: 304}, {by: either, answer: tagged}, {by: byCache}}},
	}, onDisk)
}

// Section 4.3.4, with section 3.2.
func TestRFC9111_4_3_4_Freshening(t *testing.T) {
	play(t, []scene{
		{"fields are updated, for this client and the next", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", `ETag: "a"`, "Test-Header: 1", "X-Test-Header: 1", "Content-Foo: 1", "X-Content-Foo: 1", "Content-Location: /a", "Kept: 1", "Many: 1", "Many: 2"}, content: "12345"},
			{wait: 3, status: 304, by: checked, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "Test-Header: 2", "X-Test-Header: 2", "Content-Foo: 2", "X-Content-Foo: 2", "Content-Location: /b", "Content-Length: 99", "Many: 3"},
				fields: []string{"Test-Header: 2", "X-Test-Header: 2", "Content-Foo: 2", "X-Content-Foo: 2", "Content-Location: /b", "Kept: 1", "Content-Length: 5", "Many: 3"}},
			{wait: 1, by: byCache, fields: []string{"Cache-Control: max-age=60", "Test-Header: 2", "X-Test-Header: 2", "Content-Foo: 2", "X-Content-Foo: 2", "Content-Location: /b", "Kept: 1", "Content-Length: 5", "Many: 3"}}}},
		{"by Last-Modified", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT", "Test-Header: 1"}},
			{wait: 3, status: 304, by: checked, answer: []string{"Cache-Control: max-age=60", "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT", "Test-Header: 2"}, fields: []string{"Test-Header: 2"}},
			{wait: 1, by: byCache, fields: []string{"Test-Header: 2"}}}},
		{"a 304 of something else freshens nothing", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", `ETag: "a"`}},
			{wait: 3, status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "b"`}, by: either, want: 304},
			{send: []string{"Cache-Control: max-stale=1"}, answer: []string{"Cache-Control: max-age=2"}, by: either}}},
		{"no other variant, whose tag may be the same", nil, []act{
			{send: []string{"Foo: 1"}, answer: []string{"Cache-Control: max-age=2", `ETag: "a"`, "Vary: Foo"}, content: "1"},
			{send: []string{"Foo: 2"}, answer: []string{"Cache-Control: max-age=2", `ETag: "a"`, "Vary: Foo"}, content: "2"},
			{wait: 3, send: []string{"Foo: 1"}, status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "Vary: Foo"}, by: checked, text: "1"},
			{send: []string{"Foo: 1"}, by: byCache, text: "1"},
			{send: []string{"Foo: 2"}, status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "Vary: Foo"}, by: checked, text: "2"}}},
		{"Vary of a 304", nil, []act{
			{send: []string{"Foo: 1"}, answer: []string{"Cache-Control: max-age=2", `ETag: "a"`}},
			{wait: 3, send: []string{"Foo: 1"}, status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "Vary: Foo"}, by: checked},
			{send: []string{"Foo: 1"}, by: byCache}, {answer: []string{"Cache-Control: max-age=60", `ETag: "b"`}}}},
		{"fields for the client alone", nil, []act{
			{answer: []string{`Cache-Control: max-age=2, no-cache="A"`, `ETag: "a"`}},
			{wait: 3, status: 304, answer: []string{`Cache-Control: max-age=60, no-cache="A"`, `ETag: "a"`, "A: 1"}, by: checked, fields: []string{"A: 1"}},
			{by: byCache, fields: []string{"-A"}}}},
		{"cookies of a 304 are not stored", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", `ETag: "a"`}},
			{wait: 3, status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "Set-Cookie: a=b"}, by: checked, fields: []string{"Set-Cookie: a=b"}},
			{by: byCache, fields: []string{"-Set-Cookie"}}}},
		{"no-store in a 304", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", `ETag: "a"`}, content: "x"},
			{wait: 3, status: 304, answer: []string{"Cache-Control: no-store", `ETag: "a"`}, by: checked, text: "x"},
			{by: byOrigin}}},
		{"a 304 for one who showed credentials", nil, []act{
			{answer: []string{"Cache-Control: max-age=2", `ETag: "a"`, "A: 1"}},
			{wait: 3, send: []string{"Authorization: x"}, status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "A: 2"}, by: checked, fields: []string{"A: 2"}},
			{status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`}, by: checked, fields: []string{"A: 1"}}}},
	}, onDisk)
}

// Section 4.3.5.
func TestRFC9111_4_3_5_Head(t *testing.T) {
	old := []string{"Cache-Control: max-age=2", `ETag: "a"`, "A: 1"}
	play(t, []scene{
		{"is passed on", nil, []act{{answer: old}, {wait: 3, method: "HEAD", by: either, answer: old}}},
		{"freshens", nil, []act{{answer: old, content: "12345"},
			{wait: 3, method: "HEAD", answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "A: 2", "Content-Length: 5"}, by: either},
			{by: byCache, fields: []string{"A: 2", "Cache-Control: max-age=60"}, text: "12345"}}},
		{"another tag makes it stale", nil, []act{{answer: []string{"Cache-Control: max-age=60", `ETag: "a"`}},
			{method: "HEAD", send: []string{"Cache-Control: no-cache"}, answer: []string{"Cache-Control: max-age=60", `ETag: "b"`}, by: either},
			{by: replaced}}},
		{"another length makes it stale", nil, []act{{answer: []string{"Cache-Control: max-age=60", `ETag: "a"`}, content: "12345"},
			{method: "HEAD", send: []string{"Cache-Control: no-cache"}, answer: []string{"Cache-Control: max-age=60", "Content-Length: 6"}, by: either},
			{by: replaced}}},
		{"an error says nothing", nil, []act{{answer: []string{"Cache-Control: max-age=60", "A: 1"}},
			{method: "HEAD", send: []string{"Cache-Control: no-cache"}, status: 410, answer: []string{"Cache-Control: max-age=60", "A: 2"}, by: either, want: 410},
			{by: byCache, fields: []string{"A: 1"}}}},
	}, onDisk)
}

// Section 4.4.
func TestRFC9111_4_4_Invalidation(t *testing.T) {
	fresh := []string{"Cache-Control: max-age=60"}
	var scenes []scene
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "M-SEARCH"} {
		scenes = append(scenes,
			scene{method, nil, []act{{answer: fresh}, {method: method}, {}}},
			scene{method + ", redirected", nil, []act{{answer: fresh}, {method: method, status: 303}, {}}},
			scene{method + ", failed", nil, []act{{answer: fresh}, {method: method, status: 500}, {method: method, status: 404}, {by: byCache, text: "answer of step 1"}}},
			scene{method + ", Location", nil, []act{{path: "/a", answer: fresh}, {path: "/b", method: method, answer: []string{"Location: /a"}}, {path: "/a"}}},
			scene{method + ", Content-Location", nil, []act{{path: "/a", answer: fresh}, {path: "/b", method: method, answer: []string{"Content-Location: http://example.org/a"}}, {path: "/a"}}},
			scene{method + ", of another origin", nil, []act{{path: "/a", answer: fresh}, {path: "/b", method: method, answer: []string{"Location: https://example.org/a", "Content-Location: http://example.com/a"}}, {path: "/a", by: byCache}}},
		)
	}
	scenes = append(scenes,
		scene{"all variants", nil, []act{
			{send: []string{"Foo: 1"}, answer: append(fresh, "Vary: Foo")}, {send: []string{"Foo: 2"}, answer: append(fresh, "Vary: Foo")},
			{method: "POST"}, {send: []string{"Foo: 1"}}, {send: []string{"Foo: 2"}}}},
		scene{"never used again without validation, not even on an error", nil, []act{
			{answer: []string{"Cache-Control: max-age=60, stale-if-error=600", `ETag: "a"`}}, {method: "POST"}, {status: 503, by: replaced}, {send: []string{"Cache-Control: max-stale"}, by: replaced}}},
		scene{"but after it", nil, []act{
			{answer: []string{"Cache-Control: max-age=60", `ETag: "a"`}, content: "x"}, {method: "POST", answer: nil}, {status: 304, answer: []string{"Cache-Control: max-age=60", `ETag: "a"`}, by: checked, text: "x"}, {by: byCache, text: "x"}}},
		scene{"Location, with keys of one's own", func(c *Cache) { c.Key = func(r *http.Request) string { return "k" + r.URL.Path } }, []act{
			{path: "/a", answer: fresh}, {path: "/b", method: "POST", answer: []string{"Location: /a"}}, {path: "/a"}}},
		scene{"safe methods do nothing", nil, []act{{answer: fresh}, {method: "OPTIONS"}, {method: "TRACE"}, {method: "PROPFIND"}, {by: byCache, text: "answer of step 1"}}},
		scene{"another query is another URI", nil, []act{{path: "/a?b", answer: fresh}, {path: "/a", method: "POST"}, {path: "/a?b", by: byCache}}},
	)
	play(t, scenes, onDisk)
}

// A transport's key holds the Host that the backend is told; a Location is of
// that host.
func TestRFC9111_4_4_LocationOfAnotherHost(t *testing.T) {
	asked := 0
	c := &Cache{}
	defer c.Close()
	rt := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Location", "http://www.example.org/a")
		asked++
		return w.Result(), nil
	}))
	send := func(method, path string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://backend:8080"+path, nil)
		require.NoError(t, err)
		r.Host = "www.example.org"
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	send("GET", "/a")
	require.Eventually(t, func() bool { return c.Stats().Stored == 1 }, 10*time.Second, time.Millisecond)
	send("GET", "/a")
	require.Equal(t, 1, asked)
	send("POST", "/b")
	send("GET", "/a")
	require.Equal(t, 3, asked)
}
