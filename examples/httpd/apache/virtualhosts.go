package apache

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// host returns the virtual host for a request that came in on a listener: of those
// that name the address at which it did most closely, the one with its name, or the
// first.
func (st *generation) host(listen string, r *http.Request) *host {
	name, _, _ := exchange.ParseHost(r.Host) // the door refuses what is malformed
	local := ""
	if st.byIP {
		local = localAddr(r)
	}
	return st.hostNamed(listen, local, name)
}

// first is the virtual host whose TLS counts for a connection that has arrived at a
// local address.
func (st *generation) first(listen, local string) *host { return st.hostNamed(listen, local, "") }

// hostNamed is host for a name; the first for none.
func (st *generation) hostNamed(listen, local, name string) *host {
	if len(st.hosts) == 1 {
		return st.hosts[0]
	}
	ip, port := st.arrival(listen, local)
	best := elsewhere
	for _, h := range st.hosts[1:] {
		best = max(best, h.scope.closest(ip, port))
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	first := st.hosts[0]
	for _, h := range st.hosts[1:] {
		if best == elsewhere || h.scope.closest(ip, port) != best {
			continue
		}
		if name == "" || h.hasName(name) {
			return h
		}
		if first == st.hosts[0] {
			first = h
		}
	}
	return first
}

// hasName reports whether a name in lower case is one of a virtual host's: one
// without a ServerName has that of the server, too, if it is for all addresses.
func (h *host) hasName(name string) bool {
	s := h.scope
	return slices.ContainsFunc(s.names, func(n string) bool {
		ok, _ := path.Match(strings.ToLower(n), name)
		return ok
	}) || slices.ContainsFunc(s.called, func(n string) bool { return strings.EqualFold(n, name) }) ||
		s.isForAll() && s.canonical == nil && strings.EqualFold(h.name, name)
}

// arrival is the address at which a connection has arrived that a listener took;
// local is that of its socket.
func (st *generation) arrival(listen, local string) (ip, port string) {
	ip, port = splitAddress(listen)
	if ip == "" && local != "" && !st.opt.moved(listen) {
		ip = hostOf(local) // a listener for all addresses has taken it
	}
	return ip, port
}

// serves reports whether a virtual host is one of those at an address.
func (s *scope) serves(ip, port string) bool { return s.closest(ip, port) != elsewhere }

// closeness is how closely a virtual host names an address: its IP before its port.
type closeness int

const (
	elsewhere closeness = iota
	atAll
	atPort
	atIP
	atBoth
)

// closest returns how closely the addresses of a virtual host name another one, of
// which the IP may be unknown.
func (s *scope) closest(ip, port string) (c closeness) {
	for _, a := range s.addresses {
		if !coversAddress(a, ip, port) {
			continue
		}
		one := atAll
		vip, vport := splitAddress(a)
		if vport == port {
			one = atPort
		}
		if ip != "" && vip == ip {
			one += atIP - atAll
		}
		c = max(c, one)
	}
	return c
}

// isForAll reports whether a virtual host is for all addresses.
func (s *scope) isForAll() bool {
	return slices.ContainsFunc(s.addresses, func(a string) bool { ip, _ := splitAddress(a); return ip == "" })
}

// coversAddress reports whether the address of a virtual host covers another one,
// of which the host may be unknown.
func coversAddress(configured, ip, port string) bool {
	vip, vport := splitAddress(configured)
	return (vport == "" || vport == "*" || vport == port) && (vip == "" || ip == "" || vip == ip)
}

// coversListen is coversAddress for an address that is listened on.
func coversListen(configured, listen string) bool {
	ip, port := splitAddress(listen)
	return coversAddress(configured, ip, port)
}
