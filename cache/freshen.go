package cache

import (
	"net/http"
	"strconv"
	"time"
)

// selectedBy returns the places of the stored responses that a 304 speaks of:
// RFC 9111 section 4.3.4. offered are those that the cache asked about.
func selectedBy(h http.Header, offered []*facts, now time.Time) (selected []int) {
	tag := oneETag(h["Etag"])
	modified, dated := oneDate(h["Last-Modified"], now)
	switch {
	case strongETag(tag):
		for i, f := range offered {
			if strongEqual(f.etag, tag) {
				selected = append(selected, i)
			}
		}
		return selected
	case tag != "":
		return latest(offered, func(f *facts) bool { return f.etag != "" && weakEqual(f.etag, tag) })
	case dated:
		return latest(offered, func(f *facts) bool { return f.lastModified.Equal(modified) })
	case len(offered) == 1:
		// It has no validator, but only one was asked about.
		return []int{0}
	}
	return nil
}

// latest returns the place of the most recent response that fits.
func latest(offered []*facts, fits func(*facts) bool) []int {
	best := -1
	for i, f := range offered {
		if fits(f) && (best < 0 || f.date.After(offered[best].date)) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return []int{best}
}

// freshened returns the metadata of a stored response after a 304, or a HEAD
// that fits, has told what is new: RFC 9111 sections 3.2 and 4.3.4. request is
// the header of what was answered so.
func (p *policy) freshened(m *Meta, request, h http.Header, requested, received time.Time) *Meta {
	d := p.directivesAfter(m.Header, h)
	n := m.Clone()
	n.RequestTime, n.ResponseTime, n.Invalid = requested, received, false
	// An Age of the old response says nothing of the new one.
	delete(n.Header, "Age")
	for name, values := range h {
		if !p.keeps(name, h, &d) || boundToBody(name) || name == "Set-Cookie" && !p.cookieIsPublic(&d) {
			continue
		}
		n.Header[name] = values
	}
	addDate(n.Header, received)
	n.tagAnew(h)
	p.varyAnew(n, m, request)
	return n
}

// tagAnew brings the surrogate keys up to date, if h has any.
func (m *Meta) tagAnew(h http.Header) {
	told := http.Header{}
	for _, name := range []string{"Surrogate-Key", "Cache-Tag"} {
		if told[name] = h[name]; len(h[name]) == 0 {
			told[name] = m.Header[name]
		}
	}
	if len(h["Surrogate-Key"]) > 0 || len(h["Cache-Tag"]) > 0 {
		m.Tags = surrogateKeys(told)
	}
}

// freshened is that of the policy, with the lifetime that the cache's own rules
// give a response which is now as told.
func (c *Cache) freshened(m *Meta, r *http.Request, request, h http.Header, requested, received time.Time) *Meta {
	n := c.policy.freshened(m, request, h, requested, received)
	n.TTL = c.ttlOf(r, &exchange{
		status: n.Status, header: n.Header, response: parseResponseDirectives(n.Header, c.policy.targets), responseTime: received,
	})
	return n
}

// varyAnew brings the values of the fields that Vary names up to date, where it
// names others than before. They are those of the request, if the response was
// one for that; else some are not known, and it has to be validated.
func (p *policy) varyAnew(n, old *Meta, request http.Header) {
	vary, _ := nominated(n.Header["Vary"])
	matched := p.matches(readFacts(old, p), old.Vary, request)
	n.Vary = nil
	for _, name := range vary {
		values, known := old.Vary[name]
		if !known {
			values = request[name]
			n.Invalid = n.Invalid || !matched
		}
		if n.Vary == nil {
			n.Vary = make(http.Header, len(vary))
		}
		n.Vary[name] = values
	}
}

// answerAfter returns the metadata for the client whose request led to a 304:
// with fields that are for it alone and not stored, such as Set-Cookie.
func answerAfter(n *Meta, h http.Header) *Meta {
	answer := n.Clone()
	for name, values := range h {
		if !perConnection(name) && !boundToBody(name) {
			answer.Header[name] = values
		}
	}
	return answer
}

// boundToBody names the fields that the stored bytes depend on. They stay as
// they were when the bytes came: RFC 9111 section 3.2.
func boundToBody(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range":
		return true
	}
	return false
}

// directivesAfter are the directives of a stored header once the fields of h
// have taken their places in it.
func (p *policy) directivesAfter(stored, h http.Header) responseDirectives {
	merged := http.Header{"Cache-Control": stored["Cache-Control"]}
	if v, ok := h["Cache-Control"]; ok {
		merged["Cache-Control"] = v
	}
	for _, name := range p.targets {
		if v, ok := h[name]; ok {
			merged[name] = v
		} else if v, ok := stored[name]; ok {
			merged[name] = v
		}
	}
	return parseResponseDirectives(merged, p.targets)
}

// mayFreshen tells whether what a 304, or a response to HEAD, says may be stored
// at all. If not, it is good for the one who asked, and the stored response stays
// as it was; if it says that nothing of it may be stored any more, gone is true
// and the stored response has to go. RFC 9111 sections 3, 3.5 and 5.2.2.
func (p *policy) mayFreshen(m *Meta, x *exchange) (why refusal, gone bool) {
	d := p.directivesAfter(m.Header, x.header)
	switch {
	case x.request.noStore && !p.ignoreCacheControl:
		return "no-store in the request", false
	case !validFields(x.header):
		return "a header field that is not valid", false
	case d.noStore && !(d.mustUnderstand && understood(m.Status)) && !p.storeNoStore:
		return "no-store in the response", true
	case d.private && !p.storePrivate:
		return "private in the response", true
	case variesOnAll(x.header["Vary"]):
		return "Vary: * never matches", true
	case authorized(x.requestHeader, &d):
		return "Authorization in the request, without public, must-revalidate or s-maxage", false
	}
	return "", false
}

// headVerdict is what a response to HEAD does to a stored response to GET.
type headVerdict uint8

const (
	headNothing     headVerdict = iota // it tells nothing
	headFreshens                       // the stored one is still right
	headInvalidates                    // the stored one is of yesterday
)

// byHead compares a response to HEAD with a stored response that would have been
// chosen for it: RFC 9111 section 4.3.5.
func byHead(f *facts, m *Meta, status int, h http.Header, now time.Time) headVerdict {
	if status != http.StatusOK || m.Status != http.StatusOK && m.Status != http.StatusPartialContent {
		return headNothing
	}
	if lines := h["Etag"]; len(lines) > 0 {
		if tag := oneETag(lines); tag == "" || tag != f.etag {
			return headInvalidates
		}
	}
	if lines := h["Last-Modified"]; len(lines) > 0 {
		if t, ok := oneDate(lines, now); !ok || !t.Equal(f.lastModified) {
			return headInvalidates
		}
	}
	if lines := h["Content-Length"]; len(lines) > 0 && m.Length >= 0 && lines[0] != strconv.FormatInt(m.Length, 10) {
		return headInvalidates
	}
	return headFreshens
}
