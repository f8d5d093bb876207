package apache

import (
	"net/http"
)

// logged is what a log may say of a request that the server alone knows.
func (v *visit) logged(r *http.Request, directive, name string) (string, bool) {
	if v == nil || v.host == nil {
		return "", false
	}
	switch directive {
	case "e":
		value, ok := v.env[name]
		return value, ok
	case "v":
		return v.host.name, v.host.name != ""
	case "V":
		return v.serverName(r), true
	case "p":
		port := v.host.port()
		return port, port != ""
	case "R":
		handler := v.handlerName()
		return handler, handler != ""
	case "f":
		if v.found.rule == nil {
			return "", false
		}
		u, ok, err := v.found.rule.proto.MapURL(r.URL)
		if err != nil || !ok {
			return "", false
		}
		return "proxy:" + u.Redacted(), true
	}
	return "", false
}

// handlerName is what httpd calls that which answers.
func (v *visit) handlerName() string {
	switch {
	case v.served == nil:
		return ""
	case v.target != "" || v.served.handler != nil:
		return "proxy-server"
	case v.served.manager:
		return "balancer-manager"
	case v.served.status:
		return "server-status"
	}
	return ""
}

// port is the one by which clients know the host: that of ServerName, or else of
// the addresses of the virtual host, or of the first Listen.
func (h *host) port() string {
	if h.canonical != nil && h.canonical.Port() != "" {
		return h.canonical.Port()
	}
	for _, a := range append(h.scope.addresses[:len(h.scope.addresses):len(h.scope.addresses)], h.ports...) {
		if _, port := splitAddress(a); isPort(port) {
			return port
		}
	}
	return ""
}
