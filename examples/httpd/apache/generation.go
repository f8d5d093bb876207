package apache

import (
	"cmp"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/modproxy/modproxy/balancer/manager"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/filter"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/modssl"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// generation is a configuration at work. It is replaced as a whole by a reload, and
// closed when its last request is done.
type generation struct {
	listen    []string // as configured
	hosts     []*host  // the main server first
	pools     []*pool
	opt       options
	announced announced
	logs      *logFiles
	stores    *cacheStores
	staples   *modssl.Stapler
	files     filesSeen // that it was read from
	refs      atomic.Int64
	retired   atomic.Bool
	once      sync.Once

	byIP      bool // some virtual host names an IP address
	ownStores bool
	packers   [10]filter.Gzip // by DeflateCompressionLevel
	warn      func(error)
}

// host is a virtual host, or the main server.
type host struct {
	scope     *scope
	settings  settings
	tls       *hostTLS // nil without TLS
	rules     []*rule
	locations []*scope
	proxies   []*scope
	folders   []*scope // the shortest first, and those with patterns last
	files     []*scope
	ifs       []*scope
	aliases   []alias
	overrides overrides
	rewriting rewriteSettings  // of the server, not of sections
	redirects redirectSettings // the same
	mapped    bool             // some rule has mapping=
	pools     map[string]*pool // its balancers, and those it inherits
	manager   *manager.Handler
	forward   *proxy.Forward // nil without ProxyRequests On
	blocked   *access.Destinations
	ports     []string // that are listened on
	tunnels   *tunnel.Registry
	client    *proxy.ClientLimits
	name      string // ServerName
	canonical *url.URL
	base      *served
	log       io.Writer
	logger    *slog.Logger
	serve     http.Handler // with the access logs around it
	stores    *cacheStores
	opt       options
	parents   *parents // nil without ProxyRemote
	warn      func(error)

	cachesMu sync.Mutex // guards caches
	caches   []kindOfCache

	routesMu sync.RWMutex // guards routes and direct
	routes   map[*rule]http.RoundTripper
	direct   []*link // of rules that lead to no balancer

	demand onDemand

	mu       sync.RWMutex // guards the rest
	handlers map[string]*served
	askers   map[*accounts]*access.BasicAuth

	handlersMu sync.Mutex       // guards byHandler
	byHandler  map[string]*rule // of handlers "proxy:…"
}

// newGeneration makes a configuration ready to serve. Its error is all that is in
// the way.
func newGeneration(b *builder, logs *logFiles, tunnels *tunnel.Registry, stores *cacheStores) (*generation, error) {
	st := &generation{listen: b.main.listen, opt: b.opt, announced: b.announced, logs: logs, stores: stores, warn: b.warn}
	for level := range st.packers {
		st.packers[level].Level = level
	}
	if stores == nil {
		st.stores, st.ownStores = new(cacheStores), true
	}
	st.staples = modssl.NewStapler(&http.Transport{DialContext: b.opt.dialer(), DisableKeepAlives: true}, cmp.Or(b.opt.Logger, slog.New(slog.DiscardHandler)))
	var all conf.Errors
	for _, s := range append([]*scope{b.main}, b.vhosts...) {
		st.byIP = st.byIP || slices.ContainsFunc(s.addresses, func(a string) bool { ip, _ := splitAddress(a); return ip != "" })
		all.Add(st.newHost(b, s, tunnels))
	}
	if len(all) > 0 {
		st.close()
		return nil, all
	}
	return st, nil
}

func (st *generation) newHost(b *builder, s *scope, tunnels *tunnel.Registry) error {
	main := b.main
	var all conf.Errors
	h := &host{scope: s, settings: s.settings, tunnels: tunnels, stores: st.stores, opt: st.opt, warn: st.warn,
		routes: make(map[*rule]http.RoundTripper), handlers: make(map[string]*served),
		rules: inherit(nil, s.rules), locations: s.locations, proxies: s.proxies, folders: s.folders, files: s.files, ifs: s.ifs, aliases: s.aliases}
	for _, named := range []*scope{s, main} {
		if h.name == "" && len(named.names) > 0 {
			h.name, h.canonical = named.names[0], named.canonical
		}
		if h.name == "" && len(named.called) > 0 && !named.isForAll() {
			h.name = named.called[0]
			h.canonical = &url.URL{Scheme: "http", Host: exchange.NormalHost("http", h.name)}
		}
	}
	h.rewriting, h.redirects = s.serverRewriting, s.serverRedirects
	if s != main {
		h.rewriting.said = true
		h.rewriting, h.redirects = main.serverRewriting.merge(h.rewriting), main.serverRedirects.merge(h.redirects)
		h.settings = main.settings.merge(s.settings)
		h.locations = behind(main.locations, s.locations)
		h.proxies = behind(main.proxies, s.proxies)
		h.folders, h.files, h.ifs = behind(main.folders, s.folders), behind(main.files, s.files), behind(main.ifs, s.ifs)
		h.aliases = behind(s.aliases, main.aliases)
		h.rules = inherit(main.rules, s.rules)
	}
	h.folders = inOrder(h.folders)
	w, err := st.logs.writer(h.settings.errorLog)
	if err != nil {
		w = io.Discard
		all.Add(locate(h.settings.errorLogAt, err))
	}
	logs, err := logsOf(main, s, st.warn)
	all.Add(err)
	outputs := make([]io.Writer, len(logs))
	for i, l := range logs {
		if outputs[i], err = st.logs.writer(l.file); err != nil {
			all.Add(locate(l.at, err))
		}
	}
	h.log, h.logger = w, logger(w, levelOf(h.settings.logLevels))
	h.opt.source = said(h.settings.source, netip.Addr{})
	h.parents = h.newParents()
	h.base, h.client = &served{settings: h.settings}, h.settings.clientLimits()
	st.hosts = append(st.hosts, h) // from now on closed with the site
	all.Add(st.startClusters(h, s, st.hosts[0].pools))
	all.Add(h.checkInherited())
	h.manager = h.newManager()
	h.ports = st.ports()
	all.Add(h.startForward())
	for _, r := range h.allRules() {
		h.mapped = h.mapped || r.params.mapped
		if r.target == "!" {
			continue
		}
		if err := h.startRule(r); err != nil {
			all.Add(locate(r.at, err))
		}
	}
	for _, of := range []*scope{main, s} {
		all.Add(h.startHandlers(of.handlers))
	}
	all.Add(b.startTLS(h, s, st.staples))
	all.Add(h.checkCaches())
	if len(all) > 0 {
		return all
	}
	h.serve = http.HandlerFunc(h.route)
	if said(h.settings.cache.quick, true) {
		if h.serve, err = h.withCaches(&h.settings.cache, h.serve); err != nil {
			return err
		}
	}
	h.serve = h.door(h.serve)
	for i, l := range logs {
		h.serve = l.wrap(outputs[i], h.serve)
	}
	if field := h.settings.remoteHeader; field != "" {
		trusted := h.settings.trusted
		if len(trusted) == 0 {
			trusted = everyone
		}
		direct := h.serve
		named := (&access.RemoteIP{Header: field, TrustedProxies: trusted, Believes: h.settings.believes, Logger: h.logger}).Wrap(direct)
		h.serve = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Context().Value(announcedKey{}) != nil {
				direct.ServeHTTP(w, r) // as in httpd, the header of the connection has said it
				return
			}
			named.ServeHTTP(w, r)
		})
	}
	return nil
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
	all := h.rules[:len(h.rules):len(h.rules)]
	for _, sections := range [][]*scope{h.proxies, h.locations, h.folders, h.files, h.ifs} {
		for _, s := range sections {
			all = s.addRules(all)
		}
	}
	return all
}

// addRules adds the rules of a section, and of those in it, to a list.
func (s *scope) addRules(list []*rule) []*rule {
	for ; s != nil; s = s.otherwise {
		list = append(list, s.rules...)
		for _, inner := range slices.Concat(s.files, s.ifs) {
			list = inner.addRules(list)
		}
	}
	return list
}

// door refuses requests whose Host is none, before anything goes by it.
func (h *host) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visitOf(r).host = h
		code := 0
		if _, clear := r.Context().Value(connKey{}).(*clearConn); clear || exchange.CheckHost(r) != nil || hasStrangeHost(r) {
			code = http.StatusBadRequest
		} else {
			code = h.misdirected(r)
		}
		if code != 0 {
			h.fail(w, r, h.base, code)
			return
		}
		limits := &h.settings.limits
		if !said(limits.keepAlive, true) {
			w.Header().Set("Connection", "close")
		}
		if code := visitOf(r).refused; code != 0 {
			h.fail(w, r, h.base, code)
			return
		}
		if said(limits.strictHost, false) && !h.isNamed(r) {
			h.fail(w, r, h.base, http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (st *generation) release() {
	if st.refs.Add(-1) == 0 && st.retired.Load() {
		st.close()
	}
}

// retire closes the site when its last request is done.
func (st *generation) retire() {
	st.refs.Add(1)
	st.retired.Store(true)
	st.release()
}

func (st *generation) close() {
	st.once.Do(func() {
		for _, h := range st.hosts {
			h.closeCaches()
			for _, t := range h.direct {
				t.close()
			}
			h.closeForward()
			h.parents.close()
		}
		for _, p := range st.pools {
			_ = p.Close()
		}
		st.staples.Close()
		_ = st.logs.close()
		if st.ownStores {
			st.stores.close()
		}
	})
}
