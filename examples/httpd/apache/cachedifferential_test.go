package apache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// cacheRow is a few requests, one after the other, to both servers.
type cacheRow struct {
	name   string
	path   string
	answer string   // fields of the origin's answers, separated by "|"; "status 404" for another status
	later  string   // of those after the first, if they differ
	ask    []string // fields of each request, separated by "|"; "POST" and "HEAD" for other methods
}

const dated = "Last-Modified: Mon, 06 Jan 2020 10:00:00 GMT"

var cacheRows = []cacheRow{
	{name: "max-age", path: "/plain/a", answer: "Cache-Control: max-age=60", ask: []string{"", ""}},
	{name: "s-maxage", path: "/plain/b", answer: "Cache-Control: s-maxage=60", ask: []string{"", ""}},
	{name: "Expires", path: "/plain/c", answer: "Expires: FUTURE", ask: []string{"", ""}},
	{name: "Expires 0", path: "/plain/d", answer: "Expires: 0|" + dated, ask: []string{"", ""}},
	{name: "heuristic", path: "/plain/e", answer: dated, ask: []string{"", ""}},
	{name: "nothing to go by", path: "/plain/f", answer: "", ask: []string{"", ""}},
	{name: "ETag alone", path: "/plain/g", answer: `ETag: "a"`, ask: []string{"", ""}},
	{name: "no-store", path: "/plain/h", answer: "Cache-Control: no-store, max-age=60", ask: []string{"", ""}},
	{name: "private", path: "/plain/i", answer: "Cache-Control: private, max-age=60", ask: []string{"", ""}},
	{name: "no-cache", path: "/plain/j", answer: `Cache-Control: no-cache|ETag: "a"`, ask: []string{"", ""}},
	{name: "query with a lifetime", path: "/plain/k?q", answer: "Cache-Control: max-age=60", ask: []string{"", ""}},
	{name: "query without one", path: "/plain/l?q", answer: dated, ask: []string{"", ""}},
	{name: "404 with a lifetime", path: "/plain/m", answer: "status 404|Cache-Control: max-age=60", ask: []string{"", ""}},
	{name: "500", path: "/plain/n", answer: "status 500", ask: []string{"", ""}},
	{name: "301", path: "/plain/o", answer: "status 301|Location: /x|Cache-Control: max-age=60", ask: []string{"", ""}},
	{name: "302 without a lifetime", path: "/plain/p", answer: "status 302|Location: /x", ask: []string{"", ""}},
	{name: "Vary", path: "/plain/q", answer: "Cache-Control: max-age=60|Vary: X-V", ask: []string{"X-V: 1", "X-V: 2", "X-V: 1", "X-V: 2"}},
	{name: "Vary *", path: "/plain/r", answer: "Cache-Control: max-age=60|Vary: *", ask: []string{"", ""}},
	{name: "Authorization", path: "/plain/s", answer: "Cache-Control: max-age=60", ask: []string{"Authorization: Basic eDp5", "Authorization: Basic eDp5"}},
	{name: "Authorization, public", path: "/plain/t", answer: "Cache-Control: max-age=60, public", ask: []string{"Authorization: Basic eDp5", "Authorization: Basic eDp5"}},
	{name: "request with no-store", path: "/plain/u", answer: "Cache-Control: max-age=60", ask: []string{"Cache-Control: no-store", ""}},
	{name: "request with no-cache", path: "/plain/v", answer: "Cache-Control: max-age=60", ask: []string{"", "Cache-Control: no-cache", ""}},
	{name: "If-None-Match", path: "/plain/w", answer: `Cache-Control: max-age=60|ETag: "a"`, ask: []string{"", `If-None-Match: "a"`, `If-None-Match: "b"`}},
	{name: "If-Modified-Since", path: "/plain/x", answer: "Cache-Control: max-age=60|" + dated, ask: []string{"", "If-Modified-Since: Mon, 06 Jan 2020 10:00:00 GMT", "If-Modified-Since: Sun, 05 Jan 2020 10:00:00 GMT"}},
	{name: "Range of what is stored", path: "/plain/y", answer: "Cache-Control: max-age=60", ask: []string{"", "Range: bytes=1-2", "Range: bytes=-2", "Range: bytes=99-"}},
	{name: "HEAD of what is stored", path: "/plain/z", answer: "Cache-Control: max-age=60", ask: []string{"", "HEAD"}},
	{name: "HEAD stores no GET", path: "/plain/A", answer: "Cache-Control: max-age=60", ask: []string{"HEAD", ""}},
	{name: "POST invalidates", path: "/plain/B", answer: "Cache-Control: max-age=60", ask: []string{"", "", "POST", ""}},
	{name: "POST that fails does not", path: "/plain/C", answer: "Cache-Control: max-age=60", later: "status 500", ask: []string{"", "POST", ""}},
	{name: "only-if-cached", path: "/plain/D", answer: "Cache-Control: max-age=60", ask: []string{"Cache-Control: only-if-cached"}},
	{name: "validated, the same", path: "/plain/E", answer: `Cache-Control: max-age=60|ETag: "a"`, later: `status 304|ETag: "a"|Cache-Control: max-age=60`, ask: []string{"", "Cache-Control: max-age=0", ""}},
	{name: "validated, another", path: "/plain/F", answer: `Cache-Control: max-age=60|ETag: "a"`, later: `Cache-Control: max-age=60|ETag: "b"`, ask: []string{"", "Cache-Control: max-age=0", ""}},
	{name: "Set-Cookie", path: "/plain/G", answer: "Cache-Control: max-age=60|Set-Cookie: a=b", ask: []string{"", ""}},
	{name: "disabled", path: "/plain/disabled/x", answer: "Cache-Control: max-age=60", ask: []string{"", ""}},
	{name: "not enabled", path: "/other", answer: "Cache-Control: max-age=60", ask: []string{"", ""}},
	{name: "CacheIgnoreNoLastMod", path: "/nocookie/a", answer: "", ask: []string{"", ""}},
	{name: "CacheStoreNoStore", path: "/nostore/a", answer: "Cache-Control: no-store, max-age=60", ask: []string{"", ""}},
	{name: "CacheStorePrivate", path: "/nostore/b", answer: "Cache-Control: private, max-age=60", ask: []string{"", ""}},
	{name: "CacheMaxFileSize", path: "/small/a", answer: "Cache-Control: max-age=60", ask: []string{"", ""}},
	{name: "CacheStaleOnError on", path: "/stale/a", answer: `Cache-Control: max-age=60|ETag: "a"`, later: "status 503", ask: []string{"", "Cache-Control: max-age=0"}},
	{name: "CacheStaleOnError off", path: "/notstale/a", answer: `Cache-Control: max-age=60|ETag: "a"`, later: "status 503", ask: []string{"", "Cache-Control: max-age=0"}},
}

// cacheMeant are the rows in which the servers differ on purpose: what httpd
// does, what is done here, and why.
var cacheMeant = map[string]struct {
	httpd, ours []string
	why         string
}{
	"request with no-store": {
		[]string{`200 "answer 1"  - asked=1`, `200 "answer 2" MISS - asked=1`},
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 2" MISS - asked=1`},
		"it was looked for, and not found",
	},
	"If-None-Match": {
		[]string{`200 "answer 1" MISS - asked=1`, `304 "" HIT Age asked=0`, `200 "answer 2" MISS - asked=1`},
		[]string{`200 "answer 1" MISS - asked=1`, `304 "" HIT Age asked=0`, `200 "answer 1" HIT Age asked=0`},
		"what is fresh answers, also a client that has another version: RFC 9111 section 4.3.2",
	},
	"If-Modified-Since": {
		[]string{`200 "answer 1" MISS - asked=1`, `304 "" HIT Age asked=0`, `200 "answer 2" MISS - asked=1`},
		[]string{`200 "answer 1" MISS - asked=1`, `304 "" HIT Age asked=0`, `200 "answer 1" HIT Age asked=0`},
		"as with If-None-Match",
	},
	"Range of what is stored": {
		[]string{`200 "answer 1" MISS - asked=1`, `206 "ns" HIT Age asked=0 bytes 1-2/8`, `206 " 1" HIT Age asked=0 bytes 6-7/8`, `416 "(page)"  - asked=0`},
		[]string{`200 "answer 1" MISS - asked=1`, `206 "ns" HIT Age asked=0 bytes 1-2/8`, `206 " 1" HIT Age asked=0 bytes 6-7/8`, `416 "" HIT Age asked=0 bytes */8`},
		"a 416 tells the length: RFC 9110 section 15.5.17",
	},
	"POST invalidates": {
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 1" HIT Age asked=0`, `200 "answer 2"  - asked=1`, `200 "answer 3" MISS - asked=1`},
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 1" HIT Age asked=0`, `200 "answer 2" INVALIDATE - asked=1`, `200 "answer 3" MISS - asked=1`},
		"httpd has the word, but does not say it here",
	},
	"only-if-cached": {
		[]string{`504 "(page)"  - asked=0`},
		[]string{`504 "(page)" MISS - asked=0`},
		"it was looked for, and not found",
	},
	"validated, the same": {
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 1" REVALIDATE - asked=1`, `200 "answer 1" HIT Age asked=0`},
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 1" REVALIDATE Age asked=1`, `200 "answer 1" HIT Age asked=0`},
		"what comes from the store has an Age, also right after it was validated",
	},
	"Set-Cookie": {
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 1" HIT Age asked=0`},
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 2" MISS - asked=1`},
		"a cookie is for one client, unless the answer says that it is for all",
	},
	"CacheStaleOnError on": {
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 1" HIT - asked=1`},
		[]string{`200 "answer 1" MISS - asked=1`, `200 "answer 1" HIT Age asked=1`},
		"a stale answer without an Age looks fresh: RFC 9111 section 4",
	},
}

// cacheOrigin answers by the row that is running.
type cacheOrigin struct {
	mu    sync.Mutex
	row   cacheRow
	asked int
}

func (o *cacheOrigin) begin(r cacheRow) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.row, o.asked = r, 0
}

func (o *cacheOrigin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func (o *cacheOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked++
	n, answer := o.asked, o.row.answer
	if n > 1 && o.row.later != "" {
		answer = o.row.later
	}
	o.mu.Unlock()
	status := http.StatusOK
	for line := range strings.SplitSeq(strings.ReplaceAll(answer, "FUTURE", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), "|") {
		if code, ok := strings.CutPrefix(line, "status "); ok {
			status, _ = strconv.Atoi(code)
		} else if name, value, ok := strings.Cut(line, ": "); ok {
			w.Header().Add(name, value)
		}
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	if status != http.StatusNotModified {
		fmt.Fprintf(w, "answer %d", n)
	}
}

// cacheOutcome is what a server makes of a row: a line for each request.
func cacheOutcome(t *testing.T, o *cacheOrigin, addr string, row cacheRow) (lines []string) {
	o.begin(row)
	for _, ask := range row.ask {
		method := http.MethodGet
		if ask == "POST" || ask == "HEAD" {
			method, ask = ask, ""
		}
		r, err := http.NewRequest(method, "http://"+addr+row.path, nil)
		require.NoError(t, err)
		r.Host = "cache.test"
		for line := range strings.SplitSeq(ask, "|") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				r.Header.Set(name, value)
			}
		}
		before := o.count()
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		require.NoError(t, err)
		body := string(b)
		if strings.Contains(body, "<") || resp.StatusCode == http.StatusGatewayTimeout {
			body = "(page)"
		}
		word, _, _ := strings.Cut(resp.Header.Get("X-Cache"), " ")
		age := "-"
		if resp.Header.Get("Age") != "" {
			age = "Age"
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%d %q %s %s asked=%d %s", resp.StatusCode, body, word, age, o.count()-before, resp.Header.Get("Content-Range"))))
	}
	return lines
}

// TestCacheDifferential runs one configuration with a cache in the real httpd
// and here, and compares what clients and origin see. A difference must stand
// in the table of those that are meant, as it is.
func TestCacheDifferential(t *testing.T) {
	o := &cacheOrigin{}
	back := httptest.NewServer(o)
	t.Cleanup(back.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	const file = "testdata/cachedifferential.conf"
	config, err := os.ReadFile(file)
	require.NoError(t, err)
	folder := programs.Folder(t)
	origin := strings.TrimPrefix(back.URL, "http://")
	httpd := programs.HTTPD(t, "proxy proxy_http cache cache_disk", "Define ORIGIN "+origin+"\nDefine CACHE "+folder+"\n"+string(config)).Addr
	ours := startFile(t, file, "-D", "PORT=80", "-D", "ORIGIN="+origin, "-D", "CACHE="+t.TempDir(), "-listen", "80=127.0.0.1:0").addr()
	names := make(map[string]bool)
	for _, row := range cacheRows {
		t.Run(row.name, func(t *testing.T) {
			require.False(t, names[row.name], "two rows have this name")
			names[row.name] = true
			theirs, mine := cacheOutcome(t, o, httpd, row), cacheOutcome(t, o, ours, row)
			if d, differ := cacheMeant[row.name]; differ {
				require.Equal(t, d.httpd, theirs, "httpd")
				require.Equal(t, d.ours, mine, "ours")
				require.NotEqual(t, theirs, mine, "there is no difference any more")
				return
			}
			require.Equal(t, theirs, mine)
		})
	}
	for name, d := range cacheMeant {
		require.True(t, names[name], "no row is called %q", name)
		require.NotEmpty(t, d.why, name)
	}
}
