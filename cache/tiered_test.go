package cache

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/cache/tiered"
)

// What came to the front by use is told in the order in which it was stored.
func TestTieredTellsTheNewestFirst(t *testing.T) {
	s := &tiered.Store{Front: &memory.Store{}, Back: &memory.Store{}}
	c := &Cache{Store: s}
	h := c.Wrap(newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: X-V")))
	for _, v := range []string{"1", "2", "3"} {
		get(h, page, "X-V: "+v)
	}
	require.NoError(t, s.Front.Walk(t.Context(), func(e store.Entry) bool { return s.Front.Remove(t.Context(), e) == nil }))
	for _, v := range []string{"2", "1", "3", "1", "2", "3"} {
		get(h, page, "X-V: "+v)
	}
	entries, err := s.Get(t.Context(), page)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Meta().Vary["X-V"]...)
	}
	require.Equal(t, []string{"3", "2", "1"}, got)
	front, err := s.Front.Get(t.Context(), page)
	require.NoError(t, err)
	require.True(t, slices.Contains(front, entries[0]), "by the front")
}

// A new variant does not make Tiered forget which ones are used.
func TestTieredKnowsWhatIsUsed(t *testing.T) {
	c := &Cache{MaxVariants: 3, Store: &tiered.Store{Front: &memory.Store{}, Back: &memory.Store{}}}
	o := newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: X-V"))
	h := c.Wrap(o)
	for _, v := range []string{"1", "2", "1", "3", "4"} {
		get(h, page, "X-V: "+v)
	}
	require.Equal(t, 4, o.count())
	get(h, page, "X-V: 1")
	require.Equal(t, 4, o.count())
}
