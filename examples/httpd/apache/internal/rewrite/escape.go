package rewrite

import "strings"

const lowerHex = "0123456789abcdef"

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// escapeBytes writes the bytes for which keep is false as %xx, in these digits.
func escapeBytes(s, digits string, keep func(c byte) bool) string {
	n := 0
	for i := 0; i < len(s); i++ {
		if !keep(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; keep(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// EscapePath escapes a path, or a query, as httpd does in redirects: a percent
// sign, too.
func EscapePath(s string) string {
	return escapeBytes(s, lowerHex, func(c byte) bool { return isAlnum(c) || strings.IndexByte("$-_.+!*'(),;:@&=/~", c) >= 0 })
}

// EscapeForProxy escapes a path as httpd does for backends.
func EscapeForProxy(s string) string {
	return escapeBytes(s, "0123456789ABCDEF", func(c byte) bool { return isAlnum(c) || strings.IndexByte("~$-_.+!*'(),;:@&=/", c) >= 0 })
}

// unescape is its opposite; what is no escape stays.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|32 && c|32 <= 'f':
		return int(c|32-'a') + 10
	}
	return -1
}

// escaped returns a group as the B flags of a rule say; the rule may be nil.
func (r *Rule) escaped(s string) string {
	if r == nil || r.flags&flagEscape == 0 {
		return s
	}
	plus := r.flags&flagEscapeNoPlus == 0
	s = escapeBytes(s, lowerHex, func(c byte) bool {
		switch {
		case strings.IndexByte(r.escapeNot, c) >= 0:
			return true
		case r.flags&flagEscapeControls != 0:
			return c >= ' ' && c != 0x7f && (c != ' ' || plus)
		case r.escapeOnly != "":
			return strings.IndexByte(r.escapeOnly, c) < 0
		}
		return isAlnum(c) || c == '_' || c == ' ' && plus
	})
	if plus && r.escapeOnly == "" {
		s = strings.ReplaceAll(s, " ", "+")
	}
	return s
}

// schemes are those of absolute URLs, and whether they have a query.
var schemes = []struct {
	prefix string
	query  bool
}{
	{"http://", true}, {"https://", true}, {"ws://", true}, {"wss://", true}, {"h2://", true}, {"h2c://", true}, {"fcgi://", true}, {"ajp://", true},
	{"balancer://", true}, {"ftp://", true}, {"unix:", true}, {"scgi://", true}, {"uwsgi://", true}, {"gopher://", true},
	{"ldap://", false}, {"ldaps://", false}, {"mailto:", false}, {"news:", false}, {"nntp://", true},
}

// absolute returns how long the scheme of an absolute URL is, 0 for what is none,
// and whether it may have a query.
func absolute(s string) (n int, query bool) {
	for _, one := range schemes {
		if len(s) >= len(one.prefix) && strings.EqualFold(s[:len(one.prefix)], one.prefix) {
			return len(one.prefix), one.query
		}
	}
	return 0, true
}

// escapeURL escapes the path of an absolute URL.
func escapeURL(s string) string {
	n, _ := absolute(s)
	slash := strings.IndexByte(s[n:], '/')
	switch {
	case !strings.HasSuffix(s[:n], "//"):
		slash = n // mailto: and the like have no host
	case slash < 0:
		return s
	default:
		slash += n
	}
	return s[:slash] + EscapePath(s[slash:])
}
