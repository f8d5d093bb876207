package connect

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// NewRemote makes the entry of [proxy.Forward].Remotes for a parent proxy, an
// http or https URL whose userinfo are credentials for it. Requests that match
// (see [access.Remote].Match) go to the parent in absolute-form, those for https
// and CONNECT through tunnels. Apache: ProxyRemote.
func NewRemote(match, parent string) (access.Remote, error) {
	u, err := url.Parse(parent)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return access.Remote{}, fmt.Errorf("connect: the parent proxy for %s is no http or https URL", match)
	}
	d := &Dialer{Proxy: u}
	return access.Remote{Match: match, Transport: &Transport{Dialer: d}, DialContext: d.DialContext}, nil
}

// Transport is an http.RoundTripper that sends requests by a parent proxy: those
// for https, ws, wss, h2 and h2c, and all that are to upgrade, through tunnels,
// and all others to the parent itself, in absolute-form (RFC 9112 section
// 3.2.2). Connections are kept for more requests.
type Transport struct {
	// Dialer knows the parent.
	Dialer *Dialer

	// NewBackend makes the backend of an origin at the end of tunnels, such as
	// one with a TLS configuration. Its DialContext is set here. If nil, a
	// backend with default fields. All that it makes share a [backend.IdleLimit] of 512 unused
	// connections, unless it adds them to another.
	NewBackend func(u *url.URL) *backend.Backend

	// Plain speaks to the parent itself. Its Backend must be dialled by
	// [Dialer.DialProxy]. If nil, one with default fields.
	Plain *proxy.Transport

	once      sync.Once
	setupErr  error
	own       proxy.Transport // used when Plain is nil
	tunnelled proxy.Transport
}

var errNoParent = errors.New("connect: the parent proxy is no http or https URL")

// RoundTrip sends a request and returns the answer when its head is in.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.once.Do(t.setup)
	switch {
	case t.setupErr != nil:
		exchange.CloseBody(r)
		return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: t.setupErr}
	case r.URL == nil || tunnels(r): // without a URL it is refused there
		return t.tunnelled.RoundTrip(r)
	}
	_, _, err := exchange.ParseHost(r.URL.Host) // it stands in the request line
	if err == nil && r.URL.Scheme == "" {
		err = exchange.BadRequest("request URL has no scheme")
	}
	if err != nil {
		exchange.CloseBody(r)
		return nil, err
	}
	out := *r
	out.URL = &url.URL{Scheme: "http", Host: r.URL.Host, Opaque: absolute(r.URL), RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	credentials, err := t.Dialer.credentials(r.Context(), r.URL.Host)
	if err != nil {
		exchange.CloseBody(r)
		return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusBadGateway, Err: err}
	}
	if credentials != "" {
		out.Header = r.Header.Clone()
		out.Header.Set("Proxy-Authorization", credentials)
	}
	resp, err := t.plain().RoundTrip(&out)
	if err == nil {
		resp.Request = r
	}
	return resp, err
}

func (t *Transport) plain() *proxy.Transport {
	if t.Plain != nil {
		return t.Plain
	}
	return &t.own
}

func (t *Transport) setup() {
	d := t.Dialer
	if !d.hasParent() {
		t.setupErr = errNoParent
		return
	}
	t.own.Backend = &backend.Backend{URL: &url.URL{Scheme: d.Proxy.Scheme, Host: d.Proxy.Host}, DialContext: d.DialParent}
	if d.Proxy.Scheme == "https" {
		t.own.Backend.TLS = d.tlsConfig()
	}
	t.tunnelled.NewBackend = func(u *url.URL) *backend.Backend {
		b := &backend.Backend{URL: u}
		if t.NewBackend != nil {
			b = t.NewBackend(u)
		}
		if b != nil {
			b.DialContext = d.DialContext
		}
		return b
	}
}

// CloseIdleConnections closes the connections that are not in use.
func (t *Transport) CloseIdleConnections() {
	t.once.Do(t.setup)
	if t.setupErr != nil {
		return
	}
	t.own.Backend.Retire()
	t.plain().CloseIdleConnections()
	t.tunnelled.CloseIdleConnections()
}
