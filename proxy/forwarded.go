package proxy

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
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
	keep := mode == ForwardedAppend || mode == ForwardedApache || Trusts(in, h.TrustedProxies)
	client, known := clientaddr.Host(in.RemoteAddr)
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
	scheme, host := Front(p.in, p.h.TrustedProxies)
	element := "for=" + node + ";proto=" + scheme
	if host != "" {
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

// Trusts reports whether the peer that has sent r is among trusted, so that its
// forwarding fields may be believed.
func Trusts(r *http.Request, trusted []netip.Prefix) bool {
	if len(trusted) == 0 {
		return false
	}
	addr, ok := clientaddr.Addr(r.RemoteAddr)
	return ok && access.ContainsAddr(trusted, addr)
}

// Front returns scheme and Host as the client of a request has used them: those
// of the connection, or the one value of X-Forwarded-Proto and X-Forwarded-Host
// if a peer among trusted has sent it. A [Handler] tells the backend the same.
func Front(r *http.Request, trusted []netip.Prefix) (scheme, host string) {
	if scheme, host = "http", r.Host; r.TLS != nil {
		scheme = "https"
	}
	if !Trusts(r, trusted) {
		return scheme, host
	}
	if v := r.Header["X-Forwarded-Proto"]; len(v) == 1 {
		if p := strings.ToLower(v[0]); p == "http" || p == "https" {
			scheme = p
		}
	}
	if v := r.Header["X-Forwarded-Host"]; len(v) == 1 && v[0] != "" && strings.IndexByte(v[0], ',') < 0 {
		if _, _, err := exchange.ParseHost(v[0]); err == nil {
			host = v[0]
		}
	}
	return scheme, host
}

// scheme returns the scheme of the connection.
func scheme(r *http.Request) string {
	scheme, _ := Front(r, nil)
	return scheme
}

func (h *Handler) serverName() string {
	if h.ServerName == "" {
		return "modproxy"
	}
	return h.ServerName
}
