package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"go.uber.org/goleak"
)

func pageKey(i int) string { return fmt.Sprintf("http://example.org/%d", i) }

// bytesOnDisk is what files of entries take, each rounded up.
func bytesOnDisk(t testing.TB, root string) (n int64) {
	for _, ext := range []string{bodyExt, metaExt, tempExt} {
		for _, path := range diskFiles(t, root, ext) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			n += (info.Size() + diskBlock - 1) / diskBlock * diskBlock
		}
	}
	return n
}

// TestDiskMaxBytes: the limit is kept at all times, what was used last stays,
// and bodies that are being read stay readable.
func TestDiskMaxBytes(t *testing.T) {
	const limit = 2_000_000
	d := &Disk{Root: memoryDir(t), MaxBytes: limit, Logger: testLogger(t)}
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
	d := &Disk{Root: t.TempDir(), MaxBytes: limit, Logger: testLogger(t)}
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
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorIs(t, w.Commit(seedMeta(diskKey, 1, 1_900_000)), ErrTooLarge)
	_, err = d.Create(context.Background(), seedMeta(diskKey, 1, limit+1))
	require.ErrorIs(t, err, ErrTooLarge)
	require.NoError(t, tryStore(d, diskKey, 1, 10), "that is no failure of the disk")

	// Two that fit alone, but not together.
	a, err := d.Create(context.Background(), seedMeta(diskKey, 1, 1_500_000))
	require.NoError(t, err)
	b, err := d.Create(context.Background(), seedMeta(diskKey, 1, 1_500_000))
	require.NoError(t, err)
	_, err = a.Write(make([]byte, 1_500_000))
	require.NoError(t, err)
	_, err = b.Write(make([]byte, 1_500_000))
	require.ErrorIs(t, err, ErrTooLarge)
	b.Abort()
	a.Abort()
	require.Zero(t, d.Stats().Bytes)
	require.Zero(t, bytesOnDisk(t, d.Root))
}

func TestDiskMaxEntries(t *testing.T) {
	d := &Disk{Root: t.TempDir(), MaxEntries: 20, Logger: testLogger(t)}
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
	d := &Disk{Root: root}
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
	d = &Disk{Root: root}
	requireTidyOf(t, d, n)
	requireWhole(t, diskGet(t, d, pageKey(3))[0]) // is used
	d.Close()

	d = &Disk{Root: root, MaxEntries: n / 2}
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

func requireTidyOf(t testing.TB, d *Disk, n int64) {
	require.NoError(t, d.Walk(context.Background(), func(Entry) bool { return false }))
	require.Equal(t, n, d.Stats().Entries)
}

// TestDiskServesWhileScanning holds the scan up and uses the store meanwhile.
func TestDiskServesWhileScanning(t *testing.T) {
	root := t.TempDir()
	d := &Disk{Root: root}
	for i := range 50 {
		storeSeed(t, d, pageKey(i), i, 1000)
	}
	d.Close()

	held := make(chan struct{})
	d = &Disk{Root: root, Logger: testLogger(t), hook: func(op, path string) error {
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
	d := &Disk{Root: root}
	for i := range 50 {
		storeSeed(t, d, pageKey(i), i, 10)
	}
	d.Close()
	for after := range 40 {
		ignore := goleak.IgnoreCurrent()
		reached, opened := make(chan struct{}), 0
		var once sync.Once
		d := &Disk{Root: root, hook: func(op, path string) error {
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
	d := &Disk{Root: root}
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
	d = &Disk{Root: root, Logger: testLogger(t)}
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
			d := &Disk{Root: root, DirLevels: from.levels, DirLength: from.length}
			for i := range 5 {
				storeSeed(t, d, pageKey(i), i, 10)
			}
			d.Close()
			d = &Disk{Root: root, DirLevels: to.levels, DirLength: to.length, Logger: testLogger(t)}
			requireTidyOf(t, d, 0)
			require.Empty(t, diskFiles(t, root, bodyExt))
			storeSeed(t, d, pageKey(0), 0, 10)
			requireTidy(t, d)
			d.Close()
		}
	}
}

// needLocks skips a test of what locks tell; without them, age decides.
func needLocks(t *testing.T) {
	t.Helper()
	if !hasLocks {
		programs.CannotHere(t, "files cannot be locked")
	}
}

type dirLayout struct{ levels, length int }

// TestDiskLeftovers: what no writer will finish is removed at the start, what
// a writer holds is not.
func TestDiskLeftovers(t *testing.T) {
	needLocks(t)
	root := t.TempDir()
	d := &Disk{Root: root}
	defer d.Close()
	storeSeed(t, d, diskKey, 1, 10)
	requireTidyOf(t, d, 1) // its own scan is over
	leaf := filepath.Dir(diskFile(t, root, bodyExt))
	n := diskName{hash: hashKey(diskKey), id: 77}
	for _, path := range []string{
		d.layout.body(n),                        // a writer ended before Commit
		d.layout.path(n.hash, 78, 79, tempExt),  // or in it
		d.layout.meta(diskName{n.hash, 80, 0}),  // somebody removed the body
		d.layout.meta(diskName{n.hash, 81, 80}), // the same
	} {
		require.Equal(t, leaf, filepath.Dir(path))
		require.NoError(t, os.WriteFile(path, []byte("left"), 0o600))
	}
	w, err := d.Create(context.Background(), seedMeta(diskKey, 2, 100_000))
	require.NoError(t, err)
	_, err = w.Write(seedBody(2, 50_000))
	require.NoError(t, err)

	// Another process, that knows it is not alone, leaves young files.
	other := &Disk{Root: root, Logger: testLogger(t)}
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
	other = &Disk{Root: root, Logger: testLogger(t)}
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
	d := &Disk{Root: root}
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
	other := &Disk{Root: root}
	defer other.Close()
	requireTidyOf(t, other, 0)
	require.Empty(t, diskFiles(t, root, bodyExt))
}

// TestDiskTwoProcesses has two stores on one directory do everything at once.
// Nothing is ever wrong, and after a rescan both know the same.
func TestDiskTwoProcesses(t *testing.T) {
	root := memoryDir(t)
	stores := []*Disk{
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
	d := &Disk{Root: root, Logger: testLogger(t)}
	defer d.Close()
	requireTidy(t, d)
}

// TestDiskRemovedByOther: a large body that another process removed is gone at
// once, though its file is open here.
func TestDiskRemovedByOther(t *testing.T) {
	root := t.TempDir()
	a, b := &Disk{Root: root}, &Disk{Root: root}
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

// TestDiskBodyIsSentByTheKernel: net takes the file itself from the body.
func TestDiskBodyIsSentByTheKernel(t *testing.T) {
	d := &Disk{Root: t.TempDir(), Logger: testLogger(t)}
	defer d.Close()
	n := 10 << 20
	storeSeed(t, d, diskKey, 1, n)
	var reads, raws atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := diskGet(t, d, diskKey)[0].Open()
		if err != nil {
			t.Error(err)
			return
		}
		defer b.Close()
		file, ok := b.(*fileBody)
		if !ok {
			w.WriteHeader(http.StatusAccepted) // not trusted yet
			io.Copy(io.Discard, b)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, &countedBody{file, &reads, &raws})
	}))
	defer server.Close()
	for _, span := range []string{"", "bytes=1000000-5999999"} {
		want := seedBody(1, n)
		if span != "" {
			want = want[1_000_000:6_000_000]
		}
		require.Eventually(t, func() bool {
			reads.Store(0)
			raws.Store(0)
			r, err := http.NewRequest("GET", server.URL, nil)
			require.NoError(t, err)
			if span != "" {
				r.Header.Set("Range", span)
			}
			resp, err := server.Client().Do(r)
			require.NoError(t, err)
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			if resp.StatusCode == http.StatusAccepted {
				return false
			}
			require.True(t, string(got) == string(want))
			return true
		}, time.Minute, time.Millisecond)
		require.LessOrEqual(t, reads.Load(), int64(3000), "bytes read to guess a type")
		require.NotZero(t, raws.Load())
	}
}

type countedBody struct {
	*fileBody
	reads, raws *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.fileBody.Read(p)
	b.reads.Add(int64(n))
	return n, err
}

func (b *countedBody) SyscallConn() (syscall.RawConn, error) {
	b.raws.Add(1)
	return b.fileBody.SyscallConn()
}

// TestDiskCloseWhileRead: a file that another goroutine reads is not handed on.
func TestDiskCloseWhileRead(t *testing.T) {
	d := &Disk{Root: t.TempDir()}
	defer d.Close()
	storeSeed(t, d, diskKey, 1, 100_000)
	var b *fileBody
	require.Eventually(t, func() bool {
		requireWhole(t, diskGet(t, d, diskKey)[0])
		body, err := diskGet(t, d, diskKey)[0].Open()
		require.NoError(t, err)
		var ok bool
		if b, ok = body.(*fileBody); !ok {
			body.Close()
		}
		return ok
	}, time.Minute, 10*time.Millisecond)
	raw, err := b.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Read(func(uintptr) bool {
		require.NoError(t, b.Close())
		other, err := diskGet(t, d, diskKey)[0].Open()
		require.NoError(t, err)
		require.NotSame(t, b.file, other.(*fileBody).file)
		require.NoError(t, other.Close())
		_, err = b.file.Stat()
		require.NoError(t, err, "still open")
		return true
	}))
	_, err = b.file.Stat()
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, raw.Read(func(uintptr) bool { return true }), fs.ErrClosed)
}

// TestDiskOpenFiles: no more files stay open than are allowed, none after Close.
func TestDiskOpenFiles(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		programs.CannotHere(t, "descriptors are not seen: %v", err)
	}
	root := t.TempDir()
	open := func() (n int) {
		list, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		for _, e := range list {
			if path, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && len(path) > len(root) && path[:len(root)] == root {
				n++
			}
		}
		return n
	}
	d := &Disk{Root: root, OpenFiles: 32}
	for i := range 200 {
		storeSeed(t, d, pageKey(i), i, i%2*100_000)
		requireWhole(t, diskGet(t, d, pageKey(i))[0])
	}
	var bodies []Body
	for range 50 {
		b, err := diskGet(t, d, pageKey(199))[0].Open()
		require.NoError(t, err)
		bodies = append(bodies, b)
	}
	for _, b := range bodies {
		require.NoError(t, b.Close())
	}
	require.LessOrEqual(t, open(), 33, "with the lock")
	require.Greater(t, open(), 5)
	require.NoError(t, d.Close())
	require.Zero(t, open())
}

// TestDiskHitAllocates pins what a hit costs.
func TestDiskHitAllocates(t *testing.T) {
	for name, n := range map[string]int{"small": 1000, "large": 100_000} {
		t.Run(name, func(t *testing.T) {
			d := &Disk{Root: t.TempDir()}
			defer d.Close()
			storeSeed(t, d, diskKey, 1, n)
			requireTidyOf(t, d, 1) // a scan allocates, too
			buf := make([]byte, n)
			hit := func() bool {
				entries, _ := d.Get(context.Background(), diskKey)
				b, err := entries[0].Open()
				if err != nil {
					panic(err)
				}
				if _, err := io.ReadFull(b, buf); err != nil {
					panic(err)
				}
				b.Close()
				return !IsChecked(b)
			}
			require.Eventually(t, hit, time.Minute, 10*time.Millisecond)
			require.LessOrEqual(t, testing.AllocsPerRun(100, func() { hit() }), 1.0)
		})
	}
}

// TestDiskModes: what others may not read, they may not read in the cache.
func TestDiskModes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "cache")
	d := &Disk{Root: root}
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
