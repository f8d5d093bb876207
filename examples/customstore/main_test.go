package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/cachetest"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRun: with a share of its own, a page outlives the other site's readers; in
// one store for all it does not.
func TestRun(t *testing.T) {
	small := func() store.Store { return &memory.Store{MaxBytes: 1 << 20} }
	var out bytes.Buffer
	require.NoError(t, run(&out, &Shares{Hosts: map[string]store.Store{"docs.example": small()}, Rest: small()}))
	require.Equal(t, "200 MISS from cache\n200 HIT from cache\n200 HIT from cache\n", out.String())
	out.Reset()
	require.NoError(t, run(&out, small()))
	require.Equal(t, "200 MISS from cache\n200 HIT from cache\n200 MISS from cache\n", out.String())
}

// TestShares: whatever the store of a key is, the whole keeps what a store.Store
// promises.
func TestShares(t *testing.T) {
	require.NoError(t, cachetest.TestStore(func() (store.Store, error) {
		return &Shares{Hosts: map[string]store.Store{"example.org": &memory.Store{}, "example.com": &memory.Store{}}, Rest: &memory.Store{}}, nil
	}, cachetest.Claims{BigBody: 1 << 20, Rounds: 50}))
}

// TestWalk: what is in any of the stores is found, and so purged.
func TestWalk(t *testing.T) {
	c := &cache.Cache{Store: &Shares{Hosts: map[string]store.Store{"a.example": &memory.Store{}, "b.example": &memory.Store{}}, Rest: &memory.Store{}}}
	h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", "max-age=600") }))
	for _, host := range []string{"a.example", "B.example", "b.example:8080"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://"+host+"/", nil))
	}
	seen := 0
	require.NoError(t, c.Walk(t.Context(), func(store.Entry) bool { seen++; return false }))
	require.Equal(t, 1, seen)
	n, err := c.PurgePrefix(t.Context(), "http://b.example", cache.PurgeRemove)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = c.PurgeAll(t.Context(), cache.PurgeRemove)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
