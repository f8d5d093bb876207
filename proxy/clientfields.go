package proxy

import (
	"net/http"
	"net/textproto"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// takeFields adds to dst what passes of the client's header. The forwarding fields
// of middleware or of a trusted proxy are not the client's own, as its Connection may
// be, which such a proxy has left it: that takes none of them out. The same holds
// for those of PassForwarded.
func (p *passage) takeFields(dst http.Header) {
	src := p.in.Header
	filter := exchange.HopByHopOf(src)
	for name, values := range src {
		switch forwarding := exchange.IsForwardingField(name); {
		case p.isListed(name), forwarding && p.facts.Trusted:
		case forwarding && !p.h.passesAnyones(), filter.Has(name):
			continue
		}
		if !isPlainName(name) {
			p.odd = append(p.odd, name)
		}
		dst[name] = values
	}
}

// plainBytes are those of names that all software tells apart.
var plainBytes = syntax.AlphanumericAnd("-")

// isPlainName reports whether a name is its own plain spelling.
func isPlainName(name string) bool {
	for i := range len(name) {
		if !plainBytes[name[i]] {
			return false
		}
	}
	return true
}

// plainName is the field for which software that makes variables of fields, as
// CGI, WSGI and PHP do, takes a name: X_User and X.User are X-User to it.
func plainName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if !plainBytes[c] {
			b[i] = '-'
		}
	}
	return textproto.CanonicalMIMEHeaderKey(string(b))
}

// dropTwins drops the client's fields that some backends would take for another:
// for one that frames the message or says who the client is, or one that is
// there. It comes last, when all others are set. One of PassForwarded is no client's.
func (p *passage) dropTwins() {
	h := p.out.Header
	for _, name := range p.odd {
		plain := plainName(name)
		_, there := h[plain]
		if (there || exchange.IsForwardingField(plain) || exchange.ForbiddenTrailer(plain)) && !p.isListed(name) {
			delete(h, name)
		}
	}
}

// passesTrailer reports whether a field of the client's trailer passes: software
// that merges trailers into the header must learn nothing from it that the header
// says already, or that decides about the request (RFC 9110 section 6.5.1).
func (p *passage) passesTrailer(filter exchange.HopByHop, name string) bool {
	plain := plainName(name)
	if filter.Has(name) || filter.Has(plain) || exchange.ForbiddenTrailer(plain) {
		return false
	}
	_, there := p.out.Header[plain]
	_, twin := p.out.Header[name]
	return !there && !twin
}
