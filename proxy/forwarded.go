package proxy

import (
	"net"
	"net/http"
	"strings"
)

// ForwardedMode says what becomes of X-Forwarded-For, -Host and -Proto (and of
// Forwarded, RFC 7239) on the way to the backend.
type ForwardedMode int

const (
	// ForwardedAuto, the default, sets the fields to what is known of the
	// client, and adds to those of a peer in TrustedProxies. With a Rewrite
	// function it only removes them, as httputil.ReverseProxy does.
	ForwardedAuto ForwardedMode = iota

	// ForwardedSet does the same whether or not there is a Rewrite function.
	ForwardedSet

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

// addForwarded sets the forwarding fields of the outgoing request.
func (p *passage) addForwarded() {
	h, in, out := p.h, p.in, p.out.Header
	mode := h.Forwarded
	if mode == ForwardedAuto && h.Rewrite != nil {
		for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			delete(out, name)
		}
		return
	}
	if mode == ForwardedOff {
		return
	}
	keep := mode == ForwardedAppend || mode == ForwardedApache || p.trusts()
	client, known := clientHost(in.RemoteAddr)
	switch prior := out["X-Forwarded-For"]; {
	case !known && !keep:
		delete(out, "X-Forwarded-For")
	case known && keep && len(prior) > 0:
		out["X-Forwarded-For"] = p.one(strings.Join(prior, ", ") + ", " + client)
	case known:
		out["X-Forwarded-For"] = p.one(client)
	}
	if mode == ForwardedApache {
		p.appendTo("X-Forwarded-Host", in.Host)
		p.appendTo("X-Forwarded-Server", h.serverName())
	} else {
		if !keep || out["X-Forwarded-Host"] == nil {
			p.set("X-Forwarded-Host", in.Host)
		}
		if !keep || out["X-Forwarded-Proto"] == nil {
			p.set("X-Forwarded-Proto", scheme(in))
		}
		if !keep {
			delete(out, "X-Forwarded-Server")
			delete(out, "X-Forwarded-Port")
		}
	}
	p.addForwardedField(keep, client, known)
}

// addForwardedField maintains the Forwarded field of RFC 7239.
func (p *passage) addForwardedField(keep bool, client string, known bool) {
	out := p.out.Header
	prior := out["Forwarded"]
	if !p.h.ForwardedField {
		if !keep {
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
	element := "for=" + node + ";proto=" + scheme(p.in)
	if host := p.in.Host; host != "" && validForwardedHost(host) {
		if !isToken(host) {
			host = `"` + host + `"`
		}
		element += ";host=" + host
	}
	if keep && len(prior) > 0 {
		element = strings.Join(prior, ", ") + ", " + element
	}
	out["Forwarded"] = p.one(element)
}

// validForwardedHost refuses what would have to be escaped inside quotes.
func validForwardedHost(host string) bool {
	return strings.IndexByte(host, '"') < 0 && strings.IndexByte(host, '\\') < 0
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

// trusts reports whether the peer's forwarding fields may be believed.
func (p *passage) trusts() bool {
	if len(p.h.TrustedProxies) == 0 {
		return false
	}
	addr, ok := clientAddr(p.in.RemoteAddr)
	return ok && containsAddr(p.h.TrustedProxies, addr)
}

// clientHost returns the address in RemoteAddr without its port. Clients on
// unix-domain sockets have none.
func clientHost(remote string) (string, bool) {
	host, _, err := net.SplitHostPort(remote)
	return host, err == nil && host != ""
}

// scheme returns the scheme that the client used.
func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func (h *Handler) serverName() string {
	if h.ServerName == "" {
		return "modproxy"
	}
	return h.ServerName
}
