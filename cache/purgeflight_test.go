package cache

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// numbered is an origin whose answers are numbered, tagged, and wait for each
// step: the head, and the rest of the body.
type numbered struct {
	asked      atomic.Int64
	head, rest chan struct{}
	status     int // 0: 200
}

func (o *numbered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		return
	}
	n := strconv.FormatInt(o.asked.Add(1), 10)
	<-o.head
	for name, values := range headerOf("Cache-Control: max-age=10, stale-while-revalidate=20", `ETag: "a"`, "Cache-Tag: red, blue", "Content-Type: text/plain", "X-N: "+n) {
		w.Header()[name] = values
	}
	if o.status != 0 {
		w.WriteHeader(o.status)
		return
	}
	_, _ = io.WriteString(w, n)
	_ = http.NewResponseController(w).Flush()
	<-o.rest
	_, _ = io.WriteString(w, n)
}

// purges are ways to purge, and whether that means the page.
var purges = map[string]struct {
	do    func(t *testing.T, c *Cache, h http.Handler)
	meant bool
	late  bool // that is known only when the head is in
}{
	"a tag that nothing has":   {tagsPurge(PurgeRemove, "green"), false, false},
	"softly, by such a tag":    {tagsPurge(PurgeSoft, "green", "Red", "re", ""), false, false},
	"by no tag at all":         {tagsPurge(PurgeRemove), false, false},
	"a tag that it has":        {tagsPurge(PurgeRemove, "red"), true, true},
	"softly, by a tag":         {tagsPurge(PurgeSoft, "blue"), true, true},
	"by one tag of many":       {tagsPurge(PurgeRemove, "green", "blue"), true, true},
	"another key":              {keyPurge("http://example.org/other"), false, false},
	"its key":                  {keyPurge(page), true, false},
	"another prefix":           {prefixPurge("http://example.org/pages/"), false, false},
	"another host":             {prefixPurge("http://example.com/"), false, false},
	"its prefix":               {prefixPurge("http://example.org/p"), true, false},
	"its host":                 {prefixPurge("http://example.org/"), true, false},
	"everything":               {prefixPurge(""), true, false},
	"a change of another page": {change("http://example.org/other"), false, false},
	"a change":                 {change(page), true, false},
}

func tagsPurge(mode PurgeMode, tags ...string) func(*testing.T, *Cache, http.Handler) {
	return func(t *testing.T, c *Cache, _ http.Handler) {
		_, err := c.PurgeTags(t.Context(), mode, tags...)
		require.NoError(t, err)
	}
}

func keyPurge(key string) func(*testing.T, *Cache, http.Handler) {
	return func(t *testing.T, c *Cache, _ http.Handler) {
		_, err := c.Purge(t.Context(), key, PurgeRemove)
		require.NoError(t, err)
	}
}

func prefixPurge(prefix string) func(*testing.T, *Cache, http.Handler) {
	return func(t *testing.T, c *Cache, _ http.Handler) {
		_, err := c.PurgePrefix(t.Context(), prefix, PurgeSoft)
		require.NoError(t, err)
	}
}

func change(target string) func(*testing.T, *Cache, http.Handler) {
	return func(_ *testing.T, _ *Cache, h http.Handler) { ask(h, http.MethodPost, target) }
}

// everyPurge runs a test with each way to purge, each store, by both faces.
func everyPurge(t *testing.T, test func(t *testing.T, c *Cache, front func(http.Handler) http.Handler, purge func(http.Handler), meant, late bool)) {
	for name, p := range purges {
		for store, storeOf := range everyStore {
			for face, front := range streamedFronts {
				t.Run(name+"/"+store+"/"+face, func(t *testing.T) {
					clocked(t, func(t *testing.T) {
						c := &Cache{Store: storeOf(t)}
						defer c.Close()
						test(t, c, func(o http.Handler) http.Handler { return front(c, o) }, func(h http.Handler) { p.do(t, c, h) }, p.meant, p.late)
					})
				})
			}
		}
	}
}

func many(n int, h http.Handler) (clients []*client) {
	for range n {
		clients = append(clients, asking(h, page))
	}
	synctest.Wait()
	return clients
}

func requireAll(t *testing.T, clients []*client, want string) {
	t.Helper()
	for _, cl := range clients {
		require.True(t, cl.finished())
		require.Equal(t, want, cl.got())
	}
}

// While a head is awaited, what was purged keeps those answers from being stored
// and shared that it is about, and no others.
func TestPurgeBeforeTheHead(t *testing.T) {
	everyPurge(t, func(t *testing.T, c *Cache, front func(http.Handler) http.Handler, purge func(http.Handler), meant, late bool) {
		o := &numbered{head: make(chan struct{}), rest: make(chan struct{})}
		h := front(o)
		close(o.rest)
		leader, before := many(1, h), many(14, h)
		purge(h)
		after := many(15, h)
		if meant && !late {
			require.EqualValues(t, 2, o.asked.Load(), "nobody joins any more")
		} else {
			require.EqualValues(t, 1, o.asked.Load(), "nobody knows what it carries")
		}
		close(o.head)
		synctest.Wait()
		if !meant {
			require.EqualValues(t, 1, o.asked.Load())
			requireAll(t, append(append(leader, before...), after...), "11")
			requireAll(t, many(1, h), "11")
			require.EqualValues(t, 1, o.asked.Load(), "it was stored")
			return
		}
		require.EqualValues(t, 2, o.asked.Load(), "the others share the second one")
		requireAll(t, leader, "11")
		requireAll(t, after, "22")
		for _, cl := range before { // they may have come in time for the first one
			require.True(t, cl.finished())
			require.True(t, cl.got() == "22" || !late && cl.got() == "11", cl.got())
		}
		requireAll(t, many(1, h), "22")
		require.EqualValues(t, 2, o.asked.Load(), "that was stored")
	})
}

// The same while the body comes in.
func TestPurgeAfterTheHead(t *testing.T) {
	everyPurge(t, func(t *testing.T, c *Cache, front func(http.Handler) http.Handler, purge func(http.Handler), meant, late bool) {
		o := &numbered{head: make(chan struct{}), rest: make(chan struct{})}
		h := front(o)
		close(o.head)
		before := many(15, h)
		purge(h)
		after := many(15, h)
		want, body := 1, "11"
		if meant {
			want, body = 2, "22"
		}
		require.EqualValues(t, want, o.asked.Load())
		close(o.rest)
		synctest.Wait()
		requireAll(t, before, "11")
		requireAll(t, after, body)
		requireAll(t, many(1, h), body)
		require.EqualValues(t, want, o.asked.Load())
	})
}

// A 304, and a response to HEAD, may be older than a purge, too.
func TestPurgeWhileSomethingIsValidated(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "background"} {
		t.Run(method, func(t *testing.T) {
			everyPurge(t, func(t *testing.T, c *Cache, front func(http.Handler) http.Handler, purge func(http.Handler), meant, _ bool) {
				o := &numbered{head: make(chan struct{}), rest: make(chan struct{})}
				h := front(o)
				close(o.rest)
				close(o.head)
				requireAll(t, many(1, h), "11")
				if time.Sleep(15 * time.Second); method != "background" {
					time.Sleep(time.Minute)
				}
				o.head, o.status = make(chan struct{}), http.StatusNotModified
				if method == "HEAD" {
					o.status = http.StatusOK
					go ask(h, method, page)
				} else {
					many(1, h)
				}
				synctest.Wait()
				require.EqualValues(t, 2, o.asked.Load())
				purge(h)
				close(o.head)
				synctest.Wait()
				o.status = 0
				before := o.asked.Load() // a third time, if the body was gone
				got := many(1, h)
				if meant {
					require.EqualValues(t, before+1, o.asked.Load(), "what was purged is not fresh")
					requireAll(t, got, strings.Repeat(strconv.FormatInt(before+1, 10), 2))
				} else {
					require.EqualValues(t, 2, o.asked.Load(), "it is fresh")
					requireAll(t, got, "11")
				}
			})
		})
	}
}

// A long download does not gather what is purged meanwhile.
func TestPurgesOfALongDownload(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c, end := &Cache{}, make(chan struct{})
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Surrogate-Key", "a")
			_ = http.NewResponseController(w).Flush()
			<-end
		}))
		done := make(chan struct{})
		go func() { defer close(done); get(h, page) }()
		synctest.Wait()
		for range 100 {
			_, err := c.PurgeTags(t.Context(), PurgeRemove, "b")
			require.NoError(t, err)
		}
		flights := c.flights.under(func(string) bool { return true })
		require.Len(t, flights, 1)
		require.Empty(t, flights[0].purges)
		_, err := c.PurgeTags(t.Context(), PurgeRemove, "a")
		require.NoError(t, err)
		close(end)
		<-done
		require.Zero(t, c.Stats().Store.Entries, "what it carries counts until its end")
	})
}
