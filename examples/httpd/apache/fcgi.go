package apache

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/expr"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// fcgiVar is a ProxyFCGISetEnvIf.
type fcgiVar struct {
	when  *expr.Expr
	name  string
	value string
	unset bool
}

// fcgiDirectives are those of mod_proxy_fcgi, and what scripts need of others.
func fcgiDirectives() []directive {
	const dir = anyServer | inLocation | inProxy
	return []directive{
		{name: "ProxyFCGIBackendType", in: dir, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			generic := strings.EqualFold(d.Args[0], "GENERIC")
			if !generic && !strings.EqualFold(d.Args[0], "FPM") {
				return d.Errorf("ProxyFCGIBackendType is FPM or GENERIC")
			}
			s.settings.generic = &generic
			return nil
		}},
		{name: "ProxyFCGISetEnvIf", in: dir, min: 2, max: 3, note: "values are text without %{…}", apply: applyFCGISetEnvIf},
		{name: "CGIPassAuth", in: dir, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.passAuth })},
		{name: "DocumentRoot", in: anyServer, min: 1, max: 1, note: "where the scripts of SetHandler are; nothing is served from files", apply: func(b *builder, s *scope, d *conf.Directive) error {
			s.settings.documentRoot = b.file(d.Args[0])
			return nil
		}},
		{name: "Files", section: true, in: anyServer, min: 1, max: 2, apply: applyFiles},
		{name: "FilesMatch", section: true, in: anyServer, min: 1, max: 1, apply: applyFiles},
	}
}

// applyFCGISetEnvIf reads "expression [!]name [value]".
func applyFCGISetEnvIf(_ *builder, s *scope, d *conf.Directive) error {
	e, err := expr.Parse(d.Args[0], knownOfFCGI)
	if err != nil {
		return err
	}
	v := fcgiVar{when: e, value: strings.Join(d.Args[2:], "")}
	v.name, v.unset = strings.CutPrefix(d.Args[1], "!")
	switch {
	case v.name == "":
		return fmt.Errorf("want the name of a variable")
	case v.unset && v.value != "":
		return fmt.Errorf("!%s takes no value", v.name)
	case strings.Contains(v.value, "%{"):
		return fmt.Errorf("expressions in values are not supported: %q", v.value)
	}
	s.settings.fcgiEnv = append(s.settings.fcgiEnv, v)
	return nil
}

// knownOfFCGI says which variables a condition may ask for: fields of the
// request, and the variables that the application gets.
func knownOfFCGI(function, _ string) bool {
	return slices.Contains([]string{"", "http", "req", "env", "reqenv"}, function)
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
	lookup := func(function, name string) string {
		switch function {
		case "http", "req":
			return strings.Join(r.Header[http.CanonicalHeaderKey(name)], ", ")
		}
		return env.Get(name)
	}
	for _, set := range s.fcgiEnv {
		switch {
		case !set.when.Eval(lookup):
		case set.unset:
			env.Delete(set.name)
		default:
			env.Set(set.name, set.value)
		}
	}
}

// applyFiles reads <Files name>, <Files ~ re> and <FilesMatch re>.
func applyFiles(b *builder, s *scope, d *conf.Directive) (err error) {
	f := &scope{context: inLocation, at: d, parent: s, path: d.Args[0], files: true}
	switch {
	case d.Is("FilesMatch"):
		f.pattern, err = regexp.Compile("(?s)" + d.Args[0])
	case d.Args[0] == "~" && len(d.Args) == 2:
		f.pattern, err = regexp.Compile("(?s)" + d.Args[1])
	case len(d.Args) == 2:
		return fmt.Errorf("want one name")
	case strings.ContainsAny(d.Args[0], "*?["):
		f.pattern, err = globPattern(d.Args[0], false)
	}
	if err != nil {
		return err
	}
	s.locations = append(s.locations, f)
	return b.apply(f, d.Children)
}

// containsFile reports whether a <Files> applies to a segment of a path. httpd
// looks up which one is a file; here a script is the first that the section
// knows, and php-fpm says whether it is there.
func (s *scope) containsFile(at string) bool {
	for name := range strings.SplitSeq(strings.TrimPrefix(at, "/"), "/") {
		if name != "" && (s.pattern == nil && name == s.path || s.pattern != nil && s.pattern.MatchString(name)) {
			return true
		}
	}
	return false
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

// checkFolders refuses a <Directory> that keeps clients from scripts of a
// SetHandler: it has no effect here, and they would be open to all.
func (b *builder) checkFolders() error {
	for _, host := range append([]*scope{b.main}, b.vhosts...) {
		scripts := false
		for _, l := range slices.Concat(b.main.locations, host.locations) {
			scripts = scripts || slices.ContainsFunc(l.rules, func(r *rule) bool { return r.fallback })
		}
		root := b.main.settings.merge(host.settings).documentRoot
		if !scripts || root == "" {
			continue
		}
		root = path.Clean(root)
		var around *conf.Directive // of those around the root, what the innermost says counts
		for _, d := range b.folders {
			says, closed := protects(d)
			at := path.Clean(d.Args[0])
			switch {
			case !says:
			case len(d.Args) == 1 && !strings.ContainsAny(at, "*?[") && hasPrefix(root, at):
				if around == nil || len(at) >= len(path.Clean(around.Args[0])) {
					around = d
				}
			case closed && (len(d.Args) > 1 || strings.ContainsAny(at, "*?[") || hasPrefix(at, root)):
				return d.Errorf("<Directory> has no effect on scripts of SetHandler, and they would be open: use <Location>")
			}
		}
		if around != nil {
			if _, closed := protects(around); closed {
				return around.Errorf("<Directory> has no effect on scripts of SetHandler, and they would be open: use <Location>")
			}
		}
	}
	return nil
}

// protects reports whether a section says who may come in, and whether that is
// not all.
func protects(d *conf.Directive) (says, closed bool) {
	for _, c := range d.Children {
		switch {
		case c.Section:
			s, cl := protects(c)
			says, closed = says || s, closed || cl
		case c.Is("Require"):
			says = true
			closed = closed || d.Is("RequireNone") || len(c.Args) != 2 || !strings.EqualFold(c.Args[0], "all") || !strings.EqualFold(c.Args[1], "granted")
		case c.Is("Deny"):
			says, closed = true, true
		}
	}
	return says, closed
}
