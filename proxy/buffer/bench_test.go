package buffer_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/buffer"
)

// BenchmarkAnswers is a quick client, with and without.
func BenchmarkAnswers(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 10 << 20} {
		body := make([]byte, size)
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			_, _ = w.Write(body)
		}))
		for _, name := range []string{"without", "with"} {
			b.Run(strconv.Itoa(size>>10)+"K/"+name, func(b *testing.B) {
				h, err := proxy.NewHandler("/", origin.URL+"/")
				if err != nil {
					b.Fatal(err)
				}
				if name == "with" {
					h.Transport = &buffer.Transport{Next: h.Transport}
				}
				front := httptest.NewServer(h)
				defer h.CloseIdleConnections()
				defer front.Close()
				c := front.Client()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					resp, err := c.Get(front.URL)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, resp.Body); n != int64(size) || err != nil {
						b.Fatal(n, err)
					}
					resp.Body.Close()
				}
			})
		}
		origin.Close()
	}
}
