package access

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
	"github.com/modproxy/modproxy/proxy/internal/contextkey"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// RemoteIP is middleware that makes the client behind trusted proxies the
// request's RemoteAddr, so that access rules, logs and forwarding fields speak
// of it. The header is read from its end, as long as the address that added
// the entry is trusted. It is the door as well: what all that is further in
// believes of a trusted peer's other fields is decided here ([exchange.Facts]).
// Apache: mod_remoteip.
//
//	X-Forwarded-For: 9.9.9.9, 203.0.113.7, 10.0.0.2   from 10.0.0.1
//	TrustedProxies 10.0.0.0/8: the client is 203.0.113.7, and 9.9.9.9 its own claim
type RemoteIP struct {
	// Header is where the proxies in front name the client. Empty means
	// "X-Forwarded-For"; "Forwarded" is read as RFC 7239 says. Apache:
	// RemoteIPHeader.
	Header string

	// TrustedProxies are the peers whose word counts, and the proxies further
	// out whose entries do. If empty, nobody's does, and requests pass unchanged. Apache: RemoteIPTrustedProxy.
	TrustedProxies []netip.Prefix

	// TrustUnix also trusts peers on unix-domain sockets, which have no address.
	TrustUnix bool

	// Believes, if not nil, says whether a trusted proxy may name that client.
	// Apache: a RemoteIPTrustedProxy may name no private address, and a
	// RemoteIPInternalProxy any.
	Believes func(proxy, client netip.Addr) bool

	// Logger gets entries that cannot be read at level Debug. If nil, nothing
	// is logged.
	Logger *slog.Logger
}

// Wrap puts the middleware in front of next.
func (m *RemoteIP) Wrap(next http.Handler) http.Handler {
	header := http.CanonicalHeaderKey(m.Header)
	if header == "" {
		header = "X-Forwarded-For"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, m.resolve(r, header))
	})
}

// resolve returns r with the facts of a trusted peer, and as a copy with another
// RemoteAddr and what is left of the header if that names a client.
func (m *RemoteIP) resolve(r *http.Request, header string) *http.Request {
	peer, ok := clientaddr.Addr(r.RemoteAddr)
	if ok && !clientaddr.In(m.TrustedProxies, peer) || !ok && !(m.TrustUnix && isUnix(r)) {
		return r
	}
	values := r.Header[header]
	r = exchange.WithTrustedPeer(r, m.TrustedProxies)
	if len(values) == 0 {
		return r
	}
	entries := syntax.ListMembers(values, header == "Forwarded")
	client, left, trusted := peer, len(entries), true
	for left > 0 && trusted {
		entry := entries[left-1]
		if header == "Forwarded" {
			entry = clientaddr.ElementOf(entry).For
		}
		addr, ok := clientaddr.Node(entry)
		if !ok {
			if m.Logger != nil {
				m.Logger.DebugContext(r.Context(), "access: entry of "+header+" names no address", "peer", r.RemoteAddr)
			}
			break
		}
		if m.Believes != nil && !m.Believes(client, addr) {
			break
		}
		client = addr
		trusted = clientaddr.In(m.TrustedProxies, client)
		left--
	}
	if left == len(entries) {
		return r
	}
	out := r.WithContext(r.Context())
	out.RemoteAddr = net.JoinHostPort(client.String(), "0")
	out.Header = make(http.Header, len(r.Header))
	for name, v := range r.Header {
		out.Header[name] = v
	}
	delete(out.Header, header)
	if left > 0 {
		out.Header[header] = []string{strings.Join(entries[:left], ", ")}
	}
	noteClient(r.Context(), out.RemoteAddr)
	return out
}

// isUnix reports whether a request came in on a unix-domain socket.
func isUnix(r *http.Request) bool {
	a := clientaddr.Local(r.Context())
	return a != nil && a.Network() == "unix"
}

// noteClient tells an observer around of the client.
func noteClient(ctx context.Context, client string) {
	if o, ok := ctx.Value(contextkey.Observation{}).(interface{ NoteClient(client string) }); ok {
		o.NoteClient(client)
	}
}
