package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
)

func TestFollowersReadWhileTheLeaderFetches(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		var asked atomic.Int64
		slow := slowly(headerOf("Cache-Control: max-age=60"), next)
		c := &Cache{}
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			slow(w, r)
		}))
		leader := asking(h, page)
		synctest.Wait()
		next <- "one "
		synctest.Wait()
		require.Equal(t, "one ", leader.got())
		follower := asking(h, page)
		synctest.Wait()
		require.Equal(t, "one ", follower.got(), "what is there already comes at once")
		next <- "two "
		synctest.Wait()
		require.Equal(t, "one two ", follower.got())
		leader.leave() // the fetch is not his
		synctest.Wait()
		next <- "three"
		close(next)
		synctest.Wait()
		require.Equal(t, "one two three", follower.got())
		require.True(t, follower.finished())
		require.True(t, leader.finished())
		require.Equal(t, "one two three", bodyOf(t, get(h, page)))
		require.Equal(t, int64(1), asked.Load())
	})
}

func TestFetchGoesOnWithoutClients(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{}
		h := c.Wrap(slowly(headerOf("Cache-Control: max-age=60"), next))
		leader := asking(h, page)
		synctest.Wait()
		leader.leave()
		next <- "whole"
		close(next)
		synctest.Wait()
		require.Equal(t, int64(1), c.Stats().Stored)
		require.Equal(t, "whole", bodyOf(t, get(h, page)))
	})
}

func TestFetchWithoutClientsEnds(t *testing.T) {
	for name, linger := range map[string]time.Duration{"by default": 0, "soon": time.Second, "at once": -1} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				next := make(chan string)
				c := &Cache{Linger: linger}
				h := c.Wrap(slowly(headerOf("Cache-Control: max-age=60"), next))
				leader := asking(h, page)
				synctest.Wait()
				next <- "half"
				leader.leave()
				synctest.Wait()
				if linger >= 0 {
					require.False(t, leader.finished())
					time.Sleep(max(linger, time.Minute) - time.Millisecond)
					time.Sleep(2 * time.Millisecond)
				}
				synctest.Wait()
				require.True(t, leader.finished())
				require.Zero(t, c.Stats().Stored)
				require.Equal(t, int64(1), c.Stats().Broken)
			})
		})
	}
}

func TestOriginStallsWithFiftyFollowers(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		ended := make(chan struct{})
		slow := slowly(headerOf("Cache-Control: max-age=60"), next)
		c := &Cache{Linger: 5 * time.Second}
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			slow(w, r)
		}))
		clients := make([]*client, 51)
		for i := range clients {
			clients[i] = asking(h, page)
		}
		synctest.Wait()
		next <- "half"
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, cl := range clients { // they wait, as they would without a cache
			require.Equal(t, "half", cl.got())
			require.False(t, cl.finished())
			cl.leave()
		}
		synctest.Wait()
		finished := 0
		for _, cl := range clients {
			if cl.finished() {
				finished++
			}
		}
		require.Equal(t, 50, finished, "all but the one whose handler fetches")
		time.Sleep(5 * time.Second)
		<-ended
		synctest.Wait()
		require.Zero(t, c.Stats().Stored)
		require.Zero(t, c.Stats().Store.Entries)
	})
}

func TestCutOffBodyIsCutForAll(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{}
		h := c.Wrap(slowly(headerOf("Cache-Control: max-age=60"), next))
		leader, follower := asking(h, page), asking(h, page)
		synctest.Wait()
		next <- "half"
		next <- "cut"
		synctest.Wait()
		for _, cl := range []*client{leader, follower} {
			require.Equal(t, "half", cl.got())
			require.Equal(t, http.ErrAbortHandler, cl.broken, "a client could take the part for the whole")
		}
		require.Zero(t, c.Stats().Store.Entries)
	})
}

func TestSlowFollowerHoldsNobodyUp(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{}
		h := c.Wrap(slowly(headerOf("Cache-Control: max-age=60"), next))
		slow := newClient()
		slow.slow = make(chan struct{})
		slow.ask(h, page)
		synctest.Wait()
		quick := asking(h, page)
		synctest.Wait()
		big := strings.Repeat("x", 1<<20)
		next <- big
		close(next)
		synctest.Wait()
		require.True(t, quick.finished())
		require.Len(t, quick.got(), len(big))
		require.Empty(t, slow.got())
		close(slow.slow)
		synctest.Wait()
		require.Len(t, slow.got(), len(big))
	})
}

func TestFollowersOfOtherVariants(t *testing.T) {
	clocked(t, func(t *testing.T) {
		begin := make(chan struct{})
		var n atomic.Int64
		h := new(Cache).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			<-begin
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Vary", "Accept-Language")
			_, _ = io.WriteString(w, r.Header.Get("Accept-Language"))
		}))
		var clients []*client
		for range 10 {
			clients = append(clients, asking(h, page, "Accept-Language: de"), asking(h, page, "Accept-Language: en"))
		}
		synctest.Wait()
		require.Equal(t, int64(1), n.Load(), "Vary is not known yet")
		close(begin)
		synctest.Wait()
		for i, cl := range clients {
			require.Equal(t, []string{"de", "en"}[i%2], cl.got())
		}
		require.Equal(t, int64(2), n.Load(), "one request a variant")
	})
}

func TestPurgeAndChangesDuringAFetch(t *testing.T) {
	for name, change := range map[string]func(c *Cache, h http.Handler){
		"Purge": func(c *Cache, _ http.Handler) { _, _ = c.Purge(context.Background(), page, PurgeRemove) },
		"PurgePrefix": func(c *Cache, _ http.Handler) {
			_, _ = c.PurgePrefix(context.Background(), "http://example.org/", PurgeSoft)
		},
		"PurgeTags": func(c *Cache, _ http.Handler) { _, _ = c.PurgeTags(context.Background(), PurgeRemove, "tag") },
		"POST":      func(_ *Cache, h http.Handler) { ask(h, http.MethodPost, page) },
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				next := make(chan string)
				c := &Cache{}
				slow := slowly(headerOf("Cache-Control: max-age=60", "Cache-Tag: tag"), next)
				h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet {
						slow(w, r)
					}
				}))
				cl := asking(h, page)
				synctest.Wait()
				change(c, h)
				next <- "old"
				close(next)
				synctest.Wait()
				require.Equal(t, "old", cl.got())
				require.Zero(t, c.Stats().Store.Entries)
			})
		})
	}
}

var errFull = errors.New("disk full")

func TestMaxFileSizeOfUnknownLength(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{MaxFileSize: 1000}
		h := c.Wrap(slowly(headerOf("Cache-Control: max-age=60"), next))
		leader, follower := asking(h, page), asking(h, page)
		synctest.Wait()
		want := ""
		for i := range 40 {
			piece := strings.Repeat(string(rune('a'+i%26)), 32<<10)
			if i == 0 {
				piece = "begin"
			}
			next <- piece
			want += piece
		}
		close(next)
		synctest.Wait()
		require.True(t, want == leader.got())
		require.True(t, want == follower.got())
		require.Zero(t, c.Stats().Store.Entries)
		require.Equal(t, int64(0), c.Stats().Store.Bytes, "what was reserved is given back")
	})
}

func TestSlowestReaderSetsThePaceOfTheWindow(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{MaxFileSize: 10}
		h := c.Wrap(slowly(headerOf("Cache-Control: max-age=60"), next))
		slow := newClient()
		slow.slow = make(chan struct{})
		slow.ask(h, page)
		quick := asking(h, page)
		synctest.Wait()
		sent := 0
		for range 100 {
			select {
			case next <- strings.Repeat("x", 32<<10):
				sent++
			default:
			}
			synctest.Wait()
		}
		require.Less(t, sent*32<<10, windowSize+96<<10, "what is not stored must not pile up")
		slow.leave() // whoever leaves holds nobody up
		synctest.Wait()
		for range 100 {
			next <- strings.Repeat("x", 32<<10)
			sent++
		}
		close(next)
		synctest.Wait()
		require.Len(t, quick.got(), sent*32<<10)
	})
}

func TestUnusableClockMeansValidation(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{Store: &memory.Store{}}
		o := newOrigin(t, *ok("new", "Cache-Control: max-age=60"))
		h := c.Wrap(o)
		// As a disk store brings it back after the clock was put back by a day.
		later := time.Now().Add(24 * time.Hour).Round(0)
		w, err := c.Store.Create(t.Context(), &store.Meta{Length: 3})
		require.NoError(t, err)
		_, _ = w.Write([]byte("old"))
		require.NoError(t, w.Commit(&store.Meta{Key: page, Status: 200, Length: 3, Header: headerOf("Cache-Control: max-age=60"), RequestTime: later, ResponseTime: later}))
		require.Equal(t, "new", bodyOf(t, get(h, page)))
		// And put forward: it is old.
		time.Sleep(61 * time.Second)
		get(h, page)
		require.Equal(t, 2, o.count())
	})
}

// Who has all of an answer and asks again finds it stored, although the handler
// has not returned yet.
func TestStoredBeforeTheLastByteIsSent(t *testing.T) {
	for _, body := range []string{"whole", ""} {
		clocked(t, func(t *testing.T) {
			linger := make(chan struct{})
			var asked atomic.Int64
			c := &Cache{Collapse: CollapseOff}
			h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Content-Type", "text/plain")
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				_, _ = io.WriteString(w, body)
				_ = http.NewResponseController(w).Flush()
				<-linger
				panic(http.ErrAbortHandler) // too late to matter
			}))
			first := asking(h, page)
			synctest.Wait()
			require.Equal(t, body, first.got())
			require.Equal(t, body, bodyOf(t, get(h, page)))
			require.Equal(t, int64(1), asked.Load())
			require.Equal(t, int64(1), c.Stats().Hits)
			close(linger)
			synctest.Wait()
			require.Zero(t, c.Stats().Broken)
			require.Equal(t, int64(1), c.Stats().Store.Entries)
		})
	}
}

// What is fetched by one request alone is not stored either when it is out of date by then.
func TestPurgeReachesFlightsThatNobodyMayJoin(t *testing.T) {
	changes := map[string]func(c *Cache, h http.Handler){
		"Purge": func(c *Cache, _ http.Handler) { _, _ = c.Purge(context.Background(), page, PurgeRemove) },
		"POST":  func(_ *Cache, h http.Handler) { ask(h, http.MethodPost, page) },
	}
	for name, begin := range map[string]func(c *Cache) (lines []string){
		"CollapseOff":  func(c *Cache) []string { c.Collapse = CollapseOff; return nil },
		"CollapseLock": func(c *Cache) []string { c.Collapse = CollapseLock; return nil },
		"loner":        func(c *Cache) []string { c.alone.add(loner{key: page}, time.Now()); return nil },
		"range":        func(*Cache) []string { return []string{"Range: bytes=0-1"} },
	} {
		for how, change := range changes {
			t.Run(name+" "+how, func(t *testing.T) {
				clocked(t, func(t *testing.T) {
					c, next := &Cache{}, make(chan string)
					lines := begin(c)
					slow := slowly(headerOf("Cache-Control: max-age=60", `ETag: "1"`), next)
					h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Method == http.MethodGet {
							slow(w, r)
						}
					}))
					cl := asking(h, page, lines...)
					synctest.Wait()
					change(c, h)
					next <- "old"
					close(next)
					synctest.Wait()
					require.NotEmpty(t, cl.got())
					require.Zero(t, c.Stats().Store.Entries)
				})
			})
		}
	}
}

// An answer to HEAD that was on its way when something changed freshens nothing.
func TestHeadThatIsOlderThanAChange(t *testing.T) {
	clocked(t, func(t *testing.T) {
		begin := make(chan struct{})
		h := new(Cache).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=60")
			if r.Method == http.MethodHead {
				<-begin
			}
			if r.Method == http.MethodGet && r.Header.Get("If-None-Match") != "" {
				w.Header().Set("ETag", `"2"`)
				_, _ = io.WriteString(w, "new")
				return
			}
			_, _ = io.WriteString(w, "old")
		}))
		get(h, page)
		time.Sleep(70 * time.Second)
		done := make(chan struct{})
		go func() { defer close(done); ask(h, http.MethodHead, page) }()
		synctest.Wait()
		ask(h, http.MethodPost, page)
		close(begin)
		<-done
		require.Equal(t, "new", bodyOf(t, get(h, page)))
	})
}

// A validation in the background that stalls ends after Linger, however many hits there are.
func TestBackgroundEndsThoughHitsGoOn(t *testing.T) {
	clocked(t, func(t *testing.T) {
		var n atomic.Int64
		c := &Cache{}
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 2 {
				<-r.Context().Done() // the origin stalls
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=3600")
			fmt.Fprint(w, n.Load())
		}))
		get(h, page)
		time.Sleep(20 * time.Second)
		for range 20 {
			get(h, page)
			time.Sleep(10 * time.Second)
		}
		c.Close()
		require.Greater(t, n.Load(), int64(2), "at most Linger")
	})
}

// With a negative Linger there is validation in the background all the same.
func TestBackgroundWithoutLinger(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{Linger: -1}
		o := newOrigin(t, *ok("old", "Cache-Control: max-age=10, stale-while-revalidate=60"),
			step{handle: func(w http.ResponseWriter, r *http.Request) {
				if r.Context().Err() != nil {
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
				_, _ = io.WriteString(w, "new")
			}})
		h := c.Wrap(o)
		get(h, page)
		time.Sleep(20 * time.Second)
		get(h, page)
		synctest.Wait()
		require.Equal(t, "new", bodyOf(t, get(h, page)))
	})
}

// A fetch that was ended for want of clients gets none any more.
func TestNobodyJoinsWhatWasEnded(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{}
		first := make(chan struct{})
		var n atomic.Int64
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			i := n.Add(1)
			_, _ = io.WriteString(w, "half ")
			_ = http.NewResponseController(w).Flush()
			if i == 1 {
				<-first // it does not look whether it is wanted
			}
			_, _ = io.WriteString(w, "whole")
		}))
		leader := asking(h, page)
		synctest.Wait()
		leader.leave()
		time.Sleep(61 * time.Second)
		late := asking(h, page)
		synctest.Wait()
		close(first)
		synctest.Wait()
		require.Nil(t, late.broken)
		require.Equal(t, "half whole", late.got())
	})
}

// A client that does not take its 103 holds nobody else up.
func TestStuckInterimAnswer(t *testing.T) {
	clocked(t, func(t *testing.T) {
		h := new(Cache).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/page" {
				w.WriteHeader(103)
			}
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = io.WriteString(w, "x")
		}))
		stuck := make(chan struct{})
		go h.ServeHTTP(&stuckWriter{httptest.NewRecorder(), stuck}, httptest.NewRequest(http.MethodGet, page, nil))
		synctest.Wait()
		same, other := asking(h, page), asking(h, "http://example.org/other")
		synctest.Wait()
		require.True(t, other.finished())
		close(stuck)
		<-same.done
	})
}

type stuckWriter struct {
	*httptest.ResponseRecorder
	stuck chan struct{}
}

func (w *stuckWriter) WriteHeader(code int) {
	if code == 103 {
		<-w.stuck
		return
	}
	w.ResponseRecorder.WriteHeader(code)
}

// Who joins a flight and leaves it before it is sent off does not end it for
// the one that leads it.
func TestALeaderIsInterestedFromTheStart(t *testing.T) {
	c := &Cache{Linger: -1}
	c.setup()
	visitor := func() *visit {
		return &visit{c: c, r: httptest.NewRequest(http.MethodGet, page, nil), result: Result{Key: page}}
	}
	f, leads := visitor().board(&lookup{}, false, false)
	require.True(t, leads)
	same, leads := visitor().board(&lookup{}, false, false)
	require.False(t, leads)
	require.Same(t, f, same)
	same.leaves()
	require.NoError(t, f.out.Context().Err())
	f.giveUp()
}

// A client that leaves a validation in the background leaves it as it was.
func TestLeavingAValidationInTheBackground(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{Linger: -1}
		n := 0
		var validation context.Context
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n++; n > 1 {
				validation = r.Context()
				time.Sleep(10 * time.Second)
			}
			w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=60")
			_, _ = w.Write([]byte("x"))
		}))
		get(h, page)
		time.Sleep(2 * time.Second)
		get(h, page)
		synctest.Wait()
		cl := asking(h, page, "Cache-Control: max-age=0")
		synctest.Wait()
		require.Equal(t, 2, n, "it waits for the validation")
		cl.leave()
		synctest.Wait()
		require.NoError(t, validation.Err())
		time.Sleep(time.Minute)
	})
}
