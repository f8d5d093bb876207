package cache

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	s := new(Memory)
	before := heap()
	for i := range n {
		head := strings.Repeat("x", block) + "Content-Type: text/html\r\nX-Odd: odd\r\nsome-tag\r\nkey-" + strconv.Itoa(i)
		cut := func(what string) string {
			at := strings.Index(head, what)
			return head[at : at+len(what)]
		}
		keepMeta(t, s, &Meta{
			Key: cut("key-" + strconv.Itoa(i)), Status: 200, Length: 10, Tags: []string{cut("some-tag")},
			Header:  http.Header{cut("Content-Type"): {cut("text/html")}, cut("X-Odd"): {cut("odd")}},
			Trailer: http.Header{cut("X-Odd"): {cut("odd")}}, Vary: http.Header{cut("X-Odd"): nil},
		})
	}
	require.Less(t, int64(heap())-int64(before), int64(n*block/8), "what earlier tests left may go meanwhile")
	runtime.KeepAlive(s)
}

func TestCompactIsEqual(t *testing.T) {
	ttl := time.Second
	m := &Meta{
		Key: "http://example.org/", Status: 206, Length: 5, Tags: []string{"a", "", "b"}, Parts: []Part{{0, 2}}, TTL: &ttl,
		Header:      http.Header{"Etag": {`"a"`}, "X-Odd": {"", "1", "2"}},
		Trailer:     http.Header{"X-T": {"t"}},
		Vary:        http.Header{"X-None": {}},
		RequestTime: testNow, ResponseTime: testNow.Add(1), Invalid: true,
	}
	m.SetSiblings(3)
	var got Meta
	got.Compact(m)
	require.Equal(t, m, &got)
}
