package memory

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// What is kept of a response does not hold on to the block that its head was
// read from, of which keys, names, values and tags may be parts.
func TestMemoryLetsGoOfHeads(t *testing.T) {
	const block, n = 64 << 10, 200
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	s := new(Store)
	before := heap()
	for i := range n {
		head := strings.Repeat("x", block) + "Content-Type: text/html\r\nX-Odd: odd\r\nsome-tag\r\nkey-" + strconv.Itoa(i)
		cut := func(what string) string {
			at := strings.Index(head, what)
			return head[at : at+len(what)]
		}
		keepMeta(t, s, &store.Meta{
			Key: cut("key-" + strconv.Itoa(i)), Status: 200, Length: 10, Tags: []string{cut("some-tag")},
			Header:  http.Header{cut("Content-Type"): {cut("text/html")}, cut("X-Odd"): {cut("odd")}},
			Trailer: http.Header{cut("X-Odd"): {cut("odd")}}, Vary: http.Header{cut("X-Odd"): nil},
		})
	}
	require.Less(t, int64(heap())-int64(before), int64(n*block/8), "what earlier tests left may go meanwhile")
	runtime.KeepAlive(s)
}
