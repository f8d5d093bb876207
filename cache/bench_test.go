package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
)

// sink is a ResponseWriter that costs next to nothing.
type sink struct {
	h http.Header
	n int64
}

func (s *sink) Header() http.Header { return s.h }
func (s *sink) WriteHeader(int)     {}
func (s *sink) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return len(p), nil
}

// page200 is an answer with the fields that a usual one has.
func page200(body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Etag", `"5e2-63a1b2c3d4e5f"`)
		h.Set("Last-Modified", "Mon, 02 Jun 2025 10:11:12 GMT")
		h.Set("Server", "origin/1.0")
		h.Set("Vary", "Accept-Encoding")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
}

func request(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header = headerOf("Accept: text/html,*/*;q=0.8", "Accept-Encoding: gzip, deflate, br", "Accept-Language: en", "User-Agent: bench/1.0")
	return r
}

// A hit does not copy its body, and allocates little.
func TestHitAllocatesLittle(t *testing.T) {
	h := new(Cache).Wrap(page200(make([]byte, 1<<20)))
	r := request(page)
	h.ServeHTTP(&sink{h: make(http.Header)}, r)
	n := testing.AllocsPerRun(100, func() {
		w := &sink{h: make(http.Header, 16)}
		h.ServeHTTP(w, r)
		if w.n != 1<<20 {
			t.Fatal(w.n)
		}
	})
	require.LessOrEqual(t, n, 10.0)
	t.Logf("%v allocations, two of them the ResponseWriter's", n)
	res := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			h.ServeHTTP(&sink{h: make(http.Header, 16)}, r)
		}
	})
	require.Less(t, res.AllocedBytesPerOp(), int64(8<<10), "the body is copied")
}

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			h := new(Cache).Wrap(page200(bytes.Repeat([]byte("x"), size)))
			r := request(page)
			h.ServeHTTP(&sink{h: make(http.Header)}, r)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				h.ServeHTTP(&sink{h: make(http.Header, 16)}, r)
			}
		})
	}
}

// BenchmarkMiss is what storing costs beside the handler itself.
func BenchmarkMiss(b *testing.B) {
	next := page200(make([]byte, 1<<10))
	b.Run("handler", func(b *testing.B) {
		r := request(page)
		b.ReportAllocs()
		for b.Loop() {
			next.ServeHTTP(&sink{h: make(http.Header, 16)}, r)
		}
	})
	b.Run("cache", func(b *testing.B) {
		h := new(Cache).Wrap(next)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			h.ServeHTTP(&sink{h: make(http.Header, 16)}, request("http://example.org/"+strconv.Itoa(i)))
		}
	})
}

// filled is a memory store with n responses of 1 KB.
func filled(tb testing.TB, n int) (*Cache, []string) {
	c := &Cache{Store: &memory.Store{MaxBytes: 64 << 30}}
	keys := make([]string, n)
	body := make([]byte, 1<<10)
	now := time.Now()
	for i := range keys {
		keys[i] = "http://example.org/some/path/to/a/page-" + strconv.Itoa(i)
		m := &store.Meta{Key: keys[i], Status: 200, Length: int64(len(body)), RequestTime: now, ResponseTime: now, Header: headerOf(
			"Cache-Control: public, max-age=3600", "Content-Type: text/html; charset=utf-8", `ETag: "5e2-63a1b2c3d4e5f"`,
			"Last-Modified: Mon, 02 Jun 2025 10:11:12 GMT", "Server: origin/1.0", "Date: "+now.UTC().Format(http.TimeFormat), "Content-Length: 1024")}
		w, err := c.Store.Create(context.Background(), m)
		require.NoError(tb, err)
		_, _ = w.Write(body)
		require.NoError(tb, w.Commit(m))
	}
	c.setup()
	require.NoError(tb, c.store.Walk(context.Background(), func(e store.Entry) bool { c.policy.FactsOf(e.Meta()); return true }))
	return c, keys
}

// BenchmarkLookup shows that the number of responses does not matter, by the
// processor time of a hit.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1e3, 1e4, 1e5, 1e6} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c, keys := filled(b, n)
			h := c.Wrap(http.NotFoundHandler())
			r := request(page)
			w := &sink{h: make(http.Header, 16)}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			i, begun := 0, threadTime()
			for b.Loop() {
				i = (i + 7919) % len(keys)
				r.URL.Path = "/some/path/to/a/page-" + strconv.Itoa(i) // as it would come from a socket, not from the far end of a list
				clear(w.h)
				h.ServeHTTP(w, r)
			}
			b.ReportMetric(float64(threadTime()-begun)/float64(b.N), "cpu-ns/op")
			require.Zero(b, c.Stats().Misses)
		})
	}
}

// BenchmarkMemoryPerEntry reports what 100 000 responses of 1 KB take, all of
// it, and what the store reckons with.
func BenchmarkMemoryPerEntry(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c, keys := filled(b, n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/entry")
		b.ReportMetric(float64(c.Stats().Store.Bytes)/n, "reckoned-B/entry")
		runtime.KeepAlive(keys)
	}
}

func BenchmarkServer(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			s := httptest.NewServer(new(Cache).Wrap(page200(make([]byte, size))))
			defer s.Close()
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				resp, err := s.Client().Get(s.URL)
				require.NoError(b, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
