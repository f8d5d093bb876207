package apache

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// coreDirectives are those of httpd's core.
func coreDirectives() []directive {
	return []directive{
		{name: "Listen", in: inServer, min: 1, max: 2, note: "http, https; without any, the ports of the virtual hosts and of -listen", apply: applyListen},
		{name: "ServerName", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			scheme, name, ok := strings.Cut(d.Args[0], "://")
			if !ok {
				scheme, name = "http", d.Args[0]
			}
			if scheme = strings.ToLower(scheme); scheme != "http" && scheme != "https" {
				return fmt.Errorf("%q is no scheme of a server", scheme)
			}
			if err := checkPort(name); err != nil {
				return err
			}
			s.canonical = &url.URL{Scheme: scheme, Host: exchange.NormalHost(scheme, name)}
			name, s.namedPort, _ = strings.Cut(name, ":")
			s.names = append([]string{name}, s.names...)
			return nil
		}},
		{name: "UseCanonicalName", in: anywhere, min: 1, max: 1, note: "On and Off; a port in ServerName counts with On alone", apply: applySwitch(func(s *settings) **bool { return &s.canonicalName })},
		{name: "ServerAlias", in: inVhost, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			if len(s.names) == 0 {
				s.names = append(s.names, "")
			}
			s.names = append(s.names, d.Args...)
			return nil
		}},
		{name: "VirtualHost", section: true, in: inServer, min: 1, max: -1, note: "the name of a host in it is one of its names", apply: applyVhost},
		{name: "LoadModule", in: inServer, min: 2, max: 2, note: "modules are part of the program; a warning for those of third parties", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			if err := b.modules.loads(d); err != nil {
				b.warn(err)
			}
			return nil
		}},
		{name: "ServerRoot", in: inServer, min: 1, max: 1, apply: func(b *builder, _ *scope, d *conf.Directive) error {
			b.opt.Root = d.Args[0] // Include looks there as well, see package conf
			return nil
		}},
		{name: "KeepAliveTimeout", in: anyServer, min: 1, max: 1, note: "of the first host on an address", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			t, err := positive(d.Args[0], time.Second)
			if err == nil {
				s.settings.idleTimeout = t
			}
			return err
		}},
		{name: "AllowEncodedSlashes", in: anyServer, min: 1, max: 1, note: "with NoDecode, too, nothing is decoded twice", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			what, ok := map[string]encodedSlashes{"off": slashesRefused, "on": slashesDecoded, "nodecode": slashesKept}[strings.ToLower(d.Args[0])]
			if !ok {
				return d.Errorf("AllowEncodedSlashes is On, Off or NoDecode")
			}
			s.settings.encodedSlashes = &what
			return nil
		}},
		{name: "ErrorDocument", in: anywhere, min: 2, max: 2, note: "a text, a path that is proxied, a URL, or default", apply: applyErrorDocument},
		{name: "TraceEnable", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			switch strings.ToLower(d.Args[0]) {
			case "on", "off", "extended":
				off := strings.EqualFold(d.Args[0], "off")
				s.settings.traceOff = &off
				return nil
			}
			return d.Errorf("TraceEnable is On, Off or extended")
		}},
	}
}

func applyListen(b *builder, s *scope, d *conf.Directive) error {
	if len(d.Args) == 2 {
		switch strings.ToLower(d.Args[1]) {
		case "http":
		case "https":
			s.https = append(s.https, d.Args[0])
		default:
			return fmt.Errorf("protocol %s is not supported", d.Args[1])
		}
	}
	host, port := splitAddress(d.Args[0])
	if !isPort(port) {
		return fmt.Errorf("%q is no port or address:port", d.Args[0])
	}
	for _, l := range s.listen {
		if h, p := splitAddress(l); h == host && p == port {
			b.warn(d.Errorf("Listen %s has no effect: Listen %s is the same", d.Args[0], l))
			return nil
		}
	}
	s.listen = append(s.listen, d.Args[0])
	return nil
}

func applyVhost(b *builder, s *scope, d *conf.Directive) error {
	var all conf.Errors
	v := &scope{context: inVhost, at: d, parent: s}
	for _, a := range d.Args {
		addresses, name, err := b.vhostAddresses(d, a)
		all.Add(err)
		v.addresses = append(v.addresses, addresses...)
		if name != "" {
			v.called = append(v.called, name)
		}
	}
	b.vhosts = append(b.vhosts, v)
	all.Add(b.apply(v, d.Children))
	return all.Err()
}

// vhostAddresses returns the addresses that a word of <VirtualHost> stands for: the
// name of a host is looked up, and returned.
func (b *builder) vhostAddresses(d *conf.Directive, word string) (all []string, name string, err error) {
	host, port := splitAddress(word)
	if port != "*" && port != "" && !isPort(port) {
		return nil, "", fmt.Errorf("%q is no address:port", word)
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return []string{word}, "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		b.warn(d.Errorf("%s has no address: this <VirtualHost> is not reached by it", host))
		return nil, host, nil
	}
	for _, ip := range found {
		if text := ip.Unmap().String(); port == "" {
			all = append(all, text)
		} else {
			all = append(all, net.JoinHostPort(text, port))
		}
	}
	return all, host, nil
}

// positive reads a duration above zero. The units ms, s, mi and h may follow
// the number.
func positive(s string, unit time.Duration) (*time.Duration, error) {
	d, err := duration(s, unit)
	if err == nil && d <= 0 {
		err = fmt.Errorf("%q is not above zero", s)
	}
	return &d, err
}

func duration(s string, unit time.Duration) (time.Duration, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	switch strings.ToLower(s[len(digits):]) {
	case "":
	case "ms":
		unit = time.Millisecond
	case "s":
		unit = time.Second
	case "mi", "min":
		unit = time.Minute
	case "h":
		unit = time.Hour
	default:
		return 0, fmt.Errorf("%q has an unknown unit", s)
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	return time.Duration(n) * unit, nil
}
