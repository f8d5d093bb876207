package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// Remote is another proxy for some of the requests of a [Forward]. What it
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

	// NoProxy are hosts for which List does not count, as in [Forward].NoProxy.
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
	if host, port, err := hostPort(u); err == nil {
		at.Host = joinHostPort(host, port)
	}
	if at.Host = NormalHost(at.Scheme, at.Host); at.Path == "" && at.Opaque == "" {
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

// remote is a Remote at work.
type remote struct {
	*Remote
	transport http.RoundTripper
	own       *Transport // over DialContext
}

func (f *Forward) newRemote(r *Remote) (remote, error) {
	if r.Match == "" && r.Pattern == nil || r.Transport == nil && r.DialContext == nil {
		return remote{}, fmt.Errorf("proxy: forward: a Remote needs Match or Pattern, and Transport or DialContext")
	}
	made := remote{Remote: r, transport: r.Transport, own: &Transport{NewBackend: f.backend(r.DialContext)}}
	if made.transport == nil {
		made.transport = made.own
	}
	return made, nil
}

// remoteFor returns the other proxy for a URL, or nil.
func (f *Forward) remoteFor(ctx context.Context, u *url.URL) *remote {
	if i := f.choice.For(ctx, u); i >= 0 {
		return &f.remotes[i]
	}
	return nil
}

// DialContext connects to "host:port" as the Forward would: by Destinations,
// and through the Remote for that place. It is for [Forward].Connect and for
// transports in [Forward].Transports.
func (f *Forward) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	host, port, err := ParseAuthority(address)
	if err != nil {
		return nil, err
	}
	if err := f.Destinations.Check(host, port); err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "https", Host: joinHostPort(host, port), Path: "/"}
	if port == 443 {
		u.Host = bracketed(host)
	}
	r := f.remoteFor(ctx, u)
	if r == nil {
		return f.Destinations.DialContext(ctx, network, address)
	}
	if r.DialContext == nil {
		return nil, &Error{Op: OpDial, Err: fmt.Errorf("the proxy for %s opens no connections", address)}
	}
	return r.DialContext(ctx, network, joinHostPort(host, port))
}

// forwardTransport chooses who speaks to the origin.
type forwardTransport struct{ f *Forward }

func (t forwardTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	f := t.f
	host, port, err := hostPort(r.URL) // Rewrite may have changed it
	if err == nil {
		err = f.Destinations.Check(host, port)
	}
	if err != nil {
		closeBody(r)
		return nil, err
	}
	if via := f.remoteFor(r.Context(), r.URL); via != nil {
		return via.transport.RoundTrip(r)
	}
	if own := f.Transports[r.URL.Scheme]; own != nil {
		return own.RoundTrip(r)
	}
	return f.direct.RoundTrip(asWritten(r))
}

// asWritten has the path sent byte for byte as the client wrote it, where
// net/url would escape it in another way.
func asWritten(r *http.Request) *http.Request {
	in, _ := r.Context().Value(clientRequestKey{}).(*http.Request)
	if in == nil || in.URL.Path != r.URL.Path || in.URL.RawPath != r.URL.RawPath {
		return r
	}
	_, rest, ok := strings.Cut(in.RequestURI, "://")
	slash := strings.IndexAny(rest, "/?")
	if !ok || slash < 0 || rest[slash] == '?' {
		return r
	}
	raw, _, _ := strings.Cut(rest[slash:], "?")
	if raw == r.URL.EscapedPath() || strings.HasPrefix(raw, "//") { // which would be an authority
		return r
	}
	out := *r
	u := *r.URL
	u.Opaque, u.Path, u.RawPath = raw, "", ""
	out.URL = &u
	return &out
}

// CloseIdleConnections is here for the Handler that uses the transport.
func (t forwardTransport) CloseIdleConnections() { t.f.CloseIdleConnections() }

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
	host, _, err := hostPort(u)
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
