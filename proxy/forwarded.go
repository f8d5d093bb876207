package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// ForwardedMode says what becomes of the fields that tell who the client is and
// what it has asked for: X-Forwarded-*, X-Real-IP, and Forwarded (RFC 7239).
type ForwardedMode int

const (
	// ForwardedAuto, the default, sets X-Forwarded-For, -Host and -Proto to
	// what is known of the client, and adds to those of a trusted peer. All
	// others of the kind pass only if a trusted peer has sent them. A Rewrite
	// function finds Forwarded, X-Forwarded-For, -Host and -Proto taken out, as
	// in httputil.ReverseProxy; if it sets none of the four, they are set after
	// it.
	ForwardedAuto ForwardedMode = iota

	// ForwardedNone adds none. Those of a trusted peer pass.
	ForwardedNone

	// ForwardedAppend adds to the fields of any peer. A client can then tell
	// the backend any address it likes.
	ForwardedAppend

	// ForwardedApache appends to X-Forwarded-For, -Host and -Server of any
	// peer, as ProxyAddHeaders On does, and leaves -Proto alone.
	ForwardedApache

	// ForwardedOff passes the fields on as they are, as ProxyAddHeaders Off
	// does.
	ForwardedOff
)

// rewriteSets are the fields that a Rewrite function of httputil sets itself.
var rewriteSets = [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// passesAnyones reports whether forwarding fields pass, whoever has sent them.
func (h *Handler) passesAnyones() bool {
	return h.Forwarded != ForwardedAuto && h.Forwarded != ForwardedNone
}

// isListed reports whether a field is one of PassForwarded.
func (p *passage) isListed(name string) bool {
	return slices.ContainsFunc(p.h.PassForwarded, func(passed string) bool { return strings.EqualFold(name, passed) })
}

// addForwarded sets the forwarding fields of the outgoing request, before the
// Rewrite function or, for ForwardedAuto, after it.
func (p *passage) addForwarded(rewritten bool) {
	h, out := p.h, p.out.Header
	mode := h.Forwarded
	if after := mode == ForwardedAuto && h.Rewrite != nil; after != rewritten || mode == ForwardedOff || mode == ForwardedNone {
		if after {
			for _, name := range rewriteSets {
				delete(out, name)
			}
		}
		return
	}
	keep := mode != ForwardedAuto || p.facts.Trusted
	prior := out
	if rewritten {
		for _, name := range rewriteSets {
			if _, set := out[name]; set {
				return // it has said itself what there is to say
			}
		}
		prior = p.in.Header
	}
	client, known := clientaddr.Host(p.in.RemoteAddr)
	switch before := prior["X-Forwarded-For"]; {
	case known && keep && len(before) > 0:
		out["X-Forwarded-For"] = p.one(strings.Join(before, ", ") + ", " + client)
	case known:
		out["X-Forwarded-For"] = p.one(client)
	case keep && len(before) > 0:
		out["X-Forwarded-For"] = before
	default:
		delete(out, "X-Forwarded-For")
	}
	if mode == ForwardedApache {
		p.appendTo("X-Forwarded-Host", p.in.Host)
		p.appendTo("X-Forwarded-Server", h.serverName())
	} else {
		p.keepOrSet(keep, prior, "X-Forwarded-Host", p.facts.Host)
		p.keepOrSet(keep, prior, "X-Forwarded-Proto", p.facts.Scheme)
	}
	p.addForwardedField(keep, prior["Forwarded"], client, known)
}

// keepOrSet keeps a field of a trusted peer, unless the handler knows better.
func (p *passage) keepOrSet(keep bool, prior http.Header, name, value string) {
	if before := prior[name]; keep && before != nil && p.h.CanonicalURL == nil {
		p.out.Header[name] = before
		return
	}
	p.set(name, value)
}

// addForwardedField maintains the Forwarded field of RFC 7239.
func (p *passage) addForwardedField(keep bool, prior []string, client string, known bool) {
	out := p.out.Header
	if !p.h.ForwardedField {
		if keep && prior != nil && (p.h.CanonicalURL == nil || p.h.Forwarded == ForwardedApache) {
			out["Forwarded"] = prior
		} else {
			delete(out, "Forwarded") // it would say something else than the rest
		}
		return
	}
	node := "unknown"
	if known {
		node = client
		if strings.IndexByte(client, ':') >= 0 {
			node = `"[` + client + `]"`
		}
	}
	element := "for=" + node + ";proto=" + p.facts.Scheme
	if host := p.facts.Host; host != "" {
		if !syntax.IsToken(host) {
			host = `"` + host + `"`
		}
		element += ";host=" + host
	}
	if keep && len(prior) > 0 {
		element = strings.Join(prior, ", ") + ", " + element
	}
	out["Forwarded"] = p.one(element)
}

// set sets a field, or removes it if the value is empty.
func (p *passage) set(name, value string) {
	if value == "" {
		delete(p.out.Header, name)
		return
	}
	p.out.Header[name] = p.one(value)
}

// appendTo adds a value to a list field.
func (p *passage) appendTo(name, value string) {
	if value == "" {
		return
	}
	if prior := p.out.Header[name]; len(prior) > 0 {
		value = strings.Join(prior, ", ") + ", " + value
	}
	p.out.Header[name] = p.one(value)
}

// factsOf are the facts of a request, as the handler knows them.
func (h *Handler) factsOf(r *http.Request) exchange.Facts {
	f := exchange.FactsOf(r, h.TrustedProxies)
	if u := h.CanonicalURL; u != nil {
		f.Scheme = u.Scheme
		if u.Host != "" {
			f.Host = u.Host
		}
	}
	return f
}

func (h *Handler) serverName() string {
	if h.ServerName == "" {
		return "modproxy"
	}
	return h.ServerName
}
