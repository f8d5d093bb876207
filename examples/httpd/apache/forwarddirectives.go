package apache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
)

// forwardSettings are those of forward proxying.
type forwardSettings struct {
	requests *bool // ProxyRequests
	at       *conf.Directive
	ports    []access.PortRange // AllowCONNECT
	block    []string
	denied   []netip.Prefix // addresses of block
	remotes  []*parentRule
	noProxy  []string
	domain   *string
}

func (s forwardSettings) merge(inner forwardSettings) forwardSettings {
	over(&s.requests, inner.requests)
	over(&s.at, inner.at)
	if inner.ports != nil {
		s.ports = inner.ports
	}
	s.block, s.denied = behind(s.block, inner.block), behind(s.denied, inner.denied)
	s.remotes, s.noProxy = behind(s.remotes, inner.remotes), behind(s.noProxy, inner.noProxy)
	over(&s.domain, inner.domain)
	return s
}

// parentRule is a ProxyRemote or ProxyRemoteMatch.
type parentRule struct {
	match   string
	pattern *regexp.Regexp
	parent  *url.URL
}

// forwardDirectives are those of mod_proxy that have to do with forward
// proxying, and mod_proxy_connect's.
func forwardDirectives() []directive {
	return []directive{
		{name: "ProxyRequests", in: anyServer, min: 1, max: 1, note: "On needs a Require in a <Proxy> section, for all is refused without; private destinations are reached, as by httpd, unless -no-private is given", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			on, err := onOff(d)
			s.settings.forward.requests, s.settings.forward.at = &on, d
			return err
		}},
		{name: "AllowCONNECT", in: anyServer, min: 1, max: -1, note: "443 and 563 without it", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			ports, err := access.ParsePorts(d.Args...)
			s.settings.forward.ports = append(s.settings.forward.ports, ports...)
			return err
		}},
		{name: "ProxyBlock", in: anyServer, min: 1, max: -1, note: "words, and the addresses of names, and of localhost, at the time of the start", apply: applyProxyBlock},
		{name: "ProxyRemote", in: anyServer, min: 2, max: 3, note: "to http and https proxies, also from each rule and member, with its checks: http and ftp as requests to them, https, WebSockets and HTTP/2 by CONNECT; fcgi, ajp, ftps and ftpes are refused unless NoProxy names the backend", apply: applyProxyRemote},
		{name: "ProxyRemoteMatch", in: anyServer, min: 2, max: 3, apply: applyProxyRemote},
		{name: "NoProxy", in: anyServer, min: 1, max: -1, note: ".domain, address, network, or name, of where requests go", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.forward.noProxy = append(s.settings.forward.noProxy, d.Args...)
			return nil
		}},
		{name: "ProxyDomain", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			if !strings.HasPrefix(d.Args[0], ".") {
				return fmt.Errorf("%q does not begin with a dot", d.Args[0])
			}
			s.settings.forward.domain = &d.Args[0]
			return nil
		}},
	}
}

// applyProxyBlock looks up the words that may be names of hosts.
func applyProxyBlock(b *builder, s *scope, d *conf.Directive) error {
	f := &s.settings.forward
	for _, word := range d.Args {
		f.block = append(f.block, word)
		if p, err := access.ParsePrefixes(word); err == nil {
			f.denied = append(f.denied, p...)
			continue
		}
		isName := strings.Contains(strings.Trim(word, "."), ".")
		if !isName && !strings.EqualFold(word, "localhost") { // a word
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", word)
		cancel()
		if err != nil {
			b.warn(d.Errorf("%s has no address: it is blocked by name alone", word))
		}
		for _, a := range addrs {
			a = a.Unmap()
			f.denied = append(f.denied, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return nil
}

// applyProxyRemote reads "match|regex url [user:password]".
func applyProxyRemote(_ *builder, s *scope, d *conf.Directive) (err error) {
	r := &parentRule{match: d.Args[0]}
	if d.Is("ProxyRemoteMatch") {
		if r.pattern, err = regexp.Compile("(?s)" + r.match); err != nil {
			return err
		}
	}
	r.parent, err = url.Parse(d.Args[1])
	if err != nil || r.parent.Scheme != "http" && r.parent.Scheme != "https" || r.parent.Hostname() == "" {
		return fmt.Errorf("%q is no http or https URL of a proxy", backend.RedactURL(d.Args[1]))
	}
	if err := checkPort(r.parent.Host); err != nil {
		return err
	}
	if len(d.Args) == 3 {
		user, password, ok := strings.Cut(d.Args[2], ":")
		if !ok {
			return errors.New("want credentials as user:password")
		}
		r.parent.User = url.UserPassword(user, password)
	}
	s.settings.forward.remotes = append(s.settings.forward.remotes, r)
	return nil
}

// checkForward warns of a forward proxy that nobody can use: without any requirement,
// ours refuses all. Many files have it beside rules that work.
func (b *builder) checkForward() {
	for _, s := range append([]*scope{b.main}, b.vhosts...) {
		if !said(s.settings.forward.requests, false) {
			continue
		}
		required := false
		for _, sections := range [][]*scope{b.main.proxies, s.proxies, b.main.locations, s.locations} {
			for _, p := range sections {
				required = required || p.settings.access.says()
			}
		}
		if !required {
			b.warn(conf.WithHint(s.settings.forward.at.Errorf("no Require in <Proxy *> says who may use the forward proxy: all of its requests are answered with 403, where httpd serves everybody"),
				"ProxyRequests Off, or Require in <Proxy *>"))
		}
	}
}
