package tiered_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/cache/tiered"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const page = "http://example.org/page"

// varying puts a cache in front of a page that varies by X-V, and returns what
// asks for it, and how often the origin was asked.
func varying(c *cache.Cache) (ask func(v string), asked *int) {
	asked = new(int)
	h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*asked++
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-V")
		_, _ = io.WriteString(w, "x")
	}))
	return func(v string) {
		r := httptest.NewRequest(http.MethodGet, page, nil)
		r.Header.Set("X-V", v)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}, asked
}

// What came to the front by use is told in the order in which it was stored.
func TestNewestFirst(t *testing.T) {
	s := &tiered.Store{Front: &memory.Store{}, Back: &memory.Store{}}
	ask, _ := varying(&cache.Cache{Store: s})
	for _, v := range []string{"1", "2", "3"} {
		ask(v)
	}
	require.NoError(t, s.Front.Walk(t.Context(), func(e store.Entry) bool { return s.Front.Remove(t.Context(), e) == nil }))
	for _, v := range []string{"2", "1", "3", "1", "2", "3"} {
		ask(v)
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

// A new variant does not make the store forget which ones are used.
func TestKnowsWhatIsUsed(t *testing.T) {
	ask, asked := varying(&cache.Cache{MaxVariants: 3, Store: &tiered.Store{Front: &memory.Store{}, Back: &memory.Store{}}})
	for _, v := range []string{"1", "2", "1", "3", "4"} {
		ask(v)
	}
	require.Equal(t, 4, *asked)
	ask("1")
	require.Equal(t, 4, *asked)
}
