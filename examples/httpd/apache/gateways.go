package apache

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/fcgi/scgi"
	"github.com/modproxy/modproxy/fcgi/uwsgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// gatewaySchemes are those of protocols that tell of the client by variables or
// attributes: httpd adds no fields of forwarding for them, and no Via.
var gatewaySchemes = []string{"ajp", "fcgi", "scgi", "uwsgi"}

// isGateway reports whether a target speaks one of these protocols.
func isGateway(text string, schemes ...string) bool {
	scheme, _, _ := strings.Cut(text, "://")
	return slices.Contains(schemes, strings.ToLower(scheme))
}

// leadsTo reports whether a rule leads to backends of these schemes alone, be it by a
// balancer.
func (r *rule) leadsTo(rt http.RoundTripper, schemes ...string) bool {
	p, ok := rt.(*pool)
	if !ok {
		return isGateway(r.text, schemes...)
	}
	return len(p.declared.members) > 0 && !slices.ContainsFunc(p.declared.members, func(m *member) bool {
		_, text := cutUnix(m.config.URL)
		return !isGateway(text, schemes...)
	})
}

// scgiDirectives are those of mod_proxy_scgi.
func scgiDirectives() []directive {
	return []directive{
		{name: "ProxySCGIInternalRedirect", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			field := d.Args[0]
			switch {
			case strings.EqualFold(field, "on"):
				field = "Location"
			case strings.EqualFold(field, "off"):
				field = ""
			}
			s.settings.localField = &field
			return nil
		}},
		{name: "ProxySCGISendfile", in: anywhere, min: 1, max: 1, note: "Off alone: a file is sent by the application", apply: func(_ *builder, _ *scope, d *conf.Directive) error {
			if !strings.EqualFold(d.Args[0], "off") {
				return fmt.Errorf("%s is not supported: let the application send the file, or lead to it by ProxySCGIInternalRedirect", d.Args[0])
			}
			return nil
		}},
	}
}

// newUWSGI makes what speaks uwsgi out of what the parameters said.
func (h *host) newUWSGI(t *proxy.Transport) *link {
	ut := &uwsgi.Transport{Backend: t.Backend, MaxLineBytes: t.MaxLineBytes, ServerSoftware: "modproxy-httpd", Env: h.uwsgiVariables}
	return &link{ut, t.Backend, ut.CloseIdleConnections}
}

// newSCGI makes what speaks SCGI out of what the parameters said.
func (h *host) newSCGI(t *proxy.Transport) *link {
	st := &scgi.Transport{Backend: t.Backend, MaxLineBytes: t.MaxLineBytes, ServerSoftware: "modproxy-httpd", KeepStatus: true, Env: h.scgiVariables}
	return &link{st, t.Backend, st.CloseIdleConnections}
}

// uwsgiVariables changes the variables of a request as its sections say.
func (h *host) uwsgiVariables(r *http.Request, env *fcgi.Params) {
	v := visitOf(r)
	if v == nil || v.served == nil {
		return
	}
	h.documentVariables(v, env)
	info := env.Get("PATH_INFO")
	env.Set("SCRIPT_NAME", mountOf(v.path, info))
	if name, ok := v.handled(); ok {
		env.Set("SCRIPT_FILENAME", name)
	}
	h.requestVariables(r, v, env)
}

// mountOf is SCRIPT_NAME as httpd has it: what goes before info in a path, by their
// lengths alone.
func mountOf(path, info string) string {
	switch n := len(path) - len(info); {
	case info == "/" && path == "/":
		return ""
	case info != "/" && n >= 0:
		return path[:n]
	}
	return path
}

// handled is what httpd calls the file of a request that a handler "proxy:…" has.
func (v *visit) handled() (string, bool) {
	if v.found.file == "" || !v.served.rule.fallback {
		return "", false
	}
	_, text := cutUnix(v.served.rule.target)
	return "proxy:" + text + v.found.disk.Name, true
}

// scgiVariables changes the variables of a request as its sections say.
func (h *host) scgiVariables(r *http.Request, env *fcgi.Params) {
	v := visitOf(r)
	env.Delete("GATEWAY_INTERFACE")
	if v == nil || v.served == nil {
		env.Delete("HTTP_AUTHORIZATION")
		return
	}
	if !said(v.served.passAuth, false) {
		env.Delete("HTTP_AUTHORIZATION")
	}
	h.documentVariables(v, env)
	env.Set("SCRIPT_FILENAME", "proxy:scgi://"+r.URL.Host+r.URL.EscapedPath())
	env.Set("SCRIPT_NAME", v.path)
	env.Delete("PATH_INFO")
	if _, ok := v.env["proxy-scgi-pathinfo"]; ok {
		info := r.URL.EscapedPath()
		env.Set("PATH_INFO", info)
		env.Set("PATH_TRANSLATED", strings.TrimSuffix(h.documents(), "/")+info)
		env.Set("SCRIPT_NAME", beforeInfo(v.path, info))
	}
	if name, ok := v.handled(); ok {
		env.Set("SCRIPT_FILENAME", name)
	}
	h.requestVariables(r, v, env)
}

// beforeInfo is what goes before the last segments that a path has in common with
// info.
func beforeInfo(path, info string) string {
	n := 0
	for n < len(path) && n < len(info) && path[len(path)-1-n] == info[len(info)-1-n] {
		n++
	}
	at := len(path) - n
	if i := strings.IndexByte(path[at:], '/'); i >= 0 {
		return path[:at+i]
	}
	return path
}

// localRedirect is an answer that leads elsewhere on this server.
type localRedirect struct{ to *url.URL }

func (e *localRedirect) Error() string { return "the application leads to " + e.to.Path }

// localRedirects makes an error of an answer that leads elsewhere on this server, by
// a field that ProxySCGIInternalRedirect names.
type localRedirects struct {
	http.RoundTripper
	field string
}

// RoundTrip sends a request.
func (t localRedirects) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	to := resp.Header.Get(t.field)
	if !strings.HasPrefix(to, "/") {
		return resp, nil
	}
	u, err := url.ParseRequestURI(to)
	if err != nil {
		return resp, nil
	}
	_ = resp.Body.Close()
	return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusFound, Err: &localRedirect{u}}
}

// obeyLocalRedirects has a handler of a rule serve what an application of SCGI leads
// to, as a GET, whatever the method was.
func (h *host) obeyLocalRedirects(ph *proxy.Handler, r *rule, s *served) {
	field := said(s.localField, "Location")
	if field == "" || !r.leadsTo(ph.Transport, "scgi") {
		return
	}
	ph.Transport = localRedirects{ph.Transport, field}
	fail := ph.ErrorHandler
	ph.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		var local *localRedirect
		if !errors.As(err, &local) {
			fail(w, r, err)
			return
		}
		get := *r
		get.Method, get.Body, get.ContentLength = http.MethodGet, http.NoBody, 0
		h.again(w, &get, local.to)
	}
}
