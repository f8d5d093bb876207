package apache

import (
	"net/http"
	"net/http/httputil"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// checkVariable warns of variables that steer httpd and mean nothing, or less, here.
func (b *builder) checkVariable(d *conf.Directive, name string) {
	why := map[string]string{
		"force-proxy-request-1.0":    "backends get HTTP/1.1, with a length and on a connection of its own as in HTTP/1.0",
		"proxy-initial-not-pooled":   "a request that meets a closed connection is sent again by itself",
		"proxy-interim-response":     "interim answers are always passed on",
		"proxy-prefetch-nonblocking": "bodies are never held back",
		"proxy-nohalfclose":          "tunnels always pass half-closed connections on",
		"downgrade-1.0":              "answers are in HTTP/1.1",
		"force-response-1.0":         "answers are in HTTP/1.1",
	}[name]
	if why != "" {
		b.warn(d.Errorf("%s: %s", name, why))
	}
}

// setsVariables reports whether there may be special variables.
func (s *settings) setsVariables() bool { return len(s.envIf)+len(s.env.vars) > 0 }

// has reports whether a variable is set.
func (v *visit) has(name string) bool {
	_, ok := v.env[name]
	return ok
}

// steerRequest obeys the variables that say how a backend is asked.
func (v *visit) steerRequest(pr *httputil.ProxyRequest) {
	if v.has("proxy-nokeepalive") || v.has("force-proxy-request-1.0") {
		pr.Out.Close = true
	}
	if v.has("Proxy-Chain-Auth") {
		keepField(pr, "Proxy-Authorization")
	}
}

// sized makes a body of unknown length one with a length, for backends that cannot
// read any other.
func (h *host) sized(next http.Handler, s *served) http.Handler {
	if !s.setsVariables() {
		return next
	}
	var spool exchange.Spool
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r)
		if r.ContentLength >= 0 || r.Method == http.MethodConnect || r.Header["Upgrade"] != nil || !v.has("proxy-sendcl") && !v.has("force-proxy-request-1.0") {
			next.ServeHTTP(w, r)
			return
		}
		out, done, err := spool.Request(r)
		if err != nil {
			h.fail(w, r, s, exchange.StatusOf(err))
			return
		}
		defer done()
		next.ServeHTTP(w, out)
	})
}

// steerAnswer obeys the variables that say how an answer looks.
func (v *visit) steerAnswer(h http.Header) {
	if v.has("force-no-vary") {
		h.Del("Vary")
	}
}
