package cache

import "time"

// facts is what the rules need of a stored response, read once from its Meta
// and kept beside it, so that no hit parses a header.
type facts struct {
	directives responseDirectives
	freshness

	initialAge time.Duration // corrected_initial_age
	received   time.Time     // Meta.ResponseTime
	date       time.Time     // Date, or received where there is none

	lastModified     time.Time // zero: none, or none that can be read
	lastModifiedText string    // as it was sent; "" with none that can be read
	etag             string    // the whole tag as it was sent; "" without a valid one

	vary []string // nominated fields in canonical form, sorted, each once

	status  int
	invalid bool // Meta.Invalid
}

// workedFacts are facts by the rules of one policy, as Meta keeps them.
type workedFacts struct {
	policy *policy
	facts  facts
}

// factsOf returns the facts of a stored response, whose Meta must not change any
// more.
func (p *policy) factsOf(m *Meta) *facts {
	if w, ok := m.Memo().(*workedFacts); ok && w.policy == p {
		return &w.facts
	}
	w := &workedFacts{policy: p}
	w.facts.read(m, p)
	m.SetMemo(w)
	return &w.facts
}

// readFacts reads the header of a stored response.
func readFacts(m *Meta, p *policy) *facts {
	f := new(facts)
	f.read(m, p)
	return f
}

func (f *facts) read(m *Meta, p *policy) {
	f.status, f.invalid, f.received = m.Status, m.Invalid, m.ResponseTime
	f.directives = parseResponseDirectives(m.Header, p.targets)
	f.freshness = p.lifetimeOf(&f.directives, m.Status, m.Header, m.ResponseTime)
	if m.TTL != nil {
		f.freshness = freshness{*m.TTL, lifeOverride}
	}
	f.initialAge = initialAge(m.Header, m.RequestTime, m.ResponseTime)
	f.date = m.ResponseTime
	if t, ok := oneDate(m.Header["Date"], m.ResponseTime); ok {
		f.date = t
	}
	if t, ok := oneDate(m.Header["Last-Modified"], m.ResponseTime); ok {
		f.lastModified, f.lastModifiedText = t, m.Header["Last-Modified"][0]
	}
	f.etag = oneETag(m.Header["Etag"])
	f.vary, _ = nominated(m.Header["Vary"])
}

// verdict is what may be done with a stored response.
type verdict uint8

const (
	// mustValidate: not without asking the origin.
	mustValidate verdict = iota
	// useFresh: it is fresh.
	useFresh
	// useStale: it is stale, but the client takes it so.
	useStale
	// useWhileRevalidating: it is stale, but may be used while it is validated
	// in the background. RFC 5861 section 3.
	useWhileRevalidating
)

// usable reports whether the response may be sent at once.
func (v verdict) usable() bool { return v != mustValidate }

// decision is a verdict and the numbers behind it.
type decision struct {
	verdict verdict
	age     time.Duration // current_age
	ttl     time.Duration // lifetime that is left; negative when stale
	reason  string        // why it must be validated
}

// clockSlack is how far the clock may be behind a response's arrival before the
// age is not believed any more.
const clockSlack = time.Minute

// age is current_age of RFC 9111 section 4.2.3. It is not known when the clock
// was put back behind the arrival.
func (f *facts) age(now time.Time) (age time.Duration, known bool) {
	resident := now.Sub(f.received)
	return addTime(f.initialAge, max(resident, 0)), resident >= -clockSlack
}

// decide tells what may be done with a stored response that was chosen for a
// request: RFC 9111 sections 4 and 5.2.1.
func (p *policy) decide(f *facts, req *requestDirectives, now time.Time) decision {
	age, known := f.age(now)
	d := decision{age: age, ttl: f.lifetime - age}
	switch {
	case f.invalid:
		d.reason = "invalidated"
	case !known:
		d.reason = "the clock was put back"
	case f.directives.noCache:
		d.reason = "no-cache in the response"
	case req.noCache && !p.ignoreCacheControl:
		d.reason = "no-cache in the request"
	default:
		d.verdict, d.reason = f.weigh(req, age, d.ttl, p)
	}
	return d
}

// weigh compares the lifetime that is left with what the client wants.
func (f *facts) weigh(req *requestDirectives, age, ttl time.Duration, p *policy) (verdict, string) {
	want := ttl // what is left by the client's measure
	tooOld := false
	// immutable: a mere reload of what is fresh needs no validation, RFC 8246
	// section 2.
	if req.maxAge.given() && !(f.directives.immutable && ttl > 0) {
		left := req.maxAge.duration() - age
		tooOld = left < 0 || req.maxAge.duration() == 0
		want = min(want, left)
	}
	freshEnough := ttl > 0 && !tooOld
	if req.minFresh.given() && (!req.minFresh.valid() || ttl < req.minFresh.duration()) {
		return mustValidate, "min-fresh in the request"
	}
	if freshEnough {
		return useFresh, ""
	}
	if (ttl > 0 || f.mayBeStale()) && req.takesStale(-want) {
		return useStale, ""
	}
	if tooOld {
		return mustValidate, "max-age in the request"
	}
	if w := p.staleWindow(f.directives.staleWhileRevalidate, p.staleWhileRevalidate); w > 0 && f.mayBeStaleFor(p) && -ttl <= w {
		return useWhileRevalidating, ""
	}
	return mustValidate, "stale"
}

// staleWindow is how long a response may be used after it became stale: what it
// tells, or else what the cache adds.
func (p *policy) staleWindow(told deltaSeconds, added time.Duration) time.Duration {
	if told.given() {
		return told.duration()
	}
	return added
}

// takesStale reports whether max-stale covers that much staleness.
func (d *requestDirectives) takesStale(by time.Duration) bool {
	return d.maxStaleAny || d.maxStale.valid() && by <= d.maxStale.duration()
}

// mayBeStale reports whether nothing forbids to use the response stale: RFC
// 9111 section 4.2.4.
func (f *facts) mayBeStale() bool {
	d := &f.directives
	return !f.invalid && !d.mustRevalidate && !d.proxyRevalidate && !d.noCache && !d.sMaxAge.given()
}

// mayBeStaleFor is mayBeStale where the response tells a window for it, which
// by policy counts for more than s-maxage.
func (f *facts) mayBeStaleFor(p *policy) bool {
	d := &f.directives
	return f.mayBeStale() || p.staleBeyondSMaxAge && !f.invalid && !d.mustRevalidate && !d.proxyRevalidate && !d.noCache
}

// mayAnswerError reports whether a stale response may be sent because the
// origin failed to answer, or answered with a server error: RFC 9111 sections
// 4.2.4 and 4.3.3, RFC 5861 section 4.
func (p *policy) mayAnswerError(f *facts, req *requestDirectives, now time.Time) bool {
	if req.noCache && !p.ignoreCacheControl {
		return false
	}
	age, known := f.age(now)
	staleness := age - f.lifetime
	told := f.directives.staleIfError
	if window := p.staleWindow(told, p.staleIfError); window > 0 && known && staleness <= window && f.mayBeStaleFor(p) {
		return true
	}
	switch {
	case !f.mayBeStale():
		return false
	case req.staleIfError.valid() && known && staleness <= req.staleIfError.duration():
		return true
	case told.given() || req.staleIfError.given():
		// Who says how long does not take longer.
		return false
	}
	return p.staleOnError
}

// isServerError reports whether a status is one that stale-if-error and
// CacheStaleOnError are for. RFC 5861 section 4.
func isServerError(status int) bool {
	switch status {
	case 500, 502, 503, 504:
		return true
	}
	return false
}
