package backend

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStates has a row for each arrow of the drawing in the package comment.
func TestStates(t *testing.T) {
	down := errors.New("down")
	for name, tc := range map[string]struct {
		setup func(t *testing.T, b *Backend, m *memory)
		want  State
		log   string
	}{
		"starts usable": {func(t *testing.T, b *Backend, m *memory) {}, StateUsable, ""},
		"connect failed": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
		}, StateError, "usable>error "},
		"marked": {func(t *testing.T, b *Backend, m *memory) {
			b.MarkError(down)
		}, StateError, "usable>error "},
		"marked well": {func(t *testing.T, b *Backend, m *memory) {
			b.MarkError(down)
			b.MarkOK()
		}, StateUsable, "usable>error error>usable "},
		"answered without Retry": {func(t *testing.T, b *Backend, m *memory) {
			b.Retry = 0
			fail(t, b, m, down)
			c, err := b.Get(context.Background())
			require.NoError(t, err)
			c.Succeeded()
			c.Release(true)
		}, StateUsable, "usable>error error>usable "},
		"left alone": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(59 * time.Second)
			require.False(t, b.Usable(time.Now()))
			_, err := b.Get(context.Background())
			require.ErrorIs(t, err, ErrUnusable)
			require.Equal(t, err, b.Ready())
			var e *UnusableError
			require.ErrorAs(t, err, &e)
			require.Equal(t, time.Second, time.Until(e.Until))
			require.ErrorIs(t, e.Cause, down)
			require.NotErrorIs(t, err, down, "a cause of before is none of now")
		}, StateError, "usable>error "},
		"trial": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(time.Minute)
			require.True(t, b.Usable(time.Now()))
			_ = get(t, b)
			require.False(t, b.Usable(time.Now()), "one probes, and no other")
			_, err := b.Get(context.Background())
			require.ErrorIs(t, err, ErrUnusable)
		}, StateTrial, "usable>error error>trial "},
		"trial answered": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(time.Minute)
			get(t, b).Succeeded()
		}, StateUsable, "usable>error error>trial trial>usable "},
		"trial given back": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(time.Minute)
			get(t, b).Release(true)
		}, StateUsable, "usable>error error>trial trial>usable "},
		"trial failed": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(time.Minute)
			get(t, b).Release(false)
			_, err := b.Get(context.Background())
			require.ErrorIs(t, err, ErrUnusable, "the wait begins anew")
		}, StateError, "usable>error error>trial trial>error "},
		"trial cannot connect": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(time.Minute)
			fail(t, b, m, down)
		}, StateError, "usable>error error>trial trial>error "},
		"trial given up": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(time.Minute)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			m.slow = time.Hour
			_, err := b.Get(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.True(t, b.Usable(time.Now()), "the next may probe at once")
		}, StateError, "usable>error error>trial trial>error "},
		"trial broken off by the client": {func(t *testing.T, b *Backend, m *memory) {
			fail(t, b, m, down)
			time.Sleep(time.Minute)
			c := get(t, b)
			c.Blameless()
			c.Release(false)
			require.True(t, b.Usable(time.Now()), "the next may probe at once")
		}, StateError, "usable>error error>trial trial>error "},
		"trial beside an old connection": {func(t *testing.T, b *Backend, m *memory) {
			c := get(t, b)
			b.MarkError(down)
			c.Release(true)
			time.Sleep(time.Minute)
			require.False(t, get(t, b).Reused(), "whether the backend can be reached is the question")
		}, StateTrial, "usable>error error>trial "},
		"ignoring errors": {func(t *testing.T, b *Backend, m *memory) {
			b.SetFlags(IgnoreErrors, 0)
			fail(t, b, m, down)
			require.EqualValues(t, 1, b.Stats().Errors)
		}, StateUsable, ""},
		"never left alone": {func(t *testing.T, b *Backend, m *memory) {
			b.Retry = 0
			fail(t, b, m, down)
			require.True(t, b.Usable(time.Now()))
			fail(t, b, m, down)
			get(t, b).Succeeded()
			b.MarkOK()
		}, StateUsable, "usable>error error>usable "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, m := inMemory()
				defer b.Close()
				b.Retry = time.Minute
				log := ""
				b.OnStateChange = func(_ *Backend, from, to State, _ error) { log += fmt.Sprintf("%v>%v ", from, to) }
				tc.setup(t, b, m)
				require.Equal(t, tc.want, b.State())
				require.Equal(t, tc.log, log)
			})
		})
	}
}

// fail makes one connect fail.
func fail(t *testing.T, b *Backend, m *memory, err error) {
	t.Helper()
	m.setFail(err)
	_, got := b.Get(context.Background())
	require.ErrorIs(t, got, err)
	m.setFail(nil)
}

func TestAdministrativeFlags(t *testing.T) {
	b, _ := inMemory()
	defer b.Close()
	for _, f := range []Flags{Disabled, Stopped} {
		b.SetFlags(f, 0)
		require.Equal(t, f, b.Flags())
		require.False(t, b.Usable(time.Now()))
		_, err := b.Get(context.Background())
		require.ErrorIs(t, err, ErrUnusable)
		b.SetFlags(0, f)
	}
	b.SetFlags(Draining, 0)
	require.True(t, b.Usable(time.Now()), "draining is for a balancer to obey")
	get(t, b).Release(true)
}
