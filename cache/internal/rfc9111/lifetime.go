package rfc9111

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// lifetimeSource is what a freshness lifetime was taken from.
type lifetimeSource uint8

const (
	LifeNone      lifetimeSource = iota // nothing told
	lifeBroken                          // something told, but not readable: stale
	lifeSMaxAge                         // s-maxage
	lifeMaxAge                          // max-age
	lifeExpires                         // Expires
	lifeHeuristic                       // Last-Modified
	lifeDefault                         // the cache's own default
	lifeOverride                        // Meta.TTL
)

// freshness is for how long a response is fresh: RFC 9111 section 4.2.1.
type freshness struct {
	Lifetime time.Duration
	Source   lifetimeSource
}

// explicit reports whether the origin told the lifetime.
func (l freshness) explicit() bool {
	return l.Source == lifeSMaxAge || l.Source == lifeMaxAge || l.Source == lifeExpires || l.Source == lifeOverride
}

// lifetimeOf is RFC 9111 sections 4.2.1 and 4.2.2, within the policy's limits.
func (p *Policy) lifetimeOf(d *responseDirectives, status int, h http.Header, received time.Time) freshness {
	l := ExplicitLifetime(d, h, received)
	if l.Source == LifeNone {
		l = p.heuristicLifetime(d, status, h, received)
		if l.Source != LifeNone && l.Source != lifeDefault && l.Lifetime < p.MinExpire {
			l.Lifetime = p.MinExpire
		}
	}
	if p.MaxExpire > 0 && l.Source != lifeDefault && l.Lifetime > p.MaxExpire {
		l.Lifetime = p.MaxExpire
	}
	return l
}

// ExplicitLifetime is what the response says itself. What it says in a way that
// cannot be read makes it stale.
func ExplicitLifetime(d *responseDirectives, h http.Header, received time.Time) freshness {
	switch {
	case d.sMaxAge.given():
		return deltaLifetime(d.sMaxAge, lifeSMaxAge)
	case d.maxAge.given():
		return deltaLifetime(d.maxAge, lifeMaxAge)
	case d.target != "" || len(h["Expires"]) == 0:
		return freshness{}
	}
	expires, ok := oneDate(h["Expires"], received)
	if !ok {
		return freshness{Source: lifeBroken}
	}
	date, ok := oneDate(h["Date"], received)
	if !ok {
		date = received
	}
	return freshness{max(expires.Sub(date), 0), lifeExpires}
}

func deltaLifetime(n deltaSeconds, source lifetimeSource) freshness {
	if !n.valid() {
		source = lifeBroken
	}
	return freshness{n.duration(), source}
}

// heuristicLifetime is a share of the time since the last change.
func (p *Policy) heuristicLifetime(d *responseDirectives, status int, h http.Header, received time.Time) freshness {
	if !heuristicStatus(status) && !d.public {
		return freshness{}
	}
	factor := p.LastModifiedFactor
	if factor == 0 {
		factor = 0.1
	}
	if modified, ok := oneDate(h["Last-Modified"], received); ok && factor > 0 {
		date, ok := oneDate(h["Date"], received)
		if !ok {
			date = received
		}
		limit := p.HeuristicMax
		if limit == 0 {
			limit = 24 * time.Hour
		} else if limit < 0 {
			limit = math.MaxInt64
		}
		share := float64(max(date.Sub(modified), 0)) * factor
		if share < float64(limit) {
			limit = time.Duration(share)
		}
		return freshness{limit, lifeHeuristic}
	}
	if p.DefaultExpire > 0 {
		return freshness{p.DefaultExpire, lifeDefault}
	}
	return freshness{}
}

// oneDate reads a field that holds one date. Of several lines, the first
// counts only if all are the same.
func oneDate(lines []string, now time.Time) (time.Time, bool) {
	if len(lines) == 0 {
		return time.Time{}, false
	}
	for _, other := range lines[1:] {
		if other != lines[0] {
			return time.Time{}, false
		}
	}
	return parseDate(strings.Trim(lines[0], " \t"), now)
}

// initialAge is corrected_initial_age of RFC 9111 section 4.2.3.
func initialAge(h http.Header, requested, received time.Time) time.Duration {
	apparent := time.Duration(0)
	if date, ok := oneDate(h["Date"], received); ok {
		apparent = max(received.Sub(date), 0)
	}
	return max(apparent, addTime(ageValue(h), max(received.Sub(requested), 0)))
}

// ageValue reads Age, the first member where a list was made of it; what is no
// number does not count. RFC 9111 section 5.1.
func ageValue(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	n, ok := parseDelta(strings.Trim(first, " \t"))
	if !ok {
		return 0
	}
	return time.Duration(n) * time.Second
}

// addTime adds without passing the largest time.
func addTime(a, b time.Duration) time.Duration {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
