package cache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/cache/tiered"
)

func TestCombinedPartsHaveTheNewestTTL(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{TTL: func(r *http.Request, status int, h http.Header) (time.Duration, bool) {
			n, err := strconv.Atoi(h.Get("X-TTL"))
			return time.Duration(n) * time.Second, err == nil
		}}
		part := func(rng, body, ttl string) step {
			return step{status: 206, header: headerOf(`ETag: "1"`, "Content-Range: bytes "+rng+"/4", "X-TTL: "+ttl), body: body}
		}
		o := newOrigin(t, part("0-1", "01", "1000"), part("2-3", "23", "5"), *ok("0123"))
		h := c.Wrap(o)
		get(h, page, "Range: bytes=0-1")
		get(h, page, "Range: bytes=2-3")
		require.Equal(t, "0123", bodyOf(t, get(h, page)))
		require.Equal(t, 2, o.count())
		time.Sleep(10 * time.Second)
		get(h, page)
		require.Equal(t, 3, o.count())
	})
}

func TestPartOfAHugeBodyIsStored(t *testing.T) {
	for name, s := range map[string]store.Store{"memory": &memory.Store{}, "tiered": &tiered.Store{Front: &memory.Store{}, Back: &memory.Store{}}} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, step{status: 206, header: headerOf("Cache-Control: max-age=60", `ETag: "1"`, "Content-Range: bytes 0-1/1000000000"), body: "01"})
			c := &Cache{Store: s}
			h := c.Wrap(o)
			get(h, page, "Range: bytes=0-1")
			require.Equal(t, "01", bodyOf(t, get(h, page, "Range: bytes=0-1")))
			require.Equal(t, 1, o.count())
		})
	}
}

// Small parts are added to something large only while that is not too large to
// be copied for each.
func TestWorthJoining(t *testing.T) {
	const mb = 1 << 20
	of := func(parts ...store.Part) *store.Meta { return &store.Meta{Parts: parts, Length: 4096 * mb} }
	require.True(t, worthJoining(of(store.Part{Start: 0, End: 10}), of(store.Part{Start: 20, End: 21})))
	require.True(t, worthJoining(of(store.Part{Start: 0, End: 40 * mb}, store.Part{Start: 50 * mb, End: 74 * mb}), of(store.Part{Start: 100 * mb, End: 101 * mb})))
	require.False(t, worthJoining(of(store.Part{Start: 0, End: 65 * mb}), of(store.Part{Start: 100 * mb, End: 101 * mb})))
	require.True(t, worthJoining(of(store.Part{Start: 0, End: 160 * mb}), of(store.Part{Start: 200 * mb, End: 210 * mb})))
}

// Many small parts that do not touch cost each request more and more.
func TestPartsAreLimited(t *testing.T) {
	body := strings.Repeat("x", 4*maxParts)
	c := &Cache{}
	h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader(body))
	}))
	for i := 0; i < len(body); i += 2 {
		require.Equal(t, "x", bodyOf(t, get(h, page, fmt.Sprintf("Range: bytes=%d-%d", i, i))))
	}
	require.NoError(t, c.Walk(t.Context(), func(e store.Entry) bool {
		require.Len(t, e.Meta().Parts, maxParts)
		return true
	}))
	require.Equal(t, body, bodyOf(t, get(h, page)))
}

func TestRangesOfPartsWithoutLength(t *testing.T) {
	o := newOrigin(t, step{status: 206, header: headerOf("Cache-Control: max-age=60", `ETag: "1"`, "Content-Range: bytes 0-9/*"), body: "0123456789"})
	h := new(Cache).Wrap(o)
	get(h, page, "Range: bytes=0-9")
	resp := get(h, page, "Range: bytes=0-9,0-9")
	t.Log(resp.StatusCode, resp.Header, o.count())
	require.Equal(t, 206, resp.StatusCode)
	require.True(t, resp.Header.Get("Content-Range") != "" || strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/"))
}
