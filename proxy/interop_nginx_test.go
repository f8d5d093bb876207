package proxy

import (
	"compress/gzip"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

func TestNginxAsOrigin(t *testing.T) {
	nginx := programs.Nginx(t, `
    keepalive_requests 4;
    gzip on; gzip_types *; gzip_proxied any;`)
	large := randomBytes(10 << 20)
	publish(t, nginx.Dir, "large.bin", large, 0o644)
	h, b, rec := handlerFor(t, mustParse(t, "http://"+nginx.Addr))
	b.Timeout = 20 * time.Second
	front, cl := frontOf(t, h).URL, client(t)

	resp, got := do(t, cl, "GET", front+"/large.bin", nil, nil)
	require.EqualValues(t, len(large), resp.ContentLength)
	require.Equal(t, sha256.Sum256(large), sha256.Sum256(got))
	tag := resp.Header.Get("ETag")
	resp, got = do(t, cl, "GET", front+"/large.bin", http.Header{"If-None-Match": {tag}}, nil)
	require.Equal(t, http.StatusNotModified, resp.StatusCode)
	require.Empty(t, got)
	resp, got = do(t, cl, "GET", front+"/large.bin", http.Header{"Range": {"bytes=-1000"}}, nil)
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Equal(t, string(large[len(large)-1000:]), string(got))

	resp, got = do(t, cl, "GET", front+"/large.bin", http.Header{"Accept-Encoding": {"gzip"}}, nil)
	require.EqualValues(t, -1, resp.ContentLength, "chunked")
	require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
	zr, err := gzip.NewReader(strings.NewReader(string(got)))
	require.NoError(t, err)
	plain, err := io.ReadAll(zr)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(large), sha256.Sum256(plain))

	resp, _ = do(t, cl, "POST", front+"/large.bin", nil, strings.NewReader(fileContent))
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	for range 10 { // nginx says close on every fourth
		resp, got = do(t, cl, "HEAD", front+"/large.bin", nil, nil)
		require.EqualValues(t, len(large), resp.ContentLength)
		require.Empty(t, got)
	}
	// One for each four; a client that is quick may need another, since a long
	// body is with it before the connection is free.
	require.LessOrEqual(t, b.Stats().Created, int64(7))
	for _, r := range rec.all() {
		require.NoError(t, r.Err)
		require.Equal(t, 1, r.Attempts)
	}
}
