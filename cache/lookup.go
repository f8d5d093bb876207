package cache

import (
	"context"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
)

// found is a stored response and what may be done with it.
type found struct {
	entry store.Entry
	meta  *store.Meta
	facts *rfc9111.Facts
	rfc9111.Decision
}

// lookup is what the store has for a request.
type lookup struct {
	found                     // the response to use; entry is nil without one
	entries []store.Entry     // all that is stored under the key
	fwd     rfc9111.Forwarded // why there is none, or it may not be used
}

// look searches the store: RFC 9111 section 4.
func (c *Cache) look(ctx context.Context, v *visit, now time.Time) (l lookup) {
	entries, err := c.store.Get(ctx, v.result.Key)
	if err != nil {
		c.storeFailed(ctx, "get", err)
		entries = nil
	} else {
		c.storeWorked(ctx, "get")
	}
	l.fwd = rfc9111.FwdURIMiss
	if len(entries) == 0 {
		return l
	}
	l.entries, l.fwd = entries, rfc9111.FwdVaryMiss
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
		l.fwd = rfc9111.FwdPartial
		// A whole one, even of yesterday, is worth more than a part that does
		// not serve.
		if best = c.chooseEntry(entries, v, true); best < 0 {
			l.found = found{}
			return l
		}
		l.take(c, entries[best])
	}
	l.Decision = c.policy.Decide(l.facts, &v.req, now)
	switch {
	case l.Verdict.Usable():
	case l.Reason == "stale" || l.Reason == "invalidated":
		l.fwd = rfc9111.FwdStale
	default:
		l.fwd = rfc9111.FwdRequest
		if l.facts.Directives.NoCache || l.TTL <= 0 {
			l.fwd = rfc9111.FwdStale
		}
	}
	return l
}

// vary is what Vary said so far of what is stored under the key.
func (l *lookup) vary(p *rfc9111.Policy) []string {
	for _, e := range l.entries {
		if f := p.FactsOf(e.Meta()); len(f.Vary) > 0 {
			return f.Vary
		}
	}
	return nil
}

func (l *lookup) take(c *Cache, e store.Entry) {
	l.entry, l.meta = e, e.Meta()
	l.facts = c.policy.FactsOf(l.meta)
}

// chooseEntry returns the place of the entry to use, or -1; of the whole ones
// only, if so wished.
func (c *Cache) chooseEntry(entries []store.Entry, v *visit, whole bool) int {
	var room [8]rfc9111.Candidate
	candidates := room[:0]
	var places [8]int
	at := places[:0]
	for i, e := range entries {
		m := e.Meta()
		if whole && len(m.Parts) > 0 || rfc9111.ToldOf(m) != v.told {
			continue
		}
		candidates = append(candidates, rfc9111.Candidate{Facts: c.policy.FactsOf(m), Vary: m.Vary})
		at = append(at, i)
	}
	if i := c.policy.Choose(candidates, v.r); i >= 0 {
		return at[i]
	}
	return -1
}

// serves reports whether a stored response is for the request.
func (v *visit) serves(m *store.Meta) bool { return v.c.policy.Serves(m, v.r, v.told) }

// partServes reports whether a response of which only parts are stored has all
// that a request asks for: RFC 9111 section 3.3.
func (l *lookup) partServes(v *visit) bool {
	if v.r.Method != http.MethodGet || l.facts.NotModified(v.r.Header) {
		return v.r.Method == http.MethodGet
	}
	specs, ok := rfc9111.ParseRange(v.r.Header)
	if !ok || !l.facts.IfRange(v.r.Header) {
		return false
	}
	_, _, ok = rfc9111.StoredRanges(l.meta, specs)
	return ok
}
