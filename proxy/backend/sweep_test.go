package backend

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIdleTTL(t *testing.T) {
	for name, tc := range map[string]struct {
		ttl, learnt time.Duration
		lives       time.Duration
	}{
		"default":         {0, 0, DefaultIdleTTL},
		"set":             {10 * time.Second, 0, 10 * time.Second},
		"learnt":          {0, 5 * time.Second, 5 * time.Second},
		"learnt is later": {10 * time.Second, time.Minute, 10 * time.Second},
		"none but learnt": {-1, 5 * time.Second, 5 * time.Second},
		"none":            {-1, 0, 1000 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, m := inMemory()
				defer b.Close()
				b.IdleTTL = tc.ttl
				c := get(t, b)
				c.LimitIdle(tc.learnt)
				c.Release(true)
				time.Sleep(tc.lives - time.Second)
				require.EqualValues(t, 1, m.now.Load())
				if tc.ttl < 0 && tc.learnt == 0 {
					return
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Zero(t, m.now.Load(), "closed without being asked for")
			})
		})
	}
}

func TestMinIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := inMemory()
		defer b.Close()
		b.MinIdle, b.IdleTTL, b.MaxConns = 3, time.Minute, 5
		require.Zero(t, m.now.Load(), "nothing before the first use")
		c := get(t, b)
		synctest.Wait()
		require.EqualValues(t, 3, b.Stats().Idle)
		d := get(t, b)
		synctest.Wait()
		require.EqualValues(t, 3, b.Stats().Idle, "one was taken and one added")
		c.Release(true)
		d.Release(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.GreaterOrEqual(t, b.Stats().Idle, int64(3), "replaced when too old")
		require.Greater(t, b.Stats().Created, int64(10))
	})
}

// TestReadyConnectionsCountAsReused: one that was opened ahead may have been
// closed by the backend just as one that has served.
func TestReadyConnectionsCountAsReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := inMemory()
		defer b.Close()
		b.MinIdle = 1
		c := get(t, b)
		require.False(t, c.Reused())
		synctest.Wait()
		d := get(t, b)
		require.True(t, d.Reused())
		c.Release(true)
		d.Release(true)
	})
}
