package cache

import (
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy"
)

// policy is how far a cache goes by RFC 9111 to the letter. The zero value is
// strict; each field is a departure that somebody must wish for, named as
// Apache names it.
type policy struct {
	storeNoStore       bool // CacheStoreNoStore: keep what says no-store
	storePrivate       bool // CacheStorePrivate: keep what says private
	storeExpired       bool // CacheStoreExpired: keep what is stale and cannot be validated
	storeSetCookie     bool // keep what sets cookies, even without public or s-maxage
	ignoreNoLastMod    bool // CacheIgnoreNoLastMod: keep what has neither lifetime nor validator
	ignoreCacheControl bool // CacheIgnoreCacheControl: the request's no-cache and no-store do not count

	// queryNeedsExpiry is what Apache always does: a URL with a query is kept
	// only with an explicit lifetime.
	queryNeedsExpiry bool

	// staleOnError is CacheStaleOnError: an error of the origin is answered by
	// what is stored, however stale, unless that is forbidden.
	staleOnError bool

	// staleBeyondSMaxAge lets stale-while-revalidate and stale-if-error count
	// beside s-maxage, which by RFC 9111 section 5.2.2.10 forbids them.
	staleBeyondSMaxAge bool

	defaultExpire      time.Duration // CacheDefaultExpire: lifetime of what says nothing; 0: none
	minExpire          time.Duration // CacheMinExpire: least lifetime without an explicit one
	maxExpire          time.Duration // CacheMaxExpire: largest lifetime; 0: no limit
	lastModifiedFactor float64       // CacheLastModifiedFactor; 0: 0.1, negative: no heuristic
	heuristicMax       time.Duration // largest lifetime by Last-Modified; 0: 24 hours

	// staleWhileRevalidate and staleIfError are windows for responses that tell
	// none.
	staleWhileRevalidate, staleIfError time.Duration

	// targets are the targeted fields that this cache obeys, the most wanted
	// first, in canonical form. RFC 9213 section 2.2.
	targets []string

	// ignoreHeaders are fields that are not stored, in canonical form:
	// CacheIgnoreHeaders.
	ignoreHeaders []string

	// normalizeEncoding compares Accept-Encoding by the best coding of those
	// here that the client takes, not by the words it used. Empty: off.
	normalizeEncoding []string
}

// refusal is the reason why a response is not stored; "" means that it is.
type refusal string

const refusedTooHeavy refusal = "too much in the fields that Vary names"

// transaction is a request and its response as the rules of storing see them.
type transaction struct {
	method  string
	target  *url.URL      // nil: one without a query
	asked   *http.Request // as the client sent it
	request requestDirectives

	status   int
	header   http.Header
	response responseDirectives

	requestTime, responseTime time.Time

	// ttl is the lifetime that the cache's owner gives it; nil for none.
	ttl *time.Duration
}

// freshness is for how long the response would be fresh.
func (x *transaction) freshness(p *policy) freshness {
	if x.ttl != nil {
		return freshness{*x.ttl, lifeOverride}
	}
	return p.lifetimeOf(&x.response, x.status, x.header, x.responseTime)
}

// storable tells whether the response may be stored: RFC 9111 section 3.
func (p *policy) storable(x *transaction) refusal {
	d := &x.response
	switch {
	case x.method != http.MethodGet:
		return "only responses to GET are stored"
	case x.status < 200 || x.status > 599:
		return "the status is not a final one"
	case x.status == http.StatusNotModified, x.status == http.StatusPreconditionFailed,
		x.status == http.StatusRequestedRangeNotSatisfiable:
		return "the status answers a condition or a range of this request only"
	case !validFields(x.header):
		return "a header field that is not valid"
	case len(x.header["Set-Cookie"]) > 0 && !p.cookieIsPublic(d):
		return "Set-Cookie without public or s-maxage"
	}
	if why := p.refusedByResponse(x.status, x.header, d); why != "" {
		return why
	}
	if x.status == http.StatusPartialContent {
		if why := storablePart(x.header); why != "" {
			return why
		}
	}
	if why := p.worthKeeping(x); why != "" {
		return why
	}
	return p.refusedByRequest(x)
}

// refusedByResponse tells what in a response forbids to store it, for whoever it
// is.
func (p *policy) refusedByResponse(status int, h http.Header, d *responseDirectives) refusal {
	switch {
	case d.mustUnderstand && !understood(status):
		return "must-understand with a status that is not understood"
	case d.noStore && !d.mustUnderstand && !p.storeNoStore:
		return "no-store in the response"
	case d.private && !p.storePrivate:
		return "private in the response"
	case variesOnAll(h["Vary"]):
		return "Vary: * never matches"
	}
	return ""
}

// refusedByRequest tells what in a request forbids to store the answer to it,
// although those to others may be.
func (p *policy) refusedByRequest(x *transaction) refusal {
	names, _ := nominated(x.header["Vary"])
	switch {
	case x.request.noStore && !p.ignoreCacheControl:
		return "no-store in the request"
	case authorized(x.asked, &x.response):
		return "Authorization in the request, without public, must-revalidate or s-maxage"
	case tooHeavy(names, x.asked):
		return refusedTooHeavy
	}
	return ""
}

// authorized reports whether a response is for the one who showed credentials
// and nobody else: RFC 9111 section 3.5.
func authorized(r *http.Request, d *responseDirectives) bool {
	return hasCredentials(r) && !d.public && !d.mustRevalidate && !d.sMaxAge.valid()
}

// hasCredentials reports whether a request shows who asks: by Authorization, or
// by the user in its URL, of which transports make one.
func hasCredentials(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || r.URL != nil && r.URL.User != nil
}

// cookieIsPublic reports whether a response with Set-Cookie may go to everybody:
// it says so by public, s-maxage or a targeted field, or its cookie is left out.
func (p *policy) cookieIsPublic(d *responseDirectives) bool {
	return p.storeSetCookie || d.public || d.sMaxAge.valid() || d.target != "" && d.maxAge.valid() ||
		holds(d.privateFields, "Set-Cookie") || holds(d.noCacheFields, "Set-Cookie") || holds(p.ignoreHeaders, "Set-Cookie")
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
func (p *policy) worthKeeping(x *transaction) refusal {
	d := &x.response
	explicit := x.ttl != nil || d.public || d.maxAge.given() || d.sMaxAge.given() || len(x.header["Expires"]) > 0 && d.target == ""
	if !explicit && !heuristicStatus(x.status) && !(d.private && p.storePrivate) {
		return "the status is not cacheable without an explicit lifetime"
	}
	life := x.freshness(p)
	if p.queryNeedsExpiry && x.target != nil && x.target.RawQuery != "" && !life.explicit() {
		return "query without an explicit lifetime"
	}
	if hasValidator(x.header, x.responseTime) {
		return ""
	}
	switch {
	case d.noCache:
		return "no-cache without a validator"
	case life.source == lifeNone, life.source == lifeDefault && !p.ignoreNoLastMod:
		return "neither a lifetime nor a validator"
	case p.storeExpired || p.staleWindow(d.staleIfError, p.staleIfError) > 0 || p.staleWindow(d.staleWhileRevalidate, p.staleWhileRevalidate) > 0:
		return ""
	case life.source == lifeBroken:
		return "a broken lifetime and no validator"
	}
	if initialAge(x.header, x.requestTime, x.responseTime) >= life.lifetime {
		return "already expired, without a validator"
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

// storedHeader returns what of a response's header may be kept: RFC 9111
// section 3.1. Values are shared with h.
func (p *policy) storedHeader(h http.Header, d *responseDirectives) http.Header {
	kept := make(http.Header, len(h))
	out := p.unkept(h, d)
	for name, values := range h {
		if !out[name] {
			kept[name] = values
		}
	}
	return kept
}

// storedTrailer returns what may be kept of the trailer of a response with header
// h. A cookie does not belong there (RFC 9110 section 6.5.1), and is for one.
func (p *policy) storedTrailer(trailer, h http.Header, d *responseDirectives) http.Header {
	kept := p.storedHeader(trailer, d)
	hop := proxy.HopByHopOf(h)
	for name := range kept {
		if hop.Has(name) {
			delete(kept, name)
		}
	}
	if !p.storeSetCookie {
		delete(kept, "Set-Cookie")
	}
	return kept
}

// unkept are the fields of h that may not be stored.
func (p *policy) unkept(h http.Header, d *responseDirectives) (out map[string]bool) {
	hop := proxy.HopByHopOf(h)
	add := func(name string) {
		if out == nil {
			out = make(map[string]bool)
		}
		out[name] = true
	}
	for name := range h {
		if forOneHop(hop, name) {
			add(name)
		}
	}
	for _, name := range p.namedFields(d) {
		add(name)
	}
	delete(out, "Vary") // without it, one user would get what was another's
	for _, name := range p.ignoreHeaders {
		add(name)
	}
	return out
}

// namedFields are those that no-cache="…" and private="…" keep from being
// stored.
func (p *policy) namedFields(d *responseDirectives) []string {
	names := d.noCacheFields
	if !p.storePrivate && len(d.privateFields) > 0 {
		names = append(names[:len(names):len(names)], d.privateFields...)
	}
	return names
}

// forOneHop reports whether a field concerns one connection or one proxy only:
// RFC 9110 section 7.6.1, RFC 9111 section 3.1.
func forOneHop(hop proxy.HopByHop, name string) bool {
	return hop.Has(name) || name == "Proxy-Authentication-Info"
}

// addDate gives a header that has no Date the time when it came: RFC 9110
// section 6.6.1.
func addDate(h http.Header, received time.Time) {
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
