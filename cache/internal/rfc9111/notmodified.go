package rfc9111

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// ConfirmedBy reports whether a 304 speaks of a stored response, the only one
// that the origin was asked about: RFC 9111 section 4.3.4. One without a
// validator does.
func (f *Facts) ConfirmedBy(h http.Header, now time.Time) bool {
	if tag := oneETag(h["Etag"]); tag != "" {
		return f.ETag == tag || !strongETag(tag) && f.ETag != "" && weakEqual(f.ETag, tag)
	}
	if modified, ok := oneDate(h["Last-Modified"], now); ok {
		return f.lastModified.Equal(modified)
	}
	return len(h["Etag"]) == 0 // else it has one that cannot be read
}

// Freshened returns the metadata of a stored response after a 304, or a HEAD
// that fits, has told what is new: RFC 9111 sections 3.2 and 4.3.4. r is the
// request that was answered so, which the stored response matches.
func (p *Policy) Freshened(m *store.Meta, r *http.Request, h http.Header, requested, received time.Time) *store.Meta {
	d := p.directivesAfter(m.Header, h)
	n := m.Clone()
	n.RequestTime, n.ResponseTime, n.Invalid = requested, received, false
	// An Age of the old response says nothing of the new one.
	delete(n.Header, "Age")
	out := p.unkept(h, &d)
	for name, values := range h {
		if len(values) > 0 && !out[name] && !boundToBody(name) && p.takesOver(name) { // nil only keeps net/http from guessing
			n.Header[name] = values
		}
	}
	// What is named now must not be kept from before either.
	for _, name := range p.namedFields(&d) {
		if name != "Vary" {
			delete(n.Header, name)
		}
	}
	AddDate(n.Header, received)
	tagAnew(n, h)
	p.varyAnew(n, r, h)
	return n
}

// takesOver reports whether an update brings a new value of a field. A cookie is
// for the one whose request was answered: that the directives call the response
// public, which a 304 has to repeat, does not speak of that. Vary has a rule of
// its own.
func (p *Policy) takesOver(name string) bool {
	switch name {
	case "Set-Cookie":
		return p.StoreSetCookie
	case "Vary":
		return false
	}
	return true
}

// tagAnew brings the surrogate keys up to date, if h has any.
func tagAnew(m *store.Meta, h http.Header) {
	told := http.Header{}
	for _, name := range []string{"Surrogate-Key", "Cache-Tag"} {
		if told[name] = h[name]; len(h[name]) == 0 {
			told[name] = m.Header[name]
		}
	}
	if len(h["Surrogate-Key"]) > 0 || len(h["Cache-Tag"]) > 0 {
		m.Tags = SurrogateKeys(told)
	}
}

// varyAnew adds the fields that Vary names by now. Those that it does not name
// any more stay: it was by them that the stored bytes were chosen.
func (p *Policy) varyAnew(n *store.Meta, r *http.Request, h http.Header) {
	if holds(p.IgnoreHeaders, "Vary") {
		return
	}
	names, _ := Nominated(h["Vary"])
	var more []string
	for _, name := range names {
		if _, known := n.Vary[name]; !known {
			more = append(more, name)
		}
	}
	if len(more) == 0 {
		return
	}
	lines := n.Header["Vary"]
	n.Header["Vary"] = append(lines[:len(lines):len(lines)], strings.Join(more, ", "))
	values := VaryValues(more, r)
	if n.Vary == nil {
		n.Vary = values
	}
	maps.Copy(n.Vary, values)
}

// AnswerAfter returns the metadata for the client whose request led to a 304:
// with fields that are for it alone and not stored, such as Set-Cookie.
func AnswerAfter(n *store.Meta, h http.Header) *store.Meta {
	answer := n.Clone()
	hop := exchange.HopByHopOf(h)
	for name, values := range h {
		if len(values) > 0 && !ForOneHop(hop, name) && !boundToBody(name) && name != "Vary" {
			answer.Header[name] = values
		}
	}
	return answer
}

// boundToBody names the fields that the stored bytes depend on. They stay as
// they were when the bytes came: RFC 9111 section 3.2.
func boundToBody(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range", "Content-Digest", "Content-Md5", "Repr-Digest", "Digest":
		return true
	}
	return false
}

// directivesAfter are the directives of a stored header once the fields of h
// have taken their places in it.
func (p *Policy) directivesAfter(stored, h http.Header) responseDirectives {
	merged := http.Header{"Cache-Control": stored["Cache-Control"]}
	if v, ok := h["Cache-Control"]; ok {
		merged["Cache-Control"] = v
	}
	for _, name := range p.Targets {
		if v, ok := h[name]; ok {
			merged[name] = v
		} else if v, ok := stored[name]; ok {
			merged[name] = v
		}
	}
	return ParseResponseDirectives(merged, p.Targets)
}

// MayFreshen tells whether what a 304, or a response to HEAD, says may be stored
// at all. If not, it is good for the one who asked, and the stored response stays
// as it was; if it says that nothing of it may be stored any more, gone is true
// and the stored response has to go. RFC 9111 sections 3, 3.5 and 5.2.2.
func (p *Policy) MayFreshen(m *store.Meta, x *Transaction) (why Refusal, gone bool) {
	d := p.directivesAfter(m.Header, x.Header)
	if x.Response.target == "" && len(x.Header["Cache-Control"]) > 0 && !slices.Equal(x.Header["Cache-Control"], m.Header["Cache-Control"]) {
		d = x.Response // what is new is not hidden by an older targeted field
	}
	if why := p.refusedByResponse(m.Status, x.Header, &d); why != "" {
		return why, true
	}
	if why := p.RefusedByRequest(x); why != "" {
		return why, false
	}
	if !validFields(x.Header) {
		return refusedField, false
	}
	names, _ := Nominated(append(slices.Clone(m.Header["Vary"]), x.Header["Vary"]...))
	if TooHeavy(names, x.Asked) {
		return RefusedTooHeavy, false
	}
	return "", false
}

// headVerdict is what a response to HEAD does to a stored response to GET.
type headVerdict uint8

const (
	headNothing     headVerdict = iota // it tells nothing
	HeadFreshens                       // the stored one is still right
	HeadInvalidates                    // the stored one is of yesterday
)

// ByHead compares a response to HEAD with a stored response that would have been
// chosen for it: RFC 9111 section 4.3.5.
func ByHead(f *Facts, m *store.Meta, status int, h http.Header, now time.Time) headVerdict {
	if status != http.StatusOK || m.Status != http.StatusOK && m.Status != http.StatusPartialContent {
		return headNothing
	}
	if lines := h["Etag"]; len(lines) > 0 {
		if tag := oneETag(lines); tag == "" || tag != f.ETag {
			return HeadInvalidates
		}
	}
	if lines := h["Last-Modified"]; len(lines) > 0 {
		if t, ok := oneDate(lines, now); !ok || !t.Equal(f.lastModified) {
			return HeadInvalidates
		}
	}
	if lines := h["Content-Length"]; len(lines) > 0 && m.Length >= 0 && lines[0] != strconv.FormatInt(m.Length, 10) {
		return HeadInvalidates
	}
	return HeadFreshens
}
