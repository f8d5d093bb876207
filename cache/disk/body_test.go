package disk

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/examples/programs"
)

// TestDiskBodyIsSentByTheKernel: net takes the file itself from the body.
func TestDiskBodyIsSentByTheKernel(t *testing.T) {
	d := &Store{Root: t.TempDir(), Logger: testLogger(t)}
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
	d := &Store{Root: t.TempDir()}
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
	d := &Store{Root: root, OpenFiles: 32}
	for i := range 200 {
		storeSeed(t, d, pageKey(i), i, i%2*100_000)
		requireWhole(t, diskGet(t, d, pageKey(i))[0])
	}
	var bodies []store.Body
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
			d := &Store{Root: t.TempDir()}
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

// An entry that was held while it was read anew is updated: no idle file is lost.
func TestDiskUpdateOfWhatWasReadAnew(t *testing.T) {
	d := &Store{Root: t.TempDir(), Logger: testLogger(t)}
	defer d.Close()
	storeSeed(t, d, diskKey, 1, 100_000)
	held := diskGet(t, d, diskKey)[0].(*entry)
	s := d.shard(held.name.hash)
	s.mu.Lock()
	closeAll(s.hot.drop(held.name.id)) // it has not been used for long
	s.mu.Unlock()
	requireWhole(t, diskGet(t, d, diskKey)[0])
	require.NoError(t, d.Update(context.Background(), held, held.Meta()))
	require.NoError(t, d.Remove(context.Background(), held))
	require.Zero(t, s.hot.files)
}
