//go:build unix

package fcgi

import (
	"net/http"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A FIFO in a folder of files is none of them, and holds nobody up.
func TestSendFileOfFIFO(t *testing.T) {
	dir := writeSite(t, map[string]string{"a.txt": "x"})
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
	tr := child(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Accel-Redirect", "/p/fifo") })
	s := behind(t, &SendFile{Transport: tr, Dirs: map[string]string{"/p/": dir}})
	resp, err := s.Client().Get(s.URL + "/a.php")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}
