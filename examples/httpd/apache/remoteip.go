package apache

import (
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/access"
)

// remoteIPDirectives are those of mod_remoteip.
func remoteIPDirectives() []directive {
	trust := func(_ *builder, s *scope, d *conf.Directive) error {
		return s.settings.trust(d.Args, d.Is("RemoteIPInternalProxy"))
	}
	list := func(b *builder, s *scope, d *conf.Directive) error {
		text, err := readFile(b.file(d.Args[0]))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if err := s.settings.trust(strings.Fields(line), d.Is("RemoteIPInternalProxyList")); err != nil {
				return err
			}
		}
		return nil
	}
	const addresses = "addresses and networks; names of hosts are not looked up"
	return []directive{
		{name: "RemoteIPHeader", in: anyServer, min: 1, max: 1, note: "also Forwarded (RFC 7239)", apply: func(b *builder, s *scope, d *conf.Directive) error {
			if !httpguts.ValidHeaderFieldName(d.Args[0]) {
				return d.Errorf("%q is no name of a field", d.Args[0])
			}
			s.settings.remoteHeader = http.CanonicalHeaderKey(d.Args[0])
			return nil
		}},
		{name: "RemoteIPTrustedProxy", in: anyServer, min: 1, max: -1, note: addresses, apply: trust},
		{name: "RemoteIPInternalProxy", in: anyServer, min: 1, max: -1, note: addresses, apply: trust},
		{name: "RemoteIPTrustedProxyList", in: anyServer, min: 1, max: 1, note: addresses, apply: list},
		{name: "RemoteIPInternalProxyList", in: anyServer, min: 1, max: 1, note: addresses, apply: list},
		{name: "RemoteIPProxyProtocol", in: anyServer, min: 1, max: 1, note: "for the addresses of the virtual host; whoever connects there is believed, as in httpd", apply: applyProxyProtocol},
		{name: "RemoteIPProxyProtocolExceptions", in: anyServer, min: 1, max: -1, note: "of all addresses, wherever it stands, as in httpd", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			prefixes, err := access.ParsePrefixes(d.Args...)
			b.announced.exceptions = append(b.announced.exceptions, prefixes...)
			return err
		}},
	}
}

func (s *settings) trust(words []string, internal bool) error {
	prefixes, err := access.ParsePrefixes(words...)
	s.trusted = append(s.trusted, prefixes...)
	for range prefixes {
		s.internal = append(s.internal, internal)
	}
	return err
}

// believes reports whether a proxy may name a client: as in httpd, an address
// that is no public one is believed of internal proxies alone. Of the
// directives that name the proxy, the first counts.
func (s *settings) believes(by, client netip.Addr) bool {
	if client.Is6() {
		if global.Contains(client) {
			return true
		}
	} else if !client.IsPrivate() && !client.IsLoopback() && !client.IsLinkLocalUnicast() {
		return true
	}
	for i, p := range s.trusted {
		if p.Contains(by) {
			return s.internal[i]
		}
	}
	return false
}

// global are the public addresses of IPv6.
var global = netip.MustParsePrefix("2000::/3")

// everyone is who is trusted when RemoteIPHeader names no proxies, as in httpd.
var everyone = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
