package proxy

import (
	"strings"
)

// hexDigit returns the value of a hexadecimal digit.
func hexDigit(c byte) (byte, bool) {
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

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
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
var tokenBytes = alphanumericAnd("!#$%&'*+-.^_`|~")

// alphanumericAnd marks letters, digits and some more bytes.
func alphanumericAnd(more string) (t [256]bool) {
	for c := '0'; c <= 'z'; c++ {
		t[c] = c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c
	}
	for _, c := range more {
		t[c] = true
	}
	return t
}

// validValue reports whether s may stand in a field line: no control byte but
// the tab.
func validValue[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// hasBlankOrControl reports whether s has a byte that ends a word of a head.
func hasBlankOrControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

// cutLine splits off the first line of s, without its CRLF or bare LF.
func cutLine(s string) (line, rest string) {
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

// trimBlank cuts off the spaces and tabs around s.
func trimBlank(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// tripleAt returns the byte that the triple %XX at i stands for.
func tripleAt(p string, i int) (byte, bool) {
	if p[i] != '%' || len(p)-i < 3 {
		return 0, false
	}
	hi, ok1 := hexDigit(p[i+1])
	lo, ok2 := hexDigit(p[i+2])
	return hi<<4 | lo, ok1 && ok2
}
