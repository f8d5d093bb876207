package proxy

import (
	"net/http"
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
	if p.mayUpgrade() {
		if p.upgrade = p.h.allowedUpgrades(in); p.upgrade != "" {
			h["Connection"] = p.one("Upgrade")
			h["Upgrade"] = p.one(p.upgrade)
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = p.one("") // how net/http is told not to make one up
	}
	p.out.Header = h
}

// allowedUpgrades returns those of the protocols in a message's Upgrade that
// clients may switch to, as a list, or "".
func (h *Handler) allowedUpgrades(header http.Header) string {
	named := header["Upgrade"]
	if len(named) == 0 || exchange.UpgradeOf(header) == "" {
		return ""
	}
	var list []string
	for _, values := range named {
		for v := range strings.SplitSeq(values, ",") {
			if v = syntax.TrimBlank(v); h.allowsUpgrade(v) {
				list = append(list, v)
			}
		}
	}
	return strings.Join(list, ", ")
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
		p.out.Body, p.out.GetBody, p.out.ContentLength = http.NoBody, nil, 0
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
