package disk

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestDiskServesWhileScanning holds the scan up and uses the store meanwhile.
func TestDiskServesWhileScanning(t *testing.T) {
	root := t.TempDir()
	d := &Store{Root: root}
	for i := range 50 {
		storeSeed(t, d, pageKey(i), i, 1000)
	}
	d.Close()

	held := make(chan struct{})
	d = &Store{Root: root, Logger: testLogger(t), hook: func(op, path string) error {
		if op == "open" && path == root {
			<-held
		}
		return nil
	}}
	defer d.Close()
	for i := range 25 {
		requireWhole(t, diskGet(t, d, pageKey(i))[0])
		storeSeed(t, d, pageKey(i), i+100, 10, diskGet(t, d, pageKey(i))...)
	}
	require.Empty(t, diskGet(t, d, "http://example.org/none"))
	require.NoError(t, d.Remove(context.Background(), diskGet(t, d, pageKey(49))[0]))
	require.EqualValues(t, 25, d.Stats().Entries, "what was asked for, and no more")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, d.Walk(ctx, nil), context.Canceled)
	close(held)
	requireTidy(t, d)
	require.EqualValues(t, 49, d.Stats().Entries)
	require.Equal(t, bytesOnDisk(t, root), d.Stats().Bytes)
	for i := range 49 {
		entries := diskGet(t, d, pageKey(i))
		require.Len(t, entries, 1)
		want := i
		if i < 25 {
			want += 100
		}
		require.Equal(t, want, seedOf(entries[0].Meta()))
	}
}

// TestDiskCloseEndsScan: no goroutine stays, wherever the scan is.
func TestDiskCloseEndsScan(t *testing.T) {
	root := t.TempDir()
	d := &Store{Root: root}
	for i := range 50 {
		storeSeed(t, d, pageKey(i), i, 10)
	}
	d.Close()
	for after := range 40 {
		ignore := goleak.IgnoreCurrent()
		reached, opened := make(chan struct{}), 0
		var once sync.Once
		d := &Store{Root: root, hook: func(op, path string) error {
			if opened++; opened > after {
				once.Do(func() { close(reached) })
			}
			return nil
		}}
		require.Error(t, d.begin(canceled()))
		<-reached
		require.NoError(t, d.Close())
		require.NoError(t, goleak.Find(ignore))
		require.ErrorIs(t, d.Walk(context.Background(), nil), fs.ErrClosed)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestDiskForeignFiles: only what the store wrote is removed.
func TestDiskForeignFiles(t *testing.T) {
	root := t.TempDir()
	d := &Store{Root: root}
	storeSeed(t, d, diskKey, 1, 10)
	leaf := filepath.Dir(diskFile(t, root, bodyExt))
	d.Close()
	var foreign []string
	for _, dir := range []string{root, filepath.Dir(leaf), leaf, filepath.Join(root, "home"), filepath.Join(root, "abc", "def")} {
		require.NoError(t, os.MkdirAll(dir, 0o700))
		for _, name := range []string{
			"letter.txt", "x.m", "a.b", "c.t", ".m",
			"0123456789abcdef0123456789ABCDEF-0123456789abcdef.b",
			"0123456789abcdef0123456789abcdef-0123456789abcdef.b.bak",
			"0123456789abcdef0123456789abcdef-0123456789abcdef",
			"0123456789abcdef0123456789abcdef-0000000000000000.m",
			"0123456789abcdef0123456789abcdef-0123456789abcdef-0123456789abcdef.b",
		} {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
			foreign = append(foreign, path)
		}
	}
	require.NoError(t, os.MkdirAll(filepath.Join(root, "00"), 0o700))
	d = &Store{Root: root, Logger: testLogger(t)}
	defer d.Close()
	requireTidyOf(t, d, 1)
	require.NoError(t, d.Remove(context.Background(), diskGet(t, d, diskKey)[0]))
	for _, path := range foreign {
		require.FileExists(t, path)
	}
	require.DirExists(t, filepath.Join(root, "00"))
}

// TestDiskOtherLevels: what was stored with other levels cannot be found; it
// is removed, with its directories.
func TestDiskOtherLevels(t *testing.T) {
	layouts := []dirLayout{{0, 0}, {-1, 0}, {1, 2}, {3, 2}, {2, 1}, {2, 4}, {5, 1}}
	for _, from := range layouts {
		for _, to := range layouts {
			if from == to {
				continue
			}
			root := memoryDir(t)
			d := &Store{Root: root, DirLevels: from.levels, DirLength: from.length}
			for i := range 5 {
				storeSeed(t, d, pageKey(i), i, 10)
			}
			d.Close()
			d = &Store{Root: root, DirLevels: to.levels, DirLength: to.length, Logger: testLogger(t)}
			requireTidyOf(t, d, 0)
			require.Empty(t, diskFiles(t, root, bodyExt))
			storeSeed(t, d, pageKey(0), 0, 10)
			requireTidy(t, d)
			d.Close()
		}
	}
}

type dirLayout struct{ levels, length int }
