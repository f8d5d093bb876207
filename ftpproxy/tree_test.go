package ftpproxy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// written is when the files of a tree were changed last.
var written = time.Date(2024, 3, 2, 3, 4, 5, 0, time.UTC)

// bulk is longer than what is read before an answer, and than one splice.
var bulk = bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16+1)

// tree is what the servers of tests have, by name; directories have a nil text.
var tree = map[string][]byte{
	"hello.txt":            []byte("hello, world\n"),
	"empty.txt":            {},
	"big.bin":              bulk,
	"index.html":           []byte("<p>hello</p>\n"),
	"a b & <c>.txt":        []byte("odd\n"),
	"p%20c.txt":            []byte("percent\n"),
	"ünï cödé.txt":         []byte("unicode\n"),
	"a[1].txt":             []byte("brackets\n"),
	"-l.txt":               []byte("dash\n"),
	"~root":                []byte("tilde\n"),
	" lead.txt":            []byte("blank\n"),
	"-l/~x/y.txt":          []byte("odd directories\n"),
	"lines.txt":            []byte("one\ntwo\n"),
	"sub/inner.txt":        []byte("inner\n"),
	"dir é ü/in side.txt":  []byte("deep\n"),
	"dir é ü/more/end.txt": []byte("deeper\n"),
	"many/x.txt":           []byte("x\n"),
	"upload/.keep":         nil,
}

// plant writes the tree to a folder that every server may read, and in which
// all may write to "upload".
func plant(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "modproxy-test-") // one that others than root may enter
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	require.NoError(t, os.Chmod(root, 0o755))
	for name, text := range tree {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		if text == nil {
			continue
		}
		require.NoError(t, os.WriteFile(file, text, 0o644))
		require.NoError(t, os.Chtimes(file, written, written))
	}
	require.NoError(t, os.Chmod(filepath.Join(root, "upload"), 0o777))
	require.NoError(t, os.Symlink("hello.txt", filepath.Join(root, "link.txt")))
	require.NoError(t, os.Symlink("sub", filepath.Join(root, "dirlink")))
	return root
}
