package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// place is where a request goes, and what an origin is told of it. No answer
// shows one client the words of another: Host is brought into one form. What else
// a client makes the origin be told tells responses of one key apart, as if Vary
// named it, so that a change or a purge concerns all of them. What a backend is
// told of the place by the proxy in front of it is part of the key: those are the
// URIs that clients know.
type place struct {
	scheme, host string
	trusted      bool // the forwarding fields are those of a trusted proxy
	r            *http.Request
	told         []byte // beside scheme and host; empty for nothing
}

// arrives takes a request that a client has sent. The scheme is that of the
// connection, whatever an absolute target says, unless a forward proxy goes
// there.
func (v *visit) arrives(r *http.Request, forward bool) {
	c := v.c
	f := exchange.FactsOf(r, c.TrustedProxies)
	p := place{r: r, trusted: f.Trusted, scheme: f.Scheme, host: f.Host}
	absolute := r.URL.Scheme != ""
	if forward && absolute {
		p.scheme, p.host = r.URL.Scheme, r.URL.Host
	}
	if p.host == "" {
		p.host = r.URL.Host
	}
	p.settle()
	p.r = c.decided(p.r, &f)
	if len(p.told) > 0 && !p.trusted { // whose words count elsewhere may be another's than here
		peer, _, _ := net.SplitHostPort(f.Peer)
		p.tell("by", peer)
	}
	switch u := p.r.URL; {
	case forward && !absolute:
		p.tell("target", "")
	case absolute && (u.Scheme != p.scheme || u.Host != "" && u.Host != p.host):
		p.tell("target", u.Scheme+"://"+u.Host)
	}
	v.goes(&p)
	v.told = p.beside()
}

// decided notes in a request of a trusted peer what that tells, for all that is
// further in.
func (c *Cache) decided(r *http.Request, f *exchange.Facts) *http.Request {
	if f.Trusted {
		return exchange.WithTrustedPeer(r, c.TrustedProxies)
	}
	return r
}

// departs is arrives for a request on its way to a backend.
func (v *visit) departs(r *http.Request) {
	p := place{r: r, scheme: r.URL.Scheme, host: r.URL.Host}
	p.settle()
	v.goes(&p)
	if told := p.beside(); told != "" {
		v.result.Key += " " + told
	}
}

// keyOf is the key of the URI that a request is for, whatever else is told.
func (c *Cache) keyOf(r *http.Request) string {
	if c.Key != nil {
		return c.Key(r)
	}
	u := c.targetOf(r)
	return c.uriKey(exchange.FactsOf(r, c.TrustedProxies).Scheme, u.Host, u)
}

// goes notes the request as the origin gets it, and the key of its URI.
func (v *visit) goes(p *place) {
	c := v.c
	v.r = p.r
	if c.Key != nil {
		v.result.Key = c.Key(p.r)
	} else {
		v.result.Key = c.uriKey(p.scheme, p.host, p.r.URL)
	}
	if c.Key != nil || c.KeyBaseURL != nil { // they say that it makes no difference
		p.told = nil
	} else if own := p.r.Host; own != "" && own != p.host {
		p.tell("host", own)
	}
}

// beside is what is told beside the key, in not too many bytes.
func (p *place) beside() string {
	if len(p.told) <= 256 {
		return string(p.told)
	}
	sum := sha256.Sum256(p.told)
	return hex.EncodeToString(sum[:])
}

// settle brings the hosts into one form, and collects what else is told.
func (p *place) settle() {
	p.scheme = strings.ToLower(p.scheme)
	p.host = exchange.NormalHost(p.scheme, p.host)
	own := exchange.NormalHost(p.scheme, p.r.Host)
	at := exchange.NormalHost(p.scheme, p.r.URL.Host)
	if own != p.r.Host || at != p.r.URL.Host {
		p.r = p.r.WithContext(p.r.Context())
		p.r.Host = own
		if at != p.r.URL.Host {
			u := *p.r.URL
			u.Host = at
			p.r.URL = &u
		}
	}
	p.forwardedHost()
	p.forwardedBy("X-Forwarded-Proto", p.scheme)
	if p.r.Header["X-Forwarded-Port"] != nil {
		p.forwardedBy("X-Forwarded-Port", rfc9111.PortOf(&url.URL{Scheme: p.scheme, Host: p.host}))
	}
	p.forwarded()
	p.forwardedElse()
}

// tell adds to what is told.
func (p *place) tell(name, value string) {
	if len(p.told) > 0 {
		p.told = append(p.told, ' ')
	}
	p.told = append(append(p.told, name...), '=')
	p.told = strconv.AppendQuote(p.told, value)
}

// forwardedHost brings X-Forwarded-Host into the form of Host.
func (p *place) forwardedHost() {
	const name = "X-Forwarded-Host"
	values := p.r.Header[name]
	if len(values) == 1 && exchange.NormalHost(p.scheme, values[0]) != values[0] {
		out := p.r.WithContext(p.r.Context())
		out.Header = make(http.Header, len(p.r.Header))
		for name, values := range p.r.Header {
			out.Header[name] = values
		}
		out.Header[name] = []string{exchange.NormalHost(p.scheme, values[0])}
		p.r = out
	}
	p.forwardedBy(name, p.host)
}

// forwardedBy tells of a forwarding field, unless a trusted proxy says in it
// what the key says already.
func (p *place) forwardedBy(name, known string) {
	values := p.r.Header[name]
	if len(values) == 0 || p.trusted && len(values) == 1 && strings.EqualFold(values[0], known) {
		return
	}
	p.tell(name, strings.Join(values, ", "))
}

// forwardedElse tells of the forwarding fields that have no rule of their own, such
// as X-Forwarded-Prefix, of which an application makes its links; but not of those
// that name an address.
func (p *place) forwardedElse() {
	var names []string
	for name := range p.r.Header {
		if !exchange.IsForwardingField(name) {
			continue
		}
		switch name {
		case "Forwarded", "X-Forwarded-For", "X-Real-Ip", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port":
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p.tell(name, strings.Join(p.r.Header[name], ", "))
	}
}

// forwarded tells of what Forwarded says but who the client and the proxies are:
// of host and proto.
func (p *place) forwarded() {
	values := p.r.Header["Forwarded"]
	if len(values) == 0 {
		return
	}
	var said []string
	for _, v := range values {
		for pair := range strings.FieldsFuncSeq(v, func(c rune) bool { return c == ',' || c == ';' }) {
			pair = strings.Trim(pair, " \t")
			name, value, _ := strings.Cut(pair, "=")
			switch name = strings.ToLower(name); {
			case (name == "for" || name == "by") && isNode(value):
			case name == "proto" && p.saysElsewhere("X-Forwarded-Proto", (p.scheme == "https") == (p.r.TLS != nil)) && strings.EqualFold(value, p.scheme):
			case name == "host" && p.saysElsewhere("X-Forwarded-Host", p.r.Host == p.host) && exchange.NormalHost(p.scheme, strings.Trim(value, `"`)) == p.host:
			default:
				said = append(said, pair)
			}
		}
	}
	if len(said) > 0 {
		p.tell("Forwarded", strings.Join(said, ";"))
	}
}

// saysElsewhere reports whether the key is what a trusted proxy says in that
// field, or the connection itself, so that Forwarded adds nothing that the
// backend does not know from it.
func (p *place) saysElsewhere(field string, connection bool) bool {
	return p.trusted && (connection || len(p.r.Header[field]) > 0)
}

// isNode reports whether a value of Forwarded is a token, or a quoted string
// that hides nothing.
func isNode(value string) bool {
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		if value, ok = strings.CutSuffix(inner, `"`); !ok {
			return false
		}
	}
	return !strings.ContainsAny(value, "\"\\=")
}
