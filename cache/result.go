package cache

import (
	"errors"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Outcome is what a cache did with a request.
type Outcome uint8

const (
	OutcomeMiss        Outcome = iota // the origin answered
	OutcomeHit                        // what is stored answered
	OutcomeRevalidated                // what is stored answered, after the origin said that it may
	OutcomeInvalidated                // the origin answered, and what was stored may not be used any more
	OutcomeBypass                     // the cache had no part in it
)

// String returns the word that Apache has for it, in lower case.
func (o Outcome) String() string {
	switch o {
	case OutcomeHit:
		return "hit"
	case OutcomeRevalidated:
		return "revalidate"
	case OutcomeInvalidated:
		return "invalidate"
	case OutcomeBypass:
		return "bypass"
	}
	return "miss"
}

// Result is what a cache did with one request, known when its answer begins.
type Result struct {
	Outcome   Outcome
	Reason    string        // why, in words
	Key       string        // empty if no key was made
	Age       time.Duration // of the stored response
	TTL       time.Duration // lifetime that is left; negative when stale
	Stored    bool          // the answer is being stored
	Collapsed bool          // the answer is that of another request
	Stale     bool          // it is out of date

	// NotStored is why the origin's answer is not stored, in a word; empty if it
	// is being stored, or if the origin has given none. What goes wrong later is
	// told to the request's [exchange.Record] alone.
	//
	//	method           it is not a GET (nor, for what is stored, a HEAD)
	//	bypass           Bypass said so
	//	body             a request to read that has a body
	//	condition        the request has one that only the origin can judge
	//	no-store         of the response or the request
	//	private          of the response
	//	Authorization    in the request, or a user, and the response does not say that it is for all
	//	Set-Cookie       in the response, which does not say that it is for all
	//	Vary *           never matches
	//	Vary             names too much
	//	status 500       this status is not stored, or not without a lifetime
	//	must-understand  with a status that is not understood
	//	invalid field    in the header of the response
	//	no lifetime      that could be read, and no validator
	//	no-cache         of the response, and no validator
	//	expired          when it came, and no validator
	//	query            QueryNeedsExpiry
	//	Content-Range    is missing, or contradicts the body
	//	too large        MaxFileSize, or the store's own limit
	//	too small        MinFileSize
	//	small part       of a large response, not worth copying that
	//	locked           another request stores it (CollapseLock)
	//	purged           while it was fetched
	//	broken off       before its end
	//	store error      the store has failed
	//	upgrade          the connection was taken over
	NotStored string

	forwardedStatus uint16
	forwarded       rfc9111.Forwarded
}

// mark adds to an answer's header what it should tell of the cache, and tells
// the request's record and OnResult. It is the last thing before the header is
// sent.
func (v *visit) mark(h http.Header, f *rfc9111.Facts) {
	c, res := v.c, &v.result
	if wants(c.Header, c.HeaderFunc, v.r) {
		if word := xCache(res.Outcome); word != "" {
			v.tell(h, "X-Cache", word+" from "+v.serverName())
		}
	}
	if wants(c.DetailHeader, c.DetailHeaderFunc, v.r) && res.Reason != "" {
		v.tell(h, "X-Cache-Detail", `"`+res.Reason+`" from `+v.serverName())
	}
	if c.CacheStatus != "" {
		s := rfc9111.CacheStatus{
			Name: c.CacheStatus, Hit: res.Outcome == OutcomeHit, Fwd: res.forwarded, FwdStatus: int(res.forwardedStatus),
			TTL: res.TTL, HasTTL: f != nil, Stored: res.Stored, Collapsed: res.Collapsed, Key: v.result.Key, Detail: res.Reason,
		}
		v.tell(h, "Cache-Status", string(s.Append(nil)), h["Cache-Status"]...)
	}
	exchange.NoteCache(v.r.Context(), res.Outcome.String())
	if res.NotStored != "" {
		exchange.NoteNotStored(v.r.Context(), res.NotStored)
	}
	if c.OnResult != nil {
		c.OnResult(v.r, res)
	}
}

// notStored tells the record of the request that has caused the flight why its
// answer is not stored after all.
func (f *flight) notStored(why rfc9111.Refusal) {
	if f.leader != nil && !f.behind {
		exchange.NoteNotStored(f.leader, why.Word(f.status))
	}
}

// byStore is why a store has not taken an answer.
func byStore(err error) rfc9111.Refusal {
	if errors.Is(err, store.ErrTooLarge) {
		return rfc9111.RefusedStoreLimit
	}
	return rfc9111.RefusedStore
}

// tell adds a field to what was there before.
func (v *visit) tell(h http.Header, name, value string, before ...string) {
	h[name] = append(before[:len(before):len(before)], value)
	exchange.NoteOwnField(v.r.Context(), name, value)
}

func wants(always bool, decide func(*http.Request) bool, r *http.Request) bool {
	if decide != nil {
		return decide(r)
	}
	return always
}

func xCache(o Outcome) string {
	switch o {
	case OutcomeHit:
		return "HIT"
	case OutcomeRevalidated:
		return "REVALIDATE"
	case OutcomeMiss:
		return "MISS"
	case OutcomeInvalidated:
		return "INVALIDATE"
	}
	return ""
}

func (v *visit) serverName() string {
	if v.c.ServerName != "" {
		return v.c.ServerName
	}
	name, _, _ := exchange.ParseHost(v.r.Host)
	return name
}
