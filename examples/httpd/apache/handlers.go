package apache

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/backend"
)

// Handlers that are none of proxy:….
const (
	handlerStatus  = "server-status"
	handlerManager = "balancer-manager"
	handlerFile    = "default-handler"
)

// maxHandlers bounds how many backends .htaccess files may name on a host.
const maxHandlers = 256

// handlerDirectives are those that say what answers for a file or a path.
func handlerDirectives() []directive {
	return []directive{
		{name: "SetHandler", in: anywhere, min: 1, max: 1, note: "server-status, balancer-manager, default-handler, None, and \"proxy:…\" of which unix: and balancer: may be the target", apply: func(b *builder, s *scope, d *conf.Directive) error {
			name := d.Args[0]
			switch {
			case strings.EqualFold(name, "none"):
				name = ""
			case name == handlerStatus, name == handlerManager, name == handlerFile:
			case isProxyHandler(name):
				if err := b.checkProxyHandler(s, d, name); err != nil {
					return err
				}
			default:
				b.named = append(b.named, handlerUse{d, name})
			}
			s.settings.files.handler = &name
			return nil
		}},
	}
}

func isProxyHandler(name string) bool { return strings.HasPrefix(name, "proxy:") }

// unknownHandler says what would do in place of a handler.
func unknownHandler(name string) error {
	switch lower := strings.ToLower(name); {
	case strings.Contains(lower, "php"):
		return fmt.Errorf("handler %q: mod_php has no equivalent here; php-fpm does the same: SetHandler \"proxy:unix:/run/php/php-fpm.sock|fcgi://localhost\"", name)
	case strings.Contains(lower, "cgi"):
		return fmt.Errorf("handler %q: scripts are not run here; an application that speaks FastCGI or HTTP is reached by \"proxy:…\"", name)
	}
	return fmt.Errorf("handler %q is not supported", name)
}

// fileHandler checks what AddHandler, or AddType, says of files.
func (b *builder) fileHandler(s *scope, d *conf.Directive, name string, isType bool) error {
	switch {
	case isProxyHandler(name) && !isType:
		return b.checkProxyHandler(s, d, name)
	case name != handlerFile && (!isType || isModPHP(name)):
		b.named = append(b.named, handlerUse{d, name})
	}
	return nil
}

// isModPHP reports whether a handler or a media type is one of those by which
// mod_php, or CGI, runs a file.
func isModPHP(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "application/x-httpd-") || strings.HasPrefix(name, "php") && strings.HasSuffix(name, "-script")
}

// checkHandlers looks for an Action for each handler that is not known. Without
// one, files are answered with 403, and scripts are an error.
func (b *builder) checkHandlers() error {
	var all conf.Errors
	for _, u := range b.named {
		switch {
		case b.actions[strings.ToLower(u.name)]:
		case isModPHP(u.name), u.at.Is("SetHandler") && strings.Contains(strings.ToLower(u.name), "cgi"):
			all.Add(locate(u.at, unknownHandler(u.name)))
		case u.at.Is("SetHandler") && !mayRun(u.name):
			b.warn(u.at.Errorf("SetHandler: handler %q is not known, and has no Action: files are served as they are, as in httpd", u.name))
		default:
			b.warn(u.at.Errorf("%s: handler %q is not known, and has no Action: files for it are answered with 403", u.at.Name, u.name))
		}
	}
	return all.Err()
}

// checkProxyHandler refuses at the start what no request could be sent to, and
// remembers the handler for its host.
func (b *builder) checkProxyHandler(s *scope, d *conf.Directive, name string) error {
	if _, err := newHandlerRule(d, name); err != nil {
		return err
	}
	if b.override {
		return nil
	}
	owner := s
	for owner.context&anyServer == 0 && owner.parent != nil {
		owner = owner.parent
	}
	owner.handlers = append(owner.handlers, handlerUse{d, name})
	return nil
}

// handlerUse is a handler "proxy:…" and where it is named.
type handlerUse struct {
	at   *conf.Directive
	name string
}

// newHandlerRule makes the rule of a handler "proxy:…".
func newHandlerRule(d *conf.Directive, name string) (*rule, error) {
	to := strings.TrimPrefix(name, "proxy:")
	r := &rule{at: d, path: "/", target: to, fallback: true}
	r.socket, r.text = cutUnix(to)
	scheme, rest, ok := strings.Cut(r.text, "://")
	if !ok {
		return nil, fmt.Errorf("handler %q is not supported: want proxy:fcgi://host:port, proxy:unix:/path|fcgi://host, or proxy:balancer://name", backend.RedactURL(name))
	}
	if err := checkScheme(scheme); err != nil && !isBalancer(r.text) {
		return nil, err
	}
	if !strings.HasSuffix(rest, "/") {
		r.text += "/"
	}
	return r, r.makeProto()
}

// folder is the path of a handler's URL, without a slash at its end.
func (r *rule) folder() string {
	_, rest, _ := strings.Cut(r.text, "://")
	_, rest, _ = strings.Cut(rest, "/")
	if rest = strings.Trim(rest, "/"); rest != "" {
		rest = "/" + rest
	}
	return rest
}

// handlerRule returns the rule of a handler "proxy:…", which is made when it is
// first asked for.
func (h *host) handlerRule(d *conf.Directive, name string) (*rule, error) {
	h.handlersMu.Lock()
	defer h.handlersMu.Unlock()
	if r := h.byHandler[name]; r != nil {
		return r, nil
	}
	if len(h.byHandler) >= maxHandlers+len(h.scope.handlers) {
		return nil, fmt.Errorf("too many handlers: %q", backend.RedactURL(name))
	}
	r, err := newHandlerRule(d, name)
	if err != nil {
		return nil, err
	}
	r.number = -1 - len(h.byHandler)
	if err := h.startRule(r); err != nil {
		return nil, err
	}
	if h.byHandler == nil {
		h.byHandler = make(map[string]*rule)
	}
	h.byHandler[name] = r
	return r, nil
}

// startHandlers makes what the configuration names, so that its faults are those
// of the start.
func (h *host) startHandlers(uses []handlerUse) error {
	for _, u := range uses {
		if _, err := h.handlerRule(u.at, u.name); err != nil {
			return locate(u.at, err)
		}
	}
	return nil
}

// handlerOf is the name of what answers for a file: as SetHandler says, or else
// AddHandler. It is "" for the file itself.
func (s *served) handlerOf(v *visit) string {
	if name := said(s.files.handler, ""); name != "" {
		return name
	}
	if v.found.file == "" || v.found.disk.IsDir() {
		return ""
	}
	return s.files.mime.Of(path.Base(v.found.disk.Name), nil).Handler
}

// isForFiles reports whether a handler is that of files. So is, as in httpd, one that
// SetHandler makes up, as applications do that want nothing to be run in a folder;
// one that may run scripts is not.
func (s *served) isForFiles(handler string) bool {
	return handler == "" || handler == handlerFile || handler == said(s.files.handler, "") && !mayRun(handler)
}

// mayRun reports whether a handler may be one that runs files, or makes something
// else of them: that of a module, or what such handlers are called.
func mayRun(handler string) bool {
	handler = strings.ToLower(handler)
	for _, part := range []string{"cgi", "php", "perl", "python", "wsgi", "lua", "ruby", "script", "servlet", "program", "isapi", "parsed", "as-is", "-map", "imap", "proxy", "-handler", "-status", "-info", "-manager", "mod_", "application/", "text/"} {
		if strings.Contains(handler, part) {
			return true
		}
	}
	return false
}

// asFile returns the request that a handler "proxy:…" sends on: for the name of
// the file in place of the path. As in httpd, what follows the file is for FastCGI
// alone.
func (h *host) asFile(r *http.Request, v *visit, ru *rule) *http.Request {
	name := v.found.disk.Name
	if v.found.file == "" {
		name = v.path
	} else if h.speaksFCGI(ru) {
		name += v.found.disk.Extra
	}
	if v.found.disk.IsDir() && strings.HasSuffix(v.path, "/") && !strings.HasSuffix(name, "/") {
		name += "/"
	}
	out := *r
	out.URL = &url.URL{Path: name, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	return &out
}

// speaksFCGI reports whether the backends of a rule speak FastCGI.
func (h *host) speaksFCGI(ru *rule) bool {
	if p, ok := h.routeOf(ru).(*pool); ok {
		for _, m := range p.declared.members {
			_, text := cutUnix(m.config.URL)
			return strings.HasPrefix(strings.ToLower(text), "fcgi://")
		}
	}
	return strings.HasPrefix(strings.ToLower(ru.text), "fcgi://")
}

// routeOf is what speaks to the backends of a rule.
func (h *host) routeOf(ru *rule) http.RoundTripper {
	h.routesMu.RLock()
	defer h.routesMu.RUnlock()
	return h.routes[ru]
}

// setRoute makes t what speaks to the backends of a rule.
func (h *host) setRoute(ru *rule, t http.RoundTripper) {
	h.routesMu.Lock()
	defer h.routesMu.Unlock()
	h.routes[ru] = t
	if l, ok := t.(*link); ok {
		h.direct = append(h.direct, l)
	}
}
