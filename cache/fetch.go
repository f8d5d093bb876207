package cache

import (
	"context"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// board joins a flight for the same thing, or begins one, and reports whether
// the request leads it. It is nil when a lock is held and what is stored will
// do.
func (v *visit) board(l *lookup, alone, plain bool) (*flight, bool) {
	c := v.c
	if c.Collapse == CollapseLock && !plain {
		unlock := c.locks.take(c, v.result.Key+v.told)
		if unlock == nil && l.entry != nil && l.facts.MayBeStale() && !(v.req.NoCache && !c.IgnoreCacheControl) {
			return nil, false
		}
		f := v.newFlight(l, plain)
		f.unlock, f.locked = unlock, unlock == nil
		return c.flights.add(f), true
	}
	if alone || c.Collapse != CollapseStream || !v.mayShare(l) {
		return c.flights.add(v.newFlight(l, plain)), true
	}
	now := time.Now()
	return c.flights.board(v.result.Key, func(other *flight) bool {
		return v.fits(other, now) && other.enter()
	}, func() *flight {
		f := v.newFlight(l, plain)
		f.shared = true
		return f
	})
}

// mayShare reports whether what a request gets may also be for others, by what
// is known before it is sent.
func (v *visit) mayShare(l *lookup) bool {
	c := v.c
	switch {
	case v.req.NoStore && !c.IgnoreCacheControl, l.keepsRange(v), rfc9111.TooHeavy(l.vary(&c.policy), v.r):
		return false
	case l.entry != nil && (l.facts.Directives.NoCache || l.facts.Lifetime <= 0):
		return false // each request has to ask
	}
	return !c.alone.has(v.loner())
}

// loner is what is remembered if the answer was for one client only. Those who
// show credentials do not speak for the others.
func (v *visit) loner() loner { return loner{v.result.Key, v.told, v.c.isOfUser(v.r)} }

// isOfUser reports whether the origin may know who asks: the client shows it, or
// was verified before the cache (access.WithUser), as by a session or a certificate.
// That of a forward proxy is no affair of the origin's, and a Key may name the user.
func (c *Cache) isOfUser(r *http.Request) bool {
	ctx := r.Context()
	return rfc9111.HasCredentials(r) || c.Key == nil && access.User(ctx) != "" && !access.Admitted(ctx)
}

// keepsRange reports whether the origin is asked for the client's range only.
func (l *lookup) keepsRange(v *visit) bool {
	return v.r.Method == http.MethodGet && len(v.r.Header["Range"]) > 0 && (l.entry == nil || len(l.meta.Parts) > 0)
}

// fits reports whether a request may wait for another's flight; the table is
// locked.
func (v *visit) fits(f *flight, now time.Time) bool {
	if v.req.NoCache && !v.c.IgnoreCacheControl {
		return false
	}
	if f.isDecided() {
		return f.outcome == outcomeStored && v.joins(f, now)
	}
	return f.likelyFor(v)
}

// joins reports whether a flight's answer is for this request too: it is one
// that could be used if it were stored already.
func (v *visit) joins(f *flight, now time.Time) bool {
	p := &v.c.policy
	if f.status == http.StatusPartialContent || !v.serves(f.meta) {
		return false
	}
	d := p.Decide(f.facts, &v.req, now)
	if d.Verdict != rfc9111.UseFresh && d.Verdict != rfc9111.UseStale {
		return false
	}
	return f.rangesInSight(v.r)
}

// rangesInSight reports whether the ranges of a request, if it has any, can be
// sent without waiting for much that comes before them.
func (f *flight) rangesInSight(r *http.Request) bool {
	if len(r.Header["Range"]) == 0 || f.status != http.StatusOK {
		return true
	}
	specs, ok := rfc9111.ParseRange(r.Header)
	if !ok {
		return true
	}
	if f.meta.Length < 0 {
		return false
	}
	parts, _ := rfc9111.Resolve(specs, f.meta.Length)
	here := f.body.length()
	for _, p := range parts {
		if p.Start > here+windowSize {
			return false
		}
	}
	return true
}

// newFlight prepares a request to the origin. plain sends it without conditions
// of ours.
func (v *visit) newFlight(l *lookup, plain bool) *flight {
	ctx := v.r.Context()
	if v.leaves {
		ctx = exchange.Detached(ctx)
	}
	f := v.newFlightIn(ctx, l, plain, v.leaves)
	f.interested = 1 // who leads it, before others come and go
	return f
}

// newFlightIn is newFlight for nobody yet. What outlives the request holds on to
// nothing of it, since that is its owner's again.
func (v *visit) newFlightIn(ctx context.Context, l *lookup, plain, outlives bool) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{
		c: v.c, key: v.result.Key, place: v.told, loner: v.loner(), asked: v.r, req: v.req, leader: v.r.Context(),
		cancel: cancel, decided: make(chan struct{}), ended: make(chan struct{}),
	}
	ctx, f.own = exchange.CollectOwnFields(v.sending(ctx))
	f.out = v.r.WithContext(ctx)
	f.out.Method = http.MethodGet
	if outlives {
		u := *v.r.URL
		f.out.URL = &u
		asked := *f.out
		asked.Header = v.r.Header.Clone()
		f.asked = &asked
	}
	f.out.Header = v.r.Header.Clone()
	f.vary = l.vary(&v.c.policy)
	f.values = rfc9111.VaryValues(f.vary, f.asked)
	f.condition(v, l, plain)
	return f
}

// lead sends a flight's request off and answers with what comes of it. It is
// errandAgain if the origin has to be asked once more.
func (v *visit) lead(f *flight, l *lookup) (do errand) {
	f.client, f.hasClient = v.w, true
	v.result.forwarded, v.result.Reason = l.fwd, l.why()
	v.c.counters.fetches.Add(1)
	f.sent = time.Now()
	if v.leaves {
		v.takeOff(f)
	} else {
		defer f.cancel()
		go f.run(func() { v.front.fetch(v, f) })
	}
	left := false
	select {
	case <-f.decided:
	case <-v.r.Context().Done():
		left = f.dismiss()
	}
	if left {
		f.leaves()
	} else {
		do = v.answer(f)
	}
	if v.leaves {
		return do
	}
	<-f.ended // the request, and what its context holds, are the handler's
	if f.panicked != nil && !left {
		panic(f.panicked)
	}
	return do
}

// takeOff carries out a flight that may go on without the request that leads it.
func (v *visit) takeOff(f *flight) {
	c := v.c
	stop := context.AfterFunc(c.closing, f.cancelIfIdle)
	c.tasks.Go(func() {
		defer f.cancelUnlessLent()
		defer stop()
		f.run(func() { v.front.fetch(v, f) })
		if f.panicked != nil {
			c.logPanic(f)
		}
	})
}

// why says in words why a request went on.
func (l *lookup) why() string {
	switch {
	case l.Reason == "stale":
		return "stale in the cache"
	case l.Reason != "":
		return l.Reason
	case l.fwd == rfc9111.FwdVaryMiss:
		return "another variant than those in the cache"
	case l.fwd == rfc9111.FwdPartial:
		return "not all of it in the cache"
	}
	return "not in the cache"
}

// dismiss notes that the leader's client has left. It is false if the answer is
// the leader's already, so that it has to stay.
func (f *flight) dismiss() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.directing || f.lent {
		f.cancel()
		return false
	}
	f.client, f.hasClient = nil, false
	if f.leads != nil {
		_ = f.leads.Close()
	}
	if f.kept != nil {
		_ = f.kept.Close()
		f.kept = nil
	}
	return true
}

// answer gives the leader what its flight has brought, and leaves it.
func (v *visit) answer(f *flight) errand {
	c, res := v.c, &v.result
	if f.outcome == outcomeStored {
		v.countStored(f)
		v.sendStream(f, f.leadsMeta(), f.leads)
		return errandDone
	}
	defer f.leaves()
	switch f.outcome {
	case outcomeFreshened:
		body, err := v.openFresh(f)
		if err != nil {
			return errandAgain
		}
		c.counters.revalidated.Add(1)
		res.Outcome, res.Age, res.TTL, res.forwardedStatus = OutcomeRevalidated, f.fresh.Age, f.fresh.TTL, uint16(f.status)
		res.Reason = "still the same, says the origin"
		v.sendFound(&f.fresh, body)
	case outcomeStale:
		res.forwardedStatus = uint16(f.status)
		if !v.serveStale(f.stale, "stale, because the origin failed") {
			return errandAgain
		}
	case outcomeAgain:
		return errandAgain
	default:
		<-f.ended // and nobody ends it by leaving
		v.front.own(v, f)
	}
	return errandDone
}

// countOwn notes that the answer of the origin is for the leader alone.
func (v *visit) countOwn(f *flight) {
	v.c.counters.misses.Add(1)
	v.result.Outcome, v.result.forwardedStatus = OutcomeMiss, uint16(f.status)
	v.result.NotStored = f.why.Word(f.status)
	if f.why != "" {
		v.result.Reason = string(f.why)
	}
}

// countStored notes that the answer of the origin is being stored.
func (v *visit) countStored(f *flight) {
	v.c.counters.misses.Add(1)
	res := &v.result
	res.Outcome, res.Stored, res.forwardedStatus = OutcomeMiss, true, uint16(f.status)
	res.TTL = f.facts.Lifetime - f.facts.InitialAge
}

// leadsMeta is what the leader gets: every field of the answer.
func (f *flight) leadsMeta() *store.Meta {
	return &store.Meta{Status: f.meta.Status, Header: f.header, Length: f.meta.Length, Parts: f.meta.Parts}
}

// waited is how waiting for another's flight ended.
type waited uint8

const (
	waitCancelled waited = iota // the client has left
	waitAgain                   // look again
	waitAlone                   // it is of no use
	waitStale                   // the origin failed: what is stored will do
	waitFollow                  // its answer is for us too
)

// wait waits until a flight is decided.
func (v *visit) wait(f *flight, l *lookup) waited {
	c, ctx := v.c, v.r.Context()
	v.late = f.isDecided()
	var late <-chan time.Time
	if c.LockMaxAge > 0 {
		t := time.NewTimer(c.LockMaxAge)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-f.decided:
	case <-ctx.Done():
		return waitCancelled
	case <-late:
		return waitAlone
	}
	now := time.Now()
	switch f.outcome {
	case outcomeStored:
		switch {
		case v.joins(f, now):
			return waitFollow
		case !v.serves(f.meta):
			return waitAgain // somebody may fetch our variant
		}
	case outcomeFreshened, outcomeAgain, outcomeNone:
		return waitAgain
	case outcomeDirect:
		if f.retry {
			return waitAgain
		}
	case outcomeStale:
		if l.entry != nil && c.policy.MayAnswerError(l.facts, &v.req, now) {
			l.Age, _ = l.facts.Age(now)
			l.TTL = l.facts.Lifetime - l.Age
			return waitStale
		}
	}
	return waitAlone
}

// await waits for another's flight, answers with it if that may be, and leaves
// it.
func (v *visit) await(f *flight, l *lookup) errand {
	how := v.wait(f, l)
	if how == waitFollow {
		if r := f.body.reader(v.r.Context()); r != nil {
			v.countFollow(f, time.Now())
			v.sendStream(f, f.meta, r)
			return errandDone
		}
		if f.body.complete() {
			how = waitAgain // it came too late to read along, but not alone
		}
	}
	defer f.leaves()
	switch how {
	case waitCancelled:
		return errandDone
	case waitAgain:
		return errandAgain
	case waitStale:
		if v.serveStale(&l.found, "stale, because the origin failed") {
			return errandDone
		}
		return errandAgain
	}
	return errandAlone
}

// countFollow notes that a request is answered with what another fetches.
func (v *visit) countFollow(f *flight, now time.Time) {
	d := v.c.policy.Decide(f.facts, &v.req, now)
	res := &v.result
	res.Age, res.TTL = d.Age, d.TTL
	if v.late { // it did not wait for the origin
		res.Outcome, res.Collapsed = OutcomeHit, true
		res.Reason = "in the cache, though perhaps not all of it yet"
		v.c.counters.hits.Add(1)
		return
	}
	v.countCollapsed()
}

// countCollapsed notes that a request is answered with what another has fetched
// while it waited.
func (v *visit) countCollapsed() {
	res := &v.result
	res.Outcome, res.Collapsed = OutcomeMiss, true
	res.forwarded, res.Reason = rfc9111.FwdURIMiss, "with the answer to another request"
	v.c.counters.collapsed.Add(1)
}
