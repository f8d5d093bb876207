package access

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// RemoteIP is middleware that makes the client behind trusted proxies the
// request's RemoteAddr, so that access rules, logs and forwarding fields speak
// of it. The header is read from its end, as long as the address that added
// the entry is trusted. Apache: mod_remoteip.
//
//	X-Forwarded-For: 9.9.9.9, 203.0.113.7, 10.0.0.2   from 10.0.0.1
//	TrustedProxies 10.0.0.0/8: the client is 203.0.113.7, and 9.9.9.9 its own claim
type RemoteIP struct {
	// Header is where the proxies in front name the client. Empty means
	// "X-Forwarded-For"; "Forwarded" is read as RFC 7239 says. Apache:
	// RemoteIPHeader.
	Header string

	// TrustedProxies are the peers whose word counts. If empty, nobody's does,
	// and requests pass unchanged. Apache: RemoteIPTrustedProxy.
	TrustedProxies []netip.Prefix

	// Believes, if not nil, says whether a trusted proxy may name that client.
	// Apache: a RemoteIPTrustedProxy may name no private address, and a
	// RemoteIPInternalProxy any.
	Believes func(proxy, client netip.Addr) bool

	// Logger gets entries that cannot be read at level Info. If nil, nothing
	// is logged.
	Logger *slog.Logger
}

type peerKey struct{}

// PeerAddr returns the RemoteAddr that the connection had before [RemoteIP]
// replaced it, or "" if it did not.
func PeerAddr(ctx context.Context) string {
	s, _ := ctx.Value(peerKey{}).(string)
	return s
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

// resolve returns r, or a copy of it with another RemoteAddr and what is left
// of the header.
func (m *RemoteIP) resolve(r *http.Request, header string) *http.Request {
	values := r.Header[header]
	peer, ok := clientaddr.Addr(r.RemoteAddr)
	if len(values) == 0 || !ok || !ContainsAddr(m.TrustedProxies, peer) {
		return r
	}
	entries := listEntries(values, header == "Forwarded")
	client, left := peer, len(entries)
	for left > 0 && ContainsAddr(m.TrustedProxies, client) {
		addr, ok := entryAddr(entries[left-1], header == "Forwarded")
		if !ok {
			if m.Logger != nil {
				m.Logger.Info("access: entry of "+header+" names no address", "peer", r.RemoteAddr)
			}
			break
		}
		if m.Believes != nil && !m.Believes(client, addr) {
			break
		}
		client = addr
		left--
	}
	if left == len(entries) {
		return r
	}
	out := r.WithContext(context.WithValue(r.Context(), peerKey{}, r.RemoteAddr))
	out.RemoteAddr = net.JoinHostPort(client.String(), "0")
	out.Header = make(http.Header, len(r.Header))
	for name, v := range r.Header {
		out.Header[name] = v
	}
	delete(out.Header, header)
	if left > 0 {
		out.Header[header] = []string{strings.Join(entries[:left], ", ")}
	}
	return out
}

// listEntries splits list values at the commas, or with quotes at those outside
// them, without empty members. It goes from the end, where the proxies in front
// have written: a quote that a client left open must not swallow their entries.
func listEntries(values []string, quotes bool) []string {
	var entries []string
	for _, v := range slices.Backward(values) {
		end, quoted := len(v), false
		for i := len(v) - 1; i >= -1; i-- {
			if i >= 0 && quotes && v[i] == '"' && !escaped(v[:i]) {
				quoted = !quoted
			}
			if i < 0 || v[i] == ',' && !quoted {
				if e := syntax.TrimBlank(v[i+1 : end]); e != "" {
					entries = append(entries, e)
				}
				end = i
			}
		}
	}
	slices.Reverse(entries)
	return entries
}

// escaped reports whether what follows s in a quoted string is escaped.
func escaped(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

// entryAddr reads the address of an entry; obfuscated and unknown ones have
// none.
func entryAddr(entry string, forwarded bool) (netip.Addr, bool) {
	if forwarded {
		node, ok := forwardedFor(entry)
		if !ok {
			return netip.Addr{}, false
		}
		entry = node
	}
	if ap, err := netip.ParseAddrPort(entry); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	entry = strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]")
	addr, err := netip.ParseAddr(entry)
	return addr.Unmap().WithZone(""), err == nil
}

// forwardedFor returns the node after "for=" of an element of Forwarded (RFC
// 7239 section 4).
func forwardedFor(element string) (string, bool) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, ok := strings.Cut(syntax.TrimBlank(pair), "=")
		if !ok || !strings.EqualFold(name, "for") {
			continue
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		return value, true
	}
	return "", false
}
