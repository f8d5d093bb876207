package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Mapping is how the path of a request is read before it is compared with the
// rules, and in which form the part of it that a rule does not replace goes to
// the backend. In every mapping dot segments ("." and "..", also written as
// %2e) are resolved first, %2F is never a separator, nothing is decoded twice,
// and the query is forwarded byte for byte.
type Mapping int

const (
	// MappingRaw, the default, compares the decoded path and forwards what the
	// client wrote: escapes stay as they are, doubled slashes stay unless the
	// path held dot segments, and only bytes that may not stand in a request
	// line are escaped.
	MappingRaw Mapping = iota

	// MappingDecoded forwards a path that was decoded once and written anew,
	// with doubled slashes merged, which is what Apache does for a ProxyPass
	// without the parameter mapping. Unlike there %2F is kept.
	MappingDecoded

	// MappingServlet reads the path as servlet containers do: parameters
	// (";name=value") of a segment are no part of its name, so that "..;x" is a
	// dot segment. What follows the prefix is forwarded as the client wrote it.
	// Apache: mapping=servlet.
	MappingServlet
)

// canonical is the path of a request in the form in which it is compared and
// forwarded.
type canonical struct {
	wire    string // begins with "/"; only bytes for which [stands] holds, and triples %XX
	plain   bool   // wire holds no triple, no doubled slash, and no parameter that matters
	servlet bool
	dots    bool // there were dot segments
	slashes bool // there are escaped ones
}

// canonicalPath returns the path of u as m reads it, or an error with status
// 400 for one that must not be forwarded. It allocates nothing for a path that
// is canonical already.
func canonicalPath(u *url.URL, m Mapping) (canonical, error) {
	if u.Opaque != "" {
		return canonical{}, exchange.BadRequest("request target has no path")
	}
	p := u.Path
	switch {
	case p == "" && u.Scheme != "" && u.Host != "":
		p = "/" // RFC 9112, section 3.2.1: an empty path of an absolute URL
	case u.RawPath != "":
		same, err := decodesTo(u.RawPath, u.Path)
		if err != nil {
			return canonical{}, exchange.BadRequest("path: %w", err)
		}
		if same {
			// Not through EscapedPath: one byte that net/url would escape makes
			// it encode all of Path anew, and turns %2F into a separator.
			p = u.RawPath
			break
		}
		fallthrough // whoever changed Path left RawPath behind
	default:
		if !isPlainURLPath(p) {
			p = (&url.URL{Path: p}).EscapedPath()
		}
	}
	c, err := canonicalise(p, m)
	if err != nil {
		return canonical{}, exchange.BadRequest("path: %w", err)
	}
	return c, nil
}

// withoutDots returns u with its dot segments resolved: itself if it has none,
// and if it has no path at all. Errors are those of [canonicalPath].
func withoutDots(u *url.URL, m Mapping) (*url.URL, error) {
	if isAsterisk(u) || hasNoPath(u) && u.Opaque == "" {
		return u, nil
	}
	c, err := canonicalPath(u, m)
	if err != nil || !c.dots {
		return u, err
	}
	out := *u
	setPath(&out, c.wire)
	return &out, nil
}

// holdsDots reports whether a URL is sent with a dot segment in its path.
func holdsDots(u *url.URL, m Mapping) bool {
	p := u.Path
	switch {
	case u.Opaque != "":
		p = u.Opaque
	case u.RawPath != "" || strings.IndexByte(p, '%') >= 0:
		p = u.EscapedPath()
	}
	for rest, more := p, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if dotSegment(segment, m == MappingServlet) != 0 {
			return true
		}
	}
	return false
}

// canonicalise brings an escaped path into the form that m asks for.
func canonicalise(p string, m Mapping) (canonical, error) {
	servlet := m == MappingServlet
	t, err := survey(p, servlet)
	if err != nil {
		return canonical{}, err
	}
	c := canonical{wire: p, servlet: servlet, dots: t.dots, slashes: t.slashes}
	if t.foreign || t.percent && m == MappingDecoded {
		c.wire = string(appendEscaped(make([]byte, 0, len(p)+16), p, m == MappingDecoded))
	}
	if t.dots || t.doubled && m != MappingRaw {
		if c.wire, err = resolve(c.wire, c.servlet); err != nil {
			return canonical{}, err
		}
		t.doubled = false
	}
	c.plain = !t.percent && !t.foreign && !t.doubled && !(c.servlet && t.params)
	return c, nil
}

// traits is what a path holds that makes it more than a plain one.
type traits struct {
	percent bool // escapes
	slashes bool // escaped ones
	foreign bool // bytes that may not stand in a request line
	doubled bool // "//"
	dots    bool // dot segments
	params  bool // ";"
}

// survey reads an escaped path and refuses one that is malformed.
func survey(p string, servlet bool) (traits, error) {
	var t traits
	if p == "" || p[0] != '/' {
		return t, errors.New("does not begin with a slash")
	}
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '/':
			if i+1 == len(p) {
				break
			}
			switch p[i+1] {
			case '/':
				t.doubled = true
			case '.', '%':
				t.dots = t.dots || dotSegment(segmentAt(p, i+1), servlet) != 0
			}
		case c == '%':
			d, ok := syntax.TripleAt(p, i)
			if !ok {
				return t, errors.New("malformed escape")
			}
			if d == 0 {
				return t, errors.New("holds an escaped NUL")
			}
			t.percent = true
			t.slashes = t.slashes || d == '/'
			i += 2
		case c == ';':
			t.params = true
		case c <= ' ' || c == 0x7f || c == '#' || c == '?':
			return t, fmt.Errorf("holds the byte %#02x", c)
		case !stands(c):
			t.foreign = true
		}
	}
	return t, nil
}

// resolve merges slashes and removes dot segments (RFC 3986, section 5.2.4),
// but refuses a path that climbs above the root.
func resolve(p string, servlet bool) (string, error) {
	out := make([]byte, 0, len(p))
	for i := 0; i < len(p); {
		for i < len(p) && p[i] == '/' {
			i++
		}
		seg := segmentAt(p, i)
		i += len(seg)
		dots := dotSegment(seg, servlet)
		if dots == 2 {
			var ok bool
			if out, ok = dropSegment(out, servlet); !ok {
				return "", errors.New("climbs above the root")
			}
		}
		if dots == 0 {
			out = append(out, '/')
			out = append(out, seg...)
		} else if i == len(p) {
			out = append(out, '/')
		}
	}
	return string(out), nil
}

// dropSegment removes the last segment. A servlet container does not see a
// segment of parameters alone, so that one goes with the segment before it.
func dropSegment(out []byte, servlet bool) ([]byte, bool) {
	for {
		i := bytes.LastIndexByte(out, '/')
		if i < 0 {
			return nil, false
		}
		nameless := servlet && i+1 < len(out) && out[i+1] == ';'
		out = out[:i]
		if !nameless {
			return out, true
		}
	}
}

// segmentAt returns the segment of p that begins at i.
func segmentAt(p string, i int) string {
	if n := strings.IndexByte(p[i:], '/'); n >= 0 {
		return p[i : i+n]
	}
	return p[i:]
}

// dotSegment returns 1 for ".", 2 for "..", in all their spellings, or 0.
func dotSegment(seg string, servlet bool) int {
	if servlet {
		seg, _, _ = strings.Cut(seg, ";")
	}
	n := 0
	for seg != "" && n < 3 {
		switch {
		case seg[0] == '.':
			seg = seg[1:]
		case len(seg) >= 3 && seg[0] == '%' && seg[1] == '2' && seg[2]|0x20 == 'e':
			seg = seg[3:]
		default:
			return 0
		}
		n++
	}
	if n > 2 {
		return 0
	}
	return n
}

// hasPrefix reports whether the path lies under prefix, a cleaned decoded path
// (see [cleanPrefix]), and where in wire the rest begins. A run of slashes
// counts as one, but of the run that ends the prefix only the first belongs to
// it, so that the rest is what the client wrote.
func (c canonical) hasPrefix(prefix string) (rest int, ok bool) {
	w := c.wire
	if c.plain {
		n := len(prefix)
		if !strings.HasPrefix(w, prefix) {
			return 0, false
		}
		return n, n == 0 || prefix[n-1] == '/' || n == len(w) || w[n] == '/'
	}
	i := 0
	for j := 0; j < len(prefix); j++ {
		if prefix[j] == '/' {
			i = c.skipParams(i)
			if i == len(w) || w[i] != '/' {
				return 0, false
			}
			if i++; j+1 < len(prefix) {
				i = c.skipEmpty(i)
			}
			continue
		}
		if i == len(w) || w[i] == '/' {
			return 0, false
		}
		d, n := decodeAt(w, i)
		if d == '/' { // an escaped one
			if len(prefix)-j < 3 || !strings.EqualFold(prefix[j:j+3], "%2F") {
				return 0, false
			}
			j += 2
		} else if d != prefix[j] {
			return 0, false
		}
		i += n
	}
	switch {
	case prefix == "" || prefix[len(prefix)-1] == '/' || i == len(w) || w[i] == '/':
		return i, true
	case c.servlet && w[i] == ';':
		if end := c.skipParams(i); end == len(w) {
			return end, true // Apache loses the parameters of the last segment, too
		}
		return i, true
	}
	return 0, false
}

// skipParams returns the end of the parameters that begin at i, if any.
func (c canonical) skipParams(i int) int {
	if !c.servlet || i == len(c.wire) || c.wire[i] != ';' {
		return i
	}
	return i + len(segmentAt(c.wire, i))
}

// skipEmpty skips slashes, and for servlets segments of parameters alone.
func (c canonical) skipEmpty(i int) int {
	for {
		for i < len(c.wire) && c.wire[i] == '/' {
			i++
		}
		end := c.skipParams(i)
		if end == i || end == len(c.wire) {
			return i
		}
		i = end
	}
}

// text returns the decoded path for regular expressions, slashes merged and an
// escaped slash written "%2F", and for each of its bytes, and its end, the
// place in wire where that byte begins. The index is nil if they are the same.
func (c canonical) text() (string, []int) {
	w := c.wire
	if c.plain || !strings.Contains(w, "%") && !strings.Contains(w, "//") {
		return w, nil
	}
	text := make([]byte, 0, len(w))
	index := make([]int, 0, len(w)+1)
	for i := 0; i < len(w); {
		d, n := decodeAt(w, i)
		switch {
		case d == '/' && n == 3:
			text = append(text, "%2F"...)
			index = append(index, i, i+1, i+2)
		default:
			text = append(text, d)
			index = append(index, i)
		}
		i += n
		for d == '/' && n == 1 && i < len(w) && w[i] == '/' {
			i++
		}
	}
	return string(text), append(index, len(w))
}
