package backend

import (
	"context"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// limited makes n backends under one limit, over connections in memory.
func limited(t *testing.T, l *IdleLimit, n int) []*Backend {
	list := make([]*Backend, n)
	for i := range list {
		list[i] = &Backend{URL: &url.URL{Scheme: "http", Host: "h"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			t.Cleanup(func() { _ = there.Close() })
			return here, nil
		}}
		l.Add(list[i])
		t.Cleanup(func() { _ = list[i].Close() })
	}
	return list
}

func (l *IdleLimit) count(t *testing.T) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for c := l.first; c != nil; c = c.place.after {
		n++
	}
	require.Equal(t, l.n, n)
	return n
}

// TestIdleLimit closes what was unused for longest, whosever it is.
func TestIdleLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &IdleLimit{Max: 3}
		list := limited(t, l, 3)
		use := func(i int) { // one connection
			c, err := list[i].Get(t.Context())
			require.NoError(t, err)
			c.Release(true)
		}
		idle := func() (n [3]int64) {
			for i, b := range list {
				s := b.Stats()
				require.Equal(t, s.Open, s.Idle)
				n[i] = s.Idle
			}
			return n
		}
		a, err := list[0].Get(t.Context())
		require.NoError(t, err)
		b, err := list[0].Get(t.Context())
		require.NoError(t, err)
		a.Release(true)
		b.Release(true)
		use(1)
		require.Equal(t, [3]int64{2, 1, 0}, idle())
		use(0) // b again, so that a is the oldest
		use(2)
		require.Equal(t, [3]int64{1, 1, 1}, idle())
		use(1)
		use(2)
		require.EqualValues(t, 2, list[0].Stats().Created)
		held, err := list[1].Get(t.Context()) // what is in use is not unused
		require.NoError(t, err)
		d, err := list[2].Get(t.Context())
		require.NoError(t, err)
		use(2)
		d.Release(true)
		require.Equal(t, 3, l.count(t))
		held.Release(true)
		require.Equal(t, 3, l.count(t))
		require.Equal(t, [3]int64{0, 1, 2}, idle())
		require.True(t, list[0].Unused())
		require.False(t, list[0].pool.armed, "no timer for nothing")
		list[2].Retire()
		require.Equal(t, 1, l.count(t))
		time.Sleep(DefaultIdleTTL + time.Minute)
		synctest.Wait()
		require.Zero(t, l.count(t))
		for _, b := range list {
			require.True(t, b.Unused())
			require.False(t, b.pool.armed)
		}
	})
}

func TestIdleLimitOfNone(t *testing.T) {
	l := &IdleLimit{Max: -1}
	list := limited(t, l, 2)
	for _, b := range list {
		c, err := b.Get(t.Context())
		require.NoError(t, err)
		c.Release(true)
		require.Zero(t, b.Stats().Open)
	}
	require.Zero(t, l.count(t))
}

// TestOneLimitCounts: the first.
func TestOneLimitCounts(t *testing.T) {
	var first, second IdleLimit
	b := limited(t, &first, 1)[0]
	second.Add(b)
	c, err := b.Get(t.Context())
	require.NoError(t, err)
	c.Release(true)
	require.Equal(t, 1, first.count(t))
	require.Zero(t, second.count(t))
}

// TestRestingConnections are detached ones that say when they are unused.
func TestRestingConnections(t *testing.T) {
	l := &IdleLimit{Max: 2}
	list := limited(t, l, 3)
	var closed []int
	rest := make([]func(), len(list))
	conns := make([]*Conn, len(list))
	for i, b := range list {
		c, err := b.Get(t.Context())
		require.NoError(t, err)
		end := c.Detach()
		conns[i] = c
		rest[i] = func() {
			require.True(t, c.Rest(func() {
				closed = append(closed, i)
				_ = c.Conn.Close()
				end(0, 0)
			}))
		}
	}
	rest[0]()
	rest[1]()
	conns[0].Wake()
	require.Equal(t, 1, l.count(t))
	rest[0]()
	rest[2]()
	require.Equal(t, []int{1}, closed)
	require.True(t, list[1].Unused())
	list[0].Retire()
	require.False(t, conns[0].Rest(func() {}))
}

func TestIdleLimitUnderStress(t *testing.T) {
	l := &IdleLimit{Max: 4}
	list := limited(t, l, 5)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				b := list[rand.IntN(len(list))]
				c, err := b.Get(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				switch rand.IntN(8) {
				case 0:
					b.CloseIdle(1)
				case 1:
					_ = b.Stats()
				}
				c.Release(rand.IntN(10) > 0)
			}
		})
	}
	wg.Wait()
	open := int64(0)
	for _, b := range list {
		s := b.Stats()
		require.Equal(t, s.Open, s.Idle)
		open += s.Open
	}
	require.EqualValues(t, l.count(t), open)
	require.LessOrEqual(t, open, int64(4))
}
