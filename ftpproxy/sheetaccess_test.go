package ftpproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
