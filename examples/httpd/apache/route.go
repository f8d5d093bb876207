package apache

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

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
	status   bool      // SetHandler server-status
	manager  bool      // SetHandler balancer-manager
	late     []envStep // SetEnvIf of sections
	auth     *access.BasicAuth
}

// route finds what serves a request: the rule, and the sections that apply.
func (h *host) route(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
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
	// Rules with mapping= see the path as it came; for all others an encoded
	// slash may be refused, or be one.
	in := r.URL
	encoded := hasEncodedSlash(in)
	key := append(make([]byte, 0, 64), 'k')
	chosen, sections, key := h.pick(r, in, at, true, key)
	if chosen != nil && chosen.params.pathMapping() == proxy.MappingServlet {
		// The backend sees no parameters in the path, so neither do sections.
		if at, err = readServletPath(in); err != nil {
			h.fail(w, r, h.base, http.StatusBadRequest)
			return
		}
		v.path = at
		_, sections, key = h.pick(r, in, at, true, key[:1])
	}
	if chosen == nil {
		if encoded {
			switch said(h.settings.encodedSlashes, slashesRefused) {
			case slashesRefused:
				h.fail(w, r, h.base, http.StatusNotFound)
				return
			case slashesDecoded:
				again := *r
				u := *in
				u.RawPath = strings.NewReplacer("%2F", "/", "%2f", "/").Replace(u.RawPath)
				again.URL, r, in = &u, &again, &u
				if at, err = readPath(in); err != nil {
					h.fail(w, r, h.base, http.StatusBadRequest)
					return
				}
				v.path = at
			}
		}
		chosen, sections, key = h.pick(r, in, at, false, key[:1])
	}
	if chosen != nil && chosen.target != "!" {
		if _, off := v.env["no-proxy"]; off {
			chosen = nil
		}
	}
	if chosen != nil && chosen.target != "!" && h.blocks(chosen, in) {
		h.fail(w, r, h.base, http.StatusForbidden)
		return
	}
	if chosen != nil && chosen.target != "!" {
		key = strconv.AppendInt(append(key, 'r'), int64(chosen.number), 10)
		if len(h.proxies) > 0 {
			sections, key = h.covering(chosen, in, sections, key)
		}
	}
	s, err := h.served(key, chosen, sections)
	if err != nil {
		h.logger.Error("request cannot be served", "path", at, "error", err)
		h.fail(w, r, h.base, http.StatusInternalServerError)
		return
	}
	h.serveAs(w, r, s, at)
}

// serveAs takes the steps of a request whose rule and sections are known.
func (h *host) serveAs(w http.ResponseWriter, r *http.Request, s *served, at string) {
	v := visitOf(r)
	for _, step := range s.late {
		step(v, r)
	}
	v.served = s
	if !h.admits(w, r, s) {
		return
	}
	if v.user != "" {
		r = access.WithUser(r, v.user, "Basic")
	}
	for _, step := range s.setEnv {
		step(v, r)
	}
	if _, ok := v.env["nokeepalive"]; ok {
		w.Header().Set("Connection", "close")
	}
	if len(s.requestHeader) > 0 {
		r = editRequest(r, s.requestHeader)
	}
	v.client, v.served = r, s
	switch {
	case v.target != "":
		h.forward.ServeHTTP(w, r)
	case s.handler != nil:
		s.handler.ServeHTTP(w, r)
	case s.manager:
		h.manager.ServeHTTP(s.edited(w, r), r)
	case s.status:
		v.site.status(s.edited(w, r), r)
	default:
		code := http.StatusNotFound
		if _, _, err := whole.MapURL(r.URL); err != nil {
			code = exchange.StatusOf(err) // no rule takes a malformed path
		}
		h.fail(w, r, s, code)
	}
}

// whole takes all paths but malformed ones.
var whole = proxy.Handler{AllowEncodedSlashes: true, Target: &url.URL{Scheme: "http", Host: "nowhere.invalid"}}

// pick returns the rule that takes a request, "!" included: that of the last
// <Location> that fits and has one, or the first of the list. Rules with
// mapping= have a turn of their own. It also returns the locations that fit,
// and adds them to the key.
func (h *host) pick(r *http.Request, in *url.URL, at string, mapped bool, key []byte) (*rule, []*scope, []byte) {
	if mapped && !h.mapped {
		return nil, nil, key
	}
	var sections []*scope
	var chosen, fallback *rule
	for i, l := range h.locations {
		if !l.contains(at) {
			continue
		}
		key = strconv.AppendInt(append(key, 'l'), int64(i), 10)
		sections = append(sections, l)
		if n := len(l.rules); n > 0 && l.rules[n-1].params.mapped == mapped {
			if l.rules[n-1].fallback {
				fallback = l.rules[n-1]
			} else {
				chosen = l.rules[n-1]
			}
		}
	}
	if chosen != nil {
		h.trace(r, chosen, at, true)
		return chosen, sections, key
	}
	for _, ru := range h.rules {
		if ru.params.mapped != mapped {
			continue
		}
		fits := ru.proto.Takes(in)
		h.trace(r, ru, at, fits)
		if fits {
			return ru, sections, key
		}
	}
	return fallback, sections, key
}

// trace logs that a rule was tried, as httpd does.
func (h *host) trace(r *http.Request, ru *rule, at string, fits bool) {
	if !h.logger.Enabled(r.Context(), exchange.LevelTrace1) {
		return
	}
	h.logger.Log(r.Context(), exchange.LevelTrace2, "proxy: rule tried", "path", at, "rule", ru.path, "target", ru.target, "fits", fits)
	if fits {
		h.logger.Log(r.Context(), exchange.LevelTrace1, "proxy: rule fits", "path", at, "rule", ru.path, "target", ru.target)
	}
}

// covering puts the <Proxy> sections for the backend's URL before the others.
func (h *host) covering(ru *rule, in *url.URL, sections []*scope, key []byte) ([]*scope, []byte) {
	out, ok, err := ru.proto.MapURL(in)
	if !ok || err != nil {
		return sections, key // the handler will say what is wrong
	}
	// Sections are compared with the decoded path, so that no spelling of it
	// gets around them.
	to := out.Scheme + "://" + out.Host + out.Path
	if ru.socket != "" {
		return h.coveringURL(sections, key, strings.TrimSuffix(ru.target, ru.text)+to, to)
	}
	return h.coveringURL(sections, key, to)
}

// coveringURL is covering for a URL, in any of its spellings.
func (h *host) coveringURL(sections []*scope, key []byte, spellings ...string) ([]*scope, []byte) {
	var covering []*scope
	for i, p := range h.proxies {
		if slices.ContainsFunc(spellings, p.covers) {
			key = strconv.AppendInt(append(key, 'p'), int64(i), 10)
			covering = append(covering, p)
		}
	}
	return append(covering, sections...), key
}

// contains reports whether a <Location> applies to a path.
func (s *scope) contains(at string) bool {
	if s.files {
		return s.containsFile(at)
	}
	if s.pattern != nil {
		return s.pattern.MatchString(at)
	}
	return hasPrefix(at, s.path)
}

// hasPrefix compares whole segments.
func hasPrefix(at, prefix string) bool {
	return strings.HasPrefix(at, prefix) && (strings.HasSuffix(prefix, "/") || len(at) == len(prefix) || at[len(prefix)] == '/')
}

func hasEncodedSlash(u *url.URL) bool {
	return u.RawPath != "" && (strings.Contains(u.RawPath, "%2F") || strings.Contains(u.RawPath, "%2f"))
}

// readPath returns the path that sections are compared with: decoded once,
// slashes merged, dots resolved, but an encoded slash left as "%2F".
func readPath(u *url.URL) (string, error) {
	p := u.Path
	if p == "" {
		p = "/"
	}
	if hasEncodedSlash(u) {
		kept := strings.NewReplacer("%2F", "%252F", "%2f", "%252F").Replace(u.RawPath)
		var err error
		if p, err = url.PathUnescape(kept); err != nil {
			return "", err
		}
	}
	if p[0] != '/' {
		return "", fmt.Errorf("path %q does not begin with a slash", p)
	}
	return cleanPath(p), nil
}

// readServletPath is readPath without the parameters (";name=value") of
// segments, as servlet containers read a path. An escaped semicolon is none.
func readServletPath(u *url.URL) (string, error) {
	segments := strings.Split(u.EscapedPath(), "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	bare := &url.URL{RawPath: strings.Join(segments, "/")}
	var err error
	if bare.Path, err = url.PathUnescape(bare.RawPath); err != nil {
		return "", err
	}
	return readPath(bare)
}

// cleanPath resolves dots and merges slashes.
func cleanPath(p string) string {
	clean := path.Clean(p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}

// served returns what a rule does under sections; each combination is made
// once.
func (h *host) served(key []byte, r *rule, sections []*scope) (*served, error) {
	h.mu.RLock()
	s := h.handlers[string(key)]
	h.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s = &served{settings: h.settings}
	for _, files := range []bool{true, false} { // <Files> say less than all others
		for _, section := range sections {
			if section.files != files {
				continue
			}
			s.settings = s.settings.merge(section.settings)
			s.status = s.status || section.status
			s.manager = s.manager || section.manager
		}
	}
	s.late = s.envIf[len(h.settings.envIf):]
	s.auth = h.basicAuth(&s.settings)
	if r != nil && r.target != "!" {
		ph, err := h.newHandler(r, s)
		if err != nil {
			return nil, err
		}
		s.handler = h.upgrading(ph, r, s)
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
	h.handlers[string(key)] = s
	return s, nil
}
