package backend

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// slowly makes the dialling of b take a second.
func slowly(b *Backend) {
	dial := b.DialContext
	b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		time.Sleep(time.Second)
		return dial(ctx, network, addr)
	}
}

// TestTimesOfAUse: a connection tells what its use had to wait for, and nothing
// of the uses before.
func TestTimesOfAUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []int{0, 1} {
			b, _ := inMemory()
			slowly(b)
			b.MaxConns = limit
			times := func(c *Conn) [2]time.Duration { return [2]time.Duration{c.AcquireTime(), c.ConnectTime()} }
			c := get(t, b)
			require.Equal(t, [2]time.Duration{0, time.Second}, times(c), "opened")
			c.Release(true)
			c = get(t, b)
			require.Zero(t, times(c), "reused")
			if limit > 0 {
				handed := make(chan [2]time.Duration)
				for _, reusable := range []bool{true, false} {
					go func() {
						time.Sleep(time.Minute)
						c.Release(reusable)
					}()
					next := get(t, b)
					go func() { handed <- times(next) }()
					want := [2]time.Duration{time.Minute, 0}
					if !reusable { // the permission to open one
						want[1] = time.Second
					}
					require.Equal(t, want, <-handed)
					c = next
				}
				c.Release(true)
				c = get(t, b)
				require.Zero(t, times(c), "reused after a wait")
			}
			c.Release(true)
			require.NoError(t, b.Close())
		}
	})
}

// TestStatsAsJSON: the figures are words and numbers for whoever reads them.
func TestStatsAsJSON(t *testing.T) {
	b, _ := inMemory()
	defer b.Close()
	b.Retry = time.Hour
	get(t, b).Release(true)
	b.MarkError(errors.New("no more"))
	text, err := json.Marshal(b.Stats())
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, "error", got["state"])
	require.Equal(t, "no more", got["cause"])
	require.Positive(t, got["retryIn"])
	require.Empty(t, got["flags"])
	require.Equal(t, b.String(), got["name"])
	for name, want := range map[string]float64{"elected": 1, "busy": 0, "waiting": 0, "errors": 1, "sent": 0, "received": 0, "idle": 1, "open": 1} {
		require.EqualValues(t, want, got[name], name)
	}
}
