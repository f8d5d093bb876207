package rfc9111

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/cache/store"
)

// maxRanges is how many ranges of one request are answered; more are not worth
// it, and the whole is sent. RFC 9110 section 14.2.
const maxRanges = 32

// rangeSpec is one range of a Range field. RFC 9110 section 14.1.1.
type rangeSpec struct {
	first int64 // -1: the last `last` bytes
	last  int64 // included; -1: to the end
}

// ParseRange reads the ranges of a request. ok is false when there are none, or
// the field is to be ignored: another unit, broken, or too many.
func ParseRange(h http.Header) (specs []rangeSpec, ok bool) {
	lines := h["Range"]
	if len(lines) != 1 {
		return nil, false
	}
	unit, set, found := strings.Cut(strings.Trim(lines[0], " \t"), "=")
	if !found || !strings.EqualFold(unit, "bytes") {
		return nil, false
	}
	for one := range strings.SplitSeq(set, ",") {
		one = strings.Trim(one, " \t")
		if one == "" {
			continue
		}
		spec, ok := parseRangeSpec(one)
		if !ok || len(specs) == maxRanges {
			return nil, false
		}
		specs = append(specs, spec)
	}
	return specs, len(specs) > 0
}

// parseRangeSpec reads "0-99", "100-" or "-100".
func parseRangeSpec(s string) (rangeSpec, bool) {
	first, last, found := strings.Cut(s, "-")
	if !found {
		return rangeSpec{}, false
	}
	r := rangeSpec{-1, -1}
	ok := true
	if first != "" {
		r.first, ok = parsePosition(first)
	}
	if ok && last != "" {
		r.last, ok = parsePosition(last)
	}
	switch {
	case !ok, first == "" && last == "":
		return rangeSpec{}, false
	case first != "" && last != "" && r.last < r.first:
		return rangeSpec{}, false
	}
	return r, true
}

// parsePosition reads 1*DIGIT that is a length of something.
func parsePosition(s string) (int64, bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && len(s) > 0 {
		// More than any body has.
		return 1<<63 - 1, true
	}
	return n, err == nil
}

// Resolve turns ranges into parts of a body of that length, in the order in
// which they were asked for. None at all is 416. whole says that it is better
// to send everything: the ranges overlap more than twice or hold more than the
// body. RFC 9110 sections 14.1.2 and 14.2.
func Resolve(specs []rangeSpec, length int64) (parts []store.Part, whole bool) {
	var sum int64
	for _, r := range specs {
		p := r.part(length)
		if p.Start >= p.End {
			continue
		}
		parts = append(parts, p)
		sum += p.End - p.Start
	}
	return parts, len(parts) > 1 && (sum > length || overlaps(parts) > 2)
}

// part is the bytes of a range that a body of that length has.
func (r rangeSpec) part(length int64) store.Part {
	switch {
	case r.first < 0:
		return store.Part{Start: max(length-r.last, 0), End: length}
	case r.last < 0 || r.last >= length:
		return store.Part{Start: r.first, End: length}
	}
	return store.Part{Start: r.first, End: r.last + 1}
}

// overlaps counts the pairs of parts that share bytes, up to a few.
func overlaps(parts []store.Part) (n int) {
	for i, p := range parts {
		for _, q := range parts[:i] {
			if p.Start < q.End && q.Start < p.End {
				n++
			}
		}
	}
	return n
}

// ContentRange is the value of Content-Range for a part: RFC 9110 section 14.4.
// A length that is not known is -1.
func ContentRange(p store.Part, length int64) string {
	b := make([]byte, 0, 48)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, p.Start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, p.End-1, 10)
	b = append(b, '/')
	if length < 0 {
		return string(append(b, '*'))
	}
	return string(strconv.AppendInt(b, length, 10))
}

// Unsatisfied is the Content-Range of 416.
func Unsatisfied(length int64) string { return "bytes */" + strconv.FormatInt(length, 10) }

// multipart is an answer of several ranges as multipart/byteranges: RFC 9110
// section 14.6. Before part i goes heads[i], and at the end tail.
type multipart struct {
	ContentType string
	Heads       []string
	parts       []store.Part
	Tail        string
	Length      int64 // of the whole body
}

// NewMultipart lays out an answer. The boundary must not be in the body, so it
// is best random.
func NewMultipart(parts []store.Part, length int64, contentType, boundary string) *multipart {
	m := &multipart{ContentType: "multipart/byteranges; boundary=" + boundary, parts: parts}
	for i, p := range parts {
		start := "\r\n--"
		if i == 0 {
			start = "--"
		}
		head := start + boundary + "\r\n"
		if contentType != "" {
			head += "Content-Type: " + contentType + "\r\n"
		}
		head += fmt.Sprintf("Content-Range: %s\r\n\r\n", ContentRange(p, length))
		m.Heads = append(m.Heads, head)
		m.Length += int64(len(head)) + p.End - p.Start
	}
	m.Tail = "\r\n--" + boundary + "--\r\n"
	m.Length += int64(len(m.Tail))
	return m
}
