package exchange

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
	"github.com/modproxy/modproxy/proxy/internal/contextkey"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Facts are what is known of a request beside its message: who has sent it, and
// what they call this server. They are decided once, where the request comes in,
// by [access.RemoteIP] or else by the first that has TrustedProxies; all that is
// further in goes by them, down to the transports.
//
//	connection ──► door: is the peer trusted? ──► Facts ──► cache key, Handler, balancer,
//	X-Forwarded-*, Forwarded ─┘ then what it says           fcgi, ajp, PROXY header, log, Record
type Facts struct {
	// Peer is the address and port of the other end of the connection, whoever
	// the client is; without a port or an address where there is none, as on
	// unix-domain sockets.
	Peer string

	// Trusted says that Peer is a proxy whose forwarding fields are believed.
	Trusted bool

	// Client is the address and port of the client: Request.RemoteAddr, which
	// is that of the peer unless middleware has found the one behind it.
	Client string

	// Scheme is "http" or "https", as the client has used it.
	Scheme string

	// Host is the Host that the client has used; empty if it named none.
	Host string

	// User is who the client has proved to be, and AuthType how, such as
	// "Basic": by [access.WithUser]. Empty for nobody.
	User, AuthType string
}

// ClientIP returns the address of Client without port and zone; "" if it has none.
func (f *Facts) ClientIP() string {
	host, _ := clientaddr.Host(f.Client)
	return host
}

// FactsOf returns the facts of a request of a client, or of one that a
// [proxy.Handler] sends for it. A peer among trusted is trusted, too, if it was
// not yet judged to be. Without a door, nothing is believed: the facts are those
// of the connection.
func FactsOf(r *http.Request, trusted []netip.Prefix) Facts {
	ctx := r.Context()
	var f Facts
	switch known := ctx.Value(contextkey.Facts{}).(type) {
	case *Facts: // of a Handler, which has decided
		f = *known
		f.Client = cmp.Or(r.RemoteAddr, f.Client)
		f.noteUser(ctx)
		return f
	case *door:
		f = Facts{Peer: known.peer, Trusted: true, Scheme: known.scheme, Host: known.host}
	default:
		f.Peer = r.RemoteAddr
		if len(trusted) == 0 {
			break
		}
		if addr, ok := clientaddr.Addr(f.Peer); ok && clientaddr.In(trusted, addr) {
			f.Trusted = true
			f.Scheme, f.Host = told(r, trusted)
		}
	}
	if f.Scheme == "" {
		f.Scheme = connScheme(r)
	}
	if f.Host == "" {
		f.Host = r.Host
		if host, ok := ctx.Value(contextkey.ClientHost{}).(string); ok {
			f.Host = host
		}
	}
	f.Client = r.RemoteAddr
	f.noteUser(ctx)
	return f
}

// WithClientHost returns the request with the fact that its client has used another
// Host than it now has: for middleware that changes Host for the backend alone.
// What points clients back here, such as a Location that is mapped, has the client's.
func WithClientHost(r *http.Request, host string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), contextkey.ClientHost{}, host))
}

// noteUser completes f.
func (f *Facts) noteUser(ctx context.Context) {
	if user, ok := ctx.Value(contextkey.User{}).([2]string); ok {
		f.User, f.AuthType = user[0], user[1]
	}
}

// door is what was decided where a request came in from a trusted peer. Scheme
// and host are those that the peer has told; empty for those of the message.
type door struct{ peer, scheme, host string }

// WithTrustedPeer returns the request with the fact that its peer, at its
// RemoteAddr, is a proxy whose forwarding fields are believed: what scheme and
// Host it tells is decided here. Among trusted are the proxies further out whose
// elements of Forwarded count as well. It is for a door such as
// [access.RemoteIP], before that changes RemoteAddr.
func WithTrustedPeer(r *http.Request, trusted []netip.Prefix) *http.Request {
	if r.Context().Value(contextkey.Facts{}) != nil {
		return r // it was decided, here or by a Handler around
	}
	d := &door{peer: r.RemoteAddr}
	d.scheme, d.host = told(r, trusted)
	return r.WithContext(context.WithValue(r.Context(), contextkey.Facts{}, d))
}

func connScheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// told returns the scheme and the Host, in normal form, that a trusted peer
// tells; empty for what it does not tell. What it has added itself stands last in
// a list: those before may be the client's own.
func told(r *http.Request, trusted []netip.Prefix) (scheme, host string) {
	h := r.Header
	if len(h["Forwarded"]) > 0 {
		scheme, host = toldByForwarded(h["Forwarded"], trusted)
	}
	scheme = cmp.Or(schemeOf(lastMember(h["X-Forwarded-Proto"])), scheme)
	if v := lastMember(h["X-Forwarded-Host"]); v != "" {
		if _, _, err := ParseHost(v); err == nil {
			host = v
		}
	}
	if host != "" {
		host = NormalHost(cmp.Or(scheme, connScheme(r)), host)
	}
	return scheme, host
}

// toldByForwarded goes through the elements of Forwarded from the peer's own
// outward, as long as they are those of proxies that are trusted.
func toldByForwarded(values []string, trusted []netip.Prefix) (scheme, host string) {
	for _, element := range slices.Backward(syntax.ListMembers(values, true)) {
		e := clientaddr.ElementOf(element)
		scheme = cmp.Or(schemeOf(e.Proto), scheme)
		if _, _, err := ParseHost(e.Host); err == nil {
			host = cmp.Or(e.Host, host)
		}
		if addr, ok := clientaddr.Node(e.For); !ok || !clientaddr.In(trusted, addr) {
			break // this one tells of the client
		}
	}
	return scheme, host
}

func lastMember(values []string) string {
	if len(values) == 0 {
		return ""
	}
	v := values[len(values)-1]
	return syntax.TrimBlank(v[strings.LastIndexByte(v, ',')+1:])
}

// schemeOf reads a scheme that a proxy tells; those of WebSockets are said for
// the connections that they are opened on.
func schemeOf(s string) string {
	switch {
	case strings.EqualFold(s, "https"), strings.EqualFold(s, "wss"):
		return "https"
	case strings.EqualFold(s, "http"), strings.EqualFold(s, "ws"):
		return "http"
	}
	return ""
}

// IsForwardingField reports whether a field, by its name, tells who the client
// is and what it has asked for: Forwarded, X-Real-IP, and all of X-Forwarded.
// Only proxies that are trusted may say so.
func IsForwardingField(name string) bool {
	const prefix, realIP, forwarded = "X-Forwarded", "X-Real-Ip", "Forwarded"
	if len(name) < len(forwarded) {
		return false
	}
	switch name[0] {
	case 'X', 'x':
		return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) || strings.EqualFold(name, realIP)
	case 'F', 'f':
		return strings.EqualFold(name, forwarded)
	}
	return false
}
