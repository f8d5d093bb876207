package disk_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/store"
)

func benchMeta(key string, n int) *store.Meta {
	return &store.Meta{
		Key: key, Status: 200, Length: int64(n),
		Header: http.Header{
			"Cache-Control": {"max-age=3600"}, "Content-Type": {"text/html; charset=utf-8"},
			"Date": {"Tue, 14 Nov 2023 22:13:20 GMT"}, "Etag": {`"abcdef"`}, "Server": {"Apache"},
		},
		RequestTime: time.Unix(1_700_000_000, 0), ResponseTime: time.Unix(1_700_000_000, 0),
	}
}

func keep(tb testing.TB, s store.Store, key string, n int, old ...store.Entry) {
	meta := benchMeta(key, n)
	w, err := s.Create(context.Background(), meta)
	require.NoError(tb, err)
	_, err = w.Write(make([]byte, n))
	require.NoError(tb, err)
	require.NoError(tb, w.Commit(meta, old...))
}

func benchDisk(b *testing.B) *disk.Store {
	d := &disk.Store{Root: b.TempDir(), MaxEntries: -1, MaxBytes: -1}
	b.Cleanup(func() { d.Close() })
	return d
}

// BenchmarkDiskHit is a lookup and reading all of the body.
func BenchmarkDiskHit(b *testing.B) {
	for name, n := range map[string]int{"1KB": 1 << 10, "32KB": 32 << 10, "1MB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			d := benchDisk(b)
			keep(b, d, "http://example.org/", n)
			buf := make([]byte, n)
			hit := func(b *testing.B) (trusted bool) {
				entries, _ := d.Get(context.Background(), "http://example.org/")
				body, err := entries[0].Open()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(body, buf); err != nil {
					b.Fatal(err)
				}
				body.Close()
				return !disk.IsChecked(body)
			}
			for !hit(b) { // until the file's times tell something
				runtime.Gosched()
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				hit(b)
			}
		})
	}
}

// BenchmarkDiskServe sends a body over a connection, which the kernel does from
// the file.
func BenchmarkDiskServe(b *testing.B) {
	for name, n := range map[string]int{"1KB": 1 << 10, "1MB": 1 << 20, "10MB": 10 << 20} {
		b.Run(name, func(b *testing.B) {
			d := benchDisk(b)
			keep(b, d, "http://example.org/", n)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				entries, _ := d.Get(r.Context(), "http://example.org/")
				body, err := entries[0].Open()
				if err != nil {
					b.Error(err)
					return
				}
				defer body.Close()
				w.Header().Set("Content-Length", fmt.Sprint(entries[0].Size()))
				io.Copy(w, body)
			}))
			defer server.Close()
			b.SetBytes(int64(n))
			for b.Loop() {
				resp, err := server.Client().Get(server.URL)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

func BenchmarkDiskCreate(b *testing.B) {
	for name, n := range map[string]int{"1KB": 1 << 10, "1MB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			d := benchDisk(b)
			meta := benchMeta("", n)
			data := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m := meta.Clone()
				m.Key = fmt.Sprint("http://example.org/", i)
				w, err := d.Create(context.Background(), m)
				if err != nil {
					b.Fatal(err)
				}
				w.Write(data)
				if err := w.Commit(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	// In a cache that has been used for a while there is always an old one.
	b.Run("1KB/again", func(b *testing.B) {
		d := benchDisk(b)
		keep(b, d, "http://example.org/", 1<<10)
		for b.Loop() {
			old, _ := d.Get(context.Background(), "http://example.org/")
			keep(b, d, "http://example.org/", 1<<10, old...)
		}
	})
}

// BenchmarkDiskLookup finds entries among many: what is hot, what is in the
// index alone, and what is not there.
func BenchmarkDiskLookup(b *testing.B) {
	for _, entries := range []int{1e3, 1e4, 1e5} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		d := &disk.Store{Root: b.TempDir(), MaxBytes: -1, MaxEntries: -1, OpenFiles: -1, MetadataBytes: -1}
		for i := range entries {
			keep(b, d, fmt.Sprint("http://example.org/", i), 10)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.Run(fmt.Sprint("cold/", entries), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				got, _ := d.Get(context.Background(), fmt.Sprint("http://example.org/", i*7919%entries))
				if len(got) != 1 {
					b.Fatal("not there")
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(entries), "B/entry")
		})
		b.Run(fmt.Sprint("none/", entries), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got, _ := d.Get(context.Background(), "http://example.org/x"); len(got) > 0 {
					b.Fatal("there")
				}
			}
		})
		d.Close()
		again := &disk.Store{Root: d.Root, MaxBytes: -1, MaxEntries: -1}
		for i := range 256 {
			again.Get(context.Background(), fmt.Sprint("http://example.org/", i))
		}
		begun := time.Now()
		n := 0
		require.NoError(b, again.Walk(context.Background(), func(store.Entry) bool { n++; return false }))
		b.Logf("%d entries: the rest of the scan took %v", entries, time.Since(begun).Round(time.Millisecond))
		b.Run(fmt.Sprint("hot/", entries), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				got, _ := again.Get(context.Background(), "http://example.org/0")
				if len(got) != 1 {
					b.Fatal("not there")
				}
			}
		})
		again.Close()
	}
}
