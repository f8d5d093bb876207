package uwsgi

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkGet has a connection for each request, as the protocol wants it.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 10 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			answer := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("x", size)
			tr := peer(b, func(c net.Conn, _ map[string]string) { _, _ = io.WriteString(c, answer) })
			r, err := http.NewRequest("GET", "uwsgi://app/a?x=1", nil)
			require.NoError(b, err)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				resp, err := tr.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, resp.Body); n != int64(size) || err != nil {
					b.Fatal(n, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
