package apache

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
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
	ft := &fcgi.Transport{Backend: t.Backend, MaxLineBytes: t.MaxLineBytes, Logger: h.logger, ServerSoftware: "modproxy-httpd", SplitPath: []string{}, Env: h.fcgiVariables}
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
	if !h.scriptVariables(v, env) {
		h.pathInfo(r, v, env)
	}
	name, handled := v.handled()
	switch generic := said(s.generic, false); {
	case handled && !generic:
		env.Set("SCRIPT_FILENAME", name)
	case !handled && generic:
		env.Set("SCRIPT_FILENAME", r.URL.EscapedPath())
	case !handled: // php-fpm knows by it that httpd is before it
		env.Set("SCRIPT_FILENAME", "proxy:fcgi://"+r.URL.Host+r.URL.EscapedPath())
	}
	h.requestVariables(r, v, env)
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
	env.Set("SERVER_PORT", v.serverPort(r))
	for _, name := range tlsOfLibrary { // httpd gives them with SSLOptions +StdEnvVars alone
		env.Delete(name)
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade"} { // nobody acts on them, but some ask
		if values := v.client.Header[name]; len(values) > 0 {
			env.Set("HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), strings.Join(values, ", "))
		}
	}
	for name, value := range v.env {
		if _, own := env.Lookup(name); !own { // as in httpd, those of CGI are not overridden
			env.Set(name, value)
		}
	}
	if v.user != "" {
		env.Set("REMOTE_USER", v.user)
		env.Set("AUTH_TYPE", v.served.auth.typeName())
	}
}

// documentVariables say what the server is called, and where the documents are.
func (h *host) documentVariables(v *visit, env *fcgi.Params) {
	env.Set("SERVER_NAME", v.serverName(v.client))
	env.Set("SERVER_PORT", v.serverPort(v.client))
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

// scriptVariables say which script is run: what the path on disk says, for that of a
// handler. It reports whether there is one.
func (h *host) scriptVariables(v *visit, env *fcgi.Params) bool {
	if v.found.file == "" || v.served.rule == nil {
		return false
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
	return true
}

// pathInfo divides the path of a ProxyPass as httpd does: only if
// proxy-fcgi-pathinfo says so.
func (h *host) pathInfo(r *http.Request, v *visit, env *fcgi.Params) {
	env.Set("SCRIPT_NAME", v.path)
	mode, ok := v.env["proxy-fcgi-pathinfo"]
	if !ok {
		return
	}
	p := r.URL.EscapedPath()
	info, dot := p, 0 // with a dot, info is what follows its segment
	switch strings.ToLower(mode) {
	case "full":
		info = onDisk(r.URL.Path)
	case "first-dot":
		dot = strings.IndexByte(p, '.')
	case "last-dot":
		dot = strings.LastIndexByte(p, '.')
	case "unescape":
		info = r.URL.Path
	}
	if dot != 0 {
		info = ""
		if dot > 0 {
			if i := strings.IndexByte(p[dot:], '/'); i >= 0 {
				info = p[dot+i:]
			}
		}
	}
	if info == "" {
		return
	}
	env.Set("PATH_INFO", info)
	env.Set("PATH_TRANSLATED", strings.TrimSuffix(h.documents(), "/")+info)
	env.Set("SCRIPT_NAME", beforeInfo(v.path, info))
}

// onDisk returns what follows the first file in a path; "" if there is none.
func onDisk(p string) string {
	for i := 1; i < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		st, err := os.Stat(p[:i])
		switch {
		case err != nil:
			return ""
		case !st.IsDir():
			return p[i:]
		}
	}
	return ""
}
