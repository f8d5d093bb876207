package balancer

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stuck is a function of others that does not look at its context. It counts
// those who are in it.
type stuck struct {
	in, most atomic.Int32
	release  chan struct{}
}

func (s *stuck) call() {
	s.most.Store(max(s.most.Load(), s.in.Add(1)))
	<-s.release
	s.in.Add(-1)
}

// Discover implements Discovery.
func (s *stuck) Discover(context.Context) ([]MemberConfig, time.Duration, error) {
	s.call()
	_, list := fakes(1)
	return list, 0, nil
}

// TestWhatDoesNotReturnIsNotCalledAgain: neither goroutines nor what they hold
// pile up. It is called again once it has returned, and another in its place at
// once.
func TestWhatDoesNotReturnIsNotCalledAgain(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		t.Run(fmt.Sprintf("check, replaced: %v", replaced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stuck{release: make(chan struct{})}
				_, list := fakes(1)
				list[0].Check = &Check{Interval: time.Second, Timeout: time.Second, Func: func(context.Context, *Member) error { s.call(); return nil }}
				b := newTest(t, Config{}, list...)
				m := b.Member("a")
				failed := func() bool { is, _ := m.CheckFailed(); return is }
				time.Sleep(time.Hour)
				require.EqualValues(t, 1, s.most.Load())
				require.True(t, failed())
				if replaced {
					require.NoError(t, m.Configure(func(c *MemberConfig) { c.Check = &Check{Func: func(context.Context, *Member) error { return nil }} }))
					time.Sleep(time.Hour)
					require.False(t, failed())
				}
				close(s.release)
				time.Sleep(time.Hour)
				require.False(t, failed())
				require.EqualValues(t, 1, s.most.Load())
			})
		})
	}
	t.Run("discovery", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &stuck{release: make(chan struct{})}
			b := newTest(t, Config{Discovery: s})
			time.Sleep(time.Hour)
			require.EqualValues(t, 1, s.most.Load())
			close(s.release)
			time.Sleep(time.Hour)
			require.Equal(t, "a", send(t, b))
			require.EqualValues(t, 1, s.most.Load())
		})
	})
}
