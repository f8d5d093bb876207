package cache

import (
	"net/http"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
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
	if c.OnResult != nil {
		c.OnResult(v.r, res)
	}
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
