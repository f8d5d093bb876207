package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// client is a ResponseWriter whose state can be looked at meanwhile.
type client struct {
	ctx    context.Context
	leave  context.CancelFunc
	done   chan struct{}
	broken any // what the handler panicked with

	mu     sync.Mutex
	header http.Header
	status int
	body   bytes.Buffer
	slow   chan struct{} // if not nil, each Write waits for it
}

func newClient() *client {
	c := &client{header: make(http.Header), done: make(chan struct{})}
	c.ctx, c.leave = context.WithCancel(context.Background())
	// As under net/http: what breaks off is a panic.
	c.ctx = context.WithValue(c.ctx, http.ServerContextKey, &http.Server{})
	return c
}

func (c *client) Header() http.Header { return c.header }

func (c *client) WriteHeader(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if code >= 200 {
		c.status = code
	}
}

func (c *client) Write(p []byte) (int, error) {
	if c.slow != nil {
		select {
		case <-c.slow:
		case <-c.ctx.Done():
			return 0, c.ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return 0, c.ctx.Err()
	}
	return c.body.Write(p)
}

func (c *client) Flush() {}

func (c *client) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.String()
}

// ask begins a request.
func (c *client) ask(h http.Handler, target string, lines ...string) *client {
	r := httptest.NewRequestWithContext(c.ctx, http.MethodGet, target, nil)
	for name, values := range fields(lines...) {
		r.Header[name] = values
	}
	go func() {
		defer close(c.done)
		defer func() { c.broken = recover() }()
		h.ServeHTTP(c, r)
	}()
	return c
}

func asking(h http.Handler, target string, lines ...string) *client {
	return newClient().ask(h, target, lines...)
}

func (c *client) finished() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// slowly is an origin that writes its pieces, each when it is told to.
func slowly(header http.Header, next chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case piece, ok := <-next:
				if !ok {
					return
				}
				if piece == "cut" {
					panic(http.ErrAbortHandler)
				}
				if _, err := io.WriteString(w, piece); err != nil {
					panic(http.ErrAbortHandler)
				}
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	}
}

func TestStampedeOnAColdKey(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				begin := make(chan struct{})
				o := newOrigin(t, step{wait: begin, header: fields("Cache-Control: max-age=60"), body: "one"})
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
			step{wait: begin, header: fields("Cache-Control: max-age=10"), body: "new"})
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
					for name, values := range fields(line, `ETag: "1"`) {
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

func TestFollowersReadWhileTheLeaderFetches(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		var asked atomic.Int64
		slow := slowly(fields("Cache-Control: max-age=60"), next)
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
		h := c.Wrap(slowly(fields("Cache-Control: max-age=60"), next))
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
				h := c.Wrap(slowly(fields("Cache-Control: max-age=60"), next))
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
		slow := slowly(fields("Cache-Control: max-age=60"), next)
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
		h := c.Wrap(slowly(fields("Cache-Control: max-age=60"), next))
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
		h := c.Wrap(slowly(fields("Cache-Control: max-age=60"), next))
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
				slow := slowly(fields("Cache-Control: max-age=60", "Cache-Tag: tag"), next)
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

// failing is a store that fails on purpose.
type failing struct {
	Memory
	get, create, write, commit bool
	after                      int // bytes
}

var errFull = errors.New("disk full")

func (s *failing) Get(ctx context.Context, key string) ([]Entry, error) {
	if s.get {
		return nil, errFull
	}
	return s.Memory.Get(ctx, key)
}

func (s *failing) Create(ctx context.Context, m *Meta) (Writer, error) {
	if s.create {
		return nil, errFull
	}
	w, err := s.Memory.Create(ctx, m)
	return &failingWriter{Writer: w, s: s}, err
}

type failingWriter struct {
	Writer
	s *failing
	n int
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if !w.s.write || w.n+len(p) <= w.s.after {
		w.n += len(p)
		return w.Writer.Write(p)
	}
	n, _ := w.Writer.Write(p[:w.s.after-w.n])
	w.n += n
	return n, errFull
}

func (w *failingWriter) Commit(m *Meta, old ...Entry) error {
	if w.s.commit {
		return errFull
	}
	return w.Writer.Commit(m, old...)
}

func TestBrokenStoreIsAPassThrough(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for name, s := range map[string]*failing{
		"Get": {get: true}, "Create": {create: true}, "Commit": {commit: true},
		"first Write": {write: true}, "later Write": {write: true, after: 100000},
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				log := &logged{}
				c := &Cache{Store: s, Logger: log.logger()}
				o := newOrigin(t, step{header: fields("Cache-Control: max-age=60"), body: body})
				h := c.Wrap(o)
				for range 3 {
					resp := get(h, page)
					require.Equal(t, http.StatusOK, resp.StatusCode)
					require.True(t, body == bodyOf(t, resp))
				}
				if name != "Get" {
					require.Equal(t, 3, o.count())
				}
				require.Len(t, log.lines(), 1, "one line of log, not one a request")
			})
		})
	}
}

func TestMaxFileSizeOfUnknownLength(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{MaxFileSize: 1000}
		h := c.Wrap(slowly(fields("Cache-Control: max-age=60"), next))
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
		h := c.Wrap(slowly(fields("Cache-Control: max-age=60"), next))
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
		c := &Cache{Store: &Memory{}}
		o := newOrigin(t, *ok("new", "Cache-Control: max-age=60"))
		h := c.Wrap(o)
		// As a disk store brings it back after the clock was put back by a day.
		later := time.Now().Add(24 * time.Hour).Round(0)
		w, err := c.Store.Create(t.Context(), &Meta{Length: 3})
		require.NoError(t, err)
		_, _ = w.Write([]byte("old"))
		require.NoError(t, w.Commit(&Meta{Key: page, Status: 200, Length: 3, Header: fields("Cache-Control: max-age=60"), RequestTime: later, ResponseTime: later}))
		require.Equal(t, "new", bodyOf(t, get(h, page)))
		// And put forward: it is old.
		time.Sleep(61 * time.Second)
		get(h, page)
		require.Equal(t, 2, o.count())
	})
}

func TestCollapseLock(t *testing.T) {
	lock := func() *Cache { return &Cache{Collapse: CollapseLock} }
	t.Run("nothing stored: all go to the origin, one stores", func(t *testing.T) {
		clocked(t, func(t *testing.T) {
			begin := make(chan struct{})
			o := newOrigin(t, step{wait: begin, header: fields("Cache-Control: max-age=60"), body: "x"})
			c := lock()
			h := c.Wrap(o)
			var clients []*client
			for range 5 {
				clients = append(clients, asking(h, page))
			}
			synctest.Wait()
			require.Equal(t, 5, o.count())
			close(begin)
			synctest.Wait()
			for _, cl := range clients {
				require.Equal(t, "x", cl.got())
			}
			require.Equal(t, int64(1), c.Stats().Stored)
		})
	})
	t.Run("something stale: it serves while one fetches", func(t *testing.T) {
		clocked(t, func(t *testing.T) {
			begin := make(chan struct{})
			o := newOrigin(t, *ok("old", "Cache-Control: max-age=10"), step{wait: begin, header: fields("Cache-Control: max-age=10"), body: "new"})
			h := lock().Wrap(o)
			get(h, page)
			time.Sleep(time.Minute)
			first := asking(h, page)
			synctest.Wait()
			require.Equal(t, "old", bodyOf(t, get(h, page)))
			require.Equal(t, 2, o.count())
			close(begin)
			synctest.Wait()
			require.Equal(t, "new", first.got())
			require.Equal(t, "new", bodyOf(t, get(h, page)))
		})
	})
	t.Run("a lock that is too old does not count", func(t *testing.T) {
		clocked(t, func(t *testing.T) {
			begin := make(chan struct{})
			o := newOrigin(t, *ok("old", "Cache-Control: max-age=10"), step{wait: begin, header: fields("Cache-Control: max-age=10"), body: "new"})
			h := lock().Wrap(o)
			get(h, page)
			time.Sleep(time.Minute)
			asking(h, page)
			synctest.Wait()
			time.Sleep(5 * time.Second) // CacheLockMaxAge
			second := asking(h, page)
			synctest.Wait()
			require.Equal(t, 3, o.count())
			close(begin)
			synctest.Wait()
			require.Equal(t, "new", second.got())
		})
	})
}

func TestLockFilesAreSeenByOtherProcesses(t *testing.T) {
	dir := t.TempDir()
	begin := make(chan struct{})
	o := newOrigin(t, *ok("x", "Cache-Control: max-age=60"), step{wait: begin, header: fields("Cache-Control: max-age=60"), body: "x"})
	one := (&Cache{Collapse: CollapseLock, LockPath: dir}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-begin
		o.ServeHTTP(w, r)
	}))
	cl := asking(one, page)
	require.Eventually(t, func() bool { return len(dirNames(t, dir)) == 1 }, 10*time.Second, time.Millisecond)
	other := &Cache{Collapse: CollapseLock, LockPath: dir} // as another process
	get(other.Wrap(o), page)
	require.Zero(t, other.Stats().Stored)
	close(begin)
	<-cl.done
	require.Empty(t, dirNames(t, dir))
	get(other.Wrap(o), page)
	require.Equal(t, int64(1), other.Stats().Stored)
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
