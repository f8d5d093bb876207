package cache

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHitServesWhatIsStored(t *testing.T) {
	clocked(t, func(t *testing.T) {
		o := newOrigin(t, step{header: headerOf("Cache-Control: max-age=60", "Content-Type: text/plain", `ETag: "1"`), body: "one"}, step{body: "two"})
		c := &Cache{CacheStatus: "test"}
		h := c.Wrap(o)
		first := get(h, page)
		require.Equal(t, "one", bodyOf(t, first))
		require.Equal(t, `test; fwd=uri-miss; fwd-status=200; ttl=60; stored; key="http://example.org/page"; detail="not in the cache"`, first.Header.Get("Cache-Status"))
		time.Sleep(59 * time.Second)
		second := get(h, page)
		require.Equal(t, "one", bodyOf(t, second))
		require.Equal(t, "59", second.Header.Get("Age"))
		require.Equal(t, "text/plain", second.Header.Get("Content-Type"))
		require.Equal(t, `test; hit; ttl=1; key="http://example.org/page"; detail="fresh in the cache"`, second.Header.Get("Cache-Status"))
		time.Sleep(time.Second)
		require.Equal(t, "two", bodyOf(t, get(h, page)))
		require.Equal(t, 2, o.count())
		require.Equal(t, `"1"`, o.last().Header.Get("If-None-Match"))
		require.Equal(t, int64(1), c.Stats().Hits)
		require.Equal(t, http.StatusOK, second.StatusCode)
	})
}
