package apache

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// parents are the other proxies of a host, by ProxyRemote and ProxyRemoteMatch,
// for whatever it sends: requests of a forward proxy, of each rule, and of each
// member of a balancer, with its health checks.
type parents struct {
	access.Remotes
	dialers []*connect.Dialer // of List
	names   rememberedNames
}

// newParents makes those that the settings name; nil without any.
func (h *host) newParents() *parents {
	set := h.settings.forward
	if len(set.remotes) == 0 {
		return nil
	}
	p := &parents{}
	p.NoProxy, p.Lookup = set.noProxy, p.names.lookup
	for _, r := range set.remotes {
		d := &connect.Dialer{Proxy: r.parent, DialParent: h.opt.dialer(), TLS: h.settings.tls.config(r.parent.Hostname()), Timeout: h.timeout()}
		p.dialers = append(p.dialers, d)
		p.List = append(p.List, access.Remote{Match: r.match, Pattern: r.pattern, Transport: &connect.Transport{Dialer: d, NewBackend: func(u *url.URL) *backend.Backend {
			return &backend.Backend{URL: u, Timeout: h.timeout(), Logger: h.logger, TLS: h.settings.tls.config(u.Hostname())}
		}}, DialContext: d.DialContext})
	}
	return p
}

// timeout is that of backends which say nothing else.
func (h *host) timeout() time.Duration {
	return said(h.settings.proxyTimeout, said(h.settings.timeout, backend.DefaultTimeout))
}

// dialer returns what connects by the other proxy for a URL, or nil.
func (p *parents) dialer(ctx context.Context, u *url.URL) *connect.Dialer {
	if p == nil {
		return nil
	}
	if i := p.For(ctx, u); i >= 0 {
		return p.dialers[i]
	}
	return nil
}

// close closes the connections that are kept.
func (p *parents) close() {
	if p == nil {
		return
	}
	for _, r := range p.List {
		r.Transport.(*connect.Transport).CloseIdleConnections()
	}
}

// rememberedNames keeps the addresses of names for a minute, so that NoProxy
// costs no lookup for each request.
type rememberedNames struct {
	mu    sync.Mutex // guards known
	known map[string]knownName
}

type knownName struct {
	addrs []netip.Addr
	err   error
	until time.Time
}

// lookupTime bounds looking names up when the program starts.
const lookupTime = 5 * time.Second

// manyNames is how many are kept: clients of a forward proxy may name any.
const manyNames = 1024

func (n *rememberedNames) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	now := time.Now()
	n.mu.Lock()
	k, ok := n.known[host]
	n.mu.Unlock()
	if ok && now.Before(k.until) {
		return k.addrs, k.err
	}
	k = knownName{until: now.Add(time.Minute)}
	if k.addrs, k.err = net.DefaultResolver.LookupNetIP(ctx, network, host); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil || len(n.known) >= manyNames {
		n.known = make(map[string]knownName)
	}
	n.known[host] = k
	return k.addrs, k.err
}

// routed sends each request to its backend by the other proxy that is for its
// URL, or directly if none is: never past one that does not answer.
type routed struct {
	owner  *host // whose rule or member it is; another may inherit it
	target memberTarget
	mu     sync.Mutex // guards links
	links  map[*connect.Dialer]*link
}

// newTransport makes what speaks to a backend.
func (h *host) newTransport(r memberTarget) (*link, error) {
	if !h.opt.parents || r.socket != "" {
		return h.newLink(r, nil)
	}
	t := &routed{owner: h, target: r, links: make(map[*connect.Dialer]*link)}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	usual, err := t.by(h.parents.dialer(ctx, r.url()))
	if err != nil {
		return nil, err
	}
	return &link{t, usual.backend, t.close}, nil
}

// RoundTrip sends a request as the host asks that serves it; a health check is
// of the host that has declared the member.
func (t *routed) RoundTrip(r *http.Request) (*http.Response, error) {
	h := t.owner
	if v := visitOf(r); v != nil && v.host != nil {
		h = v.host
	}
	l, err := t.by(h.parents.dialer(r.Context(), r.URL))
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, &exchange.Error{Op: exchange.OpDial, Backend: r.URL.Scheme + "://" + r.URL.Host, Err: err}
	}
	return l.RoundTrip(r)
}

// by returns the link by another proxy, or the direct one for nil.
func (t *routed) by(d *connect.Dialer) (*link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[d]; l != nil {
		return l, nil
	}
	l, err := t.owner.newLink(t.target, d)
	if err == nil {
		t.links[d] = l
	}
	return l, err
}

func (t *routed) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.links {
		l.close()
	}
}

// url is a URL of the backend, as ProxyRemote is compared with it.
func (r memberTarget) url() *url.URL {
	scheme, authority := r.origin()
	u := &url.URL{Scheme: scheme, Host: authority, Path: "/"}
	if _, rest, ok := strings.Cut(r.text, "://"); ok {
		if _, path, ok := strings.Cut(rest, "/"); ok && !strings.Contains(path, "$") {
			u.Path += path
		}
	}
	return u
}

// checkParent refuses a backend that ProxyRemote sends to another proxy, and
// that such a one cannot reach.
func (h *host) checkParent(at *conf.Directive, r memberTarget) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	d := h.parents.dialer(ctx, r.url())
	switch scheme, _ := r.origin(); {
	case d == nil:
	case r.socket != "":
		h.warn(at.Errorf("ProxyRemote has no effect for %s: a socket of this machine has no way by another proxy", backend.RedactURL(r.whole)))
	case scheme == "ftp":
		h.warn(at.Errorf("ProxyRemote sends requests for %s to %s as they are, which speaks FTP: directives of FTP have no effect", backend.RedactURL(r.whole), d.Proxy.Host))
	default:
		if err := mayGoBy(scheme, d); err != nil {
			return locate(at, err)
		}
	}
	return nil
}

// checkInherited is checkParent for the members of balancers that a virtual host
// has from the main server, for its own ProxyRemote.
func (h *host) checkInherited() error {
	for _, p := range h.pools {
		if slices.Contains(h.scope.clusters, p.declared) {
			continue
		}
		for _, m := range p.declared.members {
			target, err := newTarget(m.config.URL, m.params)
			if err == nil {
				err = h.checkParent(m.at, target)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// mayGoBy refuses protocols that no proxy of HTTP speaks.
func mayGoBy(scheme string, d *connect.Dialer) error {
	switch scheme {
	case "fcgi", "scgi", "uwsgi", "ajp", "ftps", "ftpes":
		return fmt.Errorf("ProxyRemote sends %s:// to %s, which cannot speak it: name the backend in NoProxy", scheme, d.Proxy.Host)
	}
	return nil
}
