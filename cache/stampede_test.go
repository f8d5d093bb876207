package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStampedeOnAColdKey(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				begin := make(chan struct{})
				o := newOrigin(t, step{wait: begin, header: headerOf("Cache-Control: max-age=60"), body: "one"})
				c := &Cache{}
				h := front(c, o)
				clients := make([]*client, 500)
				for i := range clients {
					clients[i] = asking(h, page)
				}
				synctest.Wait()
				close(begin)
				synctest.Wait()
				for _, cl := range clients {
					require.True(t, cl.finished())
					require.Equal(t, "one", cl.got())
				}
				require.Equal(t, 1, o.count())
				require.Equal(t, int64(499), c.Stats().Collapsed)
				require.Equal(t, int64(1), c.Stats().Misses)
			})
		})
	}
}

func TestStampedeOnAStaleKeyDoesNotWait(t *testing.T) {
	clocked(t, func(t *testing.T) {
		begin := make(chan struct{})
		o := newOrigin(t,
			*ok("old", "Cache-Control: max-age=10, stale-while-revalidate=60"),
			step{wait: begin, header: headerOf("Cache-Control: max-age=10"), body: "new"})
		c := &Cache{}
		h := c.Wrap(o)
		get(h, page)
		time.Sleep(20 * time.Second)
		clients := make([]*client, 500)
		for i := range clients {
			clients[i] = asking(h, page)
		}
		synctest.Wait()
		for _, cl := range clients {
			require.True(t, cl.finished(), "it waited")
			require.Equal(t, "old", cl.got())
		}
		require.Equal(t, 2, o.count())
		close(begin)
		synctest.Wait()
		require.Equal(t, "new", bodyOf(t, get(h, page)))
		require.Equal(t, 2, o.count())
		c.Close()
	})
}

func TestBackgroundContext(t *testing.T) {
	clocked(t, func(t *testing.T) {
		type key struct{}
		var got []any
		c := &Cache{BackgroundContext: func(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, "background") }}
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Context().Value(key{}))
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
		}))
		get(h, page)
		time.Sleep(20 * time.Second)
		get(h, page)
		synctest.Wait()
		require.Equal(t, []any{nil, "background"}, got)
	})
}

// What is for one client only is never given to another who waited for it.
func TestWaitersGoOnByThemselves(t *testing.T) {
	for name, line := range map[string]string{
		"private":    "Cache-Control: private",
		"no-store":   "Cache-Control: no-store",
		"Set-Cookie": "Set-Cookie: session=secret",
		"no-cache":   "Cache-Control: no-cache",
		"max-age=0":  "Cache-Control: max-age=0",
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				begin := make(chan struct{})
				var n atomic.Int64
				h := new(Cache).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					i := n.Add(1)
					if i == 1 {
						<-begin
					}
					for name, values := range headerOf(line, `ETag: "1"`) {
						w.Header()[name] = values
					}
					fmt.Fprint(w, r.Header.Get("Cookie"))
				}))
				clients := make([]*client, 20)
				for i := range clients {
					clients[i] = asking(h, page, fmt.Sprintf("Cookie: user=%d", i))
				}
				synctest.Wait()
				require.Equal(t, int64(1), n.Load())
				close(begin)
				synctest.Wait()
				for i, cl := range clients {
					require.Equal(t, fmt.Sprintf("user=%d", i), cl.got())
				}
				require.Equal(t, int64(20), n.Load())
			})
		})
	}
}

// One whose request forbids to store the answer does not keep the others from
// sharing theirs.
func TestOthersShareBehindOneWhoMayNot(t *testing.T) {
	for name, line := range map[string]string{
		"Authorization":              "Authorization: Basic YTpi",
		"more than Vary may name":    "X-Any: " + strings.Repeat("x", 8<<10),
		"no-store":                   "Cache-Control: no-store",
		"Authorization and no-cache": "Authorization: Basic YTpi\nCache-Control: no-cache",
	} {
		for face, front := range fronts {
			t.Run(name+"/"+face, func(t *testing.T) {
				clocked(t, func(t *testing.T) {
					var asked atomic.Int64
					begin := make(chan struct{})
					c := &Cache{}
					defer c.Close()
					h := front(c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						asked.Add(1)
						<-begin
						w.Header().Set("Cache-Control", "max-age=10")
						w.Header().Set("Vary", "X-Any")
						_, _ = io.WriteString(w, r.Header.Get("Authorization"))
					}))
					for range 3 { // at once, and again when that is over
						one := asking(h, page, strings.Split(line, "\n")...)
						synctest.Wait()
						clients := many(20, h)
						close(begin)
						synctest.Wait()
						require.True(t, one.finished())
						requireAll(t, clients, "")
						require.EqualValues(t, 2, asked.Load())
						begin = make(chan struct{})
						asked.Store(0)
						time.Sleep(15 * time.Second)
					}
				})
			})
		}
	}
}

// Those of whom each may get an answer of his own do not wait for each other, if
// the last answer was such a one.
func TestAuthorizedRequestsDoNotWaitForEachOther(t *testing.T) {
	clocked(t, func(t *testing.T) {
		begin := make(chan struct{})
		o := newOrigin(t, *ok("own", "Cache-Control: max-age=60"), step{wait: begin, header: headerOf("Cache-Control: max-age=60"), body: "own"})
		h := new(Cache).Wrap(o)
		get(h, page, "Authorization: Basic YTpi")
		for range 20 {
			asking(h, page, "Authorization: Basic YTpi")
		}
		synctest.Wait()
		require.Equal(t, 21, o.count())
		close(begin)
	})
}
