package apache

import (
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
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
		{name: "DocumentRoot", in: anyServer, min: 1, max: 1, note: "where the scripts of SetHandler are; nothing is served from files", apply: func(b *builder, s *scope, d *conf.Directive) error {
			s.settings.documentRoot = b.file(d.Args[0])
			return nil
		}},
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
	if s.documentRoot != "" {
		env.Set("DOCUMENT_ROOT", s.documentRoot)
		env.Set("CONTEXT_DOCUMENT_ROOT", s.documentRoot)
	}
	if said(s.generic, false) {
		env.Set("SCRIPT_FILENAME", "proxy:fcgi://"+r.URL.Host+env.Get("SCRIPT_FILENAME"))
	}
	for name, value := range v.env {
		env.Set(name, value)
	}
	if v.user != "" {
		env.Set("REMOTE_USER", v.user)
		env.Set("AUTH_TYPE", "Basic")
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

// applyProxyHandler reads SetHandler "proxy:fcgi://…": the path below the
// DocumentRoot goes to the backend.
func (b *builder) applyProxyHandler(s *scope, d *conf.Directive, to string) error {
	r := &rule{at: d, path: "/", target: to, fallback: true}
	r.socket, r.text = cutUnix(to)
	scheme, rest, ok := strings.Cut(r.text, "://")
	if !ok || !strings.EqualFold(scheme, "fcgi") && !isBalancer(r.text) {
		return fmt.Errorf("handler %q is not supported: want proxy:fcgi://host:port, proxy:unix:/path|fcgi://host, or proxy:balancer://name", backend.RedactURL(d.Args[0]))
	}
	u, err := backend.ParseURL(r.text)
	if err != nil {
		return err
	}
	if p := path.Clean("/" + u.Path); p != "/" {
		return fmt.Errorf("the path of handler %q is that of the DocumentRoot: leave %q out", backend.RedactURL(d.Args[0]), p)
	}
	if !strings.HasSuffix(rest, "/") {
		r.text += "/"
	}
	if err := r.makeProto(); err != nil {
		return err
	}
	b.rules++
	r.number = b.rules
	s.rules = append(s.rules, r)
	return nil
}
