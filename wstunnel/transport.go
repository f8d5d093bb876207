package wstunnel

import (
	"net/http"
	"net/url"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Transport sends handshakes to ws:// and wss:// URLs, and plain requests to the
// same. It is an http.RoundTripper for a balancer, an http.Client or somebody
// else's proxy: a 101 answer that it returns is one that the request has asked
// for, and has a Body that is an io.ReadWriteCloser. Any other answer is an
// ordinary one. The zero value is ready for use.
type Transport struct {
	// Base sends the requests. If nil, a [proxy.Transport]. One that is not of
	// that type gets them with the schemes http and https.
	Base http.RoundTripper

	// Protocols lists those that may be switched to; "*" stands for all. If nil,
	// "websocket" only. Requests for others are refused with 400.
	Protocols []string

	own proxy.Transport
}

// RoundTrip sends a request. Each failure is a [*exchange.Error], unless a foreign
// Base makes others.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	protocol := upgradeOf(r.Header)
	if protocol != "" && !(&Handler{Protocols: t.Protocols}).allows(protocol) {
		exchange.CloseBody(r)
		return nil, badRequest("protocol may not be switched to")
	}
	if isWebSocket(protocol) {
		if _, err := readHandshake(r, protocol); err != nil {
			exchange.CloseBody(r)
			return nil, err
		}
	}
	resp, err := t.base().RoundTrip(t.outgoing(r))
	if err != nil {
		return nil, err
	}
	resp.Request = r
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, nil
	}
	if err := t.check(r, resp, protocol); err != nil {
		_ = resp.Body.Close()
		return nil, &exchange.Error{Op: exchange.OpUpgrade, Backend: r.URL.Scheme + "://" + r.URL.Host, Status: http.StatusBadGateway, Err: err}
	}
	return resp, nil
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return &t.own
}

// outgoing returns the request as Base knows it.
func (t *Transport) outgoing(r *http.Request) *http.Request {
	if _, ok := t.base().(*proxy.Transport); ok {
		return r
	}
	scheme := map[string]string{"ws": "http", "wss": "https"}[r.URL.Scheme]
	if scheme == "" {
		return r
	}
	out := r.WithContext(r.Context())
	out.URL = new(url.URL)
	*out.URL = *r.URL
	out.URL.Scheme = scheme
	return out
}

// CloseIdleConnections closes connections that are not in use, if Base can.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
