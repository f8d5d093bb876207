package cache

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/cache/tiered"
)

// fullWriters is a store each of whose writers fails after some bytes, as on a
// disk that is full.
type fullWriters struct{ store.Store }

func (s fullWriters) Create(ctx context.Context, m *store.Meta) (store.Writer, error) {
	w, err := s.Store.Create(ctx, m)
	if err != nil {
		return nil, err
	}
	return &failingWriter{Writer: w, s: &failing{write: true, after: 100000}}, nil
}

// givingUp are caches that begin to store a body of 1 MiB, and then cannot.
var givingUp = map[string]func(t *testing.T) *Cache{
	"larger than MaxFileSize": func(*testing.T) *Cache { return &Cache{MaxFileSize: 100000} },
	"larger than MaxEntry":    func(*testing.T) *Cache { return &Cache{Store: &memory.Store{MaxEntry: 100000}} },
	"Memory fails":            func(*testing.T) *Cache { return &Cache{Store: fullWriters{&memory.Store{}}} },
	"Disk fails":              func(t *testing.T) *Cache { return &Cache{Store: fullWriters{diskFor(t)}} },
	"Tiered fails": func(t *testing.T) *Cache {
		return &Cache{Store: &tiered.Store{Front: &memory.Store{}, Back: fullWriters{diskFor(t)}}}
	},
}

// Whoever does not read, or reads too slowly, holds nobody up but himself.
func TestSlowReadersAreLetGo(t *testing.T) {
	const size = 1 << 20
	for how, cacheOf := range givingUp {
		for face, front := range streamedFronts {
			for who, slowOnes := range map[string][]int{
				"the leader": {0}, "a follower": {1}, "some": {0, 2, 3}, "all but the leader": {1, 2, 3}, "nobody": nil,
			} {
				for pace, every := range map[string]time.Duration{"not at all": 0, "a drip": 50 * time.Millisecond} {
					t.Run(strings.Join([]string{how, face, who, pace}, "/"), func(t *testing.T) {
						clocked(t, func(t *testing.T) {
							c := cacheOf(t)
							defer c.Close()
							begin, asked := make(chan struct{}), 0
							body := strings.Repeat("0123456789abcdef", size/16)
							clients := ask4(front(c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
								asked++
								inTwo(begin, body)(w, r)
							})), slowOnes)
							close(begin)
							drip(clients, slowOnes, every, 3*patience)
							require.Equal(t, 1, asked, "all share one fetch")
							for i, cl := range clients {
								if contains(slowOnes, i) {
									close(cl.slow) // it reads on, but it is too late
									continue
								}
								require.True(t, cl.finished() || i == 0, "client %d was held up", i) // a leader waits for its handler
								require.True(t, body == cl.got(), "client %d", i)
							}
							synctest.Wait()
							for i, cl := range clients {
								require.True(t, cl.finished())
								if contains(slowOnes, i) {
									require.Equal(t, http.ErrAbortHandler, cl.broken, "a part could be taken for the whole")
								} else {
									require.Nil(t, cl.broken)
								}
							}
							require.Zero(t, c.Stats().Stored)
						})
					})
				}
			}
		}
	}
}

// inTwo is an origin that sends the beginning of a body, and the rest later.
func inTwo(later <-chan struct{}, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, body[:100])
		_ = http.NewResponseController(w).Flush()
		<-later
		if _, err := io.WriteString(w, body[100:]); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// streamedFronts are the two faces of a cache before an origin whose answer comes
// in piece by piece.
var streamedFronts = map[string]func(c *Cache, o http.Handler) http.Handler{
	"handler":   fronts["handler"],
	"transport": func(c *Cache, o http.Handler) http.Handler { return roundTripped{c.Transport(streamed{o})} },
}

// streamed is a RoundTripper that a handler answers, while it writes.
type streamed struct{ http.Handler }

func (s streamed) RoundTrip(r *http.Request) (*http.Response, error) {
	pr, pw := io.Pipe()
	w := &streamedWriter{header: make(http.Header), pw: pw, head: make(chan struct{})}
	go func() {
		err := io.ErrUnexpectedEOF
		defer func() {
			_ = recover()
			w.WriteHeader(http.StatusOK)
			_ = pw.CloseWithError(err)
		}()
		s.ServeHTTP(w, r)
		err = nil
	}()
	<-w.head
	return &http.Response{StatusCode: w.status, Header: w.sent, ContentLength: -1, Body: pr, Request: r}, nil
}

type streamedWriter struct {
	header, sent http.Header
	status       int
	pw           *io.PipeWriter
	head         chan struct{}
}

func (w *streamedWriter) Header() http.Header { return w.header }
func (w *streamedWriter) Flush()              {}

func (w *streamedWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
		close(w.head)
	}
}

func (w *streamedWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pw.Write(p)
}

// ask4 lets four clients ask for the same; the first one leads.
func ask4(h http.Handler, slowOnes []int) (clients []*client) {
	for i := range 4 {
		cl := newClient()
		if contains(slowOnes, i) {
			cl.slow = make(chan struct{})
		}
		clients = append(clients, cl.ask(h, page))
		synctest.Wait()
	}
	return clients
}

// drip lets time go by, in which the slow ones take something every so often.
func drip(clients []*client, slowOnes []int, every, long time.Duration) {
	if every == 0 {
		time.Sleep(long)
		return
	}
	for begin := time.Now(); time.Since(begin) < long; time.Sleep(every) {
		for _, i := range slowOnes {
			select {
			case clients[i].slow <- struct{}{}:
			default:
			}
		}
		synctest.Wait()
	}
	synctest.Wait()
}

func contains(list []int, i int) bool {
	for _, n := range list {
		if n == i {
			return true
		}
	}
	return false
}

// One who is slow but alone is waited for, and so is one who is slow as all are.
func TestSlowReadersWithoutOthersAreServed(t *testing.T) {
	for how, cacheOf := range givingUp {
		t.Run(how, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				c := cacheOf(t)
				defer c.Close()
				body := strings.Repeat("x", 2<<20)
				begin := make(chan struct{})
				h := c.Wrap(inTwo(begin, body))
				all := []int{0, 1, 2, 3}
				clients := ask4(h, all)
				close(begin)
				for range 100 {
					time.Sleep(time.Second)
					for _, cl := range clients {
						select {
						case cl.slow <- struct{}{}:
						default:
						}
					}
					synctest.Wait()
				}
				for _, cl := range clients {
					require.True(t, cl.finished())
					require.True(t, body == cl.got())
				}
			})
		})
	}
}

// The answers of a RoundTripper, read by hand: one that is not read, nor closed.
func TestResponsesThatNobodyReadsAreLetGo(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{MaxFileSize: 1000}
		defer c.Close()
		body := strings.Repeat("x", 4<<20)
		begin := make(chan struct{})
		rt := c.Transport(streamed{inTwo(begin, body)})
		responses := make(chan *http.Response, 3)
		for range 3 {
			go func() {
				resp, err := rt.RoundTrip(httptest.NewRequest("GET", page, nil))
				if err == nil {
					responses <- resp
				}
			}()
		}
		forgotten, read, late := <-responses, <-responses, <-responses
		close(begin)
		got, err := io.ReadAll(read.Body)
		require.NoError(t, err)
		require.Equal(t, len(body), len(got))
		for _, resp := range []*http.Response{forgotten, late} {
			_, err = io.ReadAll(resp.Body)
			require.ErrorIs(t, err, errTooSlow)
		}
		for _, resp := range []*http.Response{forgotten, read, late} {
			require.NoError(t, resp.Body.Close())
		}
	})
}

// Where nothing is stored, little is kept, however far behind somebody is.
func TestWindowIsBounded(t *testing.T) {
	clocked(t, func(t *testing.T) {
		w, err := (&memory.Store{}).Create(t.Context(), &store.Meta{Length: -1})
		require.NoError(t, err)
		s, err := newStream(w, -1, 1)
		require.NoError(t, err)
		s.onFail = func(error) {}
		slow, quick := s.reader(t.Context()), s.reader(t.Context())
		go func() {
			for range 16 {
				_, _ = s.Write(make([]byte, 1<<20))
			}
			s.finish(nil, nil)
		}()
		most, total := 0, 0
		for b := make([]byte, 64<<10); err == nil; {
			var n int
			n, err = quick.Read(b)
			total += n
			s.mu.Lock()
			most = max(most, cap(s.window))
			s.mu.Unlock()
		}
		require.Equal(t, io.EOF, err)
		require.Equal(t, 16<<20, total)
		require.LessOrEqual(t, most, 2*windowSize)
		_, err = slow.Read(make([]byte, 1))
		require.ErrorIs(t, err, errTooSlow)
		require.NoError(t, slow.Close())
		require.NoError(t, quick.Close())
	})
}

// The parts of a body that a reader of ranges wants may have gone by.
func TestRangesOfABodyThatIsNotStored(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{Store: fullWriters{&memory.Store{}}}
		defer c.Close()
		asked := 0
		h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked == 1 { // without something stored, ranges are the origin's affair
				w.Header().Set("Cache-Control", "max-age=1")
				_, _ = io.WriteString(w, "old")
				return
			}
			slowly(headerOf("Cache-Control: max-age=60", "Content-Length: 1048576"), next)(w, r)
		}))
		get(h, page)
		time.Sleep(2 * time.Second)
		leader := asking(h, page)
		synctest.Wait()
		next <- strings.Repeat("a", 90000)
		synctest.Wait()
		follower := asking(h, page, "Range: bytes=300000-300009,150000-150009,0-9")
		synctest.Wait()
		for range 14 {
			next <- strings.Repeat("b", 64<<10)
			synctest.Wait()
		}
		next <- strings.Repeat("c", 1048576-90000-14*64<<10)
		close(next)
		synctest.Wait()
		require.True(t, leader.finished())
		require.Equal(t, 1048576, len(leader.got()))
		require.True(t, follower.finished(), "it neither waits for ever nor panics")
		require.Equal(t, http.ErrAbortHandler, follower.broken)
		require.Equal(t, 2, asked)
	})
}

// That the leader's connection fails does not end the fetch for the others.
func TestLeadersConnectionFails(t *testing.T) {
	clocked(t, func(t *testing.T) {
		next := make(chan string)
		c := &Cache{}
		defer c.Close()
		h := c.Wrap(slowly(headerOf("Cache-Control: max-age=60"), next))
		leader := newClient()
		leader.fails = true
		leader.ask(h, page)
		synctest.Wait()
		follower := asking(h, page)
		synctest.Wait()
		next <- "one "
		synctest.Wait()
		next <- "two"
		close(next)
		synctest.Wait()
		require.Equal(t, "one two", follower.got())
		require.Nil(t, follower.broken)
		require.Equal(t, http.ErrAbortHandler, leader.broken)
		require.EqualValues(t, 1, c.Stats().Stored)
	})
}
