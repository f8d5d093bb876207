package access

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
)

// DefaultConnectTimeout is the ConnectTimeout of [Destinations].
const DefaultConnectTimeout = 30 * time.Second

// Destinations says where a forward proxy may go: by port, by name, and by the
// address that is dialled. The zero value, and nil, allow every port and name
// but no address that is private in any way: loopback, link-local (where
// clouds keep their metadata), private and shared networks, multicast,
// unspecified, documentation, and IPv6 addresses that carry such an IPv4
// address or are written as if they were one.
//
// A name is resolved once, and what is dialled is what was checked, so that a
// name that resolves otherwise a moment later gains nothing. Plain requests
// and tunnels have the same rules when both dial by [Destinations.DialContext].
//
// Set the fields before the first use. Any goroutine may then use it.
type Destinations struct {
	// Ports are those that may be reached. If empty, all.
	Ports []PortRange

	// AllowHosts, if not empty, are the only hosts that may be reached. An entry
	// is a name or an address; ".example.com" and "*.example.com" are the names
	// below example.com, without itself; "*" is every host.
	AllowHosts []string

	// DenyHosts are hosts that are refused, whatever AllowHosts says, in the
	// same notation.
	DenyHosts []string

	// Block refuses each host whose name has one of these words in it; "*"
	// refuses all. Case does not matter. Apache: ProxyBlock, which also
	// refuses the addresses that such a name has: put those into DenyAddrs.
	Block []string

	// AllowAddrs are networks that may be reached though they are private.
	AllowAddrs []netip.Prefix

	// DenyAddrs are networks that are refused, whatever else is said.
	DenyAddrs []netip.Prefix

	// AllowPrivate lets private addresses be reached: all but DenyAddrs. Apache
	// does so by default.
	AllowPrivate bool

	// Lookup resolves names. If nil, the system's resolver.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	// Dial connects to an address and port that were checked. If nil, a
	// net.Dialer. What it is given is never a name.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// ConnectTimeout bounds resolving and connecting. Zero means 30 s; negative
	// means none.
	ConnectTimeout time.Duration
}

// Check decides by what is known without a resolver: port, name, and address if
// the host is one. The host is in the form that [ParseAuthority] returns. The
// error is a [*exchange.Error] with status 403 that wraps [exchange.ErrForbidden].
func (d *Destinations) Check(host string, port uint16) error {
	if d == nil {
		d = &Destinations{}
	}
	switch {
	case len(d.Ports) > 0 && !slices.ContainsFunc(d.Ports, func(r PortRange) bool { return r.Contains(port) }):
		return exchange.Forbidden("port %d is not among those that may be reached", port)
	case len(d.AllowHosts) > 0 && !matchesHost(d.AllowHosts, host):
		return exchange.Forbidden("host is not among those that may be reached")
	case matchesHost(d.DenyHosts, host), d.blocks(host):
		return exchange.Forbidden("host is among those that must not be reached")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return d.checkAddr(addr)
	}
	return nil
}

func (d *Destinations) blocks(host string) bool {
	for _, word := range d.Block {
		if word == "*" || strings.Contains(host, strings.ToLower(word)) {
			return true
		}
	}
	return false
}

// checkAddr decides about an address.
func (d *Destinations) checkAddr(a netip.Addr) error {
	bare := a.Unmap().WithZone("") // a network contains no address with one
	inner, carries := embedded4(a)
	if clientaddr.In(d.DenyAddrs, bare) || carries && clientaddr.In(d.DenyAddrs, inner) {
		return exchange.Forbidden("address is among those that must not be reached")
	}
	if d.AllowPrivate || clientaddr.In(d.AllowAddrs, bare) || !isSpecial(a) {
		return nil
	}
	return exchange.Forbidden("address is private or special")
}

// DialContext connects to an address "host:port" if the rules allow it. The
// error wraps [exchange.ErrForbidden] when they do not.
func (d *Destinations) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d == nil {
		d = &Destinations{}
	}
	host, port, err := ParseAuthority(address)
	if err != nil {
		return nil, err
	}
	if err := d.Check(host, port); err != nil {
		return nil, err
	}
	if timeout := cmp.Or(d.ConnectTimeout, DefaultConnectTimeout); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return backend.Within(ctx, func(ctx context.Context) (net.Conn, error) {
		addrs, err := d.resolve(ctx, network, host)
		if err != nil {
			return nil, err
		}
		return d.dialFirst(ctx, network, addrs, port)
	}, func(late net.Conn) { _ = late.Close() })
}

// resolve returns the addresses of a host that may be dialled.
func (d *Destinations) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil // checked already, as it was written
	}
	found, err := d.lookup(ctx, network, host)
	if err != nil {
		return nil, err
	}
	var allowed []netip.Addr
	var refusal error = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	for _, a := range found {
		a = a.Unmap() // resolvers write IPv4 so
		if err := d.checkAddr(a); err != nil {
			refusal = err
		} else {
			allowed = append(allowed, a)
		}
	}
	if len(allowed) == 0 {
		return nil, refusal
	}
	return allowed, nil
}

func (d *Destinations) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	find := net.DefaultResolver.LookupNetIP
	if d != nil && d.Lookup != nil {
		find = d.Lookup
	}
	return find(ctx, strings.Replace(network, "tcp", "ip", 1), host)
}

// matchesHost reports whether a host is among the entries of a list.
func matchesHost(list []string, host string) bool {
	for _, entry := range list {
		if entry == "*" {
			return true
		}
		entry = strings.ToLower(strings.TrimPrefix(entry, "*"))
		if strings.HasPrefix(entry, ".") {
			if len(host) > len(entry) && strings.HasSuffix(host, entry) {
				return true
			}
			continue
		}
		if normal, err := parseHost(bracketed(entry)); err == nil && normal == host {
			return true
		}
	}
	return false
}

// bracketed puts an IPv6 address into brackets.
func bracketed(host string) string {
	if strings.IndexByte(host, ':') >= 0 && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}
