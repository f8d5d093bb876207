package access

import (
	"net/netip"

	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
)

// isSpecial reports whether an address is not one of the open Internet: it is
// in the registries of special-purpose addresses (RFC 6890), or carries an IPv4
// address that is. Zones mean an interface of this machine, and are special.
func isSpecial(a netip.Addr) bool {
	if a.Is4() {
		return clientaddr.In(special4, a)
	}
	if a.Zone() != "" {
		return true
	}
	if inner, ok := embedded4(a); ok {
		return a.Is4In6() || clientaddr.In(special4, inner)
	}
	return !globalUnicast.Contains(a) || clientaddr.In(special6, a)
}

// embedded4 returns the IPv4 address that packets to a IPv6 address end up at:
// that of a mapped address, of the well-known prefix of NAT64 (RFC 6052) and of
// 6to4 (RFC 3056).
func embedded4(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case a.Is4In6():
		return a.Unmap(), true
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3") // all that IANA has given out
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour     = netip.MustParsePrefix("2002::/16")

	special4 = parsedPrefixes(
		"0.0.0.0/8",       // this network; 0.0.0.0 connects to this machine
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // shared, behind carriers' NAT
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local; clouds keep their metadata here
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // relays of 6to4
		"192.168.0.0/16",  // private
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast
	)

	// special6 are those inside of globalUnicast. All outside of it are
	// special: unspecified, loopback, unique local, link-local, multicast.
	special6 = parsedPrefixes(
		"2001::/23",     // protocol assignments, with Teredo and ORCHID
		"2001:db8::/32", // documentation
		"3fff::/20",     // documentation
	)
)

func parsedPrefixes(list ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(list))
	for i, s := range list {
		parsed[i] = netip.MustParsePrefix(s)
	}
	return parsed
}
