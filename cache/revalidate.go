package cache

import (
	"context"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// condition makes a flight's request one that validates what is stored for it,
// in place of the client's own conditions: RFC 9111 section 4.3.1. The origin is
// not asked about other variants: many give the same tag to all of them.
func (f *flight) condition(v *visit, l *lookup, plain bool) {
	h := f.out.Header
	if l.entry != nil {
		f.stale = &found{}
		*f.stale = l.found
		f.validates = !plain && (l.facts.ETag != "" || l.facts.LastModifiedText != "")
	}
	keepsRange := l.keepsRange(v)
	if !keepsRange {
		delete(h, "Range")
		delete(h, "If-Range")
	}
	if !plain && l.entry == nil && v.c.alone.has(v.loner()) {
		return // it is likely not stored: the client's conditions save the body
	}
	ifRange := h["If-Range"]
	rfc9111.DropConditions(h)
	if f.validates {
		rfc9111.SetValidation(h, l.facts)
	}
	if !plain && keepsRange && ifRange != nil {
		h["If-Range"] = ifRange
	}
}

// freshen brings the stored response that the origin was asked about up to date
// by a 304, and lets it answer: RFC 9111 section 4.3.4. It is false if the 304
// speaks of another.
func (f *flight) freshen(x *rfc9111.Transaction) bool {
	c, ctx, old := f.c, f.out.Context(), f.stale
	if !old.facts.ConfirmedBy(x.Header, f.received) {
		return false
	}
	m := c.freshened(old.meta, f.asked, x.Header, f.sent, f.received)
	f.storing.Lock()
	defer f.storing.Unlock()
	var err error
	switch why, gone := c.policy.MayFreshen(old.meta, x); {
	case gone:
		f.keep(old.entry)
		err = c.store.Remove(ctx, old.entry)
	case why == "" && !f.outOfDate(old.meta.Tags) && !f.outOfDate(m.Tags):
		err = c.store.Update(ctx, old.entry, m)
	}
	c.noted(ctx, "update", err)
	f.fresh = found{entry: old.entry, meta: rfc9111.AnswerAfter(m, rfc9111.CanonicalNames(f.header)), facts: rfc9111.ReadFacts(m, &c.policy)}
	f.fresh.Age, _ = f.fresh.facts.Age(f.received)
	f.fresh.TTL = f.fresh.facts.Lifetime - f.fresh.Age
	return true
}

// freshened is that of the policy, with the lifetime that the cache's own rules
// give a response which is now as told.
func (c *Cache) freshened(m *store.Meta, r *http.Request, h http.Header, requested, received time.Time) *store.Meta {
	n := c.policy.Freshened(m, r, h, requested, received)
	n.TTL = c.ttlOf(r, &rfc9111.Transaction{
		Status: n.Status, Header: n.Header, Response: rfc9111.ParseResponseDirectives(n.Header, c.policy.Targets), ResponseTime: received,
	})
	return n
}

// keep opens a response that is about to be taken out, while that can be done,
// for the leader, who may have it once more.
func (f *flight) keep(e store.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.hasClient {
		return
	}
	if body, err := e.Open(); err == nil {
		f.kept = body
	}
}

// openFresh returns the body of the response that a 304 made fresh.
func (v *visit) openFresh(f *flight) (store.Body, error) {
	f.mu.Lock()
	kept := f.kept
	f.kept = nil
	f.mu.Unlock()
	if kept != nil {
		return kept, nil
	}
	return v.open(&f.fresh)
}

// refresh validates a stored response that was used stale, in the background:
// RFC 5861 section 3. One such request is enough.
func (v *visit) refresh(l *lookup) {
	if f := v.background(l); f != nil {
		v.c.fly(f, func() { v.front.fetch(v, f) })
	}
}

// fly carries a flight out in the background.
func (c *Cache) fly(f *flight, do func()) {
	c.counters.fetches.Add(1)
	c.counters.background.Add(1)
	f.sent = time.Now()
	stop := context.AfterFunc(c.closing, f.cancel)
	c.tasks.Go(func() {
		defer f.cancel()
		defer stop()
		f.run(do)
		if f.panicked != nil && f.panicked != http.ErrAbortHandler {
			c.logPanic(f)
		}
	})
}

// background prepares a flight that nobody waits for, or nil if one is under
// way already.
func (v *visit) background(l *lookup) *flight {
	c := v.c
	if c.closing.Err() != nil {
		return nil
	}
	same := func(other *flight) bool {
		if other.out.Context().Err() != nil { // it was ended, but has not noticed yet
			return false
		}
		return other.likelyFor(v)
	}
	f, leads := c.flights.board(v.result.Key, same, func() *flight {
		ctx := exchange.Detached(v.r.Context())
		if c.BackgroundContext != nil {
			ctx = c.BackgroundContext(ctx)
		}
		f := v.newFlightIn(ctx, l, false, true)
		delete(f.out.Header, "Range")
		delete(f.out.Header, "If-Range")
		f.shared, f.behind, f.req = true, true, rfc9111.RequestDirectives{}
		return f
	})
	if !leads {
		return nil
	}
	f.mu.Lock()
	f.lingering = time.AfterFunc(c.lingers(), f.cancelIfIdle) // nobody ever waited for it
	f.mu.Unlock()
	return f
}
