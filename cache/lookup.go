package cache

import (
	"context"
	"net/http"
	"time"
)

// found is a stored response and what may be done with it.
type found struct {
	entry Entry
	meta  *Meta
	facts *facts
	decision
}

// lookup is what the store has for a request.
type lookup struct {
	found             // the response to use; entry is nil without one
	entries []Entry   // all that is stored under the key
	fwd     forwarded // why there is none, or it may not be used
}

// look searches the store: RFC 9111 section 4.
func (c *Cache) look(ctx context.Context, v *visit, now time.Time) (l lookup) {
	entries, err := c.store.Get(ctx, v.key)
	if err != nil {
		c.storeFailed(ctx, "get", err)
		entries = nil
	} else {
		c.storeWorked(ctx, "get")
	}
	l.fwd = fwdURIMiss
	if len(entries) == 0 {
		return l
	}
	l.entries, l.fwd = entries, fwdVaryMiss
	best := -1
	if len(entries) == 1 {
		if v.serves(entries[0].Meta()) {
			best = 0
		}
	} else {
		best = c.chooseEntry(entries, v, false)
	}
	if best < 0 {
		return l
	}
	if len(entries) > 1 {
		entries[best].Meta().Chosen(now)
	}
	l.take(c, entries[best])
	if len(l.meta.Parts) > 0 && !l.partServes(v) {
		l.fwd = fwdPartial
		// A whole one, even of yesterday, is worth more than a part that does
		// not serve.
		if best = c.chooseEntry(entries, v, true); best < 0 {
			l.found = found{}
			return l
		}
		l.take(c, entries[best])
	}
	l.decision = c.policy.decide(l.facts, &v.req, now)
	switch {
	case l.verdict.usable():
	case l.reason == "stale" || l.reason == "invalidated":
		l.fwd = fwdStale
	default:
		l.fwd = fwdRequest
		if l.facts.directives.noCache || l.ttl <= 0 {
			l.fwd = fwdStale
		}
	}
	return l
}

// vary is what Vary said so far of what is stored under the key.
func (l *lookup) vary(p *policy) []string {
	for _, e := range l.entries {
		if f := p.factsOf(e.Meta()); len(f.vary) > 0 {
			return f.vary
		}
	}
	return nil
}

func (l *lookup) take(c *Cache, e Entry) {
	l.entry, l.meta = e, e.Meta()
	l.facts = c.policy.factsOf(l.meta)
}

// chooseEntry returns the place of the entry to use, or -1; of the whole ones
// only, if so wished.
func (c *Cache) chooseEntry(entries []Entry, v *visit, whole bool) int {
	var room [8]candidate
	candidates := room[:0]
	var places [8]int
	at := places[:0]
	for i, e := range entries {
		m := e.Meta()
		if whole && len(m.Parts) > 0 || toldOf(m) != v.told {
			continue
		}
		candidates = append(candidates, candidate{c.policy.factsOf(m), m.Vary})
		at = append(at, i)
	}
	if i := c.policy.choose(candidates, v.r); i >= 0 {
		return at[i]
	}
	return -1
}

// serves reports whether a stored response is for the request.
func (v *visit) serves(m *Meta) bool { return v.c.policy.serves(m, v.r, v.told) }

// partServes reports whether a response of which only parts are stored has all
// that a request asks for: RFC 9111 section 3.3.
func (l *lookup) partServes(v *visit) bool {
	if v.r.Method != http.MethodGet || l.facts.notModified(v.r.Header) {
		return v.r.Method == http.MethodGet
	}
	specs, ok := parseRange(v.r.Header)
	if !ok || !l.facts.ifRange(v.r.Header) {
		return false
	}
	_, _, ok = storedRanges(l.meta, specs)
	return ok
}
