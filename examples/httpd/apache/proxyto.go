package apache

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/rewrite"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/fcgi/scgi"
	"github.com/modproxy/modproxy/fcgi/uwsgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// maxOnDemand bounds how many backends of rules with [P] are made one by one.
const maxOnDemand = 256

// onDemand are the rules of a host that [P] makes.
type onDemand struct {
	mu    sync.Mutex
	rules map[string]*rule // by socket and origin, or by scheme
}

// proxyTo makes the URL of [P] the destination of a request. A code above 0 is an
// error.
func (h *host) proxyTo(v *visit, out rewrite.Result) int {
	to, err := h.leadTo(v, out.Target, out.NoEscape, constantOrigin(out.Rule.Proxied()))
	if err != nil {
		h.logger.Error("request cannot be proxied", "path", v.path, "to", backend.RedactURL(out.Target), "error", err)
		return exchange.StatusOf(err)
	}
	to.RawQuery = out.Query
	return 0
}

// constantOrigin reports whether what is written names one backend, whatever the
// request is.
func constantOrigin(text string) bool {
	_, rest := cutUnix(text)
	scheme, rest, ok := strings.Cut(rest, "://")
	if !ok {
		return false
	}
	authority, _, _ := strings.Cut(rest, "/")
	return !strings.ContainsAny(scheme+authority+strings.TrimSuffix(text, rest), "$%")
}

// leadTo finds what speaks to the backend of a URL, makes it the destination, and
// returns the URL without its query. The path is escaped unless it is said to be.
func (h *host) leadTo(v *visit, target string, escaped, constant bool) (*url.URL, error) {
	socket, text := cutUnix(target)
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || rest == "" {
		return nil, exchange.BadRequest("%q is no URL", backend.RedactURL(target))
	}
	authority, path, slash := strings.Cut(rest, "/")
	if slash || !escaped {
		path = "/" + path
	}
	user, host := cutUser(authority)
	u := &url.URL{Scheme: scheme, Host: host}
	if user != "" && !isFTP(text) {
		return nil, exchange.BadRequest("%q has a user", backend.RedactURL(target))
	}
	if !escaped {
		u.Path = path
		u.RawPath = escapeForBackend(path, said(h.settings.encodedSlashes, slashesRefused) == slashesKept)
	} else {
		u.RawPath = path
	}
	var err error
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, exchange.BadRequest("path of %q: %w", backend.RedactURL(target), err)
	}
	ru, err := h.ruleOf(socket, scheme, authority, text, constant)
	if err != nil {
		return nil, err
	}
	_, u.Host, _ = strings.Cut(plainHost(u.Scheme+"://"+u.Host), "://")
	v.found.rule, v.found.file, v.found.to = ru, "", u
	return u, nil
}

// escapeForBackend escapes a decoded path as httpd's proxy does; with kept, escaped
// slashes are still escaped.
func escapeForBackend(path string, kept bool) string {
	path = rewrite.EscapeForProxy(path)
	if kept {
		path = strings.NewReplacer("%252F", "%2F", "%252f", "%2f").Replace(path)
	}
	return path
}

// ruleOf returns the rule that speaks to a backend: one with the parameters of the
// ProxyPass whose URL is the longest that the text begins with, or one of its own.
func (h *host) ruleOf(socket, scheme, authority, text string, constant bool) (*rule, error) {
	if err := checkScheme(scheme); err != nil && scheme != "balancer" {
		return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusForbidden, Err: err}
	}
	if socket == "" {
		socket, _ = cutUnix(h.workerOf(text))
	}
	whole := scheme + "://" + authority
	if socket != "" {
		whole = "unix:" + socket + "|" + whole
	}
	var like *rule
	for _, ru := range h.allRules() {
		if ru.target == "!" || ru.fallback || ru.dynamic && ru.pattern != nil || ru.socket != socket || !isBelow(text, ru.text) {
			continue
		}
		if like == nil || len(ru.text) > len(like.text) {
			like = ru
		}
	}
	key := whole
	switch {
	case like != nil:
		key = like.target
	case !constant && socket == "" && scheme != "balancer":
		key, whole = scheme+"://*", ""
	}
	h.demand.mu.Lock()
	defer h.demand.mu.Unlock()
	if ru := h.demand.rules[key]; ru != nil {
		return ru, nil
	}
	if len(h.demand.rules) >= maxOnDemand {
		return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusServiceUnavailable, Err: fmt.Errorf("too many backends are named")}
	}
	ru := &rule{target: whole + "/", dynamic: true, number: -1000 - len(h.demand.rules)}
	ru.socket, ru.text = cutUnix(ru.target)
	switch {
	case like != nil:
		own := *like
		own.dynamic, own.number, own.pattern = true, ru.number, nil
		ru = &own
		h.setRoute(ru, h.routeOf(like))
	case whole == "":
		ru.target, ru.text = scheme+"://", scheme+"://"
		t, err := h.newAnyOrigin(scheme)
		if err != nil {
			return nil, err
		}
		h.setRoute(ru, t)
	default:
		if err := h.startRule(ru); err != nil {
			return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: err}
		}
	}
	if h.demand.rules == nil {
		h.demand.rules = make(map[string]*rule)
	}
	h.demand.rules[key] = ru
	return ru, nil
}

// isBelow reports whether a URL is that of a worker, or below it.
func isBelow(text, worker string) bool {
	if i := strings.IndexAny(worker, "$?"); i >= 0 {
		worker = worker[:i]
	}
	scheme, rest, _ := strings.Cut(worker, "://")
	if len(text) < len(worker) || !strings.EqualFold(text[:len(scheme)], scheme) {
		return false
	}
	if !strings.HasPrefix(text[len(scheme):], "://"+rest) {
		return false
	}
	return strings.Contains(rest, "/") || len(text) == len(worker) || text[len(worker)] == '/'
}

// newAnyOrigin makes what speaks to any backend of a scheme. How many of them it
// remembers is bounded.
func (h *host) newAnyOrigin(scheme string) (*link, error) {
	newBackend := func(u *url.URL) *backend.Backend {
		whole := u.Scheme + "://" + u.Host + "/"
		t, err := h.newBase(memberTarget{text: whole, whole: whole})
		if err != nil {
			return &backend.Backend{URL: u}
		}
		return t.Backend
	}
	if t, err := h.newBase(memberTarget{text: scheme + "://nowhere.invalid", whole: scheme + "://nowhere.invalid"}); err != nil {
		return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: err}
	} else if err := t.Backend.Close(); err != nil {
		return nil, err
	}
	l := &link{backend: &backend.Backend{URL: &url.URL{Scheme: scheme, Host: "*"}}}
	switch scheme {
	case "fcgi":
		t := &fcgi.Transport{NewBackend: newBackend, Logger: h.logger, ServerSoftware: "modproxy-httpd", SplitPath: []string{}, Env: h.fcgiVariables}
		l.RoundTripper, l.closeIdle = t, t.CloseIdleConnections
	case "uwsgi":
		t := &uwsgi.Transport{NewBackend: newBackend, ServerSoftware: "modproxy-httpd", Env: h.uwsgiVariables}
		l.RoundTripper, l.closeIdle = t, t.CloseIdleConnections
	case "scgi":
		t := &scgi.Transport{NewBackend: newBackend, ServerSoftware: "modproxy-httpd", KeepStatus: true, Env: h.scgiVariables}
		l.RoundTripper, l.closeIdle = t, t.CloseIdleConnections
	case "ajp":
		t := &ajp.Transport{NewBackend: newBackend, Attributes: ajpAttributes}
		l.RoundTripper, l.closeIdle = t, t.CloseIdleConnections
	case "ftp":
		t := &ftpTransport{idle: new(backend.IdleLimit), dial: h.opt.dialer(), timeout: h.timeout(), opt: h.opt}
		l.RoundTripper, l.closeIdle = t, t.CloseIdleConnections
	case "ftps", "ftpes":
		return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: fmt.Errorf("%s:// takes a server that is the same for all requests", scheme)}
	default:
		t := &proxy.Transport{NewBackend: newBackend}
		l.RoundTripper, l.closeIdle = t, t.CloseIdleConnections
	}
	return l, nil
}

// takes reports whether a rule is for a request.
func (r *rule) takes(in *http.Request, at string) bool {
	if r.pattern != nil && r.pattern.Standard() == nil {
		return r.pattern.MatchString(at)
	}
	return r.proto.Takes(in.URL)
}

// leadByMatch leads a request to where an expression of PCRE says. A code above 0
// is an error.
func (h *host) leadByMatch(v *visit, r *http.Request, ru *rule) int {
	to := substitute(ru.target, ru.pattern.FindStringSubmatch(v.path))
	if !strings.Contains(ru.target, "$") {
		to = strings.TrimSuffix(to, "/") + v.path
	}
	u, err := h.leadTo(v, to, false, true)
	if err != nil {
		h.logger.Error("request cannot be proxied", "path", v.path, "error", err)
		return exchange.StatusOf(err)
	}
	v.found.rule, u.RawQuery = ru, r.URL.RawQuery
	return 0
}

// backendURL returns where a rule leads a request.
func (r *rule) backendURL(v *visit, in *url.URL) (*url.URL, bool) {
	if r.dynamic {
		return v.found.to, v.found.to != nil
	}
	out, ok, err := r.proto.MapURL(in)
	return out, ok && err == nil
}

// toFound sends the request where visit.found says.
func toFound(pr *httputil.ProxyRequest, preserveHost bool) {
	u := *visitOf(pr.In).found.to
	pr.Out.URL = &u
	if !preserveHost {
		pr.Out.Host = ""
	}
}
