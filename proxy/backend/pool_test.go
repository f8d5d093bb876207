package backend

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func get(t *testing.T, b *Backend) *Conn {
	t.Helper()
	c, err := b.Get(context.Background())
	require.NoError(t, err)
	return c
}

func TestReuse(t *testing.T) {
	b, m := inMemory()
	defer b.Close()
	one, two := get(t, b), get(t, b)
	require.False(t, one.Reused())
	one.State = "mine"
	two.Release(true)
	one.Release(true)
	c := get(t, b)
	require.Equal(t, "mine", c.State, "the last that was used comes first")
	require.True(t, c.Reused())
	c.Release(false)
	s := b.Stats()
	require.Equal(t, Stats{Name: b.String(), Counts: Counts{Elected: 3}, Open: 1, Idle: 1, Created: 2, Reused: 1}, s)
	require.EqualValues(t, 1, m.now.Load())
	f, err := b.GetFresh(context.Background())
	require.NoError(t, err)
	require.False(t, f.Reused())
	f.Release(true)
	require.EqualValues(t, 2, b.Stats().Idle)
}

func TestDisableReuse(t *testing.T) {
	b, m := inMemory()
	defer b.Close()
	b.DisableReuse = true
	get(t, b).Release(true)
	require.Zero(t, m.now.Load())
}

func TestUnreadBytesForbidReuse(t *testing.T) {
	b, m := inMemory()
	defer b.Close()
	c := get(t, b)
	go func() { _, _ = m.far[0].Write([]byte("xy")) }()
	_, err := c.R.ReadByte()
	require.NoError(t, err)
	c.Release(true)
	require.Zero(t, b.Stats().Open)
	c = get(t, b)
	_, _ = c.W.WriteString("unsent")
	c.Release(true)
	require.Zero(t, b.Stats().Open)
}

func TestMaxIdle(t *testing.T) {
	for most, want := range map[int]int64{2: 2, -1: 0, 0: 5} {
		b, m := inMemory()
		b.MaxIdle = most
		var conns []*Conn
		for range 5 {
			conns = append(conns, get(t, b))
		}
		for _, c := range conns {
			c.Release(true)
		}
		require.Equal(t, want, b.Stats().Idle)
		require.Equal(t, want, m.now.Load())
		require.NoError(t, b.Close())
		require.Zero(t, m.now.Load())
	}
}

func TestLineIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := inMemory()
		defer b.Close()
		b.MaxConns = 1
		held := get(t, b)
		order := make(chan int, 5)
		for i := range 5 {
			go func() {
				c, err := b.Get(context.Background())
				if err == nil {
					order <- i
					c.Release(i%2 == 0) // some hand a connection on, some the permission to dial
				}
			}()
			synctest.Wait()
		}
		require.EqualValues(t, 5, b.Stats().Waiting)
		held.Release(true)
		for i := range 5 {
			require.Equal(t, i, <-order)
		}
		require.EqualValues(t, 5, b.Stats().Waited)
	})
}

func TestAcquireTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := inMemory()
		defer b.Close()
		b.MaxConns, b.AcquireTimeout, b.Retry = 1, 300*time.Millisecond, time.Minute
		held := get(t, b)
		start := time.Now()
		_, err := b.Get(context.Background())
		require.ErrorIs(t, err, ErrBusy)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
		require.Equal(t, StateUsable, b.State(), "busy is no error")
		held.Release(true)
		get(t, b).Release(true)
		require.Equal(t, Stats{Name: b.String(), Counts: Counts{Elected: 3}, Open: 1, Idle: 1, Created: 1, Reused: 1, Waited: 1}, b.Stats())
	})
}

func TestCancelledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := inMemory()
		defer b.Close()
		b.MaxConns = 1
		held := get(t, b)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := b.Get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, b.Stats().Waiting)
		held.Release(true)
		require.EqualValues(t, 1, b.Stats().Idle)
	})
}

func TestCancelledWhileDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := inMemory()
		defer b.Close()
		b.MaxConns, b.Retry, m.slow = 1, time.Minute, time.Hour
		b.Timeout = 2 * time.Hour
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := b.Get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, StateUsable, b.State(), "the caller gave up, not the backend")
		require.Zero(t, b.Stats().Open)
	})
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := inMemory()
		defer b.Close()
		m.slow, b.ConnectTimeout = time.Hour, 3*time.Second
		start := time.Now()
		_, err := b.Get(context.Background())
		var dial *DialError
		require.ErrorAs(t, err, &dial)
		require.Equal(t, "b.test:80", dial.Address)
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Equal(t, StateError, b.State())
	})
}

// TestPoolUnderStress: whatever is cancelled, failed and closed, the limit
// holds and nothing is lost.
func TestPoolUnderStress(t *testing.T) {
	b, m := inMemory()
	b.MaxConns = 4
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				if rand.IntN(3) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(50))*time.Microsecond, cancel)
				}
				take := b.Get
				if rand.IntN(5) == 0 {
					take = b.GetFresh
				}
				c, err := take(ctx)
				if err == nil {
					if rand.IntN(2) == 0 {
						time.Sleep(time.Duration(rand.IntN(20)) * time.Microsecond)
					}
					c.Release(rand.IntN(4) != 0)
				}
				cancel()
				if rand.IntN(50) == 0 {
					m.setFail(errors.New("down"))
				} else {
					m.setFail(nil)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, m.most.Load(), int64(4))
	s := b.Stats()
	require.Zero(t, s.Busy)
	require.Zero(t, s.Waiting)
	require.Equal(t, s.Idle, s.Open)
	require.Equal(t, m.now.Load(), s.Open)
	require.NoError(t, b.Close())
	require.Zero(t, m.now.Load())
}

func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := inMemory()
		defer b.Close()
		b.MaxConns, b.MinIdle = 2, 1
		held := get(t, b)
		synctest.Wait()
		require.EqualValues(t, 2, m.now.Load())
		b.Retire()
		require.EqualValues(t, 1, m.now.Load(), "only the one in use is left")
		held.Release(true)
		require.Zero(t, m.now.Load())
		c := get(t, b)
		require.False(t, c.Reused())
		c.Release(true)
		synctest.Wait()
		require.Zero(t, m.now.Load())
		require.Zero(t, b.Stats().Open)
	})
}

// TestCloseUnderStress: whatever goes on while a backend is closed or retired,
// nothing is left open.
func TestCloseUnderStress(t *testing.T) {
	for name, end := range map[string]func(b *Backend){
		"close":  func(b *Backend) { _ = b.Close() },
		"retire": (*Backend).Retire,
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				b, m := inMemory()
				b.MaxConns, b.MinIdle, b.IdleTTL = 3, 2, time.Millisecond
				var wg sync.WaitGroup
				for i := range 6 {
					wg.Go(func() {
						for range 40 {
							if c, err := b.Get(context.Background()); err == nil {
								c.Release(i%2 == 0)
							}
						}
					})
				}
				end(b)
				wg.Wait()
				_ = b.Close()
				require.Zero(t, m.now.Load())
				s := b.Stats()
				require.Zero(t, s.Open+s.Busy+s.Idle+s.Waiting, "%+v", s)
			}
		})
	}
}

// bufferSpy is a connection that is told the size of its buffer.
type bufferSpy struct {
	net.Conn
	size int
}

func (s *bufferSpy) SetReadBuffer(n int) error {
	s.size = n
	return nil
}

func TestReceiveBufferSize(t *testing.T) {
	for _, size := range []int{0, 65536} {
		b, m := inMemory()
		b.ReceiveBufferSize = size
		spy := &bufferSpy{}
		b.DialContext = func(ctx context.Context, network, addr string) (nc net.Conn, err error) {
			spy.Conn, err = m.dial(ctx, network, addr)
			return spy, err
		}
		get(t, b).Release(true)
		require.Equal(t, size, spy.size)
		require.NoError(t, b.Close())
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := inMemory()
		b.MaxConns = 1
		held := get(t, b)
		waited := make(chan error, 1)
		go func() {
			_, err := b.Get(context.Background())
			waited <- err
		}()
		synctest.Wait()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-waited, ErrClosed)
		_, err := b.Get(context.Background())
		require.ErrorIs(t, err, ErrClosed)
		require.EqualValues(t, 1, m.now.Load(), "in use")
		held.Release(true)
		require.Zero(t, m.now.Load())
		require.NoError(t, b.Close())
	})
	require.NoError(t, new(Backend).Close())
}

func TestDetach(t *testing.T) {
	b, _ := inMemory()
	defer b.Close()
	b.MaxConns = 1
	c := get(t, b)
	closed := c.Detach()
	require.EqualValues(t, 1, b.Stats().Busy)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := b.Get(ctx)
	require.Error(t, err, "a tunnel takes a place")
	_ = c.Conn.Close()
	closed(3, 4)
	require.EqualValues(t, 3, b.Stats().Sent)
	require.EqualValues(t, 4, b.Stats().Received)
	require.Zero(t, b.Stats().Open)
	get(t, b).Release(true)
}

func TestCounts(t *testing.T) {
	b, m := inMemory()
	defer b.Close()
	c := get(t, b)
	go func() {
		_, _ = io.CopyN(io.Discard, m.far[0], 5)
		_, _ = m.far[0].Write([]byte("abc"))
	}()
	_, _ = c.W.WriteString("hello")
	require.NoError(t, c.W.Flush())
	_, err := io.ReadFull(c.R, make([]byte, 3))
	require.NoError(t, err)
	c.Count(10, 20)
	c.Release(true)
	s := b.Stats()
	require.EqualValues(t, 15, s.Sent)
	require.EqualValues(t, 23, s.Received)
}

func TestGetAndReleaseDoNotAllocate(t *testing.T) {
	b, _ := inMemory()
	defer b.Close()
	ctx := context.Background()
	get(t, b).Release(true)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		c, _ := b.Get(ctx)
		c.Release(true)
	}))
}

func BenchmarkGetRelease(b *testing.B) {
	ctx := context.Background()
	b.Run("memory", func(b *testing.B) {
		be, _ := inMemory()
		defer be.Close()
		b.ReportAllocs()
		for b.Loop() {
			c, _ := be.Get(ctx)
			c.Release(true)
		}
	})
	b.Run("memory parallel", func(b *testing.B) {
		be, _ := inMemory()
		defer be.Close()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c, _ := be.Get(ctx)
				c.Release(true)
			}
		})
	})
	b.Run("tcp with a look at the socket", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		defer l.Close()
		be := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}}
		defer be.Close()
		b.ReportAllocs()
		for b.Loop() {
			c, _ := be.Get(ctx)
			c.Release(true)
		}
	})
}

// aboutToEnd is a context whose deadline has passed, but whose timer has not
// fired yet.
type aboutToEnd struct{ context.Context }

func (aboutToEnd) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }

// TestDeadlineWhileDialling: that a request has no more time says nothing about
// the backend.
func TestDeadlineWhileDialling(t *testing.T) {
	b := &Backend{URL: &url.URL{Scheme: "http", Host: "h"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("i/o timeout")
	}}
	defer b.Close()
	_, err := b.Get(aboutToEnd{t.Context()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, StateUsable, b.State())
	_, err = b.Get(t.Context())
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, StateError, b.State())
}
