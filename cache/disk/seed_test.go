package disk

import (
	"context"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// memoryDir is a directory in memory where there is such, for tests that do
// much to few files.
func memoryDir(t testing.TB) string {
	root, err := os.MkdirTemp("/dev/shm", "modproxy")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	return root
}

// requireTidy waits for the scan and compares the files with the index.
func requireTidy(t *testing.T, d *Store) {
	var want int64
	require.NoError(t, d.Walk(context.Background(), func(e store.Entry) bool {
		want++
		requireWhole(t, e)
		return true
	}))
	files := map[string]int64{}
	require.NoError(t, filepath.WalkDir(d.Root, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		if !e.IsDir() {
			files[filepath.Ext(path)]++
		}
		return nil
	}))
	delete(files, ".lock")
	if want == 0 {
		require.Empty(t, files)
	} else {
		require.Equal(t, map[string]int64{".m": want, ".b": want}, files)
	}
	require.Equal(t, want, d.Stats().Entries)
}

func diskGet(t testing.TB, s store.Store, key string) []store.Entry {
	entries, err := s.Get(context.Background(), key)
	require.NoError(t, err)
	return entries
}

// seedMeta, seedBody and requireWhole make responses whose bodies follow from
// the metadata.
func seedMeta(key string, seed, n int) *store.Meta {
	return &store.Meta{
		Key: key, Status: 200, Length: int64(n),
		Header: http.Header{"X-Seed": {strconv.Itoa(seed)}, "X-Updated": {"0"}},
	}
}

func seedBody(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

func seedOf(m *store.Meta) int {
	seed, _ := strconv.Atoi(m.Header.Get("X-Seed"))
	return seed
}

func storeSeed(t testing.TB, s store.Store, key string, seed, n int, old ...store.Entry) {
	meta := seedMeta(key, seed, n)
	w, err := s.Create(context.Background(), meta)
	require.NoError(t, err)
	_, err = w.Write(seedBody(seed, n))
	require.NoError(t, err)
	require.NoError(t, w.Commit(meta, old...))
}

func requireWhole(t testing.TB, e store.Entry) {
	b, err := e.Open()
	require.NoError(t, err)
	defer b.Close()
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, e.Meta().Length, e.Size())
	require.True(t, string(got) == string(seedBody(seedOf(e.Meta()), int(e.Size()))), "body of %s", e.Meta().Key)
}

// IsChecked reports whether the bytes of a body are checked while they are read.
func IsChecked(b store.Body) bool {
	_, checked := b.(*checkedBody)
	return checked
}
