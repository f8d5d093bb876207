package cache

import (
	"context"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/proxy"
)

// maxOffered is how many stored responses one request asks about.
const maxOffered = 8

// condition makes a flight's request one that validates what is stored, in
// place of the client's own conditions: RFC 9111 section 4.3.1.
func (f *flight) condition(v *visit, l *lookup, plain bool) {
	h := f.out.Header
	if l.entry != nil {
		f.stale = &found{}
		*f.stale = l.found
	}
	if !l.keepsRange(v) {
		delete(h, "Range")
		delete(h, "If-Range")
	}
	if plain {
		dropConditions(h)
		return
	}
	f.offer(v, l)
	if len(f.offered) > 0 {
		ifRange := h["If-Range"]
		all := make([]*facts, len(f.offered))
		for i := range f.offered {
			all[i] = f.offered[i].facts
		}
		setValidation(h, all)
		if len(h["Range"]) > 0 && ifRange != nil {
			h["If-Range"] = ifRange
		}
		return
	}
	if v.c.alone.has(v.key) && l.entry == nil {
		return // it is likely not stored: the client's conditions save the body
	}
	ifRange := h["If-Range"]
	dropConditions(h)
	if len(h["Range"]) > 0 && ifRange != nil {
		h["If-Range"] = ifRange
	}
}

// offer chooses what the origin is asked about: the response that would answer,
// and the other variants, of which it may say that one of them does.
func (f *flight) offer(v *visit, l *lookup) {
	if l.entry != nil && l.facts.validates() {
		f.offered = append(f.offered, l.found)
	}
	if l.keepsRange(v) {
		return
	}
	for _, e := range l.entries {
		m := e.Meta()
		if e == l.entry || len(m.Parts) > 0 || len(f.offered) == maxOffered {
			continue
		}
		if facts := m.factsBy(&v.c.policy); facts.etag != "" && m.Status == http.StatusOK {
			f.offered = append(f.offered, found{entry: e, meta: m, facts: facts})
		}
	}
}

// validates reports whether there is something to ask the origin about.
func (f *facts) validates() bool { return f.etag != "" || f.lastModifiedText != "" }

// freshen brings every stored response that a 304 selects up to date, and
// chooses the one that answers: RFC 9111 section 4.3.4. It is false if it
// selects none.
func (f *flight) freshen(x *exchange) bool {
	c, ctx := f.c, f.out.Context()
	all := make([]*facts, len(f.offered))
	for i := range f.offered {
		all[i] = f.offered[i].facts
	}
	f.storing.Lock()
	defer f.storing.Unlock()
	for _, i := range selectedBy(x.header, all, f.received) {
		old := f.offered[i]
		m := c.freshened(old.meta, f.out, f.in, x.header, f.sent, f.received)
		chosen := f.fresh.entry == nil || c.answers(&old, f)
		why, gone := c.policy.mayFreshen(old.meta, x)
		if gone && chosen {
			f.keep(old.entry)
		}
		err := error(nil)
		switch {
		case gone:
			err = c.store.Remove(ctx, old.entry)
		case why == "" && !f.purged:
			err = c.store.Update(ctx, old.entry, m)
		}
		c.noted(ctx, "update", err)
		if !chosen {
			continue
		}
		f.fresh = found{entry: old.entry, meta: answerAfter(m, x.header), facts: readFacts(m, &c.policy)}
		f.fresh.age, _ = f.fresh.facts.age(f.received)
		f.fresh.ttl = f.fresh.facts.lifetime - f.fresh.age
	}
	return f.fresh.entry != nil
}

// keep opens a response that is about to be taken out, while that can be done,
// for the leader, who may have it once more.
func (f *flight) keep(e Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.hasClient {
		return
	}
	if f.kept != nil {
		_ = f.kept.Close()
		f.kept = nil
	}
	if body, err := e.Open(); err == nil {
		f.kept = body
	}
}

// openFresh returns the body of the response that a 304 made fresh.
func (v *visit) openFresh(f *flight) (Body, error) {
	f.mu.Lock()
	kept := f.kept
	f.kept = nil
	f.mu.Unlock()
	if kept != nil {
		return kept, nil
	}
	return v.open(&f.fresh)
}

// answers reports whether a stored response matches a flight's request.
func (c *Cache) answers(s *found, f *flight) bool {
	return c.policy.matches(s.facts, s.meta.Vary, f.in)
}

// refresh validates a stored response that was used stale, in the background:
// RFC 5861 section 3. One such request is enough.
func (h *handler) refresh(v *visit, l *lookup) {
	if f := v.background(l); f != nil {
		v.c.fly(f, func() { h.fetch(f, v) })
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
		return len(l.facts.vary) == 0 || c.policy.matches(l.facts, v.r.Header, other.in)
	}
	f, leads := c.flights.board(v.key, same, func() *flight {
		ctx := proxy.Detached(v.r.Context())
		if c.BackgroundContext != nil {
			ctx = c.BackgroundContext(ctx)
		}
		f := v.newFlightIn(ctx, l, false, true)
		delete(f.out.Header, "Range")
		delete(f.out.Header, "If-Range")
		f.shared, f.behind, f.req = true, true, requestDirectives{}
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
