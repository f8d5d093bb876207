package apache

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/expr"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/rewrite"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// rewriteServer answers what rules ask of a request.
type rewriteServer struct {
	h *host
	v *visit
	r *http.Request
}

func (s rewriteServer) lookup() expr.Lookup { return s.v.lookup(s.r) }

func (s rewriteServer) Variable(name string) string {
	kind, rest, ok := strings.Cut(name, ":")
	if ok && kind == "SSL" {
		value, _ := sslVariable(s.r, rest)
		return value
	}
	if ok {
		return ""
	}
	return s.v.variable(s.r, name)
}

func (s rewriteServer) Header(name string) (string, bool) {
	value := requestField(s.r, name)
	return value, value != "" || len(s.r.Header[http.CanonicalHeaderKey(name)]) > 0
}

func (s rewriteServer) Env(name string) string {
	if value, ok := s.v.env[name]; ok {
		return value
	}
	return os.Getenv(name)
}

func (s rewriteServer) SetEnv(name, value string) { s.v.set(name, value) }
func (s rewriteServer) UnsetEnv(name string)      { delete(s.v.env, name) }

// LookAhead translates the path, and tells where it leads; of users it knows whom
// the request's credentials say, if the section that asks has users.
func (s rewriteServer) LookAhead(path string, file bool, name string) string {
	if s.v.user != "" && name == "REMOTE_USER" {
		return s.v.user // of a section, which has asked
	}
	v, r, code := s.ahead(path, file)
	if code != 0 {
		return ""
	}
	if name == "REMOTE_USER" {
		if v.served = s.h.ofPath(v, r); v.served.asks == nil {
			return ""
		}
		user, _ := v.credentials(r)
		return user
	}
	return v.variable(r, name)
}

func (s rewriteServer) Reachable(path string, file bool) bool { return s.v.reaches(s.r, path, file) }

// ahead returns what a request of a path, or of a file, would be.
func (s rewriteServer) ahead(path string, file bool) (*visit, *http.Request, int) {
	if !strings.HasPrefix(path, "/") {
		return nil, nil, http.StatusBadRequest
	}
	v := *s.v
	v.subrequests++
	v.env = maps.Clone(s.v.env)
	u := &url.URL{Path: path}
	at, err := readPath(u)
	if err != nil {
		return nil, nil, http.StatusBadRequest
	}
	r := s.r.WithContext(context.WithValue(s.r.Context(), visitKey{}, &v))
	r.URL = u
	if file {
		v.found = destination{file: at}
		return &v, r, 0
	}
	v.path = at
	r, code := s.h.translate(r)
	return &v, r, code
}

func (s rewriteServer) Self() string {
	scheme := s.h.schemeOf(s.r)
	name, port := s.v.serverName(s.r), s.v.serverPort(s.r)
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port != "" && port != backend.DefaultPort(scheme) {
		name += ":" + port
	}
	return scheme + "://" + name
}

func (s rewriteServer) IsSelf(name, port string) bool {
	if port == "" {
		port = backend.DefaultPort(s.h.schemeOf(s.r))
	}
	// httpd, too, knows only a port that ServerName says.
	return port == s.h.scope.namedPort && slices.ContainsFunc(s.h.scope.names, func(n string) bool { return strings.EqualFold(n, name) })
}

// rewritten takes a request through rules.
func (h *host) rewritten(v *visit, r *http.Request, s *rewriteSettings, file, info string) rewrite.Result {
	set := rewrite.Set{Rules: s.rules, Maps: h.rewriting.maps, Dir: s.dir, Base: s.base}
	state := rewrite.State{Server: rewriteServer{h, v, r}, File: file, PathInfo: info, Query: r.URL.RawQuery, Depth: v.subrequests}
	out := set.Apply(&state)
	v.rewrites.end = v.rewrites.end || out.End
	v.rewrites.kind = cmp.Or(out.Type, v.rewrites.kind)
	v.depends(out.Vary...)
	v.rewrites.cookies = append(v.rewrites.cookies, out.Cookies...)
	h.logger.Log(r.Context(), exchange.LevelTrace1, "rewrite", "path", file, "to", out.Target, "status", out.Status)
	return out
}

// rewrites is what rules have done to a request besides.
type rewrites struct {
	end     bool // END: no rules any more
	cookies []string
	handler string // H, of the rules of the server
	kind    string // T: the type of the file
}

// byRewriting obeys the rules of the server.
func (h *host) byRewriting(v *visit, r *http.Request) (*http.Request, bool, int) {
	if !h.rewriting.on() || v.rewrites.end || v.path == "" {
		return r, false, 0
	}
	self := rewriteServer{h, v, r}.Self()
	first := cmp.Or(v.env["SCRIPT_URL"], v.env["REDIRECT_SCRIPT_URL"], v.path) // of the client, wherever it is led
	v.set("SCRIPT_URL", first)
	v.set("SCRIPT_URI", self+first)
	out := h.rewritten(v, r, &h.rewriting, v.path, "")
	v.rewrites.handler = out.Handler
	switch out.Kind {
	case rewrite.Status:
		return r, false, out.Status
	case rewrite.Redirect:
		v.found.location = out.Target
		return r, false, out.Status
	case rewrite.Proxy:
		code := h.proxyTo(v, out)
		return withQuery(r, r.URL.Path, out.Query), code == 0, code
	case rewrite.PassThrough:
		at, err := readPath(&url.URL{Path: out.Target})
		if err != nil {
			return r, false, http.StatusForbidden
		}
		v.path = at
		return withQuery(r, at, out.Query), false, 0
	case rewrite.Path:
		at := cleanPath(out.Target)
		v.found.file, v.found.root = at, "/"
		if !out.Stat || !isBelowExisting(at) {
			v.found.root = h.documents()
			v.found.file = strings.TrimSuffix(v.found.root, "/") + at
		}
		return withQuery(r, r.URL.Path, out.Query), true, 0
	}
	return withQuery(r, r.URL.Path, out.Query), false, 0
}

// isBelowExisting reports whether the first segment of a path is on disk, which
// makes of a path a file.
func isBelowExisting(at string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(at, "/"), "/")
	if first == "" {
		return false
	}
	_, err := os.Stat("/" + first)
	return err == nil
}

// withQuery returns the request for another path and query, itself if they are the
// same.
func withQuery(r *http.Request, path, query string) *http.Request {
	if r.URL.Path == path && r.URL.RawQuery == query {
		return r
	}
	out := *r
	out.URL = &url.URL{Path: path, RawQuery: query}
	if path == r.URL.Path {
		out.URL.RawPath = r.URL.RawPath
	}
	return &out
}

// fixUp is where sections lead a request elsewhere, once its client may make it:
// by their rules, and then by their redirects. It returns how the request is to be
// served, or nothing if it has been answered.
func (h *host) fixUp(w http.ResponseWriter, r *http.Request, s *served) (*http.Request, *served) {
	v := visitOf(r)
	if v.target != "" {
		return r, s
	}
	if s.rewriting.on() && !v.rewrites.end && !v.atFolder(&s.rewriting) {
		out := h.rewritten(v, r, &s.rewriting, v.filename(r), v.found.disk.Extra)
		switch out.Kind {
		case rewrite.Status:
			h.fail(w, r, s, out.Status)
			return nil, nil
		case rewrite.Redirect:
			h.redirect(w, r, s, out.Status, out.Target)
			return nil, nil
		case rewrite.Proxy:
			if code := h.proxyTo(v, out); code != 0 {
				h.fail(w, r, s, code)
				return nil, nil
			}
			r = withQuery(r, r.URL.Path, out.Query)
			led, err := h.served(v.found.rule, v.sections)
			if err != nil {
				h.logger.Error("request cannot be served", "path", v.path, "error", err)
				h.fail(w, r, s, http.StatusInternalServerError)
				return nil, nil
			}
			s = led
			v.served = s
		case rewrite.Path:
			if h.slashes(w, r, s) {
				return nil, nil
			}
			s.env.putInto(v) // as in httpd, this and RequestHeader come before the request is led on
			if len(s.requestHeader) > 0 {
				r = editRequest(r, s.requestHeader, false)
			}
			h.again(w, r, &url.URL{Path: out.Target, RawQuery: out.Query})
			return nil, nil
		default:
			r = withQuery(r, r.URL.Path, out.Query)
			if s = h.handledBy(v, s, out.Handler); s == nil {
				h.fail(w, r, h.base, http.StatusInternalServerError)
				return nil, nil
			}
		}
	}
	if code, to := h.redirectOf(v, r, &s.redirects); code != 0 {
		h.redirect(w, r, s, code, to)
		return nil, nil
	}
	return r, s
}

// handledBy returns how a request is served by the handler of an H flag, if there
// is one; nil if that cannot be.
func (h *host) handledBy(v *visit, s *served, handler string) *served {
	if handler == "" || v.found.rule != nil {
		return s
	}
	v.handler = handler
	if !isProxyHandler(handler) {
		return s
	}
	ru, err := h.handlerRule(nil, handler)
	if err == nil {
		s, err = h.served(ru, v.sections)
	}
	if err != nil {
		h.logger.Error("request cannot be served", "path", v.path, "error", err)
		return nil
	}
	v.served = s
	return s
}

// atFolder reports whether a request is for the very folder of the rules, without
// its slash: it is led to the one with a slash, unless AllowNoSlash is given.
func (v *visit) atFolder(s *rewriteSettings) bool {
	return !said(s.options, rewriteOptions{}).allowNoSlash && v.found.rule == nil && v.found.name()+"/" == s.dir
}

// addCookies adds to a backend's answer the cookies that rules have made. No cache
// keeps them.
func (v *visit) addCookies(resp *http.Response) {
	for _, c := range v.rewrites.cookies {
		resp.Header["Set-Cookie"] = append(behind(resp.Header["Set-Cookie"], nil), c)
		exchange.NoteOwnField(resp.Request.Context(), "Set-Cookie", c)
	}
}

// rewritten adds to an answer of this server what rules have asked for, once.
func (v *visit) rewritten(header http.Header) {
	for _, c := range v.rewrites.cookies {
		if !slices.Contains(header["Set-Cookie"], c) {
			header.Add("Set-Cookie", c)
		}
	}
}
