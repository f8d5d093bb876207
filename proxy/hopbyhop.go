package proxy

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
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

// hopFilter drops what concerns one connection only from a header block. It is
// used on every block that passes: request, interim, final and trailer.
type hopFilter struct {
	named []string // the values of Connection
}

func newHopFilter(h http.Header) hopFilter { return hopFilter{h["Connection"]} }

// drops reports whether the field name, in canonical form, must not pass.
func (f hopFilter) drops(name string) bool {
	if isHopByHop(name) {
		return true
	}
	for _, v := range f.named {
		if len(v) >= len(name) && namesToken(v, name) {
			return true
		}
	}
	return false
}

// namesToken reports whether the list v names the token, ignoring case and
// empty members.
func namesToken(v, token string) bool {
	for v != "" {
		var one string
		one, v, _ = strings.Cut(v, ",")
		if strings.EqualFold(trimBlank(one), token) {
			return true
		}
	}
	return false
}

// copyTo adds to dst what passes of src. Values are shared, not copied.
func (f hopFilter) copyTo(dst, src http.Header) {
	for name, values := range src {
		if !f.drops(name) {
			addField(dst, name, values)
		}
	}
}

// addFields adds all of src to dst.
func addFields(dst, src http.Header) {
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

// strip drops in place.
func (f hopFilter) strip(h http.Header) {
	for name := range h {
		if f.drops(name) {
			delete(h, name)
		}
	}
}

// upgradeOf returns the protocol that a message asks or agrees to switch to,
// or "".
func upgradeOf(h http.Header) string {
	up := h["Upgrade"]
	if len(up) == 0 || !httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") {
		return ""
	}
	return up[0]
}
