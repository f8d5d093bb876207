package access

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Remote is another proxy for some of the requests of a [proxy.Forward]. What it
// resolves is its own affair: of Destinations, only ports, names, and addresses
// that are written in the URL count. [connect.NewRemote] makes one for an HTTP
// proxy; a dialer of golang.org/x/net/proxy makes one for SOCKS5.
//
// [connect.NewRemote]: https://pkg.go.dev/github.com/modproxy/modproxy/connect#NewRemote
type Remote struct {
	// Match is "*" for all requests, a scheme such as "ftp", or how URLs begin:
	// "http://www.example.com". A CONNECT counts as https://host/, with a port
	// if it is not 443. Apache: ProxyRemote.
	Match string

	// Pattern, in place of Match, is found in the URL. Apache: ProxyRemoteMatch.
	Pattern *regexp.Regexp

	// Transport sends plain requests. If nil, they go to the origin over
	// DialContext.
	Transport http.RoundTripper

	// DialContext connects to "host:port" through the other proxy, for CONNECT.
	// If nil, such requests are refused with 503.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Remotes chooses the other proxy for a URL, if there is one. Set the fields
// before the first use; any goroutine may then use it.
type Remotes struct {
	// List are the proxies that URLs are for; the first that matches counts.
	List []Remote

	// NoProxy are hosts for which List does not count, as in [proxy.Forward].NoProxy.
	NoProxy []string

	// Lookup resolves names, for the networks of NoProxy. If nil, the system's
	// resolver.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	once   sync.Once
	bypass []bypassRule
}

// For returns the place in List of the proxy for a URL, or -1 for none. The URL
// is compared in one form, however the client has written it: the host in lower
// case, without a default port and a final dot, no user, and a path.
func (s *Remotes) For(ctx context.Context, u *url.URL) int {
	if len(s.List) == 0 || u == nil {
		return -1
	}
	at := *u
	at.Scheme, at.User, at.Fragment = strings.ToLower(u.Scheme), nil, ""
	if host, port, err := URLAuthority(u); err == nil {
		at.Host = JoinAuthority(host, port)
	}
	if at.Host = exchange.NormalHost(at.Scheme, at.Host); at.Path == "" && at.Opaque == "" {
		at.Path = "/"
	}
	text := at.String()
	for i := range s.List {
		if s.List[i].matches(&at, text) {
			if s.bypasses(ctx, &at) {
				return -1
			}
			return i
		}
	}
	return -1
}

// matches reports whether a URL is one of those for the other proxy.
func (r *Remote) matches(u *url.URL, text string) bool {
	if r.Pattern != nil {
		return r.Pattern.MatchString(text)
	}
	if r.Match == "*" || strings.EqualFold(r.Match, u.Scheme) {
		return true
	}
	n := len(r.Match)
	return strings.Contains(r.Match, ":") && len(text) >= n && strings.EqualFold(text[:n], r.Match)
}

// bypassRule is an entry of NoProxy: a network, or a host.
type bypassRule struct {
	network netip.Prefix
	host    []string
}

func parseBypass(item string) bypassRule {
	if p, ok := parsePrefix(item); ok {
		return bypassRule{network: p}
	}
	return bypassRule{host: []string{strings.TrimSuffix(item, ".")}}
}

// bypasses reports whether List does not count for the host of a URL.
func (s *Remotes) bypasses(ctx context.Context, u *url.URL) bool {
	s.once.Do(func() {
		for _, item := range s.NoProxy {
			s.bypass = append(s.bypass, parseBypass(item))
		}
	})
	host, _, err := URLAuthority(u)
	if err != nil {
		return false
	}
	var addrs []netip.Addr
	asked := false
	for _, rule := range s.bypass {
		if rule.host != nil {
			if matchesHost(rule.host, host) {
				return true
			}
			continue
		}
		if !asked {
			asked = true
			if addr, err := netip.ParseAddr(host); err == nil {
				addrs = []netip.Addr{addr}
			} else {
				d := &Destinations{Lookup: s.Lookup}
				addrs, _ = d.lookup(ctx, "tcp", host) // a name unknown here is the other proxy's affair
			}
		}
		for _, a := range addrs {
			if rule.network.Contains(a.Unmap()) {
				return true
			}
		}
	}
	return false
}
