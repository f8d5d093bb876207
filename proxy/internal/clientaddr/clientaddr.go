package clientaddr

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Addr returns the address in RemoteAddr in the form in which addresses
// are compared: IPv4 as such, without a zone.
func Addr(remote string) (netip.Addr, bool) {
	host, ok := Host(remote)
	if !ok {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap(), err == nil
}

// Host returns the address in RemoteAddr without its port, and without its zone,
// which means nothing to anybody else. Some middleware leaves out the port.
// Clients on unix-domain sockets have none.
func Host(remote string) (string, bool) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(remote, "["), "]")
		if _, err = netip.ParseAddr(host); err != nil {
			return "", false
		}
	}
	host, _, _ = strings.Cut(host, "%")
	return host, host != ""
}

// In reports whether an address is in one of the networks.
func In(networks []netip.Prefix, addr netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// Local returns the address at which the client's connection arrived.
func Local(ctx context.Context) net.Addr {
	a, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return a
}
