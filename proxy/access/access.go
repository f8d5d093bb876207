package access

import (
	"fmt"
	"log/slog"
	"math/bits"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
)

// Access lets requests through by the address of the client. It goes by
// Request.RemoteAddr alone: behind other proxies, put [RemoteIP] in front of
// it. Apache: Require ip, Require not ip.
type Access struct {
	// Allow are the clients that are let through. If empty, all that Deny does
	// not name.
	Allow []netip.Prefix

	// Deny are the clients that are refused, whatever Allow says.
	Deny []netip.Prefix

	// AllowUnix lets clients through that have no address: those on
	// unix-domain sockets.
	AllowUnix bool

	// Denied answers refused requests. If nil, 403.
	Denied http.Handler

	// Logger gets refused requests at level Info. If nil, nothing is logged.
	Logger *slog.Logger
}

// RequireIP returns middleware that lets only clients with these addresses
// through, and answers 403 to others; without any prefix, to all. Apache:
// Require ip.
func RequireIP(prefixes ...netip.Prefix) func(http.Handler) http.Handler {
	if len(prefixes) == 0 {
		prefixes = []netip.Prefix{{}} // contains no address
	}
	a := &Access{Allow: prefixes}
	return a.Wrap
}

// Wrap puts the rules in front of next.
func (a *Access) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Allows(r) {
			next.ServeHTTP(w, r)
			return
		}
		if a.Logger != nil {
			a.Logger.InfoContext(r.Context(), "access: client refused", "client", r.RemoteAddr, "path", r.URL.Path)
		}
		if a.Denied != nil {
			a.Denied.ServeHTTP(w, r)
			return
		}
		exchange.WriteErrorPage(w, r, http.StatusForbidden)
	})
}

// Allows reports whether the request's client is let through.
func (a *Access) Allows(r *http.Request) bool {
	addr, ok := clientaddr.Addr(r.RemoteAddr)
	if !ok {
		return a.AllowUnix || len(a.Allow)+len(a.Deny) == 0
	}
	return !clientaddr.In(a.Deny, addr) && (len(a.Allow) == 0 || clientaddr.In(a.Allow, addr))
}

// ParsePrefixes reads addresses as Apache's "Require ip" takes them: an
// address, a network as 10.0.0.0/8 or 10.0.0.0/255.0.0.0, or the first bytes
// of an IPv4 address (10.1). An error names the word that is none of these.
func ParsePrefixes(words ...string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(words))
	for _, w := range words {
		p, ok := parsePrefix(w)
		if !ok {
			return nil, fmt.Errorf("access: %q is no address or network", w)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func parsePrefix(w string) (netip.Prefix, bool) {
	host, mask, masked := strings.Cut(w, "/")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return parsePartial(w)
	}
	if !masked {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), addr.Zone() == ""
	}
	n, err := strconv.Atoi(mask)
	if err != nil {
		if n, err = maskBits(mask); err != nil || !addr.Is4() {
			return netip.Prefix{}, false
		}
	}
	if addr.Is4In6() {
		addr, n = addr.Unmap(), n-96
	}
	p, err := addr.Prefix(n)
	return p, err == nil
}

// maskBits turns 255.255.0.0 into 16.
func maskBits(mask string) (int, error) {
	m, err := netip.ParseAddr(mask)
	if err != nil || !m.Is4() {
		return 0, fmt.Errorf("access: %q is no mask", mask)
	}
	b := m.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := bits.LeadingZeros32(^v)
	if v<<n != 0 {
		return 0, fmt.Errorf("access: %q is no mask", mask)
	}
	return n, nil
}

// parsePartial reads the first one to three bytes of an IPv4 address.
func parsePartial(w string) (netip.Prefix, bool) {
	parts := strings.Split(strings.TrimSuffix(w, "."), ".")
	if len(parts) > 3 {
		return netip.Prefix{}, false
	}
	var b [4]byte
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || len(part) > 3 {
			return netip.Prefix{}, false
		}
		b[i] = byte(n)
	}
	return netip.PrefixFrom(netip.AddrFrom4(b), 8*len(parts)), true
}
