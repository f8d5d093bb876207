package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/proxy/backend"
)

// What a transport of another protocol needs beside a backend.Backend, so that
// it behaves as [Transport] does.

// Watcher breaks exchanges off when their contexts end. One serves all the
// exchanges of a transport, at less than the cost of a context.AfterFunc for
// each. The zero value is ready for use.
type Watcher struct{ w watcher }

// Watch is one exchange's place in a [Watcher]. It must not be copied while it
// is watched.
type Watch struct{ w watched }

// Add begins to watch over an exchange: when ctx ends, c is aborted, at the
// latest some 20 ms after. It reports false, and watches nothing, if the
// context has ended already.
func (w *Watcher) Add(e *Watch, ctx context.Context, c *backend.Conn) bool {
	return w.w.add(&e.w, ctx, c)
}

// Remove ends the watch, and reports whether the context had not ended. Only
// then is the connection fit for reuse.
func (w *Watcher) Remove(e *Watch) bool { return w.w.remove(&e.w) }

// AcquireError words the failure of a backend's Get: its phase, and the status
// that goes with it. Nothing was sent, so the request may be sent elsewhere.
func AcquireError(ctx context.Context, b *backend.Backend, err error) *Error {
	return getError(ctx, b, err)
}

// ClientBodyError words why the body of a request could not be read from the
// client, as opposed to a failure of the backend.
func ClientBodyError(backend string, err error) *Error { return clientBodyError(backend, err) }

// StaleError marks err with [ErrStaleConn] if c was open before this use, so
// that the backend may have closed it meanwhile. It is for errors that came
// before any byte of the answer.
func StaleError(c *backend.Conn, err error) error {
	if c.Reused() && !isTimeout(err) {
		return errors.Join(ErrStaleConn, err)
	}
	return err
}

// EndError words the failure e of an exchange that is over. That its context
// ended (alive is false if [Watcher.Remove] said so) or that the client's body
// failed with clientErr goes before what the backend did.
func EndError(ctx context.Context, e *Error, alive bool, clientErr error) *Error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Resend, e.Status, e.Err = false, http.StatusGatewayTimeout, context.Cause(ctx)
	case !alive || ctx.Err() != nil:
		e.Resend = false
		e.Op, e.Status, e.Err = OpClient, StatusClientClosedRequest, errors.Join(ErrClientGone, context.Cause(ctx))
	case clientErr != nil:
		return clientBodyError(e.Backend, clientErr)
	}
	return e
}

// ResendRequest returns the request to send again, over a fresh connection,
// after a stale one ([ErrStaleConn]), with its body anew if it has one; or nil
// if it may not or cannot be sent again.
func ResendRequest(r *http.Request, err *Error) *http.Request { return resend(r, err) }

// IsTimeout reports whether err is a deadline of a socket or a context.
func IsTimeout(err error) bool { return isTimeout(err) }

// ClientRequest returns the request of the client that a [Handler] is serving,
// given the context of the request that it sends; nil if ctx is no such
// context. It must not be changed, nor its body read.
func ClientRequest(ctx context.Context) *http.Request {
	r, _ := ctx.Value(clientRequestKey{}).(*http.Request)
	return r
}

type clientRequestKey struct{}

// FramesInDisguise reports whether the name of a field, which is not in
// canonical form, means one that frames or routes the message to a backend that
// ignores case: it must not be sent.
func FramesInDisguise(name string) bool {
	switch len(name) {
	case len("Host"):
		return strings.EqualFold(name, "Host")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	}
	return false
}

// TLSProtocol returns the name that mod_ssl gives a version of TLS in
// SSL_PROTOCOL, such as "TLSv1.3"; that of [tls.VersionName] for one it does not
// know.
func TLSProtocol(version uint16) string {
	switch version {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return tls.VersionName(version)
}
