package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// IsIdempotent reports whether sending a request twice does no more than
// sending it once: by its method (RFC 9110 section 9.2.2), or by an
// Idempotency-Key, which net/http trusts as well.
func IsIdempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

// ClientBodyError words why the body of a request could not be read from the
// client, as opposed to a failure of the backend.
func ClientBodyError(backend string, err error) *Error {
	e := &Error{Op: OpClient, Backend: backend, Status: http.StatusBadRequest, Err: err}
	var tooLarge *http.MaxBytesError
	var network *net.OpError
	switch {
	case errors.As(err, &tooLarge):
		e.Status = http.StatusRequestEntityTooLarge
	case IsTimeout(err), errors.Is(err, ErrClientStalled):
		e.Status = http.StatusRequestTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network): // the connection ended
		e.Status, e.Err = StatusClientClosedRequest, errors.Join(ErrClientGone, err)
	}
	return e
}

// StaleError marks err with [ErrStaleConn] if c was open before this use, so
// that the backend may have closed it meanwhile. It is for errors that came
// before any byte of the answer.
func StaleError(c *backend.Conn, err error) error {
	if c.Reused() && !IsTimeout(err) {
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
		return ClientBodyError(e.Backend, clientErr)
	}
	return e
}

// StatusOf returns the status code with which a failure is answered. It is
// the one table for every protocol of this library:
//
//	cannot connect, name does not resolve, pool exhausted  503
//	no answer in time                                      504
//	malformed answer, or cut before its head was complete  502
//	request malformed                                      400
//	client or destination not allowed                      403
//	client does not send its body                          408
//	request too large                                      413
//	loop                                                   508
//	client gone                                            499 (recorded only)
//
// A [*Error] that carries a Status of its own keeps it.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) && e.Status != 0 {
		return e.Status
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrClientStalled):
		return http.StatusRequestTimeout
	case errors.Is(err, ErrClientGone):
		return StatusClientClosedRequest
	case errors.Is(err, ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, ErrLoop):
		return http.StatusLoopDetected
	case e != nil && (e.Op == OpDial || e.Op == OpAcquire):
		return http.StatusServiceUnavailable
	case IsTimeout(err):
		return http.StatusGatewayTimeout
	case e != nil && e.Op == OpRequest:
		return http.StatusBadRequest
	}
	return http.StatusBadGateway
}

// IsTimeout reports whether err is a deadline of a socket or a context.
func IsTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// ResendRequest returns the request to send again, over a fresh connection,
// after a stale one ([ErrStaleConn]), with its body anew if it has one; or nil
// if it may not or cannot be sent again.
func ResendRequest(r *http.Request, err *Error) *http.Request {
	if !err.Resend || !errors.Is(err, ErrStaleConn) {
		return nil
	}
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	if r.GetBody == nil {
		return nil
	}
	body, gerr := r.GetBody()
	if gerr != nil {
		return nil
	}
	again := *r
	again.Body = body
	return &again
}

// AcquireError words the failure of a backend's Get: its phase, and the status
// that goes with it. Nothing was sent, so the request may be sent elsewhere.
func AcquireError(ctx context.Context, b *backend.Backend, err error) *Error {
	e := &Error{Op: OpAcquire, Backend: b.String(), Resend: true, Err: err}
	var dial *backend.DialError
	switch own, _ := err.(*Error); {
	case errors.Is(ctx.Err(), context.Canceled): // its cause may be anything
		e.Op, e.Status, e.Resend = OpClient, StatusClientClosedRequest, false
		e.Err = fmt.Errorf("%w: %w", ErrClientGone, err)
	case own != nil: // of the one who tried for all who wait
		shared := *own
		return &shared
	case errors.As(err, &dial):
		e.Op = OpDial
		if backend.Over(ctx) != nil { // the request's own time, not the backend's
			e.Status = http.StatusGatewayTimeout
		}
	case errors.Is(err, context.DeadlineExceeded):
		e.Status = http.StatusGatewayTimeout
	}
	var unusable *backend.UnusableError
	if e.Status == 0 && errors.As(b.Ready(), &unusable) && unusable.State != backend.StateUsable {
		e.RetryAfter = max(time.Until(unusable.Until), time.Second)
	}
	return e
}

func CloseBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
