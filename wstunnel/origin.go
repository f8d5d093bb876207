package wstunnel

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// allowsOrigin reports whether a page of the request's Origin may open a
// WebSocket here (RFC 6455 section 10.2). Requests without Origin are of no
// page.
func (h *Handler) allowsOrigin(r *http.Request) bool {
	values := r.Header["Origin"]
	if h.Origins == nil || len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	for _, allowed := range h.Origins {
		if originFits(allowed, values[0], r.Host) {
			return true
		}
	}
	return false
}

// originFits compares an origin with one of Origins. Host is that of the
// request.
func originFits(allowed, origin, host string) bool {
	if strings.EqualFold(allowed, origin) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return false
	}
	if allowed == "self" {
		return exchange.NormalHost(u.Scheme, u.Host) == exchange.NormalHost(u.Scheme, host)
	}
	scheme, domain, ok := strings.Cut(allowed, "://*.")
	return ok && strings.EqualFold(u.Scheme, scheme) && len(u.Host) > len(domain)+1 &&
		strings.EqualFold(u.Host[len(u.Host)-len(domain)-1:], "."+domain)
}
