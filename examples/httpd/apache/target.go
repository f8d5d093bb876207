package apache

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// startRule makes what speaks to the backend of a rule, or finds its balancer.
func (h *host) startRule(r *rule) error {
	if isBalancer(r.text) {
		p := h.pools[balancerName(r.text)]
		if p == nil {
			if h.declares(balancerName(r.text)) {
				return nil // what is wrong with it is said there
			}
			return fmt.Errorf("there is no balancer %s", backend.RedactURL(r.text))
		}
		if len(p.Members()) == 0 {
			h.logger.Warn("balancer has no members", "balancer", p.declared.name)
		}
		h.setRoute(r, p)
		return nil
	}
	target, err := newTarget(h.workerOf(r.target), r.params)
	if err != nil {
		return err
	}
	if r.fallback {
		target.text = r.text
	}
	if err := h.checkParent(r.at, target); err != nil {
		return err
	}
	t, err := h.newTransport(target)
	if err != nil {
		return err
	}
	h.setRoute(r, t)
	return nil
}

// workerOf returns a target with the socket of the worker that it belongs to: of the
// <Proxy "unix:/path|url"> whose URL is the longest that it is, or is below.
func (h *host) workerOf(target string) string {
	if socket, _ := cutUnix(target); socket != "" || isBalancer(target) {
		return target
	}
	longest, at := "", ""
	for _, p := range h.proxies {
		if p.pattern != nil {
			continue
		}
		socket, url := cutUnix(p.path)
		if socket != "" && len(url) > len(longest) && isBelow(target, url) {
			longest, at = url, socket
		}
	}
	if at != "" {
		target = "unix:" + at + "|" + target
	}
	return target
}

// origin returns scheme and authority of a backend.
func (r memberTarget) origin() (scheme, authority string) {
	scheme, rest, _ := strings.Cut(r.text, "://")
	if i := strings.IndexAny(rest, "/?$"); i >= 0 {
		rest = rest[:i]
	}
	if isFTP(r.text) {
		_, rest = cutUser(rest)
	}
	return strings.ToLower(scheme), strings.ToLower(rest)
}

// newLink makes what speaks to a backend, directly or by another proxy.
func (h *host) newLink(r memberTarget, by *connect.Dialer) (*link, error) {
	t, err := h.newBase(r)
	if err != nil {
		return nil, err
	}
	b := t.Backend
	if by != nil {
		if err := mayGoBy(b.URL.Scheme, by); err != nil {
			return nil, err
		}
		return h.newLinkBy(t, r, by), nil
	}
	switch b.URL.Scheme {
	case "fcgi":
		return h.newFCGI(t), nil
	case "uwsgi":
		return h.newUWSGI(t), nil
	case "scgi":
		return h.newSCGI(t), nil
	case "ajp":
		return h.newAJP(t, r), nil
	case "ftp", "ftps", "ftpes":
		return h.newFTP(b, r.user)
	}
	return &link{t, b, t.CloseIdleConnections}, nil
}

// newLinkBy is newLink by another proxy: tunnels through it, and requests for it
// to answer.
func (h *host) newLinkBy(t *proxy.Transport, r memberTarget, by *connect.Dialer) *link {
	b := t.Backend
	switch b.URL.Scheme {
	case "http", "ftp":
		b.DialContext = by.DialProxy
		parent := &connect.Transport{Dialer: by, Plain: t, NewBackend: func(*url.URL) *backend.Backend {
			tunnelled, _ := h.newBase(r) // it was made before
			return tunnelled.Backend
		}}
		return &link{loggedIn{parent, r.user}, b, parent.CloseIdleConnections}
	}
	b.DialContext = by.DialContext
	return &link{t, b, t.CloseIdleConnections}
}

// loggedIn logs in for all clients, as the user of a target of FTP.
type loggedIn struct {
	http.RoundTripper
	user *url.Userinfo // nil for none
}

func (t loggedIn) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.user != nil {
		password, _ := t.user.Password()
		r = r.WithContext(r.Context())
		r.Header = r.Header.Clone()
		r.SetBasicAuth(t.user.Username(), password)
	}
	return t.RoundTripper.RoundTrip(r)
}

// applyParams sets the parameters of a rule or member, and of ProxySet and
// <Proxy> for its URL.
func (h *host) applyParams(whole string, own params, t *proxy.Transport, ph *proxy.Handler) {
	own.apply(t, ph)
	for _, p := range h.proxies {
		if !p.covers(whole) {
			continue
		}
		for _, section := range p.rules {
			section.params.apply(t, ph)
		}
	}
}

// newBase makes a transport and its backend out of what the parameters said.
func (h *host) newBase(r memberTarget) (*proxy.Transport, error) {
	scheme, authority := r.origin()
	b := &backend.Backend{URL: &url.URL{Scheme: scheme, Host: authority}, Socket: r.socket, Logger: h.logger, SourceAddr: h.opt.source, Timeout: h.timeout()}
	if r.socket == "" {
		b.DialContext = h.dialer()
	}
	t := &proxy.Transport{Backend: b}
	h.applyParams(r.whole, r.params, t, &proxy.Handler{})
	secure := h.settings.tls
	for _, p := range h.proxies {
		if p.covers(r.whole) {
			secure = secure.merge(p.settings.tls)
		}
	}
	switch scheme {
	case "https", "h2", "wss":
		if !said(secure.engine, true) {
			return nil, fmt.Errorf("%s needs SSLProxyEngine On", r.whole)
		}
		b.TLS, b.ServerNameFromHost = secure.config(b.URL.Hostname()), true // without ProxyPreserveHost, the Host is that of the URL
	case "ftps", "ftpes":
		b.TLS = secure.config(b.URL.Hostname())
	}
	return t, nil
}

// link is what speaks to a backend.
type link struct {
	http.RoundTripper
	backend   *backend.Backend
	closeIdle func()
}

func (l *link) close() {
	l.closeIdle()
	_ = l.backend.Close()
}

// newHandler makes the handler of a rule, without its settings.
func (r *rule) newHandler() (*proxy.Handler, error) {
	ph, err := r.mapping()
	if err == nil {
		ph.AllowEncodedSlashes = true // route has looked at them
	}
	return ph, err
}

func (r *rule) mapping() (*proxy.Handler, error) {
	if r.dynamic {
		return &proxy.Handler{}, nil
	}
	if r.pattern != nil {
		return proxy.NewMatchHandler(r.pattern.String(), r.text)
	}
	u, err := backend.ParseURL(r.text)
	if err != nil {
		if isFTP(r.text) {
			return nil, errFTPTarget // err has the text, and that a password
		}
		return nil, err
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%q names no host", backend.RedactURL(r.target))
	}
	return &proxy.Handler{Prefix: r.path, Target: u}, nil
}

// keepField gives a field back the values that the client sent.
func keepField(pr *httputil.ProxyRequest, name string) {
	if values, ok := pr.In.Header[name]; ok {
		pr.Out.Header[name] = values
	} else {
		delete(pr.Out.Header, name)
	}
}

// newHandler makes the proxy of a rule under settings.
func (h *host) newHandler(r *rule, s *served) (*proxy.Handler, error) {
	ph, err := r.newHandler()
	if err != nil {
		return nil, err
	}
	route := h.routeOf(r)
	ph.Mapping = r.params.pathMapping()
	ph.Transport = route
	ph.PreserveHost = said(s.preserveHost, false)
	ph.Via = said(s.via, proxy.ViaOff)
	ph.ServerName = h.name
	ph.CanonicalURL = h.canonicalURL(s)
	ph.Forwarded = proxy.ForwardedApache
	if !said(s.addHeaders, true) {
		ph.Forwarded = proxy.ForwardedOff
	}
	if r.leadsTo(route, gatewaySchemes...) {
		ph.Forwarded, ph.Via = proxy.ForwardedOff, proxy.ViaOff
	}
	ph.PassForwarded = ownFields(s.requestHeader)
	ph.Reverse, ph.CookieDomains, ph.CookiePaths = s.reverse, s.cookieDomains, s.cookiePaths
	ph.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) { h.fail(w, r, s, exchange.StatusOf(err)) }
	h.obeyLocalRedirects(ph, r, s)
	if s.override != nil {
		ph.ErrorOverride = &proxy.ErrorOverride{Codes: s.override.Codes, Page: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.fail(w, r, s, backendStatus(r))
		})}
	}
	members, balanced := route.(*pool)
	rewriting := h.rewriting.on() || s.rewriting.on()
	scripts := r.leadsTo(route, "fcgi", "scgi", "uwsgi")
	edits := len(s.header) > 0 && len(s.steps) == 0 // else they come behind the filters
	ph.ModifyResponse = func(resp *http.Response) error {
		if balanced {
			noteBalancer(resp)
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return nil // an interim answer to httpd, which no directive changes
		}
		if rewriting {
			visitOf(resp.Request).addCookies(resp)
		}
		if scripts { // to the answers of others httpd adds nothing
			addVary(resp.Header, visitOf(resp.Request).vary)
		}
		h.dress(resp, s)
		if edits {
			editAnswer(resp.Request.Context(), resp.StatusCode, resp.Header, s.header, visitOf(resp.Request).client)
		}
		visitOf(resp.Request).steerAnswer(resp.Header)
		return nil
	}
	keepExpect := said(s.expect, true)
	keepLoops := ph.Via == proxy.ViaOn || ph.Via == proxy.ViaFull
	if !keepExpect || !keepLoops || s.setsVariables() || r.dynamic || rewriting {
		ph.Rewrite = func(pr *httputil.ProxyRequest) {
			if r.dynamic {
				toFound(pr, ph.PreserveHost)
			}
			if !keepLoops { // tiers often have one ServerName, and httpd does not mind
				keepField(pr, "Cdn-Loop")
			}
			if !keepExpect { // net/http answers 100 when the body is read
				delete(pr.Out.Header, "Expect")
			}
			visitOf(pr.In).steerRequest(pr)
		}
	}
	ph.MaxForwards = max(said(s.maxForwards, -1), 0)
	ph.Tunnels = h.tunnels
	ph.Client = h.client
	ph.TunnelTimeout = said(s.proxyTimeout, said(s.timeout, time.Minute))
	ph.Logger = h.logger
	if len(s.logLevels) > len(h.settings.logLevels) {
		ph.Logger = logger(h.log, levelOf(s.logLevels))
	}
	ph.Upgrades = []string{}
	if isWebSocket(r.text) {
		ph.Upgrades = []string{"websocket"}
	}
	if balanced {
		h.applyMembers(members, ph)
	}
	h.applyParams(h.workerOf(r.target), r.params, unusedTransport(), ph)
	return ph, nil
}

// unusedTransport takes parameters that concern a handler's transport, where only
// those of the handler are wanted.
func unusedTransport() *proxy.Transport {
	return &proxy.Transport{Backend: &backend.Backend{}}
}

// canonicalURL is how the host calls itself: by the scheme that it speaks, or
// ServerName's, whatever proxies in front say, and by its name with UseCanonicalName
// On.
func (h *host) canonicalURL(s *served) *url.URL {
	u := url.URL{Scheme: "http"}
	if h.canonical != nil {
		u.Scheme = h.canonical.Scheme
		if said(s.canonicalName, false) {
			u.Host = h.canonical.Host
		}
	}
	if h.tls != nil {
		u.Scheme = "https"
	}
	return &u
}
