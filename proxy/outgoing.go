package proxy

import (
	"net/http"
	"net/http/httputil"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// prepareHeader gives the outgoing request its header: the client's without
// what concerns the client's connection. What is added comes later, so that
// the client cannot name it in Connection.
func (p *passage) prepareHeader() {
	in := p.in.Header
	h := make(http.Header, len(in)+5)
	p.takeFields(h)
	if te := in["Te"]; te != nil && httpguts.HeaderValuesContainsToken(te, "trailers") {
		h["Te"] = p.one("trailers")
	}
	if protocol := exchange.UpgradeOf(in); protocol != "" && p.h.allowsUpgrade(protocol) && p.in.ProtoMajor == 1 && p.in.ProtoMinor >= 1 {
		p.upgrade = protocol
		h["Connection"] = p.one("Upgrade")
		h["Upgrade"] = p.one(protocol)
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = p.one("") // how net/http is told not to make one up
	}
	p.out.Header = h
}

// allowsUpgrade reports whether clients may switch to protocol.
func (h *Handler) allowsUpgrade(protocol string) bool {
	if strings.EqualFold(protocol, "h2c") || !isUpgradeToken(protocol) {
		return false
	}
	if h.Upgrades == nil {
		return strings.EqualFold(protocol, "websocket")
	}
	for _, allowed := range h.Upgrades {
		if allowed == "*" || strings.EqualFold(allowed, protocol) {
			return true
		}
	}
	return false
}

// isUpgradeToken accepts one protocol, with a version or without (RFC 9110
// section 7.8).
func isUpgradeToken(s string) bool {
	name, version, versioned := strings.Cut(s, "/")
	return syntax.IsToken(name) && (!versioned || syntax.IsToken(version))
}

// prepareBody guards the request's body, and makes an empty one http.NoBody so
// that transports know that they may send the request again.
func (p *passage) prepareBody() {
	in := p.in
	if in.Body == nil || in.Body == http.NoBody || in.ContentLength == 0 {
		p.out.Body = http.NoBody
		p.out.GetBody = nil
		p.out.ContentLength = 0
		return
	}
	p.body = newRequestBody(p)
	p.out.Body = p.body.view()
	p.out.GetBody = p.body.again
	if in.ContentLength < 0 {
		p.out.TransferEncoding = []string{"chunked"}
		if in.ProtoMajor == 1 || len(in.Trailer) > 0 {
			p.out.Trailer = p.body.trailer
		}
	}
	if in.ProtoMajor == 1 {
		// Without it net/http would not let an answer begin before the body
		// is read.
		_ = http.NewResponseController(p.w).EnableFullDuplex()
	}
}

// rewrite lets the user's function change the outgoing request. It is told of
// the client's as in.
func (p *passage) rewrite(in *http.Request) error {
	if p.h.Rewrite == nil {
		return nil
	}
	body, again := p.out.Body, p.out.GetBody
	p.out.GetBody = nil
	pr := &httputil.ProxyRequest{In: in, Out: p.out}
	p.h.Rewrite(pr)
	p.out = pr.Out
	if p.out.Header == nil {
		p.out.Header = make(http.Header)
	}
	p.adopt(p.out.Context())
	if p.out.GetBody == nil && again != nil && p.out.Body == body {
		p.out.GetBody = again // it returns the client's body, not one that was put in its place
	}
	if u := p.out.URL; u != nil && !p.h.verbatim && holdsDots(u, p.h.Mapping) {
		return exchange.BadRequest("path after Rewrite: holds a dot segment")
	}
	return nil
}
