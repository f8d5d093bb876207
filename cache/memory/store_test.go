package memory

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// keep stores a response of n bytes.
func keep(t testing.TB, s store.Store, key string, n int) {
	keepMeta(t, s, &store.Meta{Key: key, Status: 200, Length: int64(n)})
}

func keepMeta(t testing.TB, s store.Store, m *store.Meta) {
	w, err := s.Create(context.Background(), m)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, m.Length))
	require.NoError(t, err)
	require.NoError(t, w.Commit(m))
}

func has(s store.Store, key string) bool {
	entries, _ := s.Get(context.Background(), key)
	return len(entries) > 0
}

func TestMemoryStaysWithinItsBudget(t *testing.T) {
	s := &Store{MaxBytes: 1 << 20, MaxEntry: 1 << 19}
	for i := range 2000 {
		keepMeta(t, s, &store.Meta{
			Key: "k" + strconv.Itoa(i), Status: 200, Length: int64(i % 5000), Header: http.Header{"X-Long": {strings.Repeat("x", 1000)}},
		})
		st := s.Stats()
		require.LessOrEqual(t, st.Bytes, st.MaxBytes)
	}
	st := s.Stats()
	require.NotZero(t, st.Evictions)
	require.Greater(t, st.Bytes, st.MaxBytes*3/4)
	entries := 0
	var bytes int64
	require.NoError(t, s.Walk(context.Background(), func(e store.Entry) bool {
		entries++
		bytes += cost(e.Meta(), e.Size())
		return true
	}))
	require.Equal(t, st.Entries, int64(entries))
	require.Equal(t, st.Bytes, bytes, "the reckoning is that of what is there")
}

func TestMemoryCountsWhatIsBeingStored(t *testing.T) {
	s := &Store{MaxBytes: 1 << 20, MaxEntry: 1 << 20}
	keep(t, s, "a", 300<<10)
	w, err := s.Create(t.Context(), &store.Meta{Key: "b", Length: -1})
	require.NoError(t, err)
	for range 7 {
		_, err = w.Write(make([]byte, 100<<10))
		require.NoError(t, err)
	}
	require.False(t, has(s, "a"), "it gave way while b was written")
	_, err = w.Write(make([]byte, 600<<10))
	require.ErrorIs(t, err, store.ErrTooLarge)
	w.Abort()
	require.Zero(t, s.Stats().Bytes)
	_, err = s.Create(t.Context(), &store.Meta{Length: 2 << 20})
	require.ErrorIs(t, err, store.ErrTooLarge)
}

func TestMemoryReadersOutliveEviction(t *testing.T) {
	s := &Store{MaxBytes: 100 << 10, MaxEntry: 100 << 10}
	keep(t, s, "a", 50<<10)
	entries, _ := s.Get(t.Context(), "a")
	body, err := entries[0].Open()
	require.NoError(t, err)
	for i := range 10 {
		keep(t, s, strconv.Itoa(i), 60<<10)
	}
	require.False(t, has(s, "a"))
	n, err := io.Copy(io.Discard, body)
	require.NoError(t, err)
	require.Equal(t, int64(50<<10), n)
}

// What is wanted again and again stays while a crawler reads everything once.
func TestMemoryResistsScans(t *testing.T) {
	s := &Store{MaxBytes: 4 << 20}
	for i := range 100 {
		keep(t, s, "hot"+strconv.Itoa(i), 10<<10)
	}
	for i := range 5000 {
		require.True(t, has(s, "hot"+strconv.Itoa(i%100)), "%d", i)
		keep(t, s, "cold"+strconv.Itoa(i), 10<<10)
	}
}

// With requests as they usually are, about as many hit as with the best choice
// that does not know the future: the most popular all the time.
func TestMemoryHitRatio(t *testing.T) {
	const pages, room, asked = 10000, 1000, 200000
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, 1.1, 1, pages-1)
	s := &Store{MaxBytes: room * (1000 + cost(&store.Meta{Key: "0000"}, 0)), MaxEntry: 1 << 20}
	hits, best := 0, 0
	for range asked {
		p := zipf.Uint64()
		if p < room {
			best++
		}
		if key := fmt.Sprintf("%04d", p); has(s, key) {
			hits++
		} else {
			keep(t, s, key, 1000)
		}
	}
	t.Logf("%.3f of %.3f", float64(hits)/asked, float64(best)/asked)
	require.Greater(t, float64(hits), 0.93*float64(best))
}

func TestMemoryAtOnce(t *testing.T) {
	s := &Store{MaxBytes: 256 << 10}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 0))
			for range 2000 {
				key := strconv.Itoa(rng.IntN(50))
				entries, _ := s.Get(context.Background(), key)
				switch n := rng.IntN(10); {
				case len(entries) == 0 || n == 0:
					keep(t, s, key, 1+rng.IntN(10<<10))
				case n == 1:
					_ = s.Remove(context.Background(), entries[0])
				case n == 2:
					m := entries[0].Meta().Clone()
					m.Tags = []string{key}
					_ = s.Update(context.Background(), entries[0], m)
				default:
					body, _ := entries[0].Open()
					got, _ := io.Copy(io.Discard, body)
					if got != entries[0].Size() {
						t.Error(got)
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Walk(context.Background(), func(e store.Entry) bool { return s.Remove(context.Background(), e) == nil }))
	require.Zero(t, s.Stats().Bytes)
	require.Zero(t, s.Stats().Entries)
	require.Empty(t, s.tags)
	require.Nil(t, s.oldest)
	require.Nil(t, s.hand)
}

// However responses with tags come and go, each list holds those that are there.
func TestMemoryTagsAreThoseOfWhatIsThere(t *testing.T) {
	s, ctx := &Store{MaxBytes: 40 << 10}, t.Context()
	rng := rand.New(rand.NewPCG(1, 1))
	tags := []string{"a", "b", "c"}
	for range 3000 {
		key := strconv.Itoa(rng.IntN(30))
		some := slices.Clone(tags[rng.IntN(4):])
		entries, _ := s.Get(ctx, key)
		switch {
		case len(entries) == 0 || rng.IntN(3) == 0:
			keepMeta(t, s, &store.Meta{Key: key, Status: 200, Length: 500, Tags: append(some, "all", "all")})
		case rng.IntN(2) == 0:
			require.NoError(t, s.Remove(ctx, entries[0]))
		default:
			m := entries[0].Meta().Clone()
			m.Tags = some
			require.NoError(t, s.Update(ctx, entries[0], m))
		}
		for _, tag := range append(tags, "all") {
			want, list := map[store.Entry]bool{}, map[store.Entry]bool{}
			require.NoError(t, s.Walk(ctx, func(e store.Entry) bool {
				if slices.Contains(e.Meta().Tags, tag) {
					want[e] = true
				}
				return true
			}))
			got, err := s.Tagged(ctx, tag)
			require.NoError(t, err)
			for _, e := range got {
				list[e] = true
			}
			require.Equal(t, len(want), len(list))
			for e := range want {
				require.True(t, list[e])
			}
		}
	}
}
