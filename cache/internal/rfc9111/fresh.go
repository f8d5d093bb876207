package rfc9111

import (
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// Facts is what the rules need of a stored response, read once from its Meta
// and kept beside it, so that no hit parses a header.
type Facts struct {
	Directives responseDirectives
	freshness

	InitialAge time.Duration // corrected_initial_age
	received   time.Time     // Meta.ResponseTime
	date       time.Time     // Date, or received where there is none

	lastModified     time.Time // zero: none, or none that can be read
	LastModifiedText string    // as it was sent; "" with none that can be read
	ETag             string    // the whole tag as it was sent; "" without a valid one

	Vary []string // nominated fields in canonical form, sorted, each once

	status  int
	invalid bool // Meta.Invalid
}

// workedFacts are facts by the rules of one policy, as Meta keeps them.
type workedFacts struct {
	policy *Policy
	facts  Facts
}

// FactsOf returns the facts of a stored response, whose Meta must not change any
// more.
func (p *Policy) FactsOf(m *store.Meta) *Facts {
	if w, ok := m.Memo().(*workedFacts); ok && w.policy == p {
		return &w.facts
	}
	return p.workOut(m)
}

func (p *Policy) workOut(m *store.Meta) *Facts {
	w := &workedFacts{policy: p}
	w.facts.read(m, p)
	m.SetMemo(w)
	return &w.facts
}

// ReadFacts reads the header of a stored response.
func ReadFacts(m *store.Meta, p *Policy) *Facts {
	f := new(Facts)
	f.read(m, p)
	return f
}

func (f *Facts) read(m *store.Meta, p *Policy) {
	f.status, f.invalid, f.received = m.Status, m.Invalid, m.ResponseTime
	f.Directives = ParseResponseDirectives(m.Header, p.Targets)
	f.freshness = p.lifetimeOf(&f.Directives, m.Status, m.Header, m.ResponseTime)
	if m.TTL != nil {
		f.freshness = freshness{*m.TTL, lifeOverride}
	}
	f.InitialAge = initialAge(m.Header, m.RequestTime, m.ResponseTime)
	f.date = m.ResponseTime
	if t, ok := oneDate(m.Header["Date"], m.ResponseTime); ok {
		f.date = t
	}
	if t, ok := oneDate(m.Header["Last-Modified"], m.ResponseTime); ok {
		f.lastModified, f.LastModifiedText = t, m.Header["Last-Modified"][0]
	}
	f.ETag = oneETag(m.Header["Etag"])
	f.Vary, _ = Nominated(m.Header["Vary"])
}

// verdict is what may be done with a stored response.
type verdict uint8

const (
	// mustValidate: not without asking the origin.
	mustValidate verdict = iota
	// useFresh: it is fresh.
	UseFresh
	// useStale: it is stale, but the client takes it so.
	UseStale
	// useWhileRevalidating: it is stale, but may be used while it is validated
	// in the background. RFC 5861 section 3.
	UseWhileRevalidating
)

// Usable reports whether the response may be sent at once.
func (v verdict) Usable() bool { return v != mustValidate }

// Decision is a verdict and the numbers behind it.
type Decision struct {
	Verdict verdict
	Age     time.Duration // current_age
	TTL     time.Duration // lifetime that is left; negative when stale
	Reason  string        // why it must be validated
}

// clockSlack is how far the clock may be behind a response's arrival before the
// age is not believed any more.
const clockSlack = time.Minute

// Age is current_age of RFC 9111 section 4.2.3. It is not known when the clock
// was put back behind the arrival.
func (f *Facts) Age(now time.Time) (age time.Duration, known bool) {
	resident := now.Sub(f.received)
	return addTime(f.InitialAge, max(resident, 0)), resident >= -clockSlack
}

// Decide tells what may be done with a stored response that was chosen for a
// request: RFC 9111 sections 4 and 5.2.1.
func (p *Policy) Decide(f *Facts, req *RequestDirectives, now time.Time) Decision {
	age, known := f.Age(now)
	d := Decision{Age: age, TTL: f.Lifetime - age}
	switch {
	case f.invalid:
		d.Reason = "invalidated"
	case !known:
		d.Reason = "the clock was put back"
	case f.Directives.NoCache:
		d.Reason = "no-cache in the response"
	case req.NoCache && !p.IgnoreCacheControl:
		d.Reason = "no-cache in the request"
	default:
		d.Verdict, d.Reason = f.weigh(req, age, d.TTL, p)
	}
	return d
}

// weigh compares the lifetime that is left with what the client wants.
func (f *Facts) weigh(req *RequestDirectives, age, ttl time.Duration, p *Policy) (verdict, string) {
	want := ttl // what is left by the client's measure
	tooOld := false
	// immutable: a mere reload of what is fresh needs no validation, RFC 8246
	// section 2.
	if req.maxAge.given() && !(f.Directives.immutable && ttl > 0) {
		left := req.maxAge.duration() - age
		tooOld = left < 0 || req.maxAge.duration() == 0
		want = min(want, left)
	}
	freshEnough := ttl > 0 && !tooOld
	if req.minFresh.given() && (!req.minFresh.valid() || ttl < req.minFresh.duration()) {
		return mustValidate, "min-fresh in the request"
	}
	if freshEnough {
		return UseFresh, ""
	}
	if (ttl > 0 || f.MayBeStale()) && req.takesStale(-want) {
		return UseStale, ""
	}
	if tooOld {
		return mustValidate, "max-age in the request"
	}
	if w := p.staleWindow(f.Directives.staleWhileRevalidate, p.StaleWhileRevalidate); w > 0 && f.mayBeStaleFor(p) && -ttl <= w {
		return UseWhileRevalidating, ""
	}
	return mustValidate, "stale"
}

// staleWindow is how long a response may be used after it became stale: what it
// tells, or else what the cache adds.
func (p *Policy) staleWindow(told deltaSeconds, added time.Duration) time.Duration {
	if told.given() {
		return told.duration()
	}
	return added
}

// takesStale reports whether max-stale covers that much staleness.
func (d *RequestDirectives) takesStale(by time.Duration) bool {
	return d.maxStaleAny || d.maxStale.valid() && by <= d.maxStale.duration()
}

// MayBeStale reports whether nothing forbids to use the response stale: RFC
// 9111 section 4.2.4.
func (f *Facts) MayBeStale() bool {
	d := &f.Directives
	return !f.invalid && !d.mustRevalidate && !d.proxyRevalidate && !d.NoCache && !d.sMaxAge.given()
}

// mayBeStaleFor is mayBeStale where the response tells a window for it, which
// by policy counts for more than s-maxage.
func (f *Facts) mayBeStaleFor(p *Policy) bool {
	d := &f.Directives
	return f.MayBeStale() || p.StaleBeyondSMaxAge && !f.invalid && !d.mustRevalidate && !d.proxyRevalidate && !d.NoCache
}

// MayAnswerError reports whether a stale response may be sent because the
// origin failed to answer, or answered with a server error: RFC 9111 sections
// 4.2.4 and 4.3.3, RFC 5861 section 4.
func (p *Policy) MayAnswerError(f *Facts, req *RequestDirectives, now time.Time) bool {
	if req.NoCache && !p.IgnoreCacheControl {
		return false
	}
	age, known := f.Age(now)
	staleness := age - f.Lifetime
	told := f.Directives.staleIfError
	if window := p.staleWindow(told, p.StaleIfError); window > 0 && known && staleness <= window && f.mayBeStaleFor(p) {
		return true
	}
	switch {
	case !f.MayBeStale():
		return false
	case req.staleIfError.valid() && known && staleness <= req.staleIfError.duration():
		return true
	case told.given() || req.staleIfError.given():
		// Who says how long does not take longer.
		return false
	}
	return p.StaleOnError
}

// IsServerError reports whether a status is one that stale-if-error and
// CacheStaleOnError are for. RFC 5861 section 4.
func IsServerError(status int) bool {
	switch status {
	case 500, 502, 503, 504:
		return true
	}
	return false
}
