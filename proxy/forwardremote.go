package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// remote is a Remote at work.
type remote struct {
	*access.Remote
	transport http.RoundTripper
	own       *Transport // over DialContext
}

func (f *Forward) newRemote(r *access.Remote) (remote, error) {
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
	host, port, err := access.ParseAuthority(address)
	if err != nil {
		return nil, err
	}
	if err := f.Destinations.Check(host, port); err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "https", Host: access.JoinAuthority(host, port), Path: "/"}
	r := f.remoteFor(ctx, u)
	if r == nil {
		return f.Destinations.DialContext(ctx, network, address)
	}
	if r.DialContext == nil {
		return nil, &exchange.Error{Op: exchange.OpDial, Err: fmt.Errorf("the proxy for %s opens no connections", address)}
	}
	return r.DialContext(ctx, network, access.JoinAuthority(host, port))
}

// forwardTransport chooses who speaks to the origin.
type forwardTransport struct{ f *Forward }

func (t forwardTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	f := t.f
	host, port, err := access.URLAuthority(r.URL) // Rewrite may have changed it
	if err == nil {
		err = f.Destinations.Check(host, port)
	}
	if err != nil {
		exchange.CloseBody(r)
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
	in, _ := r.Context().Value(contextkey.ClientRequest{}).(*http.Request)
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
