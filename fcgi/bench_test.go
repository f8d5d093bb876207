package fcgi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }

// replaying answers whenever what it has read ends with the end of STDIN, and
// allocates nothing.
func replaying(t testing.TB, size int) *Transport {
	answer := join(stdout("Content-Type: text/html\r\n\r\n"+strings.Repeat("x", size)), end(0, 0))
	last := appendRecord(nil, typeStdin, requestID, nil)
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		buf := make([]byte, 16<<10)
		for {
			n, err := c.Conn.Read(buf)
			if err != nil {
				return
			}
			if bytes.HasSuffix(buf[:n], last) {
				c.say(answer)
			}
		}
	})
	return tr
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 10 << 20} {
		b.Run(fmt.Sprintf("%dKB/transport", size>>10), func(b *testing.B) {
			tr := replaying(b, size)
			r, err := http.NewRequest("GET", "fcgi://app/srv/a.php?x=1", nil)
			require.NoError(b, err)
			r.Header.Set("User-Agent", "bench")
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
		b.Run(fmt.Sprintf("%dKB/handler", size>>10), func(b *testing.B) {
			h := behindHandler(replaying(b, size))
			r := httptest.NewRequest("GET", "http://site.test/a.php?x=1", nil)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				h.ServeHTTP(&nowhere{make(http.Header)}, r)
			}
		})
	}
}

// What a short exchange allocates must not grow.
func TestAllocations(t *testing.T) {
	tr := replaying(t, 1<<10)
	r, err := http.NewRequest("GET", "fcgi://app/srv/a.php?x=1", nil)
	require.NoError(t, err)
	buf := make([]byte, 4<<10)
	n := testing.AllocsPerRun(200, func() {
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = resp.Body.Read(buf)
		_ = resp.Body.Close()
	})
	require.LessOrEqual(t, n, 18.0) // of which most are the answer
}
