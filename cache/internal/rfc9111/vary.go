package rfc9111

import (
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/cache/store"
)

// maxSelecting is how much the fields of a request that Vary names may hold, by
// weight, for the response to be stored: every later request for the same URI is
// compared with them.
const maxSelecting = 4 << 10

// variesOnAll reports whether Vary has the member *. RFC 9111 section 4.1.
func variesOnAll(lines []string) bool {
	_, all := Nominated(lines)
	return all
}

// Nominated returns the names in Vary in canonical form, sorted, each once, or
// all for *. What is no name makes it all too: it cannot match.
func Nominated(lines []string) (names []string, all bool) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
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

// selecting returns the values of a field that Vary names, as a request has it.
func selecting(r *http.Request, name string) []string {
	if name == "Host" && r.Host != "" { // net/http keeps it out of the header
		return []string{r.Host}
	}
	return r.Header[name]
}

// weight is about what it costs to compare the values of a field.
func weight(name string, values []string) int {
	n := len(name) + 16
	for _, v := range values {
		n += len(v) + 16
	}
	return n
}

// TooHeavy reports whether a request has more in the fields that Vary names than
// is kept.
func TooHeavy(vary []string, r *http.Request) bool {
	n := 0
	for _, name := range vary {
		n += weight(name, selecting(r, name))
	}
	return n > maxSelecting
}

// VaryValues returns the fields of a request that a response's Vary names, for
// Meta.Vary.
func VaryValues(vary []string, r *http.Request) http.Header {
	if len(vary) == 0 {
		return nil
	}
	h := make(http.Header, len(vary))
	for _, name := range vary {
		h[name] = split(name, selecting(r, name))
	}
	return h
}

// split returns the members of a list, each by itself. A list without any is one
// empty member, which is another thing than a field that is not there.
func split(name string, lines []string) (all []string) {
	for m := (members{name: name, lines: lines}); ; {
		member, ok := m.next()
		if !ok {
			break
		}
		all = append(all, member)
	}
	if len(all) == 0 && len(lines) > 0 {
		all = []string{""}
	}
	return all
}

// Matches reports whether a stored response was for such a request: every field
// that its Vary names is the same. RFC 9111 section 4.1. stored are the values
// that varyValues gave.
func (p *Policy) Matches(vary []string, stored http.Header, r *http.Request) bool {
	for _, name := range vary {
		a, b := stored[name], selecting(r, name)
		if weight(name, b) > maxSelecting {
			return false
		}
		if name == "Accept-Encoding" && len(p.NormalizeEncoding) > 0 {
			if p.bestEncoding(a) != p.bestEncoding(b) {
				return false
			}
			continue
		}
		// A field that is not there matches only one that is not there.
		if len(a) == 0 || len(b) == 0 {
			if len(a) != len(b) {
				return false
			}
			continue
		}
		if !sameValue(name, a, b) {
			return false
		}
	}
	return true
}

// toldName is where Meta.Vary has what the origin was told of the place. It is
// the name of no field.
const toldName = ":told"

// WithTold adds what the origin was told to the values that Vary names.
func WithTold(values http.Header, told string) http.Header {
	if told == "" {
		return values
	}
	if values == nil {
		values = http.Header{}
	}
	values[toldName] = []string{told}
	return values
}

// Serves reports whether a stored response is for such a request: the origin was
// told the same, and what Vary names is the same.
func (p *Policy) Serves(m *store.Meta, r *http.Request, told string) bool {
	return ToldOf(m) == told && p.Matches(p.FactsOf(m).Vary, m.Vary, r)
}

// ToldOf is what the origin was told of the place, beside the key.
func ToldOf(m *store.Meta) string {
	if v := m.Vary[toldName]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Candidate is a stored response as choose sees it.
type Candidate struct {
	Facts *Facts
	Vary  http.Header // Meta.Vary
}

// Choose returns the place of the stored response to use for a request, or -1:
// of those that match, one with Vary before one without, then the most recent
// by Date, then the first. RFC 9111 sections 4 and 4.1.
func (p *Policy) Choose(candidates []Candidate, r *http.Request) int {
	best := -1
	for i := range candidates {
		c := &candidates[i]
		if !p.Matches(c.Facts.Vary, c.Vary, r) {
			continue
		}
		if best < 0 || c.Facts.preferredTo(candidates[best].Facts) {
			best = i
		}
	}
	return best
}

// preferredTo reports whether f is to be chosen before g, both matching.
func (f *Facts) preferredTo(g *Facts) bool {
	if (len(f.Vary) > 0) != (len(g.Vary) > 0) {
		return len(f.Vary) > 0
	}
	return f.date.After(g.date)
}

// sameValue compares the members of a stored list with a list, without the white
// space and the division into lines that mean nothing. RFC 9111 section 4.1.
func sameValue(name string, stored, lines []string) bool {
	if len(lines) == 1 && isJoined(lines[0], stored) {
		return true
	}
	m := members{name: name, lines: lines}
	for _, one := range stored {
		if one == "" {
			continue
		}
		if other, ok := m.next(); !ok || !sameMember(name, one, other) {
			return false
		}
	}
	_, more := m.next()
	return !more
}

// isJoined reports whether a line is a list as most clients write it.
func isJoined(line string, list []string) bool {
	ok := true
	for i, one := range list {
		if i > 0 {
			if line, ok = strings.CutPrefix(line, ","); !ok {
				return false
			}
			line = strings.TrimPrefix(line, " ")
		}
		if line, ok = strings.CutPrefix(line, one); !ok {
			return false
		}
	}
	return line == ""
}

// members walks through the members of a list that are not empty.
type members struct {
	name   string
	lines  []string
	rest   string
	quotes quotes
}

func (m *members) next() (member string, ok bool) {
	for {
		if m.rest == "" {
			if len(m.lines) == 0 {
				return "", false
			}
			m.rest, m.lines, m.quotes = m.lines[0], m.lines[1:], quotes{}
		}
		m.rest = strings.TrimLeft(m.rest, " \t")
		n := len(m.rest)
		if isList(m.name) {
			n = m.quotes.comma(m.rest)
		}
		member = strings.TrimRight(m.rest[:n], " \t")
		m.rest = strings.TrimPrefix(m.rest[n:], ",")
		if member != "" {
			return member, true
		}
	}
}

// isList reports whether commas divide the values of a field.
func isList(name string) bool {
	switch name {
	case "Cookie", "User-Agent", "Referer", "Origin", "Authorization", "From", "Host":
		return false
	}
	return true
}

// sameMember compares two members. Hosts, languages and codings have no case,
// and blanks around the semicolon before a weight mean nothing.
func sameMember(name, a, b string) bool {
	if a == b {
		return true
	}
	switch name {
	case "Accept-Language", "Accept-Encoding":
	case "Host":
		return sameFold(a, b)
	default:
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

// bestEncoding is the first of the policy's content codings that the client
// takes, or identity.
func (p *Policy) bestEncoding(lines []string) string {
	for _, coding := range p.NormalizeEncoding {
		if acceptsCoding(lines, coding) {
			return coding
		}
	}
	return "identity"
}
