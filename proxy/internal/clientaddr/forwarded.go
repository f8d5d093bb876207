package clientaddr

import (
	"net/netip"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Element is what one proxy says in Forwarded (RFC 7239 section 4), unjudged.
type Element struct{ For, Proto, Host string }

// ElementOf reads an element of Forwarded. What is malformed, or said twice, says
// nothing: a client's Host, which may hold semicolons, must not pass for another
// parameter, neither in quotes nor where a proxy has left them out.
func ElementOf(s string) (e Element) {
	var once [3]bool
	for s != "" {
		end := endOfPair(s)
		name, value, _ := strings.Cut(syntax.TrimBlank(s[:end]), "=")
		s = strings.TrimPrefix(s[end:], ";")
		said, at := &e.For, 0
		switch {
		case strings.EqualFold(name, "for"):
		case strings.EqualFold(name, "proto"):
			said, at = &e.Proto, 1
		case strings.EqualFold(name, "host"):
			said, at = &e.Host, 2
		default:
			continue
		}
		if *said = valueOf(value); once[at] {
			*said = ""
		}
		once[at] = true
	}
	return e
}

// endOfPair returns where the first pair of s ends: at a semicolon that is not
// within quotes.
func endOfPair(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == ';' && !quoted:
			return i
		}
	}
	return len(s)
}

// valueOf returns the text of a value, which may be quoted; "" for a malformed one.
func valueOf(s string) string {
	if strings.IndexByte(s, '"') < 0 {
		return s
	}
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return ""
	}
	var text strings.Builder
	for s = s[1 : len(s)-1]; s != ""; s = s[1:] {
		if s[0] == '\\' {
			s = s[1:]
		} else if s[0] == '"' {
			return ""
		}
		if s == "" { // the last quote is escaped
			return ""
		}
		text.WriteByte(s[0])
	}
	return text.String()
}

// Node reads the address of a node in Forwarded or X-Forwarded-For, with a port,
// which may be a hidden one ("_x"), or without. Those that are hidden or unknown have none.
func Node(node string) (netip.Addr, bool) {
	if i := strings.LastIndex(node, ":_"); i >= 0 {
		node = node[:i]
	}
	if ap, err := netip.ParseAddrPort(node); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	node = strings.TrimSuffix(strings.TrimPrefix(node, "["), "]")
	addr, err := netip.ParseAddr(node)
	return addr.Unmap().WithZone(""), err == nil
}
