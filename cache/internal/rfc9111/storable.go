package rfc9111

import (
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Policy is how far a cache goes by RFC 9111 to the letter. The zero value is
// strict; each field is a departure that somebody must wish for, named as
// Apache names it.
type Policy struct {
	StoreNoStore       bool // CacheStoreNoStore: keep what says no-store
	StorePrivate       bool // CacheStorePrivate: keep what says private
	StoreExpired       bool // CacheStoreExpired: keep what is stale and cannot be validated
	StoreSetCookie     bool // keep what sets cookies, even without public or s-maxage
	IgnoreNoLastMod    bool // CacheIgnoreNoLastMod: keep what has neither lifetime nor validator
	IgnoreCacheControl bool // CacheIgnoreCacheControl: the request's no-cache and no-store do not count

	// queryNeedsExpiry is what Apache always does: a URL with a query is kept
	// only with an explicit lifetime.
	QueryNeedsExpiry bool

	// staleOnError is CacheStaleOnError: an error of the origin is answered by
	// what is stored, however stale, unless that is forbidden.
	StaleOnError bool

	// staleBeyondSMaxAge lets stale-while-revalidate and stale-if-error count
	// beside s-maxage, which by RFC 9111 section 5.2.2.10 forbids them.
	StaleBeyondSMaxAge bool

	DefaultExpire      time.Duration // CacheDefaultExpire: lifetime of what says nothing; 0: none
	MinExpire          time.Duration // CacheMinExpire: least lifetime without an explicit one
	MaxExpire          time.Duration // CacheMaxExpire: largest lifetime; 0: no limit
	LastModifiedFactor float64       // CacheLastModifiedFactor; 0: 0.1, negative: no heuristic
	HeuristicMax       time.Duration // largest lifetime by Last-Modified; 0: 24 hours, negative: no limit

	// staleWhileRevalidate and staleIfError are windows for responses that tell
	// none.
	StaleWhileRevalidate, StaleIfError time.Duration

	// targets are the targeted fields that this cache obeys, the most wanted
	// first, in canonical form. RFC 9213 section 2.2.
	Targets []string

	// ignoreHeaders are fields that are not stored, in canonical form:
	// CacheIgnoreHeaders.
	IgnoreHeaders []string

	// normalizeEncoding compares Accept-Encoding by the best coding of those
	// here that the client takes, not by the words it used. Empty: off.
	NormalizeEncoding []string
}

// Transaction is a request and its response as the rules of storing see them.
type Transaction struct {
	Method  string
	Target  *url.URL      // nil: one without a query
	Asked   *http.Request // as the client sent it
	User    bool          // the client was verified, by credentials or else
	Request RequestDirectives

	Status   int
	Header   http.Header
	Response responseDirectives

	RequestTime, ResponseTime time.Time

	// ttl is the lifetime that the cache's owner gives it; nil for none.
	TTL *time.Duration
}

// freshness is for how long the response would be fresh.
func (x *Transaction) freshness(p *Policy) freshness {
	if x.TTL != nil {
		return freshness{*x.TTL, lifeOverride}
	}
	return p.lifetimeOf(&x.Response, x.Status, x.Header, x.ResponseTime)
}

// Storable tells whether the response may be stored: RFC 9111 section 3.
func (p *Policy) Storable(x *Transaction) Refusal {
	d := &x.Response
	switch {
	case x.Method != http.MethodGet:
		return refusedMethod
	case x.Status < 200 || x.Status > 599:
		return refusedFinal
	case x.Status == http.StatusNotModified, x.Status == http.StatusPreconditionFailed,
		x.Status == http.StatusRequestedRangeNotSatisfiable:
		return refusedConditional
	case !validFields(x.Header):
		return refusedField
	case len(x.Header["Set-Cookie"]) > 0 && !p.cookieIsPublic(d):
		return refusedCookie
	}
	if why := p.refusedByResponse(x.Status, x.Header, d); why != "" {
		return why
	}
	if x.Status == http.StatusPartialContent {
		if why := storablePart(x.Header); why != "" {
			return why
		}
	}
	if why := p.worthKeeping(x); why != "" {
		return why
	}
	return p.RefusedByRequest(x)
}

// refusedByResponse tells what in a response forbids to store it, for whoever it
// is.
func (p *Policy) refusedByResponse(status int, h http.Header, d *responseDirectives) Refusal {
	switch {
	case d.mustUnderstand && !understood(status):
		return refusedUnderstand
	case d.noStore && !d.mustUnderstand && !p.StoreNoStore:
		return refusedNoStore
	case d.private && !p.StorePrivate:
		return refusedPrivate
	case variesOnAll(h["Vary"]):
		return refusedVaryAll
	}
	return ""
}

// RefusedByRequest tells what in a request forbids to store the answer to it,
// although those to others may be.
func (p *Policy) RefusedByRequest(x *Transaction) Refusal {
	names, _ := Nominated(x.Header["Vary"])
	switch {
	case x.Request.NoStore && !p.IgnoreCacheControl:
		return refusedAsked
	case x.authorized():
		return refusedAuthorization
	case TooHeavy(names, x.Asked):
		return RefusedTooHeavy
	}
	return ""
}

// authorized reports whether a response is for the one who showed credentials, or
// was verified by other means, and nobody else: RFC 9111 section 3.5.
func (x *Transaction) authorized() bool {
	d := &x.Response
	return (x.User || HasCredentials(x.Asked)) && !d.public && !d.mustRevalidate && !d.sMaxAge.valid()
}

// HasCredentials reports whether a request shows who asks: by Authorization, or
// by the user in its URL, of which transports make one.
func HasCredentials(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || r.URL != nil && r.URL.User != nil
}

// cookieIsPublic reports whether a response with Set-Cookie may go to everybody:
// it says so by public, s-maxage or a targeted field, or its cookie is left out.
func (p *Policy) cookieIsPublic(d *responseDirectives) bool {
	return p.StoreSetCookie || d.public || d.sMaxAge.valid() || d.target != "" && d.maxAge.valid() ||
		holds(d.privateFields, "Set-Cookie") || holds(d.noCacheFields, "Set-Cookie") || holds(p.IgnoreHeaders, "Set-Cookie")
}

// validFields reports whether a header can be written out and read back as it
// is: names are tokens, and nothing in a value ends it.
func validFields(h http.Header) bool {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return false
			}
		}
	}
	return true
}

// worthKeeping tells whether a response that may be stored can ever be used.
func (p *Policy) worthKeeping(x *Transaction) Refusal {
	d := &x.Response
	explicit := x.TTL != nil || d.public || d.maxAge.given() || d.sMaxAge.given() || len(x.Header["Expires"]) > 0 && d.target == ""
	if !explicit && !heuristicStatus(x.Status) && !(d.private && p.StorePrivate) {
		return refusedStatus
	}
	life := x.freshness(p)
	if p.QueryNeedsExpiry && x.Target != nil && x.Target.RawQuery != "" && !life.explicit() {
		return refusedQuery
	}
	if hasValidator(x.Header, x.ResponseTime) {
		return ""
	}
	switch {
	case d.NoCache:
		return refusedNoCache
	case life.Source == LifeNone, life.Source == lifeDefault && !p.IgnoreNoLastMod:
		return refusedLifetime
	case p.StoreExpired || p.staleWindow(d.staleIfError, p.StaleIfError) > 0 || p.staleWindow(d.staleWhileRevalidate, p.StaleWhileRevalidate) > 0:
		return ""
	case life.Source == lifeBroken:
		return refusedBroken
	}
	if initialAge(x.Header, x.RequestTime, x.ResponseTime) >= life.Lifetime {
		return refusedExpired
	}
	return ""
}

// hasValidator reports whether the response can be validated later.
func hasValidator(h http.Header, now time.Time) bool {
	_, dated := oneDate(h["Last-Modified"], now)
	return dated || oneETag(h["Etag"]) != ""
}

// understood reports whether the meaning of a status is known here. RFC 9111
// section 5.2.2.3.
func understood(status int) bool { return http.StatusText(status) != "" }

// heuristicStatus reports whether a status is heuristically cacheable: RFC 9110
// section 15.1.
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// StoredHeader returns what of a response's header may be kept: RFC 9111
// section 3.1. Values are shared with h.
func (p *Policy) StoredHeader(h http.Header, d *responseDirectives) http.Header {
	kept := make(http.Header, len(h))
	out := p.unkept(h, d)
	for name, values := range h {
		if !out[name] {
			kept[name] = values
		}
	}
	return kept
}

// StoredTrailer returns what may be kept of the trailer of a response with header
// h. A cookie does not belong there (RFC 9110 section 6.5.1), and is for one.
func (p *Policy) StoredTrailer(trailer, h http.Header, d *responseDirectives) http.Header {
	kept := p.StoredHeader(trailer, d)
	hop := exchange.HopByHopOf(h)
	for name := range kept {
		if hop.Has(name) {
			delete(kept, name)
		}
	}
	if !p.StoreSetCookie {
		delete(kept, "Set-Cookie")
	}
	return kept
}

// unkept are the fields of h that may not be stored.
func (p *Policy) unkept(h http.Header, d *responseDirectives) (out map[string]bool) {
	hop := exchange.HopByHopOf(h)
	add := func(name string) {
		if out == nil {
			out = make(map[string]bool)
		}
		out[name] = true
	}
	for name := range h {
		if ForOneHop(hop, name) {
			add(name)
		}
	}
	for _, name := range p.namedFields(d) {
		add(name)
	}
	delete(out, "Vary") // without it, one user would get what was another's
	for _, name := range p.IgnoreHeaders {
		add(name)
	}
	return out
}

// namedFields are those that no-cache="…" and private="…" keep from being
// stored.
func (p *Policy) namedFields(d *responseDirectives) []string {
	names := d.noCacheFields
	if !p.StorePrivate && len(d.privateFields) > 0 {
		names = append(names[:len(names):len(names)], d.privateFields...)
	}
	return names
}

// ForOneHop reports whether a field concerns one connection or one proxy only:
// RFC 9110 section 7.6.1, RFC 9111 section 3.1.
func ForOneHop(hop exchange.HopByHop, name string) bool {
	return hop.Has(name) || name == "Proxy-Authentication-Info"
}

// AddDate gives a header that has no Date the time when it came: RFC 9110
// section 6.6.1.
func AddDate(h http.Header, received time.Time) {
	if len(h["Date"]) == 0 {
		h["Date"] = []string{received.UTC().Format(http.TimeFormat)}
	}
}

func holds(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
