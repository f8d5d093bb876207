package clientaddr

import (
	"net/netip"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Element is what one proxy says in Forwarded (RFC 7239 section 4), unjudged.
type Element struct{ For, Proto, Host string }

// ElementOf reads an element of Forwarded. Of what is said twice the last
// counts; what is malformed says nothing.
func ElementOf(s string) (e Element) {
	for pair := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(syntax.TrimBlank(pair), "=")
		if !ok {
			continue
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		switch {
		case strings.EqualFold(name, "for"):
			e.For = value
		case strings.EqualFold(name, "proto"):
			e.Proto = value
		case strings.EqualFold(name, "host"):
			e.Host = value
		}
	}
	return e
}

// Node reads the address of a node in Forwarded or X-Forwarded-For, with a port
// or without. Those that are hidden or unknown have none.
func Node(node string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(node); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	node = strings.TrimSuffix(strings.TrimPrefix(node, "["), "]")
	addr, err := netip.ParseAddr(node)
	return addr.Unmap().WithZone(""), err == nil
}
