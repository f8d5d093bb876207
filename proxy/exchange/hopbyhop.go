package exchange

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// isHopByHop names the fields that concern one connection only (RFC 9110
// section 7.6.1) and those that older software treats so.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// HopByHop is the set of fields that concern one connection only: those that are
// defined so, and those that a message names in its Connection. They are dropped
// from every block that passes: request, interim, final and trailer.
type HopByHop struct {
	named map[string]bool // in canonical form; nil if Connection says nothing unusual
}

// HopByHopOf reads the Connection of a message, once for all its fields: both
// may be long.
func HopByHopOf(h http.Header) HopByHop {
	var f HopByHop
	for _, v := range h["Connection"] {
		for v != "" {
			var one string
			one, v, _ = strings.Cut(v, ",")
			if one = syntax.TrimBlank(one); one == "" || usualOption(one) {
				continue
			}
			if f.named == nil {
				f.named = make(map[string]bool)
			}
			f.named[textproto.CanonicalMIMEHeaderKey(one)] = true
		}
	}
	return f
}

// usualOption reports whether an option of Connection names no field that would
// pass otherwise.
func usualOption(one string) bool {
	switch len(one) {
	case len("te"):
		return strings.EqualFold(one, "te")
	case len("close"):
		return strings.EqualFold(one, "close")
	case len("upgrade"):
		return strings.EqualFold(one, "upgrade")
	case len("keep-alive"):
		return strings.EqualFold(one, "keep-alive")
	}
	return false
}

// Has reports whether the field name, in canonical form, must not pass.
func (f HopByHop) Has(name string) bool {
	return isHopByHop(name) || f.named != nil && f.named[textproto.CanonicalMIMEHeaderKey(name)]
}

// CopyTo adds to dst what passes of src. Values are shared, not copied.
func (f HopByHop) CopyTo(dst, src http.Header) {
	for name, values := range src {
		if !f.Has(name) {
			addField(dst, name, values)
		}
	}
}

// AddFields adds all of src to dst.
func AddFields(dst, src http.Header) {
	for name, values := range src {
		addField(dst, name, values)
	}
}

func addField(dst http.Header, name string, values []string) {
	if have := dst[name]; len(have) > 0 {
		dst[name] = append(have[:len(have):len(have)], values...)
	} else {
		dst[name] = values
	}
}

// Strip drops in place.
func (f HopByHop) Strip(h http.Header) {
	for name := range h {
		if f.Has(name) {
			delete(h, name)
		}
	}
}

// UpgradeOf returns the protocol that a message asks or agrees to switch to,
// or "".
func UpgradeOf(h http.Header) string {
	up := h["Upgrade"]
	if len(up) == 0 || !httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") {
		return ""
	}
	return up[0]
}
