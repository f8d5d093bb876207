package cache

import (
	"net/http"
	"slices"
	"strings"
)

// variesOnAll reports whether Vary has the member *. RFC 9111 section 4.1.
func variesOnAll(lines []string) bool {
	_, all := nominated(lines)
	return all
}

// nominated returns the names in Vary in canonical form, sorted, each once, or
// all for *. What is no name makes it all too: it cannot match.
func nominated(lines []string) (names []string, all bool) {
	for _, line := range lines {
		for more := true; more; {
			var name string
			name, line, more = strings.Cut(line, ",")
			name = strings.Trim(name, " \t")
			if name == "" {
				continue
			}
			if name == "*" || tokenLength(name) != len(name) {
				return nil, true
			}
			names = append(names, http.CanonicalHeaderKey(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

// varyValues returns the fields of a request that a response's Vary names, for
// Meta.Vary. A field that is not there has no values.
func varyValues(vary []string, request http.Header) http.Header {
	if len(vary) == 0 {
		return nil
	}
	h := make(http.Header, len(vary))
	for _, name := range vary {
		h[name] = request[name]
	}
	return h
}

// matches reports whether a stored response was for such a request: every field
// that its Vary names is the same. RFC 9111 section 4.1.
func (p *policy) matches(f *facts, stored http.Header, request http.Header) bool {
	for _, name := range f.vary {
		// The host is part of the key, and net/http keeps it out of the header.
		if name == "Host" {
			continue
		}
		a, b := stored[name], request[name]
		if slices.Equal(a, b) {
			continue
		}
		if name == "Accept-Encoding" && len(p.normalizeEncoding) > 0 {
			if p.bestEncoding(a) != p.bestEncoding(b) {
				return false
			}
			continue
		}
		// A field that is not there matches only one that is not there.
		if len(a) == 0 || len(b) == 0 || !sameValue(name, a, b) {
			return false
		}
	}
	return true
}

// candidate is a stored response as choose sees it.
type candidate struct {
	facts *facts
	vary  http.Header // Meta.Vary
}

// choose returns the place of the stored response to use for a request, or -1:
// of those that match, one with Vary before one without, then the most recent
// by Date, then the first. RFC 9111 sections 4 and 4.1.
func (p *policy) choose(candidates []candidate, request http.Header) int {
	best := -1
	for i := range candidates {
		c := &candidates[i]
		if !p.matches(c.facts, c.vary, request) {
			continue
		}
		if best < 0 || c.facts.preferredTo(candidates[best].facts) {
			best = i
		}
	}
	return best
}

// preferredTo reports whether f is to be chosen before g, both matching.
func (f *facts) preferredTo(g *facts) bool {
	if (len(f.vary) > 0) != (len(g.vary) > 0) {
		return len(f.vary) > 0
	}
	return f.date.After(g.date)
}

// sameValue compares two values of a field as lists, without the white space and
// the division into lines that mean nothing. RFC 9111 section 4.1.
func sameValue(name string, a, b []string) bool {
	x, y := members{name: name, lines: a}, members{name: name, lines: b}
	for {
		one, ok := x.next()
		other, also := y.next()
		switch {
		case ok != also || !sameMember(name, one, other):
			return false
		case !ok:
			return true
		}
	}
}

// members walks through the members of a list that are not empty.
type members struct {
	name  string
	lines []string
	rest  string
}

func (m *members) next() (member string, ok bool) {
	for {
		if m.rest == "" {
			if len(m.lines) == 0 {
				return "", false
			}
			m.rest, m.lines = m.lines[0], m.lines[1:]
		}
		m.rest = strings.TrimLeft(m.rest, " \t")
		n := memberLength(m.name, m.rest)
		member = strings.TrimRight(m.rest[:n], " \t")
		m.rest = strings.TrimPrefix(m.rest[n:], ",")
		if member != "" {
			return member, true
		}
	}
}

// sameMember compares two members. Languages and codings have no case, and
// blanks around the semicolon before a weight mean nothing.
func sameMember(name, a, b string) bool {
	if a == b {
		return true
	}
	if name != "Accept-Language" && name != "Accept-Encoding" {
		return false
	}
	for more := true; more; {
		var one, other string
		var also bool
		one, a, more = strings.Cut(a, ";")
		other, b, also = strings.Cut(b, ";")
		if more != also || !sameFold(strings.Trim(one, " \t"), strings.Trim(other, " \t")) {
			return false
		}
	}
	return true
}

// memberLength is the length of the first member of a list: up to a comma
// outside of quotes. Fields that are no lists have one member.
func memberLength(name, line string) int {
	switch name {
	case "Cookie", "User-Agent", "Referer", "Origin", "Authorization", "From":
		return len(line)
	}
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ',':
			return i
		case '"':
			if _, rest, _, ok := cutQuoted(line[i:]); ok {
				i = len(line) - len(rest) - 1
			}
		}
	}
	return len(line)
}

// bestEncoding is the first of the policy's content codings that the client
// takes, or identity.
func (p *policy) bestEncoding(lines []string) string {
	for _, coding := range p.normalizeEncoding {
		if acceptsCoding(lines, coding) {
			return coding
		}
	}
	return "identity"
}
