package cache

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
)

// within are arrangements in which a request comes to the same cache again.
var within = map[string]func(c *Cache, o http.Handler) http.Handler{
	"Wrap in Wrap":        func(c *Cache, o http.Handler) http.Handler { return c.Wrap(c.Wrap(o)) },
	"three times":         func(c *Cache, o http.Handler) http.Handler { return c.Wrap(c.Wrap(c.Wrap(o))) },
	"WrapForward in Wrap": func(c *Cache, o http.Handler) http.Handler { return c.Wrap(c.WrapForward(o)) },
	"Wrap in WrapForward": func(c *Cache, o http.Handler) http.Handler { return c.WrapForward(c.Wrap(o)) },
	"another Cache between": func(c *Cache, o http.Handler) http.Handler {
		return c.Wrap((&Cache{DefaultExpire: -1, Bypass: func(*http.Request) bool { return true }}).Wrap(c.Wrap(o)))
	},
	"Transport in Transport": func(c *Cache, o http.Handler) http.Handler {
		return roundTripped{c.Transport(c.Transport(handled{o}))}
	},
	"Transport in Wrap": func(c *Cache, o http.Handler) http.Handler {
		return c.Wrap(roundTripped{c.Transport(handled{o})})
	},
	"Wrap in Transport": func(c *Cache, o http.Handler) http.Handler {
		return roundTripped{c.Transport(handled{c.Wrap(o)})}
	},
	"rules of a Mux": func(c *Cache, o http.Handler) http.Handler {
		m := &proxy.Mux{}
		m.Handle("/", c.Wrap(o))
		return c.Wrap(m)
	},
	"a Handler and a Transport of it": func(c *Cache, o http.Handler) http.Handler {
		return c.Wrap(&proxy.Handler{
			Target: &url.URL{Scheme: "http", Host: "example.org"}, PreserveHost: true, Forwarded: proxy.ForwardedNone,
			Transport: c.Transport(handled{o}),
		})
	},
}

// TestWithinItself: a request that comes to the same cache again passes it by
// there: it neither waits for itself, nor is it told that what is stored is still
// good by what is stored.
func TestWithinItself(t *testing.T) {
	for name, arrange := range within {
		for mode, collapse := range map[string]Collapse{"stream": CollapseStream, "lock": CollapseLock, "off": CollapseOff} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				clocked(t, func(t *testing.T) {
					o := newOrigin(t,
						*ok("one", "Cache-Control: max-age=10, stale-while-revalidate=20", `Etag: "1"`),
						*status(http.StatusNotModified, "Cache-Control: max-age=10, stale-while-revalidate=20", `Etag: "1"`),
						*ok("two", "Cache-Control: max-age=10", `Etag: "2"`),
						*ok("", "Cache-Control: max-age=10", `Etag: "2"`))
					c := &Cache{Collapse: collapse}
					defer c.Close()
					h := arrange(c, o)
					requireBody := func(want string, asked int, lines ...string) {
						t.Helper()
						cl := asking(h, page, lines...)
						time.Sleep(time.Millisecond)
						synctest.Wait()
						require.True(t, cl.finished(), "it waits for itself")
						require.Equal(t, want, cl.got())
						require.Equal(t, asked, o.count())
					}
					requireBody("one", 1)
					requireBody("one", 1)
					stats := c.Stats()
					require.Equal(t, [3]int64{1, 1, 1}, [3]int64{stats.Misses, stats.Hits, stats.Fetches}, "each is counted once")

					time.Sleep(15 * time.Second)
					requireBody("one", 2) // validated in the background
					require.Equal(t, `"1"`, o.last().Header.Get("If-None-Match"))
					requireBody("one", 2)

					time.Sleep(time.Minute)
					requireBody("two", 3)

					misses := c.Stats().Misses
					ask(h, http.MethodHead, page+"?head")
					require.Equal(t, misses+1, c.Stats().Misses)
				})
			})
		}
	}
}

// TestWithinAnother: two caches, one before the other, both store; and a cache is
// none that a request for something else came through.
func TestWithinAnother(t *testing.T) {
	clocked(t, func(t *testing.T) {
		o := newOrigin(t, *ok("one", "Cache-Control: max-age=60"))
		outer, inner := &Cache{}, &Cache{}
		h := outer.Wrap(inner.Wrap(o))
		for range 2 {
			require.Equal(t, "one", bodyOf(t, get(h, page)))
		}
		require.Equal(t, int64(1), outer.Stats().Hits)
		require.Equal(t, "one", bodyOf(t, get(inner.Wrap(o), page)), "stored by the inner one, too")
		require.Equal(t, int64(1), inner.Stats().Hits)
		require.Equal(t, 1, o.count())

		c := &Cache{}
		api := c.Transport(handled{o})
		h = c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			part, err := http.NewRequestWithContext(r.Context(), "GET", "http://api.example/part", nil)
			require.NoError(t, err)
			resp, err := api.RoundTrip(part)
			require.NoError(t, err)
			require.Equal(t, "one", bodyOf(t, resp))
		}))
		for range 3 {
			get(h, page)
		}
		require.Equal(t, 2, o.count(), "the part is stored")
	})
}
