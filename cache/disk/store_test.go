package disk

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

func pageKey(i int) string { return fmt.Sprintf("http://example.org/%d", i) }

// bytesOnDisk is what files of entries take, each rounded up.
func bytesOnDisk(t testing.TB, root string) (n int64) {
	for _, ext := range []string{bodyExt, metaExt, tempExt} {
		for _, path := range diskFiles(t, root, ext) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			n += (info.Size() + blockSize - 1) / blockSize * blockSize
		}
	}
	return n
}

func requireTidyOf(t testing.TB, d *Store, n int64) {
	require.NoError(t, d.Walk(context.Background(), func(store.Entry) bool { return false }))
	require.Equal(t, n, d.Stats().Entries)
}

// TestDiskModes: what others may not read, they may not read in the cache.
func TestDiskModes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "cache")
	d := &Store{Root: root}
	defer d.Close()
	storeSeed(t, d, diskKey, 1, 10)
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := e.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
		return nil
	}))
}
