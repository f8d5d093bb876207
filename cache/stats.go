package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/backend"
)

// counters are the figures of a Cache.
type counters struct {
	hits, stale, collapsed, revalidated, misses, bypassed atomic.Int64
	fetches, background, stored, refused, broken          atomic.Int64
	invalidated, purged, lost                             atomic.Int64
}

// Stats are the figures of a Cache since it was made. They are read one after
// another, so that they may differ by what happened in between.
type Stats struct {
	Hits        int64 `json:"hits"`        // answered from the store, without asking
	Stale       int64 `json:"stale"`       // those of them, and of errors, that were out of date
	Collapsed   int64 `json:"collapsed"`   // answered with another request's fetch
	Revalidated int64 `json:"revalidated"` // answered from the store, after asking
	Misses      int64 `json:"misses"`      // answered by the origin
	Bypassed    int64 `json:"bypassed"`    // that the cache had no part in
	Fetches     int64 `json:"fetches"`     // requests to the origin that could be stored
	Background  int64 `json:"background"`  // those of them that no client waited for
	Stored      int64 `json:"stored"`      // answers that were stored
	Refused     int64 `json:"refused"`     // answers that may not be stored
	Broken      int64 `json:"broken"`      // answers that broke off, and were not stored
	Invalidated int64 `json:"invalidated"` // responses that a change made unusable
	Purged      int64 `json:"purged"`      // responses taken out by Purge and its kin
	Lost        int64 `json:"lost"`        // stored responses that could not be opened

	Store *store.Stats `json:"store,omitempty"` // nil if the Store has none
}

// Stats returns the figures.
func (c *Cache) Stats() Stats {
	c.setup()
	n := &c.counters
	s := Stats{
		Hits: n.hits.Load(), Stale: n.stale.Load(), Collapsed: n.collapsed.Load(), Revalidated: n.revalidated.Load(),
		Misses: n.misses.Load(), Bypassed: n.bypassed.Load(), Fetches: n.fetches.Load(), Background: n.background.Load(),
		Stored: n.stored.Load(), Refused: n.refused.Load(), Broken: n.broken.Load(),
		Invalidated: n.invalidated.Load(), Purged: n.purged.Load(), Lost: n.lost.Load(),
	}
	if m, ok := c.store.(store.Measured); ok {
		st := m.Stats()
		s.Store = &st
	}
	return s
}

// storeHealth remembers which operations of the store fail, so that a broken
// one does not fill the log. What is written fails or works as a whole: that a
// response can be begun says little.
type storeHealth struct {
	failing atomic.Int32 // how many
	ops     sync.Map     // by their names, each a *backend.Outage
}

// outage is that of an operation.
func (h *storeHealth) outage(op string) *backend.Outage {
	switch op {
	case "create", "write":
		op = "commit"
	}
	if o, known := h.ops.Load(op); known {
		return o.(*backend.Outage)
	}
	o, _ := h.ops.LoadOrStore(op, new(backend.Outage))
	return o.(*backend.Outage)
}

// storeFailed notes that an operation of the store failed. The request goes on
// without it.
func (c *Cache) storeFailed(ctx context.Context, op string, err error) {
	if errors.Is(err, store.ErrTooLarge) || errors.Is(err, context.Canceled) {
		return
	}
	if !c.health.outage(op).Failed() {
		return
	}
	c.health.failing.Add(1)
	if c.Logger != nil {
		c.Logger.LogAttrs(ctx, slog.LevelError, "cache: store failed", slog.String("op", op), slog.Any("error", err))
	}
}

// noted notes how an operation ended, and reports whether that was well.
func (c *Cache) noted(ctx context.Context, op string, err error) bool {
	if err != nil {
		c.storeFailed(ctx, op, err)
		return false
	}
	c.storeWorked(ctx, op)
	return true
}

// storeWorked notes that an operation works.
func (c *Cache) storeWorked(ctx context.Context, op string) {
	if c.health.failing.Load() == 0 {
		return
	}
	sums := c.health.outage(op).Over()
	if sums == nil {
		return
	}
	c.health.failing.Add(-1)
	if c.Logger != nil {
		c.Logger.LogAttrs(ctx, slog.LevelInfo, "cache: store works again", append([]slog.Attr{slog.String("op", op)}, sums...)...)
	}
}
