package rfc9111

import (
	"strconv"
	"strings"
)

// sfKind is the type of an item of a structured field: RFC 9651 section 3.3,
// as far as cache directives have a use for it.
type sfKind uint8

const (
	sfOther   sfKind = iota // a decimal, token, byte sequence, date, inner list, …
	sfInteger               // n
	sfString                // text
	sfTrue
	sfFalse
)

type sfItem struct {
	kind sfKind
	n    int64
	text string
}

// sfParser reads a structured field: RFC 9651 section 4.2. Every method that
// returns ok=false has found the whole field to be broken.
type sfParser struct{ rest string }

// skipSpace skips SP, skipBlank SP and tab.
func (s *sfParser) skipSpace() { s.rest = strings.TrimLeft(s.rest, " ") }
func (s *sfParser) skipBlank() { s.rest = strings.TrimLeft(s.rest, " \t") }

// take drops c from the front if it is there.
func (s *sfParser) take(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// member reads one member of a dictionary, with its parameters.
func (s *sfParser) member() (key string, item sfItem, ok bool) {
	if key, ok = s.key(); !ok {
		return "", sfItem{}, false
	}
	item = sfItem{kind: sfTrue}
	if s.take('=') {
		if s.rest != "" && s.rest[0] == '(' {
			item, ok = s.innerList()
		} else {
			item, ok = s.bareItem()
		}
	}
	return key, item, ok && s.parameters()
}

func (s *sfParser) key() (string, bool) {
	n := 0
	for n < len(s.rest) && (isLower(s.rest[n]) || s.rest[n] == '*' || n > 0 && (isDigit(s.rest[n]) || strings.IndexByte("_-.", s.rest[n]) >= 0)) {
		n++
	}
	key := s.rest[:n]
	s.rest = s.rest[n:]
	return key, n > 0
}

func (s *sfParser) parameters() bool {
	for s.take(';') {
		s.skipSpace()
		if _, ok := s.key(); !ok {
			return false
		}
		if s.take('=') {
			if _, ok := s.bareItem(); !ok {
				return false
			}
		}
	}
	return true
}

func (s *sfParser) innerList() (sfItem, bool) {
	s.take('(')
	for {
		s.skipSpace()
		if s.take(')') {
			return sfItem{}, true
		}
		if _, ok := s.bareItem(); !ok || !s.parameters() {
			return sfItem{}, false
		}
		if s.rest == "" || s.rest[0] != ' ' && s.rest[0] != ')' {
			return sfItem{}, false
		}
	}
}

func (s *sfParser) bareItem() (sfItem, bool) {
	if s.rest == "" {
		return sfItem{}, false
	}
	switch c := s.rest[0]; {
	case c == '-' || isDigit(c):
		return s.number()
	case c == '"':
		return s.quoted()
	case c == '*' || isAlpha(c):
		return s.token()
	case c == ':':
		return s.bytes()
	case c == '?':
		return s.boolean()
	case c == '@':
		s.rest = s.rest[1:]
		item, ok := s.number()
		return sfItem{}, ok && item.kind == sfInteger
	case c == '%':
		return s.displayString()
	}
	return sfItem{}, false
}

// number reads an integer of up to 15 digits, or a decimal of up to 12 and 3.
func (s *sfParser) number() (sfItem, bool) {
	negative := s.take('-')
	n := 0
	for n < len(s.rest) && isDigit(s.rest[n]) {
		n++
	}
	whole := s.rest[:n]
	s.rest = s.rest[n:]
	if s.take('.') {
		f := 0
		for f < len(s.rest) && isDigit(s.rest[f]) {
			f++
		}
		s.rest = s.rest[f:]
		return sfItem{}, 0 < n && n <= 12 && 0 < f && f <= 3
	}
	if n == 0 || n > 15 {
		return sfItem{}, false
	}
	v, err := strconv.ParseInt(whole, 10, 64)
	if negative {
		v = -v
	}
	return sfItem{kind: sfInteger, n: v}, err == nil
}

func (s *sfParser) quoted() (sfItem, bool) {
	var text []byte
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return sfItem{kind: sfString, text: string(text)}, true
		case c == '\\':
			i++
			if i == len(s.rest) || s.rest[i] != '"' && s.rest[i] != '\\' {
				return sfItem{}, false
			}
			text = append(text, s.rest[i])
		case c < ' ' || c > '~':
			return sfItem{}, false
		default:
			text = append(text, c)
		}
	}
	return sfItem{}, false
}

func (s *sfParser) token() (sfItem, bool) {
	n := 1
	for n < len(s.rest) && (s.rest[n] == ':' || s.rest[n] == '/' || tokenLength(s.rest[n:n+1]) == 1) {
		n++
	}
	s.rest = s.rest[n:]
	return sfItem{}, true
}

func (s *sfParser) bytes() (sfItem, bool) {
	text, rest, found := strings.Cut(s.rest[1:], ":")
	for i := 0; i < len(text); i++ {
		if c := text[i]; !isAlpha(c) && !isDigit(c) && c != '+' && c != '/' && c != '=' {
			return sfItem{}, false
		}
	}
	s.rest = rest
	return sfItem{}, found
}

func (s *sfParser) boolean() (sfItem, bool) {
	s.take('?')
	switch {
	case s.take('1'):
		return sfItem{kind: sfTrue}, true
	case s.take('0'):
		return sfItem{kind: sfFalse}, true
	}
	return sfItem{}, false
}

// displayString reads %"…" with %xx for bytes beyond ASCII: RFC 9651 section
// 4.2.10.
func (s *sfParser) displayString() (sfItem, bool) {
	s.take('%')
	if !s.take('"') {
		return sfItem{}, false
	}
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return sfItem{}, true
		case c == '%':
			if i+2 >= len(s.rest) || !isLowerHex(s.rest[i+1]) || !isLowerHex(s.rest[i+2]) {
				return sfItem{}, false
			}
			i += 2
		case c < ' ' || c > '~':
			return sfItem{}, false
		}
	}
	return sfItem{}, false
}

func isDigit(c byte) bool    { return '0' <= c && c <= '9' }
func isLower(c byte) bool    { return 'a' <= c && c <= 'z' }
func isLowerHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }
