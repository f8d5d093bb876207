package disk

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// TestDiskMaxBytes: the limit is kept at all times, what was used last stays,
// and bodies that are being read stay readable.
func TestDiskMaxBytes(t *testing.T) {
	const limit = 2_000_000
	d := &Store{Root: memoryDir(t), MaxBytes: limit, Logger: testLogger(t)}
	defer d.Close()
	storeSeed(t, d, pageKey(0), 0, 50_000)
	storeSeed(t, d, "http://example.org/read", 1000, 300_000)
	reading, err := diskGet(t, d, "http://example.org/read")[0].Open()
	require.NoError(t, err)
	for i := 1; i < 200; i++ {
		storeSeed(t, d, pageKey(i), i, 50_000)
		requireWhole(t, diskGet(t, d, pageKey(0))[0]) // used again and again
		require.LessOrEqual(t, bytesOnDisk(t, d.Root), int64(limit))
		require.Equal(t, bytesOnDisk(t, d.Root), d.Stats().Bytes)
	}
	require.Empty(t, diskGet(t, d, "http://example.org/read"))
	got, err := io.ReadAll(reading)
	require.NoError(t, err)
	require.True(t, string(got) == string(seedBody(1000, 300_000)))
	require.NoError(t, reading.Close())

	kept := 0
	for i := 1; i < 200; i++ {
		if len(diskGet(t, d, pageKey(i))) > 0 {
			kept++
		} else {
			require.Zero(t, kept, "what was used longest ago goes first")
		}
	}
	require.Greater(t, kept, 30)
	require.EqualValues(t, kept+1, d.Stats().Entries)
	require.EqualValues(t, 200-kept, d.Stats().Evictions)
}

// TestDiskEvictsWhileWriting: bodies count before they are complete, and those
// that can never fit end early.
func TestDiskEvictsWhileWriting(t *testing.T) {
	const limit = 2_000_000
	d := &Store{Root: t.TempDir(), MaxBytes: limit, Logger: testLogger(t)}
	defer d.Close()
	for i := range 30 {
		storeSeed(t, d, pageKey(i), i, 50_000)
	}
	w, err := d.Create(context.Background(), seedMeta(diskKey, 1, 1_900_000))
	require.NoError(t, err)
	for range 19 {
		_, err := w.Write(make([]byte, 100_000))
		require.NoError(t, err)
		require.LessOrEqual(t, bytesOnDisk(t, d.Root), int64(limit))
	}
	require.LessOrEqual(t, d.Stats().Entries, int64(2))
	_, err = w.Write(make([]byte, 200_000))
	require.ErrorIs(t, err, store.ErrTooLarge)
	require.ErrorIs(t, w.Commit(seedMeta(diskKey, 1, 1_900_000)), store.ErrTooLarge)
	_, err = d.Create(context.Background(), seedMeta(diskKey, 1, limit+1))
	require.ErrorIs(t, err, store.ErrTooLarge)
	require.NoError(t, tryStore(d, diskKey, 1, 10), "that is no failure of the disk")

	// Two that fit alone, but not together.
	a, err := d.Create(context.Background(), seedMeta(diskKey, 1, 1_500_000))
	require.NoError(t, err)
	b, err := d.Create(context.Background(), seedMeta(diskKey, 1, 1_500_000))
	require.NoError(t, err)
	_, err = a.Write(make([]byte, 1_500_000))
	require.NoError(t, err)
	_, err = b.Write(make([]byte, 1_500_000))
	require.ErrorIs(t, err, store.ErrTooLarge)
	b.Abort()
	a.Abort()
	require.Zero(t, d.Stats().Bytes)
	require.Zero(t, bytesOnDisk(t, d.Root))
}

func TestDiskMaxEntries(t *testing.T) {
	d := &Store{Root: t.TempDir(), MaxEntries: 20, Logger: testLogger(t)}
	defer d.Close()
	for i := range 100 {
		storeSeed(t, d, pageKey(i), i, 10)
		require.LessOrEqual(t, d.Stats().Entries, int64(20))
	}
	for i := range 100 {
		require.Len(t, diskGet(t, d, pageKey(i)), i/80)
	}
	requireTidy(t, d)
}

// TestDiskOrderOutlivesRestart: the next process removes what was used longest
// ago too.
func TestDiskOrderOutlivesRestart(t *testing.T) {
	root := memoryDir(t)
	const n = 200
	d := &Store{Root: root}
	for i := range n {
		storeSeed(t, d, pageKey(i), i, 10)
	}
	d.Close()
	// As if they had been stored hours ago.
	for _, path := range diskFiles(t, root, metaExt) {
		name, _, ok := parseName(filepath.Base(path))
		require.True(t, ok)
		for i := range n {
			if hashKey(pageKey(i)) == name.hash {
				then := time.Now().Add(time.Duration(i-2*n) * time.Hour)
				require.NoError(t, os.Chtimes(path, then, then))
			}
		}
	}
	d = &Store{Root: root}
	requireTidyOf(t, d, n)
	requireWhole(t, diskGet(t, d, pageKey(3))[0]) // is used
	d.Close()

	d = &Store{Root: root, MaxEntries: n / 2}
	defer d.Close()
	requireTidyOf(t, d, n/2)
	for i := range n {
		want := 0
		if i == 3 || i > n/2 {
			want = 1
		}
		require.Len(t, diskGet(t, d, pageKey(i)), want, i)
	}
}
