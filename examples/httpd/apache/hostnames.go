package apache

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
)

// remoteHost returns the name of a client that has its address; "" if there is
// none. It is looked up once a request.
func (v *visit) remoteHost(r *http.Request) string {
	addr := hostOf(r.RemoteAddr)
	if v.lookedUp == addr {
		return v.hostname
	}
	v.lookedUp, v.hostname = addr, ""
	client := net.ParseIP(addr)
	if client == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookupTime)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, addr)
	if err != nil || len(names) == 0 {
		return ""
	}
	if name := strings.ToLower(strings.TrimSuffix(names[0], ".")); resolvesTo(r, name, client) {
		v.hostname = name
	}
	return v.hostname
}

// resolvesTo reports whether an address is one of a name's.
func resolvesTo(r *http.Request, name string, client net.IP) bool {
	if name == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookupTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", name)
	return err == nil && slices.ContainsFunc(ips, client.Equal)
}

// inDomain reports whether a name is a domain or below it.
func inDomain(name, domain string) bool {
	rest, ok := strings.CutSuffix(strings.ToLower(name), strings.ToLower(domain))
	return ok && domain != "" && (rest == "" || domain[0] == '.' || strings.HasSuffix(rest, "."))
}
