package clientaddr

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// Addr returns the address in RemoteAddr in the form in which addresses
// are compared: IPv4 as such, without a zone.
func Addr(remote string) (netip.Addr, bool) {
	host, ok := Host(remote)
	if !ok {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap().WithZone(""), err == nil
}

// Host returns the address in RemoteAddr without its port. Clients on
// unix-domain sockets have none.
func Host(remote string) (string, bool) {
	host, _, err := net.SplitHostPort(remote)
	return host, err == nil && host != ""
}

// Local returns the address at which the client's connection arrived.
func Local(ctx context.Context) net.Addr {
	a, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return a
}
