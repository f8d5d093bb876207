package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// site is a configuration at work. It is replaced as a whole by a reload, and
// closed when its last request is done.
type site struct {
	listen  []string // as configured
	hosts   []*host  // the main server first
	opt     options
	logs    *logFiles
	refs    atomic.Int64
	retired atomic.Bool
	once    sync.Once
}

// host is a virtual host, or the main server.
type host struct {
	scope     *scope
	settings  settings
	rules     []*rule
	locations []*scope
	proxies   []*scope
	routes    map[*rule]*proxy.Transport
	tunnels   *proxy.Tunnels
	traceOff  bool
	logger    *slog.Logger
	serve     http.Handler // with the access logs around it

	mu       sync.RWMutex // guards handlers
	handlers map[string]*served
}

// served is what a rule does under some sections.
type served struct {
	require *requirement // nil lets everyone through
	handler http.Handler
}

// newSite makes a configuration ready to serve.
func newSite(b *builder, tunnels *proxy.Tunnels) (*site, error) {
	st := &site{listen: b.main.listen, opt: b.opt, logs: &logFiles{root: b.opt.root}}
	for _, s := range append([]*scope{b.main}, b.vhosts...) {
		h, err := st.newHost(b.main, s, tunnels)
		if err != nil {
			_ = st.logs.close()
			return nil, err
		}
		st.hosts = append(st.hosts, h)
	}
	return st, nil
}

func (st *site) newHost(main, s *scope, tunnels *proxy.Tunnels) (*host, error) {
	h := &host{scope: s, settings: s.settings, tunnels: tunnels, traceOff: st.opt.traceOff,
		routes: make(map[*rule]*proxy.Transport), handlers: make(map[string]*served),
		rules: s.rules, locations: s.locations, proxies: s.proxies}
	logs := s.logs
	if s != main {
		h.settings = main.settings.merge(s.settings)
		h.locations = append(main.locations[:len(main.locations):len(main.locations)], s.locations...)
		h.proxies = append(main.proxies[:len(main.proxies):len(main.proxies)], s.proxies...)
		h.rules = inherit(main.rules, s.rules)
		if len(logs) == 0 {
			logs = main.logs
		}
	}
	w, err := st.logs.writer(h.settings.errorLog)
	if err != nil {
		return nil, fmt.Errorf("ErrorLog: %w", err)
	}
	h.logger = logger(w, said(h.settings.logLevel, slog.LevelWarn))
	for _, r := range h.allRules() {
		if r.target != "!" {
			h.routes[r] = h.newTransport(r, st.opt)
		}
	}
	h.serve = http.HandlerFunc(h.route)
	for _, l := range logs {
		w, err := st.logs.writer(l.file)
		if err != nil {
			return nil, fmt.Errorf("CustomLog: %w", err)
		}
		h.serve = (&proxy.AccessLog{Output: w, Format: l.format}).Wrap(h.serve)
	}
	return h, nil
}

// inherit puts the main server's rules before those of a virtual host, unless
// that has ProxyPassInherit Off (marked by a nil rule).
func inherit(main, own []*rule) []*rule {
	var list []*rule
	off := false
	for _, r := range own {
		if r == nil {
			off = true
		} else {
			list = append(list, r)
		}
	}
	if off {
		return list
	}
	var all []*rule
	for _, r := range main {
		if r != nil {
			all = append(all, r)
		}
	}
	return append(all, list...)
}

func (h *host) allRules() []*rule {
	var all []*rule
	for _, r := range h.rules {
		if r != nil {
			all = append(all, r)
		}
	}
	for _, l := range h.locations {
		all = append(all, l.rules...)
	}
	return all
}

// newTransport makes what speaks to the backend of a rule.
func (h *host) newTransport(r *rule, opt options) *proxy.Transport {
	socket, text := cutUnix(r.target)
	scheme, rest, _ := strings.Cut(text, "://")
	if i := strings.IndexAny(rest, "/?$"); i >= 0 {
		rest = rest[:i]
	}
	b := &backend.Backend{
		URL: &url.URL{Scheme: strings.ToLower(scheme), Host: rest}, Socket: socket, Logger: h.logger, SourceAddr: opt.source,
		Timeout: said(h.settings.proxyTimeout, said(h.settings.timeout, backend.DefaultTimeout)),
	}
	if dial := opt.dialer(); dial != nil && socket == "" {
		b.DialContext = dial
	}
	t := &proxy.Transport{Backend: b}
	r.params.apply(t, &proxy.Handler{})
	for _, p := range h.proxies {
		if p.covers(r.target) {
			for _, own := range p.rules {
				own.params.apply(t, &proxy.Handler{})
			}
		}
	}
	return t
}

// newHandler makes the handler of a rule, without its settings.
func (r *rule) newHandler() (*proxy.Handler, error) {
	_, text := cutUnix(r.target)
	if r.pattern != nil {
		return proxy.NewMatchHandler(r.pattern.String(), text)
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%q names no host", r.target)
	}
	return &proxy.Handler{Prefix: r.path, Target: u}, nil
}

// route finds what serves a request: the rule, and the sections that apply.
func (h *host) route(w http.ResponseWriter, r *http.Request) {
	if h.traceOff && r.Method == http.MethodTrace {
		http.Error(w, "405 Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	at := cleanPath(r.URL.Path)
	var key strings.Builder
	var status bool
	var sections []*scope
	var chosen *rule
	for i, l := range h.locations {
		if !l.contains(at) {
			continue
		}
		fmt.Fprintf(&key, "l%d", i)
		sections = append(sections, l)
		if n := len(l.rules); n > 0 {
			chosen = l.rules[n-1]
		}
		status = status || l.status
	}
	if chosen == nil {
		chosen = h.pick(at)
	}
	if chosen != nil && chosen.target != "!" {
		fmt.Fprintf(&key, "r%p", chosen)
		var covering []*scope
		to := chosen.mapped(at)
		for i, p := range h.proxies {
			if p.covers(to) {
				fmt.Fprintf(&key, "p%d", i)
				covering = append(covering, p)
			}
		}
		sections = append(covering, sections...)
	}
	s, err := h.served(key.String(), chosen, sections)
	switch {
	case err != nil:
		h.logger.Error("request cannot be served", "path", at, "error", err)
		http.Error(w, "500 Internal Server Error", http.StatusInternalServerError)
	case s.require != nil && !s.require.allows(r):
		h.logger.Info("client denied by configuration", "client", r.RemoteAddr, "path", at)
		http.Error(w, "403 Forbidden", http.StatusForbidden)
	case status && s.handler == nil:
		r.Context().Value(siteKey{}).(*site).status(w, r)
	case s.handler == nil:
		http.NotFound(w, r)
	default:
		s.handler.ServeHTTP(w, r)
	}
}

// pick returns the first rule of the list that fits, "!" included.
func (h *host) pick(at string) *rule {
	for _, r := range h.rules {
		if r != nil && r.fits(at) {
			return r
		}
	}
	return nil
}

func (r *rule) fits(at string) bool {
	if r.pattern != nil {
		return r.pattern.MatchString(at)
	}
	return hasPrefix(at, mergeSlashes(r.path))
}

// mapped is the URL that <Proxy> sections are compared with.
func (r *rule) mapped(at string) string {
	_, target := cutUnix(r.target)
	if r.pattern == nil {
		return target + strings.TrimPrefix(at, mergeSlashes(r.path))
	}
	groups := r.pattern.FindStringSubmatch(at)
	var b strings.Builder
	used := false
	for i := 0; i < len(target); i++ {
		if target[i] == '$' && i+1 < len(target) && '0' <= target[i+1] && target[i+1] <= '9' {
			i++
			used = true
			if n := int(target[i] - '0'); n < len(groups) {
				b.WriteString(groups[n])
			}
			continue
		}
		b.WriteByte(target[i])
	}
	if !used {
		b.WriteString(at)
	}
	return b.String()
}

// contains reports whether a <Location> applies to a path.
func (s *scope) contains(at string) bool {
	if s.pattern != nil {
		return s.pattern.MatchString(at)
	}
	return hasPrefix(at, s.path)
}

// hasPrefix compares whole segments.
func hasPrefix(at, prefix string) bool {
	return strings.HasPrefix(at, prefix) && (strings.HasSuffix(prefix, "/") || len(at) == len(prefix) || at[len(prefix)] == '/')
}

// cleanPath resolves dots and merges slashes.
func cleanPath(p string) string {
	clean := path.Clean("/" + p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}

func mergeSlashes(p string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

// served returns what a rule does under sections; each combination is made
// once.
func (h *host) served(key string, r *rule, sections []*scope) (*served, error) {
	h.mu.RLock()
	s := h.handlers[key]
	h.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	all := h.settings
	for _, section := range sections {
		all = all.merge(section.settings)
	}
	s = &served{require: all.require}
	if r != nil && r.target != "!" {
		ph, err := h.newHandler(r, all)
		if err != nil {
			return nil, err
		}
		s.handler = ph
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.handlers[key]; other != nil {
		return other, nil
	}
	h.handlers[key] = s
	return s, nil
}

// newHandler makes the proxy of a rule under settings.
func (h *host) newHandler(r *rule, s settings) (*proxy.Handler, error) {
	ph, err := r.newHandler()
	if err != nil {
		return nil, err
	}
	ph.Mapping = r.params.pathMapping()
	ph.RefuseEncodedSlashes = ph.Mapping == proxy.MappingDecoded
	ph.Transport = h.routes[r]
	ph.PreserveHost = said(s.preserveHost, false)
	ph.Via = said(s.via, proxy.ViaOff)
	if len(h.scope.names) > 0 {
		ph.ServerName = h.scope.names[0]
	}
	ph.Forwarded = proxy.ForwardedApache
	if !said(s.addHeaders, true) {
		ph.Forwarded = proxy.ForwardedOff
	}
	ph.Reverse, ph.CookieDomains, ph.CookiePaths = s.reverse, s.cookieDomains, s.cookiePaths
	ph.ErrorOverride = s.override
	ph.MaxForwards = max(said(s.maxForwards, -1), 0)
	ph.Tunnels = h.tunnels
	ph.TunnelTimeout = said(s.proxyTimeout, said(s.timeout, time.Minute))
	ph.Logger = h.logger
	if r.usesWebSocket() {
		ph.Upgrades = []string{"websocket"}
	} else {
		ph.Upgrades = []string{}
	}
	r.params.apply(&proxy.Transport{Backend: &backend.Backend{}}, ph)
	return ph, nil
}

func (r *rule) usesWebSocket() bool {
	_, target := cutUnix(r.target)
	return strings.HasPrefix(target, "ws://") || strings.HasPrefix(target, "wss://")
}

type siteKey struct{}

// host returns the virtual host for a request that came in on a listener.
func (st *site) host(listen string, r *http.Request) *host {
	ip, port := splitAddress(listen)
	name := strings.ToLower(r.Host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.TrimSuffix(name, ".")
	var first *host
	for _, h := range st.hosts[1:] {
		if !h.scope.serves(ip, port) {
			continue
		}
		if first == nil {
			first = h
		}
		for _, n := range h.scope.names {
			if ok, _ := path.Match(strings.ToLower(n), name); ok {
				return h
			}
		}
	}
	if first != nil {
		return first
	}
	return st.hosts[0]
}

// serves reports whether a virtual host is one of those at an address.
func (s *scope) serves(ip, port string) bool {
	for _, a := range s.addresses {
		vip, vport := splitAddress(a)
		if (vport == "" || vport == "*" || vport == port) && (vip == "" || ip == "" || vip == ip) {
			return true
		}
	}
	return false
}

func (st *site) release() {
	if st.refs.Add(-1) == 0 && st.retired.Load() {
		st.close()
	}
}

// retire closes the site when its last request is done.
func (st *site) retire() {
	st.refs.Add(1)
	st.retired.Store(true)
	st.release()
}

func (st *site) close() {
	st.once.Do(func() {
		for _, h := range st.hosts {
			for _, t := range h.routes {
				t.CloseIdleConnections()
				_ = t.Backend.Close()
			}
		}
		_ = st.logs.close()
	})
}
