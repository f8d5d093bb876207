package store

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

	// What follows is not encoded.
	siblings int
	used     atomic.Int64 // when it was last chosen among others, in Unix ns
	memo     atomic.Value
}

// Clone returns a copy that may be changed. Maps and slices have their own
// memory; the values of a field are shared.
func (m *Meta) Clone() *Meta {
	n := new(Meta)
	n.set(m)
	n.Header, n.Trailer, n.Vary = maps.Clone(m.Header), maps.Clone(m.Trailer), maps.Clone(m.Vary)
	n.Parts, n.Tags = slices.Clone(m.Parts), slices.Clone(m.Tags)
	return n
}

// set makes m the same as from, with which it shares memory.
func (m *Meta) set(from *Meta) {
	m.Key, m.Status, m.Header, m.Trailer, m.Vary = from.Key, from.Status, from.Header, from.Trailer, from.Vary
	m.RequestTime, m.ResponseTime = from.RequestTime, from.ResponseTime
	m.Length, m.Parts, m.TTL, m.Tags, m.Invalid = from.Length, from.Parts, from.TTL, from.Tags, from.Invalid
	m.siblings = from.siblings
	m.used.Store(from.used.Load())
	m.memo = atomic.Value{}
}

// Stored is the length of what is stored of the body; -1 while it is not known.
func (m *Meta) Stored() (n int64) {
	if len(m.Parts) == 0 {
		return m.Length
	}
	for _, p := range m.Parts {
		n += p.End - p.Start
	}
	return n
}

// Chosen notes that the response was chosen among others of its key.
func (m *Meta) Chosen(now time.Time) { m.used.Store(now.UnixNano()) }

// LastUse is when it was last chosen among others, or else stored, in Unix
// nanoseconds.
func (m *Meta) LastUse() int64 { return max(m.used.Load(), m.ResponseTime.UnixNano()) }

// Siblings is how many responses there were under the key in the store that this
// copy was made from, if SetSiblings has told.
func (m *Meta) Siblings() int { return m.siblings }

// SetSiblings sets what Siblings returns.
func (m *Meta) SetSiblings(n int) { m.siblings = n }

// Memo returns what SetMemo was given: what a cache has worked out from the
// rest, so that a hit need not parse. Copies do not have it. If nothing was
// given, it is nil.
func (m *Meta) Memo() any { return m.memo.Load() }

// SetMemo gives Memo something to return, always of the same type; nil changes
// nothing. Metadata must not change any more.
func (m *Meta) SetMemo(v any) {
	if v != nil {
		m.memo.Store(v)
	}
}

// Part is a range of a body, as offsets: Start is in it, End is not. The bytes
// of all parts are stored one after the other.
type Part struct{ Start, End int64 }
