package cache

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// hostileParts are parts of URIs, of about n bytes each, that cost most where a parser
// looks at something again and again.
var hostileParts = map[string]string{
	"slashes":              "/",
	"dots":                 "/..",
	"percent":              "%41",
	"ampersands":           "&",
	"semicolons":           ";",
	"equals":               "=",
	"digits":               "9",
	"session identifiers":  "sid=&",
	"others between those": "sid=&a&",
	"path identifiers":     ";sid=",
	"others between these": ";sid=;a",
}

// eachPart makes one input of each hostileParts value.
func eachPart(name string, parse func(value string)) (inputs map[string]parsertest.Input) {
	inputs = make(map[string]parsertest.Input)
	for what, value := range hostileParts {
		inputs[name+"/"+what] = func(n int) func() {
			v := strings.Repeat(value, n/len(value))
			return func() { parse(v) }
		}
	}
	return inputs
}

// Keys, what the purge handler is told, and what asks for another protocol.
func TestCostOfKeysAndPurges(t *testing.T) {
	c := &Cache{IgnoreURLSessionIdentifiers: []string{"sid", "x"}}
	parsertest.Linear(t, eachPart("path", func(v string) {
		c.keyOf(&http.Request{Host: "example.org", URL: &url.URL{Path: "/" + v}})
	}))
	parsertest.Linear(t, eachPart("query", func(v string) {
		c.keyOf(&http.Request{Host: "example.org", URL: &url.URL{Path: "/", RawQuery: v}})
	}))
	parsertest.Linear(t, eachPart("host", func(v string) {
		c.keyOf(&http.Request{Host: v, URL: &url.URL{Path: "/"}})
	}))
	parsertest.Linear(t, map[string]parsertest.Input{
		"purged URI": func(n int) func() {
			u := "http://example.org/" + strings.Repeat("/..;sid=", n/8) + "?" + strings.Repeat("sid=&", n/5)
			return func() { _, _ = c.Purge(t.Context(), u, PurgeRemove) }
		},
		"purged tags": func(n int) func() {
			tags := make([]string, n)
			return func() { _, _ = c.PurgeTags(t.Context(), PurgeRemove, tags...) }
		},
	})
	parsertest.Linear(t, map[string]parsertest.Input{
		"Connection": func(n int) func() {
			r := &http.Request{Method: http.MethodGet, Header: http.Header{"Upgrade": {"a"}, "Connection": {strings.Repeat(" ,a", n/3)}}}
			return func() { passesBy(r) }
		},
	})
	for _, what := range []string{"uri", "prefix", "tag"} {
		h := (&Cache{}).PurgeHandler()
		parsertest.Linear(t, map[string]parsertest.Input{what: func(n int) func() {
			target := "/?" + strings.Repeat(what+"=a&", n/16)
			return func() { ask(h, http.MethodPost, target) }
		}})
	}
}

// What a stranger has made the cache keep costs others little: requests whose
// selecting fields are long are answered, but not stored.
func TestSelectingFieldsAreBounded(t *testing.T) {
	everyway(t, func(t *testing.T, c *Cache, front func(*Cache, http.Handler) http.Handler) {
		o := newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: Accept-Encoding, X-Any"))
		h := front(c, o)
		for _, value := range []string{"a", "a,", "gzip;q=0, ", `"`, `a="b", `, `\`, "*,", ","} {
			long := "a" + strings.Repeat(value, (32<<10)/len(value)) + "a"
			for _, field := range []string{"Accept-Encoding", "X-Any"} {
				require.Equal(t, "x", bodyOf(t, get(h, page, field+": "+long)), value)
			}
		}
		require.Zero(t, c.Stats().Stored)
		before := o.count()
		for range 2 {
			require.Equal(t, "x", bodyOf(t, get(h, page, "Accept-Encoding: gzip, br")))
		}
		require.Equal(t, before+1, o.count(), "who asks for the same in few words shares")
	})
}
