package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
)

// The benchmarks run this package's Handler beside httputil.ReverseProxy, over
// loopback sockets. Origin and client live in the same process, so the times
// are those of all three together; they are written so that they allocate
// nothing, so the allocations are the proxy's and those of the net/http server
// around it. Go run ./examples/bench for the cost of a proxy process alone.

// benchProxies are what is compared. Both send the forwarding fields, and keep
// as many connections as there are clients.
var benchProxies = []struct {
	name string
	make func(b testing.TB, u *url.URL) http.Handler
}{
	{"modproxy", func(b testing.TB, u *url.URL) http.Handler {
		t := &Transport{Backend: &backend.Backend{URL: u}}
		b.Cleanup(func() { _ = t.Backend.Close() })
		return &Handler{Target: u, Transport: t}
	}},
	{"httputil", func(b testing.TB, u *url.URL) http.Handler {
		t := &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
		b.Cleanup(t.CloseIdleConnections)
		return &httputil.ReverseProxy{Transport: t, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.SetXForwarded()
		}}
	}},
}

var benchSizes = []struct {
	name  string
	bytes int
}{{"1KB", 1 << 10}, {"64KB", 64 << 10}, {"10MB", 10 << 20}}

// benchConns is how many keep-alive connections the parallel benchmarks use.
const benchConns = 64

func BenchmarkGet(b *testing.B) {
	for _, size := range benchSizes {
		for _, p := range benchProxies {
			b.Run(size.name+"/"+p.name, func(b *testing.B) {
				addr := benchFront(b, p.make(b, benchOrigin(b, size.bytes)))
				c := newBenchClient(b, addr, http.MethodGet, nil)
				c.exchange()
				b.SetBytes(int64(size.bytes))
				b.ReportAllocs()
				for b.Loop() {
					c.exchange()
				}
			})
		}
	}
}

func BenchmarkGetParallel(b *testing.B) {
	for _, size := range benchSizes {
		for _, p := range benchProxies {
			b.Run(size.name+"/"+p.name, func(b *testing.B) {
				addr := benchFront(b, p.make(b, benchOrigin(b, size.bytes)))
				b.SetBytes(int64(size.bytes))
				benchParallel(b, func() *benchClient { return newBenchClient(b, addr, http.MethodGet, nil) })
			})
		}
	}
}

func BenchmarkPost(b *testing.B) {
	body := make([]byte, 1<<20)
	for _, p := range benchProxies {
		b.Run("1MB/"+p.name, func(b *testing.B) {
			addr := benchFront(b, p.make(b, benchOrigin(b, 2)))
			c := newBenchClient(b, addr, http.MethodPost, body)
			c.exchange()
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				c.exchange()
			}
		})
	}
}

// BenchmarkServeHTTP leaves the net/http server out: the handler is called
// with a request and a writer that are used again and again.
func BenchmarkServeHTTP(b *testing.B) {
	for _, p := range benchProxies {
		b.Run("1KB/"+p.name, func(b *testing.B) {
			serve := benchServe(b, p.make(b, benchOrigin(b, 1<<10)))
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}

// TestAllocationsBesideHTTPUtil pins what one request of 1 KB may cost: a third
// of the allocations of httputil.ReverseProxy, and of the bytes.
func TestAllocationsBesideHTTPUtil(t *testing.T) {
	count, size := map[string]float64{}, map[string]float64{}
	for _, p := range benchProxies {
		serve := benchServe(t, p.make(t, benchOrigin(t, 1<<10)))
		const runs = 300
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		count[p.name] = testing.AllocsPerRun(runs, serve)
		runtime.ReadMemStats(&after)
		size[p.name] = float64(after.TotalAlloc-before.TotalAlloc) / runs
	}
	t.Logf("allocations %v, bytes %v", count, size)
	require.LessOrEqual(t, count["modproxy"], count["httputil"]/3)
	require.LessOrEqual(t, size["modproxy"], size["httputil"]/3)
}

// benchParallel shares b.N exchanges among benchConns clients.
func benchParallel(b *testing.B, dial func() *benchClient) {
	clients := make([]*benchClient, benchConns)
	for i := range clients {
		clients[i] = dial()
		clients[i].exchange()
	}
	var next atomic.Int32
	procs := runtime.GOMAXPROCS(0)
	b.SetParallelism((benchConns + procs - 1) / procs)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := int(next.Add(1)) - 1
		if i >= benchConns { // rounded up to a multiple of the processors
			return
		}
		for pb.Next() {
			clients[i].exchange()
		}
	})
}

// benchFront serves h, and returns its address.
func benchFront(b testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	b.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// benchServe returns a function that takes h through one request.
func benchServe(b testing.TB, h http.Handler) func() {
	r := httptest.NewRequest(http.MethodGet, "http://front.test/some/path?q=1", nil)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", "bench")
	w := &benchWriter{header: http.Header{}}
	serve := func() {
		clear(w.header)
		w.n = 0
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK || w.n != 1<<10 {
			b.Fatalf("status %d with %d bytes", w.status, w.n)
		}
	}
	serve()
	return serve
}

// benchWriter drops what is written to it.
type benchWriter struct {
	header http.Header
	status int
	n      int
}

func (w *benchWriter) Header() http.Header    { return w.header }
func (w *benchWriter) WriteHeader(status int) { w.status = status }
func (w *benchWriter) Flush()                 {}
func (w *benchWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}

// benchOrigin answers each request with size bytes. It allocates nothing for a
// request, and closes at the end.
func benchOrigin(b testing.TB, size int) *url.URL {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
	answer := append([]byte(head), bytes.Repeat([]byte("x"), size)...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReaderSize(c, 64<<10)
				for skipMessage(r) == nil {
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// skipMessage reads a head and the body that its Content-Length tells.
func skipMessage(r *bufio.Reader) error {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		const name = "Content-Length: "
		if len(line) > len(name) && string(line[:len(name)]) == name {
			for _, d := range line[len(name) : len(line)-2] {
				length = length*10 + int(d-'0')
			}
		}
	}
	for length > 0 {
		n, err := r.Discard(min(length, r.Size()))
		if err != nil {
			return err
		}
		length -= n
	}
	return nil
}

// benchClient sends one request again and again over one connection. It
// allocates nothing.
type benchClient struct {
	b       *testing.B
	c       net.Conn
	r       *bufio.Reader
	request []byte
}

func newBenchClient(b *testing.B, addr, method string, body []byte) *benchClient {
	c, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close() })
	head := method + " /some/path?q=1 HTTP/1.1\r\nHost: front.test\r\nUser-Agent: bench\r\nAccept: */*\r\n"
	if body != nil {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return &benchClient{b: b, c: c, r: bufio.NewReaderSize(c, 64<<10), request: append([]byte(head+"\r\n"), body...)}
}

func (c *benchClient) exchange() {
	if _, err := c.c.Write(c.request); err != nil {
		c.b.Error(err)
		return
	}
	status, err := c.r.Peek(len("HTTP/1.1 200"))
	if err == nil && string(status) != "HTTP/1.1 200" {
		err = fmt.Errorf("answer begins with %q", status)
	}
	if err == nil {
		err = skipMessage(c.r)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.b.Error(err)
	}
}

// BenchmarkClientLimits is what it costs that a client is not waited for for
// ever: the writer of one answer, and one write.
func BenchmarkClientLimits(b *testing.B) {
	for name, limits := range map[string]*ClientLimits{"60s": {}, "none": {Timeout: -1}} {
		b.Run(name, func(b *testing.B) {
			to, data := &benchWriter{header: make(http.Header)}, make([]byte, 1<<10)
			b.ReportAllocs()
			for b.Loop() {
				w := clientWriter{ResponseWriter: to, limits: limits}
				_, _ = w.Write(data)
				w.end()
			}
		})
	}
}
