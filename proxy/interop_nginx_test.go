package proxy

import (
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startNginx runs the real nginx in front of a directory.
func startNginx(t *testing.T, directives string) (addr, dir string) {
	t.Helper()
	nginx := installed(t, "nginx", "nginx")
	dir = publicDir(t)
	addr = runServer(t, func(addr string) *exec.Cmd {
		user := ""
		if os.Geteuid() == 0 {
			user = "user www-data;"
		}
		conf := fmt.Sprintf(`
%[1]s
daemon off;
worker_processes 1;
pid %[2]s/pid;
error_log stderr warn;
events { worker_connections 100; }
http {
  access_log off;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  server {
    listen %[3]s;
    root %[2]s;
    %[4]s
  }
}
`, user, dir, addr, directives)
		file := filepath.Join(dir, "nginx.conf")
		require.NoError(t, os.WriteFile(file, []byte(conf), 0o644))
		return exec.Command(nginx, "-p", dir, "-c", file)
	})
	return addr, dir
}

func TestNginxAsOrigin(t *testing.T) {
	addr, dir := startNginx(t, `
    keepalive_requests 4;
    gzip on; gzip_types *; gzip_proxied any;`)
	large := randomBytes(10 << 20)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "large.bin"), large, 0o644))
	h, b, rec := handlerFor(t, mustParse(t, "http://"+addr))
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
