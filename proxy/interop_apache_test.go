package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// startApache runs the real httpd with some more directives.
func startApache(t *testing.T, directives string) *programs.Program {
	t.Helper()
	return programs.HTTPD(t, "dir env headers mime setenvif cgid http2 proxy proxy_http", `
ScriptSock cgid
TypesConfig /dev/null
AddType text/html .html
`+directives)
}

// publish puts a file into the folder of a server's documents.
func publish(t *testing.T, dir, name string, data []byte, mode os.FileMode) {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, data, mode))
	require.NoError(t, os.Chmod(file, mode))
	// httpd's entity tags are weak in the second after a change.
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(file, past, past))
}

// randomBytes returns the same bytes each time.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// do makes a request through a front and returns the answer with its body.
func do(t *testing.T, cl *http.Client, method, at string, header http.Header, content io.Reader) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, at, content)
	require.NoError(t, err)
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := cl.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, b
}

// TestApacheAsOrigin: what the real httpd answers passes whole, and its
// connections are used again.
func TestApacheAsOrigin(t *testing.T) {
	httpd := startApache(t, `
Protocols h2c http/1.1
<Files "*.sh">
  Options +ExecCGI
  SetHandler cgi-script
</Files>
LimitRequestBody 1000000
`)
	large, small := randomBytes(10<<20), randomBytes(1000)
	publish(t, httpd.Dir, "large.bin", large, 0o644)
	publish(t, httpd.Dir, "small.bin", small, 0o644)
	publish(t, httpd.Dir, "large.sh", []byte("#!/bin/sh\nprintf 'Content-Type: a/b\\r\\n\\r\\n'\nexec cat large.bin\n"), 0o755)
	publish(t, httpd.Dir, "sum.sh", []byte("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec sha256sum\n"), 0o755)
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			h, b, rec := handlerFor(t, mustParse(t, scheme+"://"+httpd.Addr))
			b.Timeout = 20 * time.Second
			t.Cleanup(h.Transport.(*Transport).CloseIdleConnections)
			front, cl := frontOf(t, h).URL, client(t)

			resp, got := do(t, cl, "GET", front+"/large.bin", nil, nil)
			require.Equal(t, 200, resp.StatusCode)
			require.EqualValues(t, len(large), resp.ContentLength)
			require.Equal(t, sha256.Sum256(large), sha256.Sum256(got))
			tag := resp.Header.Get("ETag")
			require.NotEmpty(t, tag)
			require.True(t, strings.HasPrefix(resp.Header.Get("Server"), "Apache"), "the origin's Server field stays")

			resp, got = do(t, cl, "GET", front+"/large.sh", nil, nil)
			require.EqualValues(t, -1, resp.ContentLength, "chunked")
			require.Equal(t, sha256.Sum256(large), sha256.Sum256(got))

			resp, got = do(t, cl, "HEAD", front+"/large.bin", nil, nil)
			require.EqualValues(t, len(large), resp.ContentLength)
			require.Empty(t, got)

			resp, got = do(t, cl, "GET", front+"/large.bin", http.Header{"If-None-Match": {tag}}, nil)
			require.Equal(t, http.StatusNotModified, resp.StatusCode)
			require.Equal(t, tag, resp.Header.Get("ETag"))
			require.Empty(t, got)

			resp, got = do(t, cl, "GET", front+"/large.bin", http.Header{"Range": {"bytes=1000000-1999999"}}, nil)
			require.Equal(t, http.StatusPartialContent, resp.StatusCode)
			require.Equal(t, fmt.Sprintf("bytes 1000000-1999999/%d", len(large)), resp.Header.Get("Content-Range"))
			require.True(t, bytes.Equal(large[1000000:2000000], got))
			resp, got = do(t, cl, "GET", front+"/small.bin", http.Header{"Range": {"bytes=0-1,-2"}}, nil)
			require.Equal(t, http.StatusPartialContent, resp.StatusCode)
			require.True(t, strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges"))
			require.True(t, bytes.Contains(got, small[998:]))

			resp, _ = do(t, cl, "GET", front+"/none", nil, nil)
			require.Equal(t, http.StatusNotFound, resp.StatusCode)

			resp, got = do(t, cl, "POST", front+"/sum.sh", nil, bytes.NewReader(large[:500_000]))
			require.Equal(t, 200, resp.StatusCode)
			require.Equal(t, fmt.Sprintf("%x  -\n", sha256.Sum256(large[:500_000])), string(got))
			resp, got = do(t, cl, "POST", front+"/sum.sh", nil, struct{ io.Reader }{bytes.NewReader(large[:500_000])})
			require.Equal(t, 200, resp.StatusCode, "a chunked body")
			require.Equal(t, fmt.Sprintf("%x  -\n", sha256.Sum256(large[:500_000])), string(got))
			require.Less(t, b.Stats().Created, int64(5), "of ten requests")

			if scheme == "http" { // toward HTTP/2 the body does not wait for a 100
				cl.Transport.(*http.Transport).ExpectContinueTimeout = 20 * time.Second
				resp, _ = do(t, cl, "POST", front+"/sum.sh", http.Header{"Expect": {"100-continue"}}, bytes.NewReader(large[:2_000_000]))
				require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode, "LimitRequestBody")
			}
			for _, r := range rec.all() {
				require.NoError(t, r.Err)
			}
		})
	}
}

// TestApacheClosesIdleConnections: httpd closes after a second, and is asked
// again after about that time, over and over. No request may fail, and none
// may be sent over a connection that is being closed: these are not idempotent.
func TestApacheClosesIdleConnections(t *testing.T) {
	httpd := startApache(t, "KeepAlive On\nKeepAliveTimeout 1\n")
	publish(t, httpd.Dir, "a.html", []byte("hello"), 0o644)
	var clients sync.WaitGroup
	for i := range 20 {
		// Around the moment at which httpd closes: 990 to 1104 ms.
		pause := time.Duration(990+6*i) * time.Millisecond
		h, b, rec := handlerFor(t, mustParse(t, "http://"+httpd.Addr))
		b.Timeout = 20 * time.Second
		front, cl := frontOf(t, h).URL, client(t)
		clients.Go(func() {
			for range 5 {
				resp, err := cl.Post(front+"/a.html", "text/plain", strings.NewReader("x"))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("status %d after a pause of %v", resp.StatusCode, pause)
				}
				<-time.After(pause)
			}
			for _, r := range rec.all() {
				if r.Err != nil {
					t.Errorf("after a pause of %v: %v", pause, r.Err)
				}
			}
		})
	}
	clients.Wait()
}
