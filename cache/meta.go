package cache

import (
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Meta is what a cache knows of a stored response, apart from the body.
type Meta struct {
	// Key is the cache key, RFC 9111 section 2: the URI, as in
	// "http://example.org/path?query". The method is left out, since answers to
	// GET alone are stored.
	Key string

	// Status, Header and Trailer are those of the response, without what
	// belongs to a connection.
	Status          int
	Header, Trailer http.Header

	// Vary holds the fields of the request that the response's Vary names, each
	// member of a list by itself; a name without values was not there. RFC 9111
	// section 4.1. What the origin was told of the place of the request, beside
	// the key, stands under a name that no field has.
	Vary http.Header

	// RequestTime and ResponseTime are when the request was sent and the
	// response came. RFC 9111 section 4.2.3.
	RequestTime, ResponseTime time.Time

	// Length is the length of the complete body; -1 while it is not known.
	// Parts are the ranges of it that are stored, in order and not touching
	// each other; none means all of it. RFC 9111 section 3.3.
	Length int64
	Parts  []Part

	// TTL is the freshness lifetime that the cache's own rules gave the
	// response, in place of the one that it tells itself; nil means that they
	// did not.
	TTL *time.Duration

	// Tags are surrogate keys, by which many responses can be purged at once.
	Tags []string

	// Invalid means that it may not be used without validation: it was purged
	// softly or invalidated. RFC 9111 section 4.4.
	Invalid bool

	// siblings is how many responses there were under the key in the store that
	// this copy was made from: Tiered.
	siblings int

	// used is when it was last chosen among others, in Unix nanoseconds.
	used atomic.Int64

	// worked is what a cache has read from the rest, so that a hit need not
	// parse.
	worked atomic.Pointer[workedFacts]
}

// Clone returns a copy that may be changed. Maps and slices have their own
// memory; the values of a field are shared.
func (m *Meta) Clone() *Meta {
	n := &Meta{
		Key: m.Key, Status: m.Status,
		Header: maps.Clone(m.Header), Trailer: maps.Clone(m.Trailer), Vary: maps.Clone(m.Vary),
		RequestTime: m.RequestTime, ResponseTime: m.ResponseTime,
		Length: m.Length, Parts: slices.Clone(m.Parts), TTL: m.TTL, Tags: slices.Clone(m.Tags),
		Invalid: m.Invalid, siblings: m.siblings,
	}
	n.used.Store(m.used.Load())
	return n
}

// stored is the length of what is stored of the body; -1 while it is not known.
func (m *Meta) stored() (n int64) {
	if len(m.Parts) == 0 {
		return m.Length
	}
	for _, p := range m.Parts {
		n += p.End - p.Start
	}
	return n
}

// lastUse is when it was last chosen among others, or else stored.
func (m *Meta) lastUse() int64 { return max(m.used.Load(), m.ResponseTime.UnixNano()) }

// workedFacts are facts by the rules of one policy.
type workedFacts struct {
	policy *policy
	facts  facts
}

// factsBy returns the facts by the rules of p, which must not change any more.
func (m *Meta) factsBy(p *policy) *facts {
	if w := m.worked.Load(); w != nil && w.policy == p {
		return &w.facts
	}
	w := &workedFacts{policy: p}
	w.facts.read(m, p)
	m.worked.Store(w)
	return &w.facts
}

// Part is a range of a body, as offsets: Start is in it, End is not. The bytes
// of all parts are stored one after the other.
type Part struct{ Start, End int64 }
