package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/examples/programs"
)

// needLocks skips a test of what locks tell; without them, age decides.
func needLocks(t *testing.T) {
	t.Helper()
	if !hasLocks {
		programs.CannotHere(t, "files cannot be locked")
	}
}

// TestDiskLeftovers: what no writer will finish is removed at the start, what
// a writer holds is not.
func TestDiskLeftovers(t *testing.T) {
	needLocks(t)
	root := t.TempDir()
	d := &Store{Root: root}
	defer d.Close()
	storeSeed(t, d, diskKey, 1, 10)
	requireTidyOf(t, d, 1) // its own scan is over
	leaf := filepath.Dir(diskFile(t, root, bodyExt))
	n := entryName{hash: hashKey(diskKey), id: 77}
	for _, path := range []string{
		d.layout.body(n),                         // a writer ended before Commit
		d.layout.path(n.hash, 78, 79, tempExt),   // or in it
		d.layout.meta(entryName{n.hash, 80, 0}),  // somebody removed the body
		d.layout.meta(entryName{n.hash, 81, 80}), // the same
	} {
		require.Equal(t, leaf, filepath.Dir(path))
		require.NoError(t, os.WriteFile(path, []byte("left"), 0o600))
	}
	w, err := d.Create(context.Background(), seedMeta(diskKey, 2, 100_000))
	require.NoError(t, err)
	_, err = w.Write(seedBody(2, 50_000))
	require.NoError(t, err)

	// Another process, that knows it is not alone, leaves young files.
	other := &Store{Root: root, Logger: testLogger(t)}
	requireTidyOf(t, other, 1)
	require.NoError(t, other.Close())
	require.Len(t, diskFiles(t, root, bodyExt), 3)
	require.Len(t, diskFiles(t, root, tempExt), 1)
	require.Len(t, diskFiles(t, root, metaExt), 1)

	// An hour later it removes them, except those of the writer.
	then := time.Now().Add(-time.Hour)
	for _, ext := range []string{bodyExt, tempExt} {
		for _, path := range diskFiles(t, root, ext) {
			require.NoError(t, os.Chtimes(path, then, then))
		}
	}
	other = &Store{Root: root, Logger: testLogger(t)}
	requireTidyOf(t, other, 1)
	require.NoError(t, other.Close())
	require.Len(t, diskFiles(t, root, bodyExt), 2)
	require.Empty(t, diskFiles(t, root, tempExt))

	_, err = w.Write(seedBody(2, 100_000)[50_000:])
	require.NoError(t, err)
	require.NoError(t, w.Commit(seedMeta(diskKey, 2, 100_000)))
	for _, e := range diskGet(t, d, diskKey) {
		requireWhole(t, e)
	}
	requireTidy(t, d)
}

// TestDiskReaderHoldsNoLock: a body that is read for long after Abort is no
// writer's.
func TestDiskReaderHoldsNoLock(t *testing.T) {
	needLocks(t)
	root := t.TempDir()
	d := &Store{Root: root}
	defer d.Close()
	w, err := d.Create(context.Background(), seedMeta(diskKey, 2, 10))
	require.NoError(t, err)
	_, err = w.Write(seedBody(2, 10))
	require.NoError(t, err)
	r, err := w.Reader()
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, w.Commit(seedMeta(diskKey, 2, 10)))
	require.NoError(t, os.Remove(diskFile(t, root, metaExt)))
	then := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(diskFile(t, root, bodyExt), then, then))
	other := &Store{Root: root}
	defer other.Close()
	requireTidyOf(t, other, 0)
	require.Empty(t, diskFiles(t, root, bodyExt))
}

// TestDiskTwoProcesses has two stores on one directory do everything at once.
// Nothing is ever wrong, and after a rescan both know the same.
func TestDiskTwoProcesses(t *testing.T) {
	root := memoryDir(t)
	stores := []*Store{
		{Root: root, Logger: testLogger(t), Rescan: 10 * time.Millisecond},
		{Root: root, Logger: testLogger(t), Rescan: 10 * time.Millisecond},
	}
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	var wg sync.WaitGroup
	var seeds atomic.Int64
	for _, d := range stores {
		for range 2 {
			wg.Go(func() {
				for i := range rounds {
					key := pageKey(i % 7)
					entries := diskGet(t, d, key)
					for _, e := range entries {
						b, err := e.Open()
						if err != nil {
							if !errors.Is(err, fs.ErrNotExist) {
								t.Errorf("Open: %v", err)
							}
							continue
						}
						got, err := io.ReadAll(b)
						if err != nil || string(got) != string(seedBody(seedOf(e.Meta()), int(e.Size()))) {
							t.Errorf("a wrong body; %v", err)
						}
						b.Close()
					}
					seed := int(seeds.Add(1))
					switch {
					case i%3 == 0:
						if err := tryStore(d, key, seed, seed%3*40_000, entries...); err != nil {
							t.Errorf("store: %v", err)
						}
					case i%11 == 0 && len(entries) > 0:
						if err := d.Remove(context.Background(), entries[0]); err != nil {
							t.Errorf("Remove: %v", err)
						}
					case i%7 == 0 && len(entries) > 0:
						meta := entries[0].Meta().Clone()
						meta.Header.Set("X-Updated", strconv.Itoa(seed))
						if err := d.Update(context.Background(), entries[0], meta); err != nil {
							t.Errorf("Update: %v", err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	require.Eventually(t, func() bool {
		return len(diskFiles(t, root, metaExt)) == len(diskFiles(t, root, bodyExt)) &&
			stores[0].Stats() == stores[1].Stats() && stores[0].Stats().Entries == int64(len(diskFiles(t, root, metaExt)))
	}, time.Minute, 10*time.Millisecond)

	// An update and a removal by the one reach the other.
	storeSeed(t, stores[0], diskKey, 1, 1000)
	require.Eventually(t, func() bool { return len(diskGet(t, stores[1], diskKey)) == 1 }, time.Minute, time.Millisecond)
	e := diskGet(t, stores[1], diskKey)[0]
	meta := e.Meta().Clone()
	meta.Invalid = true
	require.NoError(t, stores[1].Update(context.Background(), e, meta))
	require.Eventually(t, func() bool { return diskGet(t, stores[0], diskKey)[0].Meta().Invalid }, time.Minute, time.Millisecond)
	require.NoError(t, stores[1].Remove(context.Background(), diskGet(t, stores[1], diskKey)[0]))
	require.Eventually(t, func() bool { return len(diskGet(t, stores[0], diskKey)) == 0 }, time.Minute, time.Millisecond)

	for _, d := range stores {
		require.NoError(t, d.Close())
	}
	d := &Store{Root: root, Logger: testLogger(t)}
	defer d.Close()
	requireTidy(t, d)
}

// TestDiskRemovedByOther: a large body that another process removed is gone at
// once, though its file is open here.
func TestDiskRemovedByOther(t *testing.T) {
	root := t.TempDir()
	a, b := &Store{Root: root}, &Store{Root: root}
	defer a.Close()
	defer b.Close()
	storeSeed(t, a, diskKey, 1, 100_000)
	requireWhole(t, diskGet(t, a, diskKey)[0])
	require.NoError(t, b.Remove(context.Background(), diskGet(t, b, diskKey)[0]))
	_, err := diskGet(t, a, diskKey)[0].Open()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, diskGet(t, a, diskKey))
	require.Zero(t, a.Stats().Bytes)
}

// Two that look at once whether they are alone both see that they are not.
func TestDiskProcessesStayKnown(t *testing.T) {
	needLocks(t)
	root := t.TempDir()
	a, b := &Store{Root: root}, &Store{Root: root}
	defer a.Close()
	defer b.Close()
	for _, d := range []*Store{a, b} {
		require.NoError(t, d.Walk(t.Context(), func(store.Entry) bool { return true }))
	}
	var wg sync.WaitGroup
	for _, d := range []*Store{a, b} {
		wg.Go(func() {
			for range 20_000 {
				if d.alone() {
					t.Error("it takes the other for gone")
					return
				}
			}
		})
	}
	wg.Wait()
}
