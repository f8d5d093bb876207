package ajp

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Transport speaks AJP13 to a servlet container such as Tomcat. It is an
// http.RoundTripper for URLs of the scheme ajp, whose port is 8009 unless they
// name one. It follows no redirect and keeps no cookie.
//
// The container is told the client's view: the Host, the client's address,
// TLS facts from the request's TLS and the user from [access.WithUser]. Under a
// [proxy.Handler] these are the client's own; a bare http.Client speaks for
// itself.
//
// Each failure is a [*exchange.Error]. A request is sent again by itself once, on
// a fresh connection, when a reused connection turned out to be closed before
// a byte of the answer came and the request is idempotent and has no body, or
// one that GetBody returns anew. The zero value is ready for use.
type Transport struct {
	// Backend is where all requests go, whatever host their URL names. If nil,
	// each host gets a Backend of its own on first use.
	Backend *backend.Backend

	// NewBackend makes the Backend of a host when Backend is nil. If nil, a
	// Backend with default fields. All that it makes share a
	// [backend.IdleLimit] of 512 unused connections, unless it adds them to
	// another.
	NewBackend func(u *url.URL) *backend.Backend

	// Secret is what the container wants to see, by Tomcat's secret. Empty
	// sends none. Apache: secret.
	Secret string

	// Ping, if positive, sends a CPING over a connection before each request,
	// and waits that long for the CPONG. Without one, another connection is
	// opened and asked; without one there, the request fails with status 503,
	// safe to send again. Apache: ping.
	Ping time.Duration

	// PacketSize is the most that a packet may have, either way, in bytes with
	// its head. It must be what the container has: Tomcat's packetSize. Zero
	// means 8192; the limits are 8192 and 65536. A request whose head does not
	// fit is refused with status 431. Apache: iobuffersize, ProxyIOBufferSize.
	PacketSize int

	// Route is told to the container as jvm_route; empty tells none. mod_jk
	// sends it, mod_proxy_ajp does not.
	Route string

	// Attributes, if not nil, returns named attributes to send with a request,
	// beside those that Apache sends: AJP_REMOTE_PORT, AJP_LOCAL_ADDR and, with
	// TLS, AJP_SSL_PROTOCOL. Never take names or values from a client
	// unchecked: containers trust them (CVE-2020-1938). Apache: variables of
	// the environment named AJP_….
	Attributes func(r *http.Request) []Attribute

	// MaxInterim limits the interim (1xx) answers before the final one. Zero
	// means 9; negative allows none.
	MaxInterim int

	backends exchange.Backends
	watcher  exchange.Watcher
}

// RoundTrip sends a request and returns the answer when its head is in.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	b, _, err := t.backends.For(r.URL, t.Backend, t.NewBackend, "ajp")
	if err == nil {
		err = exchange.CheckRequest(r)
	}
	if err == nil {
		_, err = hostField(r)
	}
	if err != nil {
		exchange.CloseBody(r)
		return nil, err
	}
	if b.RequestTimeout > 0 {
		return exchange.WithinRequestTimeout(b, r, t.send)
	}
	return t.send(b, r)
}

// send is RoundTrip to b.
func (t *Transport) send(b *backend.Backend, r *http.Request) (*http.Response, error) {
	hooks := exchange.HooksOf(r)
	get := b.Get
	if bodyKindOf(r) == bodyNone && hooks.Trace() == nil {
		get = b.GetTurn
	}
	c, err := hooks.Acquire(b, get)
	for first := true; ; first = false {
		if err != nil {
			exchange.CloseBody(r)
			return nil, exchange.AcquireError(r.Context(), b, err)
		}
		resp, xerr := t.attempt(c, r, hooks, first)
		if xerr == nil {
			hooks.Answered()
			return resp, nil
		}
		again := r
		if !errors.Is(xerr.Err, errNoPong) || !first { // else nothing was sent, and the body is untouched
			if again = exchange.ResendRequest(r, xerr); again == nil || !first {
				hooks.Failed(xerr)
				return nil, xerr
			}
		}
		hooks.Resent(xerr)
		r = again
		c, err = hooks.Acquire(b, b.GetFresh)
	}
}

// CloseIdleConnections closes the connections that the transport opened and
// that are not in use. A Backend given to it is left as it is.
func (t *Transport) CloseIdleConnections() { t.backends.Retire() }

// Stats returns the figures of the transport's backends, as
// [proxy.Transport.Stats] does.
func (t *Transport) Stats() []backend.Stats { return t.backends.Stats(t.Backend) }
