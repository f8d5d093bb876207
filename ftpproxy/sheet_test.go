package ftpproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
)

// patience is longer than anything takes on a busy machine.
const patience = 30 * time.Second

// server is one of the servers that the same tests run against.
type server struct {
	root string // what is served
	addr string // anonymous may read all, and write to upload
	auth string // the same with a login
	// MLSD of some servers tells what a link leads to, and not that it is one.
	followsLinks bool
}

// front is a reverse proxy before a server.
type front struct {
	*httptest.Server
	t         *testing.T
	transport *Transport
	handler   *proxy.Handler
}

// newFront starts one; with userinfo in the target, that logs in.
func newFront(t *testing.T, target string) *front {
	t.Helper()
	h, err := NewHandler("/ftp/", target)
	require.NoError(t, err)
	f := &front{Server: httptest.NewServer(h), t: t, transport: h.Transport.(*Transport), handler: h}
	f.transport.Backend.Timeout = patience
	t.Cleanup(func() {
		f.Close()
		_ = f.transport.Backend.Close()
		f.Client().CloseIdleConnections()
	})
	return f
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	length int64
}

// do sends a request whose path is as it is written. Fields are "Name: value".
func (f *front) do(method, path string, body io.Reader, fields ...string) answer {
	f.t.Helper()
	r, err := http.NewRequest(method, f.URL+path, body)
	require.NoError(f.t, err)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	client := *f.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	return answer{resp.StatusCode, resp.Header, string(text), resp.ContentLength}
}

func (f *front) get(path string, fields ...string) answer {
	f.t.Helper()
	return f.do("GET", path, nil, fields...)
}

// jsonListing is a listing as those see it who ask for JSON.
type jsonListing struct {
	Path    string
	Notes   []string
	Entries []struct {
		Name, Href, Type, Target string
		Size                     *int64
		Modified                 *time.Time
	}
}

func (f *front) listing(path string) (list jsonListing, names []string) {
	f.t.Helper()
	a := f.get(path, "Accept: application/json")
	require.Equal(f.t, 200, a.status, a.body)
	require.NoError(f.t, json.Unmarshal([]byte(a.body), &list), a.body)
	for _, e := range list.Entries {
		names = append(names, e.Name)
	}
	return list, names
}

// testSheet holds a server to the table of what requests are answered with.
func testSheet(t *testing.T, s server) {
	f := newFront(t, "ftp://"+s.addr+"/")
	t.Run("files", func(t *testing.T) { testFiles(t, f) })
	t.Run("names", func(t *testing.T) { testNames(t, f) })
	t.Run("ranges", func(t *testing.T) { testRanges(t, f) })
	t.Run("conditions", func(t *testing.T) { testConditions(t, f) })
	t.Run("refused paths", func(t *testing.T) { testRefusedPaths(t, f) })
	t.Run("listings", func(t *testing.T) { testListings(t, f, s.followsLinks) })
	t.Run("wildcards", func(t *testing.T) { testWildcards(t, f) })
	t.Run("types", func(t *testing.T) { testTypes(t, f) })
	t.Run("uploads", func(t *testing.T) { testUploads(t, s) })
	t.Run("logins", func(t *testing.T) { testLogins(t, s) })
	t.Run("absolute URLs", func(t *testing.T) { testAbsoluteURLs(t, s) })
	t.Run("reuse", func(t *testing.T) { testReuse(t, s) })
}

func testFiles(t *testing.T, f *front) {
	a := f.get("/ftp/hello.txt")
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "hello, world\n", a.body)
	require.Equal(t, int64(13), a.length)
	require.Equal(t, written.Format(http.TimeFormat), a.header.Get("Last-Modified"))
	require.Contains(t, a.header.Get("Content-Type"), "text/plain")
	require.Equal(t, "bytes", a.header.Get("Accept-Ranges"))
	require.NotEmpty(t, a.header.Get("Etag"))

	a = f.get("/ftp/empty.txt")
	require.Equal(t, 200, a.status)
	require.Equal(t, int64(0), a.length)
	require.Empty(t, a.body)

	a = f.get("/ftp/big.bin")
	require.Equal(t, 200, a.status)
	require.Equal(t, int64(len(bulk)), a.length)
	require.True(t, a.body == string(bulk), "the bytes of a long file")
	require.Equal(t, "application/octet-stream", a.header.Get("Content-Type"))

	head := f.do("HEAD", "/ftp/hello.txt", nil)
	require.Equal(t, 200, head.status)
	require.Equal(t, int64(13), head.length)
	require.Equal(t, written.Format(http.TimeFormat), head.header.Get("Last-Modified"))

	require.Equal(t, "hello, world\n", f.get("/ftp/link.txt").body)
	require.Equal(t, "inner\n", f.get("/ftp/sub/inner.txt").body)
	require.Equal(t, "inner\n", f.get("/ftp/dirlink/inner.txt").body)

	for _, missing := range []string{"/ftp/nothing", "/ftp/nothing.txt", "/ftp/nothing/", "/ftp/sub/nothing/x", "/ftp/hello.txt/"} {
		require.Equal(t, 404, f.get(missing).status, missing)
	}
	require.Equal(t, 404, f.do("HEAD", "/ftp/nothing.txt", nil).status)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
		a := f.do(method, "/ftp/hello.txt", strings.NewReader("x"))
		require.Equal(t, 405, a.status, method)
		require.Equal(t, "GET, HEAD", a.header.Get("Allow"), method)
	}
}

func testNames(t *testing.T, f *front) {
	for path, want := range map[string]string{
		"/ftp/a%20b%20&%20%3Cc%3E.txt":                 "odd\n",
		"/ftp/p%2520c.txt":                             "percent\n",
		"/ftp/%C3%BCn%C3%AF%20c%C3%B6d%C3%A9.txt":      "unicode\n",
		"/ftp/a%5B1%5D.txt":                            "brackets\n",
		"/ftp/a[1].txt":                                "brackets\n",
		"/ftp/-l.txt":                                  "dash\n",
		"/ftp/~root":                                   "tilde\n",
		"/ftp/%20lead.txt":                             "blank\n",
		"/ftp/-l/~x/y.txt":                             "odd directories\n",
		"/ftp/dir%20%C3%A9%20%C3%BC/in%20side.txt":     "deep\n",
		"/ftp/dir%20%C3%A9%20%C3%BC/more/end.txt":      "deeper\n",
		"/ftp/dir%20%C3%A9%20%C3%BC//more/end.txt":     "deeper\n",
		"/ftp/dir%20%C3%A9%20%C3%BC/../sub/inner.txt":  "inner\n",
		"/ftp/dir%20%C3%A9%20%C3%BC/%2e%2e/hello.txt":  "hello, world\n",
		"/ftp/hello.txt?a=b":                           "hello, world\n",
		"/ftp/%2Fhello.txt":                            "hello, world\n",
		"/ftp/%2Fdir%20%C3%A9%20%C3%BC/in%20side.txt":  "deep\n",
		"/ftp/%2fdir%20%C3%A9%20%C3%BC//in%20side.txt": "deep\n",
	} {
		a := f.get(path)
		require.Equal(t, 200, a.status, "%s: %s", path, a.body)
		require.Equal(t, want, a.body, path)
	}
}

func testRanges(t *testing.T, f *front) {
	whole := tree["hello.txt"]
	tag := f.get("/ftp/hello.txt").header.Get("Etag")
	for _, tc := range []struct {
		fields []string
		status int
		body   string
		says   string // Content-Range
	}{
		{[]string{"Range: bytes=0-4"}, 206, "hello", "bytes 0-4/13"},
		{[]string{"Range: bytes=7-"}, 206, "world\n", "bytes 7-12/13"},
		{[]string{"Range: bytes=-6"}, 206, "world\n", "bytes 7-12/13"},
		{[]string{"Range: bytes=-60"}, 206, string(whole), "bytes 0-12/13"},
		{[]string{"Range: bytes=7-999"}, 206, "world\n", "bytes 7-12/13"},
		{[]string{"Range: bytes=13-"}, 416, "416 Requested Range Not Satisfiable\n", "bytes */13"},
		{[]string{"Range: bytes=-0"}, 416, "416 Requested Range Not Satisfiable\n", "bytes */13"},
		{[]string{"Range: bytes=5-4"}, 200, string(whole), ""},
		{[]string{"Range: bytes=0-1,3-4"}, 200, string(whole), ""},
		{[]string{"Range: lines=0-1"}, 200, string(whole), ""},
		{[]string{"Range: bytes=0-4", "If-Range: " + tag}, 206, "hello", "bytes 0-4/13"},
		{[]string{"Range: bytes=0-4", `If-Range: "other"`}, 200, string(whole), ""},
		{[]string{"Range: bytes=0-4", "If-Range: " + written.Format(http.TimeFormat)}, 206, "hello", "bytes 0-4/13"},
		{[]string{"Range: bytes=0-4", "If-Range: " + written.Add(time.Hour).Format(http.TimeFormat)}, 200, string(whole), ""},
	} {
		a := f.get("/ftp/hello.txt", tc.fields...)
		require.Equal(t, tc.status, a.status, "%v", tc.fields)
		require.Equal(t, tc.body, a.body, "%v", tc.fields)
		require.Equal(t, tc.says, a.header.Get("Content-Range"), "%v", tc.fields)
	}
	a := f.get("/ftp/empty.txt", "Range: bytes=0-")
	require.Equal(t, 416, a.status)

	// Leaving a long file early costs the server nothing of what follows.
	for _, r := range [][2]int{{1 << 20, 1<<20 + 9}, {100, 200_000}, {0, 0}, {len(bulk) - 100_000, len(bulk) - 1}} {
		a := f.get("/ftp/big.bin", fmt.Sprintf("Range: bytes=%d-%d", r[0], r[1]))
		require.Equal(t, 206, a.status)
		require.True(t, a.body == string(bulk[r[0]:r[1]+1]), "bytes %d-%d", r[0], r[1])
		require.Equal(t, "hello, world\n", f.get("/ftp/hello.txt").body)
	}
}

func testConditions(t *testing.T, f *front) {
	first := f.get("/ftp/hello.txt")
	tag := first.header.Get("Etag")
	at, before := written.Format(http.TimeFormat), written.Add(-time.Hour).Format(http.TimeFormat)
	for _, tc := range []struct {
		field  string
		status int
	}{
		{"If-None-Match: " + tag, 304},
		{"If-None-Match: W/" + tag, 304},
		{`If-None-Match: "x", ` + tag, 304},
		{"If-None-Match: *", 304},
		{`If-None-Match: "x"`, 200},
		{"If-Modified-Since: " + at, 304},
		{"If-Modified-Since: " + before, 200},
		{"If-Modified-Since: nonsense", 200},
		{"If-Match: " + tag, 200},
		{"If-Match: *", 200},
		{"If-Match: W/" + tag, 412},
		{`If-Match: "x"`, 412},
		{"If-Unmodified-Since: " + at, 200},
		{"If-Unmodified-Since: " + before, 412},
	} {
		a := f.get("/ftp/hello.txt", tc.field)
		require.Equal(t, tc.status, a.status, tc.field)
		if tc.status == 304 {
			require.Equal(t, tag, a.header.Get("Etag"))
			require.Empty(t, a.body)
		}
	}
	require.Equal(t, 304, f.get("/ftp/hello.txt", "If-None-Match: "+tag, "If-Modified-Since: "+before).status)
	require.Equal(t, 304, f.do("HEAD", "/ftp/hello.txt", nil, "If-None-Match: "+tag).status)
}

func testRefusedPaths(t *testing.T, f *front) {
	for _, path := range []string{
		"/ftp/a%0d%0aDELE%20hello.txt", "/ftp/a%0aNOOP", "/ftp/a%0dNOOP", "/ftp/a%00b", "/ftp/a%7fb", "/ftp/%01",
		"/ftp/sub%2Finner.txt", "/ftp/sub/%2Fetc/passwd", "/ftp/a%2F..%2F..%2Fetc%2Fpasswd", "/ftp/%2F..%2Fetc", "/ftp/%2F%2Fhello.txt",
		"/ftp/hello.txt;type=x", "/ftp/hello.txt;type=", "/ftp/hello.txt;type=a%0d%0a", "/ftp/dir%0d%0a/",
	} {
		require.Equal(t, 400, f.get(path).status, path)
		require.Equal(t, 400, f.do("HEAD", path, nil).status, path)
	}
	require.Equal(t, 414, f.get("/ftp/"+strings.Repeat("x", maxPathBytes+1)).status)
}

func testListings(t *testing.T, f *front, followsLinks bool) {
	for _, path := range []string{"/ftp/sub", "/ftp/dirlink"} {
		a := f.get(path)
		require.Equal(t, 301, a.status, path)
		require.Equal(t, "./"+strings.TrimPrefix(path, "/ftp/")+"/", a.header.Get("Location"))
	}
	require.Equal(t, "./dir%20%C3%A9%20%C3%BC/", f.get("/ftp/dir%20%C3%A9%20%C3%BC").header.Get("Location"))
	require.Equal(t, 301, f.do("HEAD", "/ftp/sub", nil).status)

	a := f.get("/ftp/")
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "text/html; charset=UTF-8", a.header.Get("Content-Type"))
	require.Contains(t, a.body, "<h1>Index of /</h1>")
	require.Contains(t, a.body, `<a href="./dir%20%C3%A9%20%C3%BC/">dir é ü/</a>`)
	require.Contains(t, a.body, `<a href="./a%20b%20&amp;%20%3Cc%3E.txt">a b &amp; &lt;c&gt;.txt</a>`)
	require.Contains(t, a.body, `<a href="./p%2520c.txt">p%20c.txt</a>`)
	require.Contains(t, a.body, `<a href="./a%5B1%5D.txt">a[1].txt</a></td><td class="size">9</td><td>2024-03-02`)
	require.NotContains(t, a.body, "../")
	head := f.do("HEAD", "/ftp/", nil)
	require.Equal(t, 200, head.status)
	require.Equal(t, a.header.Get("Content-Type"), head.header.Get("Content-Type"))

	a = f.get("/ftp/dir%20%C3%A9%20%C3%BC/more/")
	require.Contains(t, a.body, "<h1>Index of /dir é ü/more/</h1>")
	require.Contains(t, a.body, `<a href="../">`)
	require.Contains(t, a.body, `<a href="./end.txt">end.txt</a>`)

	list, names := f.listing("/ftp/")
	require.Equal(t, "/", list.Path)
	for name, text := range tree {
		name, _, inside := strings.Cut(name, "/")
		require.Contains(t, names, name)
		for _, e := range list.Entries {
			switch {
			case e.Name != name:
			case inside:
				require.Equal(t, "directory", e.Type, name)
				require.Nil(t, e.Size)
			default:
				require.Equal(t, "file", e.Type, name)
				require.Equal(t, int64(len(text)), *e.Size, name)
				require.Equal(t, written.Truncate(24*time.Hour), e.Modified.Truncate(24*time.Hour), name) // LIST has no more
				require.Equal(t, string(text), f.get("/ftp/"+e.Href).body, "by its link: %s", e.Href)
			}
		}
	}
	for _, e := range list.Entries {
		if !followsLinks && (e.Name == "link.txt" || e.Name == "dirlink") {
			require.Equal(t, "link", e.Type, e.Name)
		}
	}
	_, names = f.listing("/ftp/dirlink/")
	require.Equal(t, []string{"inner.txt"}, names)
	_, names = f.listing("/ftp/-l/")
	require.Equal(t, []string{"~x"}, names)
	_, names = f.listing("/ftp/%2Fsub/")
	require.Equal(t, []string{"inner.txt"}, names)
}

func testWildcards(t *testing.T, f *front) {
	_, names := f.listing("/ftp/*.html")
	require.Equal(t, []string{"index.html"}, names)
	_, names = f.listing("/ftp/%7Bhello,lines%7D.t%3Ft")
	require.Equal(t, []string{"hello.txt", "lines.txt"}, names)
	_, names = f.listing("/ftp/dir%20%C3%A9%20%C3%BC/i*")
	require.Equal(t, []string{"in side.txt"}, names)
	_, names = f.listing("/ftp/[x-z]*")
	require.Empty(t, names)

	f.transport.NoWildcards = true
	defer func() { f.transport.NoWildcards = false }()
	require.Equal(t, 404, f.get("/ftp/*.html").status)
	require.Equal(t, 200, f.get("/ftp/a%5B1%5D.txt").status)

	f.transport.EscapeWildcards = true
	defer func() { f.transport.EscapeWildcards = false }()
	require.Equal(t, 404, f.get("/ftp/*.html").status)
	require.Equal(t, 200, f.get("/ftp/a%5B1%5D.txt").status)
}

func testTypes(t *testing.T, f *front) {
	a := f.get("/ftp/lines.txt;type=a")
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "one\r\ntwo\r\n", a.body)
	require.Equal(t, int64(-1), a.length, "of a text that is converted")
	require.Empty(t, a.header.Get("Accept-Ranges"))
	require.Equal(t, "one\r\ntwo\r\n", f.get("/ftp/lines.txt;TYPE=A").body)
	require.Equal(t, "one\ntwo\n", f.get("/ftp/lines.txt;type=i").body)
	require.Equal(t, "one\ntwo\n", f.get("/ftp/lines.txt").body)
	require.Equal(t, 404, f.get("/ftp/nothing;type=a").status)
	require.Equal(t, 200, f.do("HEAD", "/ftp/lines.txt;type=a", nil).status)

	a = f.get("/ftp/sub;type=d")
	require.Equal(t, 200, a.status)
	require.Contains(t, a.body, `<a href="./sub/inner.txt">inner.txt</a>`)
	require.Contains(t, a.body, `<a href="./">../</a>`)
}

func testUploads(t *testing.T, s server) {
	f := newFront(t, "ftp://"+s.addr+"/")
	f.transport.AllowPut, f.transport.AllowDelete = true, true
	a := f.do("PUT", "/ftp/upload/new%20%C3%BC.txt", strings.NewReader("first"))
	require.Equal(t, 201, a.status, a.body)
	a = f.get("/ftp/upload/new%20%C3%BC.txt")
	require.Equal(t, "first", a.body)
	tag := a.header.Get("Etag")

	require.Equal(t, 204, f.do("PUT", "/ftp/upload/new%20%C3%BC.txt", strings.NewReader("second one"), "If-Match: "+tag).status)
	require.Equal(t, 412, f.do("PUT", "/ftp/upload/new%20%C3%BC.txt", strings.NewReader("third"), "If-Match: "+tag).status)
	require.Equal(t, 412, f.do("PUT", "/ftp/upload/new%20%C3%BC.txt", strings.NewReader("third"), "If-None-Match: *").status)
	require.Equal(t, 412, f.do("PUT", "/ftp/upload/other.txt", strings.NewReader("third"), "If-Match: *").status)
	require.Equal(t, "second one", f.get("/ftp/upload/new%20%C3%BC.txt").body)

	require.Equal(t, 201, f.do("PUT", "/ftp/upload/big.bin", io.MultiReader(strings.NewReader(string(bulk)))).status, "a body of unknown length")
	stored, err := os.ReadFile(filepath.Join(s.root, "upload/big.bin"))
	require.NoError(t, err)
	require.True(t, string(stored) == string(bulk))
	require.Equal(t, 201, f.do("PUT", "/ftp/upload/empty", nil).status)
	require.Equal(t, 400, f.do("PUT", "/ftp/upload/part", strings.NewReader("x"), "Content-Range: bytes 0-0/9").status)
	require.Equal(t, 405, f.do("PUT", "/ftp/upload/", strings.NewReader("x")).status)

	require.Equal(t, 403, f.do("PUT", "/ftp/nowhere/x.txt", strings.NewReader("x")).status)
	require.Equal(t, 404, f.do("DELETE", "/ftp/upload/nothing", nil).status)
	require.Equal(t, 204, f.do("DELETE", "/ftp/upload/big.bin", nil).status)
	require.Equal(t, 404, f.get("/ftp/upload/big.bin").status)
	require.NoFileExists(t, filepath.Join(s.root, "upload/big.bin"))

	f.transport.AllowDelete = false
	a = f.do("DELETE", "/ftp/upload/empty", nil)
	require.Equal(t, 405, a.status)
	require.Equal(t, "GET, HEAD, PUT", a.header.Get("Allow"))
	testHalfUpload(t, s, f)
}

// testHalfUpload: what a client breaks off is not taken for a file.
func testHalfUpload(t *testing.T, s server, f *front) {
	pr, pw := io.Pipe()
	go func() {
		_, _ = pw.Write(bulk[:200_000])
		pw.CloseWithError(io.ErrUnexpectedEOF)
	}()
	r, err := http.NewRequest("PUT", f.URL+"/ftp/upload/half.bin", pr)
	require.NoError(t, err)
	resp, err := f.Client().Do(r)
	if err == nil {
		resp.Body.Close()
		require.GreaterOrEqual(t, resp.StatusCode, 400)
	}
	require.Eventually(t, func() bool { return f.transport.Backend.Stats().Busy == 0 }, patience, 10*time.Millisecond)
	if _, err := os.Stat(filepath.Join(s.root, "upload/half.bin")); err == nil {
		require.Equal(t, 404, f.get("/ftp/upload/half.bin").status)
	}
}

func testLogins(t *testing.T, s server) {
	f := newFront(t, "ftp://"+s.auth+"/")
	a := f.get("/ftp/hello.txt")
	require.Equal(t, 401, a.status, a.body)
	require.Equal(t, fmt.Sprintf("Basic realm=%q, charset=\"UTF-8\"", s.auth), a.header.Get("Www-Authenticate"))
	require.Equal(t, 401, f.get("/ftp/hello.txt", basic(testUser, "wrong")).status, "the client may try another")
	a = f.get("/ftp/hello.txt", basic(testUser, testPassword))
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "private", a.header.Get("Cache-Control"))
	require.Equal(t, 401, f.get("/ftp/hello.txt").status, "connections of one user never serve another")
	require.Equal(t, 400, f.get("/ftp/hello.txt", basic(testUser+"\r\nNOOP", testPassword)).status)
	require.Equal(t, 400, f.get("/ftp/hello.txt", basic(testUser, testPassword+"\nNOOP")).status)
	f.transport.IgnoreAuthorization = true
	require.Equal(t, 403, f.get("/ftp/hello.txt", basic(testUser, testPassword)).status)

	user := url.UserPassword(testUser, testPassword).String()
	f = newFront(t, "ftp://"+user+"@"+s.auth+"/")
	a = f.get("/ftp/hello.txt")
	require.Equal(t, 200, a.status, a.body)
	require.Empty(t, a.header.Get("Cache-Control"))
	require.Equal(t, 200, f.get("/ftp/hello.txt", basic("some", "body")).status, "who is configured comes first")
	a = f.get("/ftp/")
	require.NotContains(t, a.body, "s3cret")

	f = newFront(t, "ftp://ftp:wrong@"+s.auth+"/")
	require.Equal(t, 403, f.get("/ftp/hello.txt").status, "the client cannot help it")
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return "Authorization: " + r.Header.Get("Authorization")
}

// testAbsoluteURLs uses the transport as a forward proxy does.
func testAbsoluteURLs(t *testing.T, s server) {
	rt := &Transport{}
	defer rt.CloseIdleConnections()
	get := func(u string) (int, string) {
		r, err := http.NewRequest("GET", u, nil)
		require.NoError(t, err)
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	user := url.UserPassword(testUser, testPassword).String()
	status, text := get("ftp://" + user + "@" + s.auth + "/hello.txt;type=i")
	require.Equal(t, 200, status)
	require.Equal(t, "hello, world\n", text)
	status, text = get("ftp://" + s.addr)
	require.Equal(t, 200, status)
	require.Contains(t, text, `href="./hello.txt"`)
	status, _ = get("ftp://ftp:wrong@" + s.auth + "/hello.txt")
	require.Equal(t, 403, status)
	status, text = get("ftp://" + user + "@" + s.auth + "/sub/")
	require.Equal(t, 200, status)
	require.NotContains(t, text, "s3cret")
}

func testReuse(t *testing.T, s server) {
	f := newFront(t, "ftp://"+s.addr+"/")
	for range 3 {
		require.Equal(t, 200, f.get("/ftp/hello.txt").status)
		require.Equal(t, 200, f.get("/ftp/big.bin").status)
		require.Equal(t, 200, f.get("/ftp/lines.txt;type=a").status)
		require.Equal(t, 404, f.get("/ftp/nothing").status)
		require.Equal(t, 301, f.get("/ftp/sub").status)
		require.Equal(t, 200, f.get("/ftp/sub/").status)
		require.Equal(t, 304, f.get("/ftp/sub/inner.txt", "If-None-Match: *").status)
		require.Equal(t, 206, f.get("/ftp/big.bin", "Range: bytes=5-9").status)
	}
	stats := f.transport.Backend.Stats()
	require.EqualValues(t, 1, stats.Created, "connections")
	require.EqualValues(t, 23, stats.Reused)
}

func TestSheet(t *testing.T) {
	for name, list := range map[string]bool{"MLSD": false, "LIST": true} {
		t.Run(name, func(t *testing.T) {
			s := server{root: plant(t), followsLinks: !list}
			d := &inProcess{root: s.root}
			d.settings.DisableMLSD, d.settings.DisableMLST = list, list
			s.addr = startInProcess(t, d)
			s.auth = startInProcess(t, &inProcess{root: s.root, login: true})
			testSheet(t, s)
		})
	}
}
