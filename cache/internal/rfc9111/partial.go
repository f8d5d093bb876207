package rfc9111

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// ParseContentRange reads the Content-Range of a 206; length is -1 where the
// sender did not know it. RFC 9110 section 14.4.
func ParseContentRange(h http.Header) (p store.Part, length int64, ok bool) {
	lines := h["Content-Range"]
	if len(lines) != 1 {
		return store.Part{}, 0, false
	}
	unit, rest, found := strings.Cut(strings.Trim(lines[0], " \t"), " ")
	if !found || !strings.EqualFold(unit, "bytes") {
		return store.Part{}, 0, false
	}
	span, total, found := strings.Cut(rest, "/")
	if !found {
		return store.Part{}, 0, false
	}
	first, last, found := strings.Cut(span, "-")
	if !found {
		return store.Part{}, 0, false
	}
	start, ok1 := parsePosition(first)
	end, ok2 := parsePosition(last)
	length = -1
	ok3 := true
	if total != "*" {
		length, ok3 = parsePosition(total)
		ok3 = ok3 && length != 1<<63-1
	}
	if !ok1 || !ok2 || !ok3 || end < start || end == 1<<63-1 || length >= 0 && end >= length {
		return store.Part{}, 0, false
	}
	return store.Part{Start: start, End: end + 1}, length, true
}

// storablePart tells whether a 206 may be stored: it has to tell which bytes it
// holds. Without a strong validator it can be used, but not added to. RFC 9111
// section 3.3.
func storablePart(h http.Header) Refusal {
	if _, _, ok := ParseContentRange(h); !ok {
		return refusedPart
	}
	return ""
}

// Combinable reports whether a 206 belongs to the same representation as a
// stored response, whole or partial, so that its bytes may be added and its
// fields taken: RFC 9111 section 3.4, RFC 9110 section 15.3.7.3.
func Combinable(f *Facts, m *store.Meta, h http.Header) bool {
	_, length, ok := ParseContentRange(h)
	// Some give one tag to all codings.
	if !slices.Equal(m.Header["Content-Encoding"], h["Content-Encoding"]) {
		return false
	}
	if !ok || !strongEqual(oneETag(h["Etag"]), f.ETag) || f.status != http.StatusOK && f.status != http.StatusPartialContent {
		return false
	}
	return length < 0 || m.Length < 0 || length == m.Length
}

// Combined returns the metadata of a stored response to which the part of a 206
// was added that is combinable with it: RFC 9111 section 3.4. With the last part
// that was missing it becomes a complete 200.
func (p *Policy) Combined(m *store.Meta, r *http.Request, h http.Header, requested, received time.Time) *store.Meta {
	n := p.Freshened(m, r, h, requested, received)
	part, length, _ := ParseContentRange(h)
	if n.Length < 0 {
		n.Length = length
	}
	n.Parts = addPart(Coverage(m), part)
	delete(n.Header, "Content-Range")
	delete(n.Header, "Content-Length")
	if n.Length >= 0 && covered(n.Parts, store.Part{Start: 0, End: n.Length}) {
		n.Parts = nil
		n.Status = http.StatusOK
		n.Header["Content-Length"] = []string{strconv.FormatInt(n.Length, 10)}
	}
	return n
}

// Coverage returns the parts of a body that are stored.
func Coverage(m *store.Meta) []store.Part {
	if len(m.Parts) == 0 && m.Length >= 0 {
		return []store.Part{{Start: 0, End: m.Length}}
	}
	return m.Parts
}

// StoredRanges turns ranges into parts of a stored body, as resolve does. ok is
// false when some byte of them is not stored: then the origin has to be asked.
// Where the length is not known, that is what every range without both ends is.
func StoredRanges(m *store.Meta, specs []rangeSpec) (parts []store.Part, whole, ok bool) {
	length := m.Length
	if length < 0 {
		for _, r := range specs {
			if r.first < 0 || r.last < 0 || r.last == 1<<63-1 {
				return nil, false, false
			}
			length = max(length, r.last+1)
		}
	}
	parts, whole = Resolve(specs, length)
	have := Coverage(m)
	for _, p := range parts {
		if !covered(have, p) {
			return nil, false, false
		}
	}
	if whole && (m.Length < 0 || !covered(have, store.Part{Start: 0, End: length})) {
		whole = false
	}
	return parts, whole, true
}

// covered reports whether all of p is among the parts.
func covered(parts []store.Part, p store.Part) bool {
	for _, q := range parts {
		if q.Start <= p.Start && p.End <= q.End {
			return true
		}
	}
	return false
}

// OffsetOf is where in the stored bytes the byte at pos of the body is; -1 if
// it is not stored.
func OffsetOf(parts []store.Part, pos int64) int64 {
	var before int64
	for _, q := range parts {
		if q.Start <= pos && pos < q.End {
			return before + pos - q.Start
		}
		before += q.End - q.Start
	}
	return -1
}

// addPart returns the parts with one more, in order and not touching.
func addPart(parts []store.Part, p store.Part) []store.Part {
	all := append(slices.Clone(parts), p)
	slices.SortFunc(all, func(a, b store.Part) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	joined := all[:1]
	for _, q := range all[1:] {
		if last := &joined[len(joined)-1]; q.Start <= last.End {
			last.End = max(last.End, q.End)
		} else {
			joined = append(joined, q)
		}
	}
	return joined
}
