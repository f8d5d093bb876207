package syntax

import (
	"slices"
	"strings"
)

// HexDigit returns the value of a hexadecimal digit.
func HexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// IsToken reports whether s is a token of RFC 9110 section 5.6.2.
func IsToken(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return true
}

// tokenBytes marks the bytes of RFC 9110's tchar.
var tokenBytes = AlphanumericAnd("!#$%&'*+-.^_`|~")

// AlphanumericAnd marks letters, digits and some more bytes.
func AlphanumericAnd(more string) (t [256]bool) {
	for c := '0'; c <= 'z'; c++ {
		t[c] = c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c
	}
	for _, c := range more {
		t[c] = true
	}
	return t
}

// ValidValue reports whether s may stand in a field line: no control byte but
// the tab.
func ValidValue[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// HasBlankOrControl reports whether s has a byte that ends a word of a head.
func HasBlankOrControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

// CutLine splits off the first line of s, without its CRLF or bare LF.
func CutLine(s string) (line, rest string) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return s, ""
	}
	line, rest = s[:i], s[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// TrimBlank cuts off the spaces and tabs around s.
func TrimBlank(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// MediaType returns the type that a Content-Type names, in lower case and without
// parameters; of several values, the first counts.
func MediaType(values []string) string {
	if len(values) == 0 {
		return ""
	}
	name, _, _ := strings.Cut(values[0], ";")
	return strings.ToLower(TrimBlank(name))
}

// TripleAt returns the byte that the triple %XX at i stands for.
func TripleAt(p string, i int) (byte, bool) {
	if p[i] != '%' || len(p)-i < 3 {
		return 0, false
	}
	hi, ok1 := HexDigit(p[i+1])
	lo, ok2 := HexDigit(p[i+2])
	return hi<<4 | lo, ok1 && ok2
}

// ListMembers splits list values at the commas, or with quotes at those outside
// them, without empty members. It goes from the end, where the proxies in front
// write: a quote that a client left open must not swallow their members.
func ListMembers(values []string, quotes bool) []string {
	var entries []string
	for _, v := range slices.Backward(values) {
		end, quoted := len(v), false
		for i := len(v) - 1; i >= -1; i-- {
			if i >= 0 && quotes && v[i] == '"' && !escaped(v[:i]) {
				quoted = !quoted
			}
			if i < 0 || v[i] == ',' && !quoted {
				if e := TrimBlank(v[i+1 : end]); e != "" {
					entries = append(entries, e)
				}
				end = i
			}
		}
	}
	slices.Reverse(entries)
	return entries
}

// escaped reports whether what follows s in a quoted string is escaped.
func escaped(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}
