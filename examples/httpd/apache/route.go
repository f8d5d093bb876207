package apache

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// encodedSlashes is what AllowEncodedSlashes says.
type encodedSlashes uint8

const (
	slashesRefused encodedSlashes = iota // 404
	slashesDecoded                       // On: %2F is a slash
	slashesKept                          // NoDecode
)

// served is what a rule does under some sections.
type served struct {
	settings // all of them, merged
	handler  http.Handler
	rule     *rule        // that handler is for
	late     []envStep    // SetEnvIf of sections
	asks     asker        // for credentials; nil if nothing was set up
	steps    []filterStep // of the answer
}

// A request goes through httpd's phases: route reads it, translate finds out where
// it leads, sectionsOf what holds there, serveAs who may ask for it and what the
// sections change before it is answered.
func (h *host) route(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	r = h.editEarly(r)
	at, err := readPath(r.URL)
	if err != nil {
		h.fail(w, r, h.base, http.StatusBadRequest)
		return
	}
	v.path = at
	for _, step := range h.settings.envIf {
		step(v, r)
	}
	v.target = ""
	if h.forwards(r) {
		h.serveForward(w, r)
		return
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace && said(h.settings.traceOff, false) {
		h.fail(w, r, h.base, http.StatusMethodNotAllowed)
		return
	}
	r, code := h.translate(r)
	if code != 0 {
		h.redirect(w, r, h.ofPath(v, r), code, v.found.location)
		return
	}
	sections, code := h.sectionsOf(v, r)
	if code != 0 {
		h.fail(w, r, h.base, code)
		return
	}
	h.serveFound(w, r, sections)
}

// serveFound serves a request of which is known where it leads, and what holds
// there.
func (h *host) serveFound(w http.ResponseWriter, r *http.Request, sections sectionList) {
	v := visitOf(r)
	v.sections = sections
	ru := v.found.rule
	s, err := h.served(ru, sections)
	if err == nil && ru == nil {
		if v.handler = cmp.Or(s.handlerOf(v), v.rewrites.handler); isProxyHandler(v.handler) {
			if ru, err = h.handlerRule(nil, v.handler); err == nil {
				s, err = h.served(ru, sections)
			}
		}
	}
	if ru != nil && h.blocks(v, ru, r.URL) {
		h.fail(w, r, h.base, http.StatusForbidden)
		return
	}
	if err != nil {
		h.logger.Error("request cannot be served", "path", v.path, "error", err)
		h.fail(w, r, h.base, http.StatusInternalServerError)
		return
	}
	h.serveAs(w, r, s)
}

// serveAs takes the steps of a request whose sections are known.
func (h *host) serveAs(w http.ResponseWriter, r *http.Request, s *served) {
	v := visitOf(r)
	for _, step := range s.late {
		step(v, r)
	}
	v.served = s
	if !s.limits.allows(r.Method) {
		h.fail(w, r, s, http.StatusMethodNotAllowed)
		return
	}
	r, ok := h.tlsAdmits(w, r, s)
	if !ok || !h.admits(w, r, s) {
		return
	}
	if v.user != "" {
		r = access.WithUser(r, v.user, s.auth.typeName())
	}
	s.setTLS(v, r)
	if r.ProtoMajor == 2 {
		v.set("HTTP2", "on")
	}
	if r, s = h.fixUp(w, r, s); s == nil {
		return
	}
	s.env.putInto(v)
	r = s.withFakeUser(r)
	if _, ok := v.env["nokeepalive"]; ok {
		w.Header().Set("Connection", "close")
	}
	unedited := r // what another path is asked with, whose sections edit it themselves
	if len(s.requestHeader) > 0 {
		r = editRequest(r, s.requestHeader, false)
	}
	v.client, v.served = r, s
	if v.target == "" && h.leadsElsewhere(w, unedited, s) {
		return
	}
	if v.target == "" && s.handler == nil {
		v.rewritten(w.Header())
	}
	switch {
	case v.target != "":
		h.forward.ServeHTTP(w, r)
	case s.handler != nil:
		if v.found.rule == nil {
			r = h.asFile(r, v, s.rule)
		}
		s.handler.ServeHTTP(w, r)
	case v.handler == handlerManager:
		s.answering(h.manager).ServeHTTP(w, r)
	case v.handler == handlerStatus:
		s.answering(http.HandlerFunc(v.site.status)).ServeHTTP(w, r)
	default:
		if _, _, err := whole.MapURL(r.URL); err != nil {
			h.fail(w, r, s, exchange.StatusOf(err)) // no rule takes a malformed path
			return
		}
		s.answering(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serveDisk(w, r, s) })).ServeHTTP(w, r)
	}
}

// whole takes all paths but malformed ones.
var whole = proxy.Handler{AllowEncodedSlashes: true, Target: &url.URL{Scheme: "http", Host: "nowhere.invalid"}}

// maxServed bounds how many combinations of sections a host remembers: each change
// of a .htaccess makes new ones.
const maxServed = 1 << 12

// served returns what a rule does under sections; each combination is made
// once.
func (h *host) served(r *rule, sections sectionList) (*served, error) {
	var buf [64]byte
	key := sections.appendKey(buf[:0], r)
	h.mu.RLock()
	s := h.handlers[string(key)]
	h.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s = &served{settings: h.settings}
	for _, section := range sections {
		s.settings = s.settings.merge(section.settings)
	}
	s.late = s.envIf[len(h.settings.envIf):]
	s.asks = h.asker(&s.settings)
	s.steps = s.filters.steps()
	if s.rule = r; r != nil {
		ph, err := h.newHandler(r, s)
		if err != nil {
			return nil, err
		}
		s.handler = h.sized(h.upgrading(ph, r, s), s)
		if len(s.steps) > 0 {
			s.handler = s.answering(s.handler)
		}
		if !said(h.settings.cache.quick, true) {
			if s.handler, err = h.withCaches(&s.cache, s.handler); err != nil {
				return nil, err
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.handlers[string(key)]; other != nil {
		return other, nil
	}
	if len(h.handlers) >= maxServed {
		clear(h.handlers)
	}
	h.handlers[string(key)] = s
	return s, nil
}

// ofPath returns what the sections of the path say for an answer that comes before
// it is known where a request leads.
func (h *host) ofPath(v *visit, r *http.Request) *served {
	v.found.rule, v.found.file = nil, ""
	sections, _ := h.sectionsOf(v, r) // without a file nothing fails
	s, err := h.served(nil, sections)
	if err != nil {
		return h.base
	}
	return s
}
