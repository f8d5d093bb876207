package backend

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func getFor(t *testing.T, b *Backend, owner string) *Conn {
	t.Helper()
	c, err := b.GetFor(context.Background(), owner)
	require.NoError(t, err)
	return c
}

func TestOwnersDoNotShare(t *testing.T) {
	b, _ := inMemory()
	defer b.Close()
	ann := getFor(t, b, "ann")
	ann.Release(true)

	for _, owner := range []string{"", "bob"} {
		c := getFor(t, b, owner)
		require.NotSame(t, ann, c, "owner %q", owner)
		c.Release(true)
	}
	c := getFor(t, b, "ann")
	require.Same(t, ann, c)
	require.True(t, c.Reused())
	c.Release(true)

	c, err := b.GetFreshFor(context.Background(), "ann")
	require.NoError(t, err)
	require.NotSame(t, ann, c)
	c.Release(false)
}

// TestOwnerInLine: who waits for a connection is not handed another's, but the
// place of it.
func TestOwnerInLine(t *testing.T) {
	b, m := inMemory()
	b.MaxConns = 1
	defer b.Close()
	ann := getFor(t, b, "ann")
	got := make(chan *Conn)
	go func() {
		c, err := b.GetFor(context.Background(), "bob")
		if err != nil {
			close(got)
			return
		}
		got <- c
	}()
	require.Eventually(t, func() bool { return b.Stats().Waiting == 1 }, 10*time.Second, time.Millisecond)
	ann.Release(true)
	bob := <-got
	require.NotNil(t, bob)
	require.NotSame(t, ann, bob)
	require.EqualValues(t, 1, m.now.Load(), "connections open")
	bob.Release(true)
}

func TestOwnersMakeRoom(t *testing.T) {
	b, m := inMemory()
	b.MaxConns = 1
	getFor(t, b, "ann").Release(true)
	bob := getFor(t, b, "bob")
	require.EqualValues(t, 1, m.now.Load(), "connections open")
	bob.Release(false)
	require.NoError(t, b.Close())

	b, _ = inMemory()
	b.MaxIdle = 2
	defer b.Close()
	first, second, third := getFor(t, b, "1"), getFor(t, b, "2"), getFor(t, b, "3")
	first.Release(true)
	second.Release(true)
	third.Release(true)
	require.Nil(t, b.pool.take(Audience{owner: "1"}), "the longest idle made room")
	require.Same(t, third, getFor(t, b, "3"))
	require.Same(t, second, getFor(t, b, "2"))
	second.Release(false)
	third.Release(false)
}
