package apache

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
)

// fcgiVar is a ProxyFCGISetEnvIf.
type fcgiVar struct {
	when  *condition
	name  string
	value *phrase
	unset bool
}

// fcgiDirectives are those of mod_proxy_fcgi, and what scripts need of others.
func fcgiDirectives() []directive {
	const dir = anywhere
	return []directive{
		{name: "ProxyFCGIBackendType", in: dir, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			generic := strings.EqualFold(d.Args[0], "GENERIC")
			if !generic && !strings.EqualFold(d.Args[0], "FPM") {
				return d.Errorf("ProxyFCGIBackendType is FPM or GENERIC")
			}
			s.settings.generic = &generic
			return nil
		}},
		{name: "ProxyFCGISetEnvIf", in: dir, min: 2, max: 3, apply: applyFCGISetEnvIf},
		{name: "CGIPassAuth", in: dir, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.passAuth })},
	}
}

// applyFCGISetEnvIf reads "expression [!]name [value]".
func applyFCGISetEnvIf(_ *builder, s *scope, d *conf.Directive) error {
	e, err := parseCondition(d.Args[0])
	if err != nil {
		return err
	}
	v := fcgiVar{when: e}
	v.name, v.unset = strings.CutPrefix(d.Args[1], "!")
	switch {
	case v.name == "":
		return fmt.Errorf("want the name of a variable")
	case v.unset && len(d.Args) > 2:
		return fmt.Errorf("!%s takes no value", v.name)
	}
	if v.value, err = parsePhrase(strings.Join(d.Args[2:], "")); err != nil {
		return err
	}
	s.settings.fcgiEnv = append(s.settings.fcgiEnv, v)
	return nil
}

// newFCGI makes what speaks FastCGI out of what the parameters said.
func (h *host) newFCGI(t *proxy.Transport) *link {
	if t.Backend.IdleTTL == 0 {
		t.Backend.IdleTTL = fcgi.DefaultIdleTTL
	}
	ft := &fcgi.Transport{Backend: t.Backend, MaxLineBytes: t.MaxLineBytes, Logger: h.logger, ServerSoftware: "modproxy-httpd", Env: h.fcgiVariables}
	return &link{ft, t.Backend, ft.CloseIdleConnections}
}

// tlsOfLibrary are the variables of TLS that package fcgi gives by itself.
var tlsOfLibrary = []string{"SSL_PROTOCOL", "SSL_CIPHER", "SSL_TLS_SNI", "SSL_SESSION_RESUMED", "SSL_CLIENT_VERIFY", "SSL_CLIENT_S_DN", "SSL_CLIENT_I_DN", "SSL_CLIENT_M_SERIAL"}

// fcgiVariables changes the variables of a request as its sections say.
func (h *host) fcgiVariables(r *http.Request, env *fcgi.Params) {
	v := visitOf(r)
	if v == nil || v.served == nil {
		env.Delete("HTTP_AUTHORIZATION")
		return
	}
	s := &v.served.settings
	if !said(s.passAuth, false) {
		env.Delete("HTTP_AUTHORIZATION")
	}
	h.documentVariables(v, env)
	h.scriptVariables(v, env)
	if said(s.generic, false) {
		env.Set("SCRIPT_FILENAME", "proxy:fcgi://"+r.URL.Host+env.Get("SCRIPT_FILENAME"))
	}
	h.requestVariables(r, v, env)
	if name := env.Get("SCRIPT_FILENAME"); v.env["REDIRECT_URL"] != "" && env.Get("PATH_INFO") != "" && strings.HasPrefix(name, "/") {
		// php-fpm takes PATH_TRANSLATED for the script, unless it is told that httpd is before it.
		env.Set("SCRIPT_FILENAME", "proxy:fcgi://"+r.URL.Host+name)
	}
	ofRequest := v.lookup(v.client)
	lookup := func(function, name string) string {
		if function == "reqenv" || function == "env" {
			return env.Get(name) // what the application would get
		}
		return ofRequest(function, name)
	}
	for _, set := range s.fcgiEnv {
		holds, groups := set.when.Match(lookup)
		switch {
		case !holds:
		case set.unset:
			env.Delete(set.name)
		default:
			env.Set(set.name, set.value.Eval(lookup, groups...))
		}
	}
}

// requestVariables are those that directives have set, what a balancer has decided,
// and who the client is.
func (h *host) requestVariables(r *http.Request, v *visit, env *fcgi.Params) {
	if facts := balancer.FactsFrom(r.Context()); facts != nil {
		env.Set("BALANCER_WORKER_ROUTE", "")
		for _, name := range balancerFacts {
			if value := facts.Env(name); value != "" {
				env.Set(name, value)
			}
		}
	}
	for _, name := range tlsOfLibrary { // httpd gives them with SSLOptions +StdEnvVars alone
		env.Delete(name)
	}
	for name, value := range v.env {
		env.Set(name, value)
	}
	if v.user != "" {
		env.Set("REMOTE_USER", v.user)
		env.Set("AUTH_TYPE", v.served.auth.typeName())
	}
}

// documentVariables say where the documents are.
func (h *host) documentVariables(v *visit, env *fcgi.Params) {
	root := v.served.documentRoot
	env.Set("CONTEXT_PREFIX", "")
	if root != "" {
		env.Set("DOCUMENT_ROOT", root)
		env.Set("CONTEXT_DOCUMENT_ROOT", root)
	}
	if v.found.file == "" || v.served.rule == nil {
		return
	}
	env.Set("DOCUMENT_ROOT", h.documents())
	env.Set("CONTEXT_PREFIX", v.found.prefix)
	env.Set("CONTEXT_DOCUMENT_ROOT", cmp.Or(v.found.context, h.documents()))
}

// scriptVariables say which script is run: what the path on disk says, for that
// of a handler.
func (h *host) scriptVariables(v *visit, env *fcgi.Params) {
	if v.found.file == "" || v.served.rule == nil {
		return
	}
	disk := &v.found.disk
	env.Set("SCRIPT_NAME", strings.TrimSuffix(v.path, disk.Extra))
	env.Delete("PATH_INFO")
	env.Delete("PATH_TRANSLATED")
	if disk.Extra != "" {
		env.Set("PATH_INFO", disk.Extra)
		env.Set("PATH_TRANSLATED", strings.TrimSuffix(h.documents(), "/")+disk.Extra)
	}
	env.Set("SCRIPT_FILENAME", v.served.rule.folder()+disk.Name)
}
