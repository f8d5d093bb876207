package apache

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/backend"
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
	case "n":
		value, ok := v.notes[name]
		return value, ok
	case "x":
		return sslVariable(r, name)
	case "c":
		return sslVariable(r, oldSSLNames[strings.ToLower(name)])
	case "k":
		return strconv.FormatInt(v.before, 10), true
	case "^FB":
		return "-", !said(v.settings().trackFirstByte, false)
	case "v":
		return v.host.name, v.host.name != ""
	case "V":
		name := v.serverName(r) // none of a Host that is none
		return name, name != ""
	case "p":
		return cmp.Or(v.host.port(), backend.DefaultPort(v.host.schemeOf(r))), true
	case "R":
		handler := v.handlerName()
		return handler, handler != ""
	case "f":
		if v.found.rule != nil {
			if u, ok := v.found.rule.backendURL(v, r.URL); ok {
				return "proxy:" + u.Redacted(), true
			}
		}
		return v.found.disk.Name, v.found.disk.Name != ""
	}
	return "", false
}

// oldSSLNames are those that %{name}c has.
var oldSSLNames = map[string]string{
	"version": "SSL_PROTOCOL", "cipher": "SSL_CIPHER", "subjectdn": "SSL_CLIENT_S_DN", "issuerdn": "SSL_CLIENT_I_DN",
	"errcode": "SSL_CLIENT_VERIFY", "errstr": "SSL_CLIENT_VERIFY",
}

type requestsKey struct{}

// countRequests lets the requests of a connection be counted.
func countRequests(ctx context.Context) context.Context {
	return context.WithValue(ctx, requestsKey{}, new(atomic.Int64))
}

// requestsBefore is how many requests the connection has had before.
func requestsBefore(ctx context.Context) int64 {
	n, ok := ctx.Value(requestsKey{}).(*atomic.Int64)
	if !ok {
		return 0
	}
	return n.Add(1) - 1
}

// handlerName is what httpd calls that which answers.
func (v *visit) handlerName() string {
	switch {
	case v.served == nil:
		return ""
	case v.target != "" || v.served.handler != nil:
		return "proxy-server"
	}
	return v.handler
}

// port is the one that the configuration says clients use: that of ServerName or,
// without a ServerName, that of the first address of a virtual host. It is "" for the
// default of the scheme.
func (h *host) port() string {
	if h.scope.canonical != nil {
		return h.scope.canonical.Port()
	}
	if len(h.scope.addresses) > 0 {
		if _, port := splitAddress(h.scope.addresses[0]); isPort(port) {
			return port
		}
	}
	return ""
}
