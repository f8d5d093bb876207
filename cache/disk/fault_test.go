package disk

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// failOn fails operations while it is on.
type failOn struct {
	op  string
	err error
	on  atomic.Bool
	n   atomic.Int64 // how often it failed
}

func (f *failOn) hook(op, _ string) error {
	if f.on.Load() && op == f.op {
		f.n.Add(1)
		return f.err
	}
	return nil
}

// tryStore does what a cache does with an answer.
func tryStore(d *Store, key string, seed, n int, old ...store.Entry) error {
	meta := seedMeta(key, seed, n)
	w, err := d.Create(context.Background(), meta)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(seedBody(seed, n)); err != nil {
		return err
	}
	return w.Commit(meta, old...)
}

const (
	logFails = "ERROR cache: the disk store fails; nothing is stored until it works again"
	logWorks = "INFO cache: the disk store works again"
)

// TestDiskFails: at whatever point the disk fails, the response is not stored,
// what was stored is served, one message is logged, the disk is left alone for
// a while, and then it works again.
func TestDiskFails(t *testing.T) {
	for _, test := range []struct {
		op   string
		err  error
		keys []string // what is tried; some operations need a new directory
	}{
		{"create", syscall.ENOSPC, []string{diskKey}},
		{"create", syscall.EROFS, []string{diskKey}},
		{"mkdir", syscall.EDQUOT, []string{"http://example.org/other"}},
		{"write", syscall.ENOSPC, []string{diskKey}},
		{"write", syscall.EIO, []string{diskKey}},
		{"sync", syscall.EIO, []string{diskKey}},
		{"rename", syscall.EROFS, []string{diskKey}},
	} {
		t.Run(test.op+" "+test.err.Error(), func(t *testing.T) {
			root := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var log recordedLog
				fail := &failOn{op: test.op, err: test.err}
				d := &Store{Root: root, Sync: true, Logger: slog.New(&log), hook: fail.hook}
				defer d.Close()
				storeSeed(t, d, diskKey, 1, 1000)
				old := diskGet(t, d, diskKey)

				fail.on.Store(true)
				for range 20 {
					for _, key := range test.keys {
						err := tryStore(d, key, 2, 100_000, old...)
						require.ErrorIs(t, err, test.err)
					}
					requireWhole(t, diskGet(t, d, diskKey)[0])
				}
				require.Equal(t, 1, seedOf(diskGet(t, d, diskKey)[0].Meta()))
				require.Equal(t, []string{logFails}, log.all())
				require.EqualValues(t, 1, fail.n.Load(), "a disk that fails is left alone")

				time.Sleep(10 * time.Second)
				for range 20 {
					require.ErrorIs(t, tryStore(d, test.keys[0], 2, 100, old...), test.err)
				}
				require.EqualValues(t, 2, fail.n.Load(), "after Retry one tries")
				require.EqualValues(t, 2, d.Stats().Errors)

				fail.on.Store(false)
				require.Error(t, tryStore(d, test.keys[0], 2, 100))
				time.Sleep(10 * time.Second)
				require.NoError(t, tryStore(d, test.keys[0], 3, 100, old...))
				require.NoError(t, tryStore(d, test.keys[0], 4, 100))
				require.Equal(t, []string{logFails, logWorks}, log.all())
				requireTidy(t, d)
			})
		})
	}
}

// TestDiskUpdateFails: metadata that cannot be written leaves what there is.
func TestDiskUpdateFails(t *testing.T) {
	for _, op := range []string{"create", "write", "rename"} {
		t.Run(op, func(t *testing.T) {
			fail := &failOn{op: op, err: syscall.ENOSPC}
			d := &Store{Root: t.TempDir(), hook: fail.hook}
			defer d.Close()
			storeSeed(t, d, diskKey, 1, 1000)
			e := diskGet(t, d, diskKey)[0]
			meta := e.Meta().Clone()
			meta.Invalid = true
			fail.on.Store(true)
			require.ErrorIs(t, d.Update(context.Background(), e, meta), syscall.ENOSPC)
			require.False(t, diskGet(t, d, diskKey)[0].Meta().Invalid)
			fail.on.Store(false)
			require.NoError(t, d.Update(context.Background(), e, meta))
			require.True(t, diskGet(t, d, diskKey)[0].Meta().Invalid)
			requireTidy(t, d)
		})
	}
}

// TestDiskRemoveFails: what cannot be removed is not served all the same, and
// the caller learns of it.
func TestDiskRemoveFails(t *testing.T) {
	fail := &failOn{op: "remove", err: syscall.EROFS}
	d := &Store{Root: t.TempDir(), hook: fail.hook}
	defer d.Close()
	storeSeed(t, d, diskKey, 1, 1000)
	fail.on.Store(true)
	require.ErrorIs(t, d.Remove(context.Background(), diskGet(t, d, diskKey)[0]), syscall.EROFS)
	require.Empty(t, diskGet(t, d, diskKey))
	<-d.ready
	d.scan() // finds the files
	require.Empty(t, diskGet(t, d, diskKey))
	fail.on.Store(false)
	d.scan() // removes them
	require.Empty(t, diskGet(t, d, diskKey))
	requireTidy(t, d)
}

// TestDiskReadFails: a file that cannot be opened is a miss, and it may work
// the next time.
func TestDiskReadFails(t *testing.T) {
	var log recordedLog
	fail := &failOn{op: "open", err: syscall.EMFILE}
	root := t.TempDir()
	d := &Store{Root: root}
	storeSeed(t, d, diskKey, 1, 1000)
	d.Close()
	d = &Store{Root: root, Logger: slog.New(&log), hook: fail.hook, MetadataBytes: -1}
	defer d.Close()
	requireTidy(t, d)
	e := diskGet(t, d, diskKey)[0]
	fail.on.Store(true)
	require.Empty(t, diskGet(t, d, diskKey))
	_, err := e.Open()
	require.ErrorIs(t, err, syscall.EMFILE)
	require.Equal(t, []string{logFails}, log.all())
	fail.on.Store(false)
	requireWhole(t, diskGet(t, d, diskKey)[0])
}

// TestDiskFullFileSystem fills a small file system of its own.
func TestDiskFullFileSystem(t *testing.T) {
	root := mount(t, "size=1m")
	var log recordedLog
	d := &Store{Root: root, Retry: time.Nanosecond, Logger: slog.New(&log)}
	defer d.Close()
	stored, failed := 0, 0
	for i := range 100 {
		err := tryStore(d, diskKey, i, 50_000)
		if err == nil {
			stored++
			continue
		}
		failed++
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Len(t, diskGet(t, d, diskKey), stored)
	}
	require.Greater(t, stored, 5)
	require.Greater(t, failed, 50)
	require.Equal(t, []string{logFails}, log.all())
	entries := diskGet(t, d, diskKey)
	for _, e := range entries {
		requireWhole(t, e)
	}
	requireTidy(t, d)
	for _, e := range entries[:3] {
		require.NoError(t, d.Remove(context.Background(), e))
	}
	require.NoError(t, tryStore(d, diskKey, 200, 50_000))
	require.Equal(t, []string{logFails, logWorks}, log.all())

	// Limits keep away from a full disk.
	require.NoError(t, d.Close())
	d2 := &Store{Root: root, MaxBytes: 500_000, Logger: testLogger(t)}
	defer d2.Close()
	requireTidy(t, d2) // it knows all by then
	for i := range 100 {
		require.NoError(t, tryStore(d2, diskKey, i, 50_000))
	}
}

// TestDiskReadOnly serves what is there from a file system that cannot be
// written to.
func TestDiskReadOnly(t *testing.T) {
	root := mount(t, "size=1m")
	d := &Store{Root: root}
	storeSeed(t, d, diskKey, 1, 50_000)
	d.Close()
	require.NoError(t, remountReadOnly(root))
	var log recordedLog
	d = &Store{Root: root, Logger: slog.New(&log)}
	defer d.Close()
	for range 3 {
		requireWhole(t, diskGet(t, d, diskKey)[0])
		require.ErrorIs(t, tryStore(d, diskKey, 2, 50_000), syscall.EROFS)
	}
	require.Equal(t, []string{logFails}, log.all())
	requireWhole(t, diskGet(t, d, diskKey)[0])
}

// TestDiskRootCannotBeMade: a file is where the directory should be.
func TestDiskRootCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var log recordedLog
	d := &Store{Root: filepath.Join(file, "cache"), Logger: slog.New(&log)}
	defer d.Close()
	for range 3 {
		require.Empty(t, diskGet(t, d, diskKey))
		require.ErrorIs(t, tryStore(d, diskKey, 1, 10), syscall.ENOTDIR)
	}
	require.NoError(t, d.Walk(context.Background(), func(store.Entry) bool { return true }))
	require.Equal(t, []string{logFails}, log.all())
}

// TestDiskRootRemoved: somebody cleared the directory while it was in use.
func TestDiskRootRemoved(t *testing.T) {
	for name, n := range map[string]int{"small": 100, "large": 100_000} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "cache")
			d := &Store{Root: root, OpenFiles: -1, Logger: testLogger(t)}
			defer d.Close()
			storeSeed(t, d, diskKey, 1, n)
			e := diskGet(t, d, diskKey)[0]
			meta := e.Meta()
			w, err := d.Create(context.Background(), meta)
			require.NoError(t, err)
			require.NoError(t, os.RemoveAll(root))
			_, err = e.Open()
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.Empty(t, diskGet(t, d, diskKey))
			w.Abort()
			storeSeed(t, d, diskKey, 2, n)
			requireWhole(t, diskGet(t, d, diskKey)[0])
		})
	}
}

func TestDiskWrongFields(t *testing.T) {
	for name, d := range map[string]*Store{
		"no root":     {},
		"too deep":    {Root: "x", DirLevels: 7, DirLength: 3},
		"no length":   {Root: "x", DirLength: -1},
		"overflowing": {Root: "x", DirLevels: 1 << 62, DirLength: 4},
	} {
		t.Run(name, func(t *testing.T) {
			var log recordedLog
			d.Logger = slog.New(&log)
			for range 2 {
				_, err := d.Get(context.Background(), diskKey)
				require.Error(t, err)
				require.Error(t, tryStore(d, diskKey, 1, 10))
				require.Error(t, d.Walk(context.Background(), nil))
			}
			require.Equal(t, []string{"ERROR cache: the disk store cannot be used"}, log.all())
			require.NoError(t, d.Close())
			require.NoDirExists(t, "x")
		})
	}
}

func TestDiskClosed(t *testing.T) {
	for name, use := range map[string]bool{"unused": false, "used": true} {
		t.Run(name, func(t *testing.T) {
			d := &Store{Root: t.TempDir()}
			var w store.Writer
			var b store.Body
			if use {
				storeSeed(t, d, diskKey, 1, 100_000)
				var err error
				b, err = diskGet(t, d, diskKey)[0].Open()
				require.NoError(t, err)
				w, err = d.Create(context.Background(), seedMeta(diskKey, 2, 10))
				require.NoError(t, err)
			}
			require.NoError(t, d.Close())
			require.NoError(t, d.Close())
			_, err := d.Get(context.Background(), diskKey)
			require.ErrorIs(t, err, fs.ErrClosed)
			require.ErrorIs(t, tryStore(d, diskKey, 1, 10), fs.ErrClosed)
			require.ErrorIs(t, d.Walk(context.Background(), nil), fs.ErrClosed)
			if use {
				require.ErrorIs(t, w.Commit(seedMeta(diskKey, 2, 10)), fs.ErrClosed)
				p := make([]byte, 100_000)
				_, err = b.Read(p)
				require.NoError(t, err)
				require.NoError(t, b.Close())
				require.Len(t, diskFiles(t, d.Root, bodyExt), 1)
			}
		})
	}
}

// TestDiskContext: a context that has ended ends a call, but harms nothing.
func TestDiskContext(t *testing.T) {
	d := &Store{Root: t.TempDir(), Logger: testLogger(t)}
	defer d.Close()
	storeSeed(t, d, diskKey, 1, 10)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("left"))
	_, err := d.Get(ctx, diskKey)
	require.ErrorIs(t, err, context.Canceled)
	_, err = d.Create(ctx, seedMeta(diskKey, 1, 1))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, d.Walk(ctx, nil), context.Canceled)
	requireTidy(t, d)
}
