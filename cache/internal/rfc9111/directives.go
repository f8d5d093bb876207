package rfc9111

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// maxDelta is what larger numbers of seconds are cut down to. RFC 9111 section
// 1.2.2.
const maxDelta = 1 << 31

// deltaSeconds is the argument of a directive such as max-age. The zero value
// is a directive that is not there.
type deltaSeconds struct {
	n     uint32
	state deltaState
}

// deltaState is what became of a directive that wants seconds.
type deltaState uint8

const (
	deltaAbsent deltaState = iota // not there
	deltaValid                    // there, and a number
	deltaBroken                   // there, but without a number, or with two that differ
)

// given reports whether the directive is there, in whatever shape.
func (d deltaSeconds) given() bool { return d.state != deltaAbsent }

// valid reports whether the directive is there with a number.
func (d deltaSeconds) valid() bool { return d.state == deltaValid }

// duration is the number as a time; 0 when it is broken or not there.
func (d deltaSeconds) duration() time.Duration {
	if d.state != deltaValid {
		return 0
	}
	return time.Duration(d.n) * time.Second
}

// set takes one more argument. Two different ones for the same directive make
// neither believable: RFC 9111 section 4.2.1.
func (d *deltaSeconds) set(arg argument) {
	n, ok := parseDelta(arg.text)
	switch {
	case !ok || arg.kind == argNone || arg.kind == argBroken:
		*d = deltaSeconds{state: deltaBroken}
	case d.state == deltaAbsent:
		*d = deltaSeconds{n, deltaValid}
	case d.n != n:
		*d = deltaSeconds{state: deltaBroken}
	}
}

// parseDelta reads 1*DIGIT, cut down to maxDelta.
func parseDelta(s string) (uint32, bool) {
	if s == "" {
		return 0, false
	}
	n := uint64(0)
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		if n = n*10 + uint64(c); n > maxDelta {
			n = maxDelta
		}
	}
	return uint32(n), true
}

// RequestDirectives is what a request says about caching. RFC 9111 section
// 5.2.1, RFC 5861 section 4.
type RequestDirectives struct {
	NoCache, NoStore, noTransform, OnlyIfCached bool

	// maxStaleAny is max-stale without a number: however stale.
	maxStaleAny bool

	maxAge, maxStale, minFresh, staleIfError deltaSeconds
}

// ParseRequestDirectives reads Cache-Control, or Pragma where there is none.
// RFC 9111 section 5.4.
func ParseRequestDirectives(h http.Header) (d RequestDirectives) {
	lines, ok := h["Cache-Control"]
	if !ok {
		d.NoCache = namesNoCache(h["Pragma"])
		return d
	}
	for _, line := range lines {
		for l := (directiveLexer{rest: line}); l.next(); {
			d.take(l.name, l.arg)
		}
	}
	return d
}

func (d *RequestDirectives) take(name string, arg argument) {
	switch {
	case strings.EqualFold(name, "no-cache"):
		d.NoCache = true
	case strings.EqualFold(name, "no-store"):
		d.NoStore = true
	case strings.EqualFold(name, "no-transform"):
		d.noTransform = true
	case strings.EqualFold(name, "only-if-cached"):
		d.OnlyIfCached = true
	case strings.EqualFold(name, "max-age"):
		d.maxAge.set(arg)
	case strings.EqualFold(name, "max-stale"):
		if arg.kind == argNone {
			d.maxStaleAny = true
		} else {
			d.maxStale.set(arg)
		}
	case strings.EqualFold(name, "min-fresh"):
		d.minFresh.set(arg)
	case strings.EqualFold(name, "stale-if-error"):
		d.staleIfError.set(arg)
	}
}

// namesNoCache reports whether Pragma holds no-cache.
func namesNoCache(lines []string) bool {
	for _, line := range lines {
		for l := (directiveLexer{rest: line}); l.next(); {
			if strings.EqualFold(l.name, "no-cache") {
				return true
			}
		}
	}
	return false
}

// responseDirectives is what a response says about caching. RFC 9111 section
// 5.2.2, RFC 5861, RFC 8246.
type responseDirectives struct {
	noStore, noTransform, mustUnderstand bool
	mustRevalidate, proxyRevalidate      bool
	public, immutable                    bool

	// noCache and private are the directives without names of fields.
	NoCache, private bool

	// noCacheFields and privateFields are the names, in canonical form, that
	// no-cache="…" and private="…" hold.
	noCacheFields, privateFields []string

	maxAge, sMaxAge, staleWhileRevalidate, staleIfError deltaSeconds

	// target is the name of the targeted field that all of this is from; "" if
	// it is from Cache-Control. With it, Expires does not count. RFC 9213
	// section 2.2.
	target string
}

// ParseResponseDirectives reads the first of the targeted fields that is there
// and whole, or else Cache-Control. The names of targets are canonical.
func ParseResponseDirectives(h http.Header, targets []string) (d responseDirectives) {
	for _, name := range targets {
		if lines, ok := h[name]; ok {
			if t, ok := parseTargeted(lines); ok {
				t.target = name
				return t
			}
		}
	}
	for _, line := range h["Cache-Control"] {
		for l := (directiveLexer{rest: line}); l.next(); {
			d.take(l.name, l.arg)
		}
	}
	return d
}

func (d *responseDirectives) take(name string, arg argument) {
	switch {
	case strings.EqualFold(name, "max-age"):
		d.maxAge.set(arg)
	case strings.EqualFold(name, "s-maxage"):
		d.sMaxAge.set(arg)
	case strings.EqualFold(name, "no-store"):
		d.noStore = true
	case strings.EqualFold(name, "no-cache"):
		takeFields(&d.NoCache, &d.noCacheFields, arg)
	case strings.EqualFold(name, "private"):
		takeFields(&d.private, &d.privateFields, arg)
	case strings.EqualFold(name, "must-revalidate"):
		d.mustRevalidate = true
	case strings.EqualFold(name, "proxy-revalidate"):
		d.proxyRevalidate = true
	case strings.EqualFold(name, "no-transform"):
		d.noTransform = true
	case strings.EqualFold(name, "stale-while-revalidate"):
		d.staleWhileRevalidate.set(arg)
	case strings.EqualFold(name, "stale-if-error"):
		d.staleIfError.set(arg)
	// What allows something is not believed when it has an argument that no
	// specification gives it.
	case strings.EqualFold(name, "public"):
		d.public = d.public || arg.kind == argNone
	case strings.EqualFold(name, "must-understand"):
		d.mustUnderstand = d.mustUnderstand || arg.kind == argNone
	case strings.EqualFold(name, "immutable"):
		d.immutable = true // RFC 8246 section 2: arguments mean nothing
	}
}

// takeFields takes the argument of no-cache or private. One that is no list of
// names is read as none at all, which forbids most.
func takeFields(all *bool, fields *[]string, arg argument) {
	text := arg.text
	if arg.escaped {
		text = unescape(text)
	}
	if arg.kind == argNone || arg.kind == argBroken || !appendFieldNames(fields, text) {
		*all = true
	}
}

// appendFieldNames adds the names of a list in canonical form, and reports
// whether there were any and all were names.
func appendFieldNames(to *[]string, list string) bool {
	found := false
	for name := range strings.SplitSeq(list, ",") {
		name = textproto.TrimString(name)
		if name == "" {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		*to = append(*to, http.CanonicalHeaderKey(name))
		found = true
	}
	return found
}

// argument is what stands behind the = of a directive.
type argument struct {
	text    string // inside the quotes
	kind    argKind
	escaped bool // text has backslashes of a quoted string
}

type argKind uint8

const (
	argNone   argKind = iota // no =
	argToken                 // a token
	argQuoted                // a quoted string
	argBroken                // neither
)

// directiveLexer walks through one line of Cache-Control: #( token [ "=" (
// token / quoted-string ) ] ), RFC 9111 section 5.2. It never gives up: what
// cannot be read is passed over up to the next comma, so that a no-store behind
// it is seen.
type directiveLexer struct {
	rest   string
	quotes quotes

	name string
	arg  argument
}

// next reads the next directive and reports whether there was one.
func (l *directiveLexer) next() bool {
	for {
		l.rest = trimListStart(l.rest)
		if l.rest == "" {
			return false
		}
		n := tokenLength(l.rest)
		l.name, l.rest = l.rest[:n], l.rest[n:]
		l.arg = argument{}
		gap := l.skipBlank()
		if l.rest != "" && l.rest[0] == '=' {
			l.rest = l.rest[1:]
			// White space around the = is not in the grammar.
			gap = l.skipBlank() || gap
			l.readArgument()
			if gap {
				l.arg.kind = argBroken
			}
		}
		if l.toComma() {
			l.arg.kind = argBroken
		}
		if l.name != "" {
			return true
		}
	}
}

func (l *directiveLexer) readArgument() {
	if l.rest != "" && l.rest[0] == '"' {
		if text, rest, escaped, ok := l.quotes.cut(l.rest); ok {
			l.arg = argument{text, argQuoted, escaped}
			l.rest = rest
			return
		}
		l.arg.kind = argBroken
		return
	}
	n := tokenLength(l.rest)
	l.arg = argument{text: l.rest[:n], kind: argToken}
	l.rest = l.rest[n:]
	if n == 0 {
		l.arg.kind = argBroken
	}
}

// toComma goes to the next comma and reports whether anything was in the way.
func (l *directiveLexer) toComma() (junk bool) {
	l.skipBlank()
	n := l.quotes.comma(l.rest)
	l.rest = l.rest[n:]
	return n > 0
}

func (l *directiveLexer) skipBlank() (any bool) {
	for l.rest != "" && isBlank(l.rest[0]) {
		l.rest, any = l.rest[1:], true
	}
	return any
}

// trimListStart drops blanks and the commas of empty members.
func trimListStart(s string) string {
	for s != "" && (s[0] == ',' || isBlank(s[0])) {
		s = s[1:]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// tokenLength is the length of the token that s begins with.
func tokenLength(s string) int {
	n := 0
	for n < len(s) && httpguts.IsTokenRune(rune(s[n])) {
		n++
	}
	return n
}

// quotes reads the quoted strings of one line. Where one is not closed, none
// behind it is either, since each quote that follows was escaped: so the rest of
// the line is not searched again for each of them.
type quotes struct{ unclosed bool }

// cut takes a quoted string off the front of s, which begins with its quote. RFC
// 9110 section 5.6.4.
func (q *quotes) cut(s string) (text, rest string, escaped, ok bool) {
	for i := 1; i < len(s) && !q.unclosed; i++ {
		switch s[i] {
		case '"':
			return s[1:i], s[i+1:], escaped, true
		case '\\':
			escaped = true
			i++
		}
	}
	q.unclosed = true
	return "", s, false, false
}

// comma is the length of s up to the next comma outside of quoted strings.
func (q *quotes) comma(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ',':
			return i
		case '"':
			if _, rest, _, ok := q.cut(s[i:]); ok {
				i = len(s) - len(rest) - 1
			}
		}
	}
	return len(s)
}

// unescape takes the backslashes out of the inside of a quoted string.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}
