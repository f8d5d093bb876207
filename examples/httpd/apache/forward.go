package apache

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// startForward makes the forward proxy of a host, if it is to be one. Who may
// use it is decided by sections, before it gets the request.
func (h *host) startForward() error {
	opt := h.opt
	set := h.settings.forward
	h.blocked = &access.Destinations{Block: set.block, DenyAddrs: set.denied, AllowPrivate: true}
	if !said(set.requests, false) {
		return nil
	}
	timeout := h.timeout()
	direct := &net.Dialer{}
	if opt.source.IsValid() {
		direct.LocalAddr = &net.TCPAddr{IP: opt.source.AsSlice()}
	}
	f := &proxy.Forward{
		Clients:      &access.Clients{Access: &access.Access{}},
		Destinations: &access.Destinations{Block: set.block, DenyAddrs: set.denied, AllowPrivate: !opt.NoPrivate, Dial: direct.DialContext, ConnectTimeout: timeout},
		NoProxy:      set.noProxy, Domain: said(set.domain, ""),
		ServerName: h.name, Via: said(h.settings.via, proxy.ViaOff), MaxForwards: max(said(h.settings.maxForwards, -1), 0),
		TunnelTimeout: timeout, Tunnels: h.tunnels, Client: h.client, Logger: h.logger,
		ModifyResponse: func(resp *http.Response) error {
			if v := visitOf(resp.Request); len(v.served.header) > 0 && resp.StatusCode != http.StatusSwitchingProtocols {
				editAnswer(resp.Request.Context(), resp.StatusCode, resp.Header, v.served.header, v.client)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			h.fail(w, r, visitOf(r).served, exchange.StatusOf(err))
		},
	}
	if h.parents != nil {
		f.Remotes = h.parents.List
	}
	dial := opt.resolved(f)
	f.IdleLimit = new(backend.IdleLimit)
	newBackend := func(u *url.URL) *backend.Backend {
		b := &backend.Backend{URL: u, DialContext: dial, Timeout: timeout, Logger: h.logger}
		if u.Scheme == "https" {
			b.TLS = h.settings.tls.config(u.Hostname())
		}
		f.IdleLimit.Add(b)
		return b
	}
	f.Transports = map[string]http.RoundTripper{
		"http":  &proxy.Transport{NewBackend: newBackend},
		"https": &proxy.Transport{NewBackend: newBackend},
		"ftp":   &ftpTransport{idle: f.IdleLimit, dial: dial, dialData: f.Destinations.DialContext, timeout: timeout, opt: opt},
	}
	f.Connect = &connect.Handler{
		Ports: set.ports, DialContext: dial, DialTimeout: timeout, IdleTimeout: timeout,
		Tunnels: h.tunnels, ServerName: h.name, Logger: h.logger,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			var refused *connect.RefusedError
			if errors.As(err, &refused) {
				refused.Answer(w)
				return
			}
			h.fail(w, r, visitOf(r).served, connect.StatusOf(err))
		},
	}
	h.forward = f
	return f.Validate()
}

// resolved returns the dialer of a forward proxy that obeys -resolve.
func (o *options) resolved(f *proxy.Forward) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := o.dialer()
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if _, ok := o.Resolve[addr]; ok && len(f.Remotes) == 0 {
			return dial(ctx, network, addr)
		}
		return f.DialContext(ctx, network, addr)
	}
}

// closeForward closes the connections that are kept.
func (h *host) closeForward() {
	if h.forward == nil {
		return
	}
	h.forward.CloseIdleConnections()
	for _, t := range h.forward.Transports {
		t.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	}
}

// forwards reports whether a request is for another server: a CONNECT, or one
// whose URL names none of our hosts.
func (h *host) forwards(r *http.Request) bool {
	if h.forward == nil || visitOf(r).page != 0 {
		return false
	}
	if r.Method == http.MethodConnect {
		return true
	}
	return r.URL.Scheme != "" && !h.isOwn(r.URL)
}

// isOwn reports whether a URL names this host.
func (h *host) isOwn(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = backend.DefaultPort(u.Scheme)
	}
	if u.Scheme != "http" || !slices.Contains(h.ports, port) {
		return false
	}
	return h.hasName(strings.TrimSuffix(strings.ToLower(u.Hostname()), "."))
}

// ports are those of the listeners.
func (st *generation) ports() (list []string) {
	for _, l := range st.listen {
		_, port := splitAddress(l)
		list = append(list, port)
	}
	return list
}

// serveForward finds the sections that apply to a forward request, and serves
// it under them.
func (h *host) serveForward(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	v.target = forwardTarget(r)
	spellings := []string{v.target}
	if r.URL.RawQuery != "" {
		spellings = append(spellings, v.target+"?"+r.URL.RawQuery) // httpd compares it, too
	}
	sections := h.coveringURL(visitOf(r), spellings...)
	for _, l := range h.locations {
		// A path is not what a forward request is for: as in httpd, only the
		// expressions of <LocationMatch> may fit, and fit its URL.
		if r.Method != http.MethodConnect && l.regex && l.pattern.MatchString(v.target) {
			sections = append(sections, l)
		}
	}
	s, err := h.served(nil, h.withConditional(r, sections))
	if err != nil {
		h.logger.Error("request cannot be served", "target", v.target, "error", err)
		h.fail(w, r, h.base, http.StatusInternalServerError)
		return
	}
	h.serveAs(w, r, s)
}

// forwardTarget is what <Proxy> sections are compared with: the URL with its
// path decoded and its host in one form, or host:port of CONNECT. One that is
// malformed is left as it is: it will be refused.
func forwardTarget(r *http.Request) string {
	if r.Method == http.MethodConnect {
		if host, port, err := access.ParseAuthority(r.RequestURI); err == nil {
			return net.JoinHostPort(host, strconv.Itoa(int(port)))
		}
		return r.RequestURI
	}
	u := r.URL
	port, usual := u.Port(), backend.DefaultPort(u.Scheme)
	if port == "" {
		port = usual
	}
	at := u.Host
	if host, n, err := access.ParseAuthority(strings.TrimSuffix(strings.TrimSuffix(u.Host, ":"+u.Port()), ":") + ":" + port); err == nil {
		at = host
		if strings.Contains(host, ":") {
			at = "[" + host + "]"
		}
		if port != usual {
			at += ":" + strconv.Itoa(int(n))
		}
	}
	to := u.Path
	if to == "" {
		to = "/"
	}
	return u.Scheme + "://" + at + to
}

// dialer returns what connects to backends: nil for a plain dialer. As in httpd,
// ProxyBlock also holds for the addresses that a name has.
func (h *host) dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	set := &h.settings.forward
	dial := h.opt.dialer()
	switch {
	case len(set.denied) > 0:
		opt := h.opt
		opt.Resolve = nil
		blocked := &access.Destinations{Block: set.block, DenyAddrs: set.denied, AllowPrivate: true, Dial: opt.dialer(), ConnectTimeout: -1}
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			if _, elsewhere := h.opt.Resolve[addr]; elsewhere {
				return dial(ctx, network, addr)
			}
			return blocked.DialContext(ctx, network, addr)
		}
	case len(h.opt.Resolve) > 0:
		return dial
	}
	return nil
}

// blocks reports whether ProxyBlock forbids the backend of a rule.
func (h *host) blocks(v *visit, ru *rule, in *url.URL) bool {
	if len(h.blocked.Block) == 0 || isBalancer(ru.text) {
		return false
	}
	out, ok := ru.backendURL(v, in)
	return ok && h.blocked.Check(strings.ToLower(out.Hostname()), 1) != nil
}
