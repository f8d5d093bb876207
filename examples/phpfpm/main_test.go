package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSite serves a site whose scripts are run by net/http/fcgi.
func TestSite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "script for ", r.URL.RequestURI())
		}))
	}()
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "index.php"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, "a.txt"), []byte("file"), 0o644))
	h, err := handler("fcgi://"+l.Addr().String(), root, "/index.php", 2)
	require.NoError(t, err)
	for path, want := range map[string]string{"/a.txt": "file", "/": "script for /", "/blog/1?x=y": "script for /blog/1?x=y"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://site.test"+path, nil)
		r.RequestURI = path
		h.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code, path)
		require.Equal(t, want, w.Body.String(), path)
	}
	_, err = handler("http://127.0.0.1/", root, "", 1)
	require.Error(t, err)
}
