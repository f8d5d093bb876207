package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
// client, as opposed to a failure of the backend. A body that fails with an
// [*Error] has found the words itself.
func ClientBodyError(backend string, err error) *Error {
	if own := (*Error)(nil); errors.As(err, &own) {
		worded := *own
		worded.Backend = backend
		return &worded
	}
	e := &Error{Op: OpClient, Backend: backend, Err: err}
	row := rowOf(e)
	if row == failHook {
		row = failClientBody
	}
	var network *net.OpError
	switch {
	case row != failClientBody && row != failGone:
	case IsTimeout(err):
		row = failStalled
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network): // the connection ended
		row, e.Err = failGone, errors.Join(ErrClientGone, err)
	}
	e.Status = failures[row].Status
	return e
}

// WriteError words why a request could not be written to c. With whole, it was,
// and what failed is the wait for the answer in the same step.
func WriteError(c *backend.Conn, r *http.Request, err error, whole bool) *Error {
	if whole {
		return &Error{Op: OpHeader, Err: err}
	}
	return &Error{Op: OpWrite, Resend: failures[failWrite].MayResend(r), Err: staleError(c, err)}
}

// errSilent is io.EOF where an answer ought to be.
var errSilent = errors.New("backend closed the connection before any byte of the answer")

// HeadError words why the head of an answer could not be read from c. With
// begun, a byte of it has come, or of an interim answer. Without a connection of
// its own, c is nil.
func HeadError(c *backend.Conn, r *http.Request, err error, begun bool) *Error {
	row := failSilent
	switch {
	case IsTimeout(err):
		row = failTimeout
	case errors.Is(err, ErrMalformed):
		row = failMalformed
	case begun:
		row = failHead
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	case err == io.EOF:
		err = errSilent
	}
	if row == failSilent {
		err = staleError(c, err)
	}
	return &Error{Op: OpHeader, Resend: failures[row].MayResend(r), Err: err}
}

// Judge gives the trial of a backend in the error state back undecided if the
// failure e of an exchange over c says nothing about the backend: by the table,
// or since the context ended or the client's body failed with clientErr. It goes
// before c is released.
func Judge(ctx context.Context, c *backend.Conn, e *Error, clientErr error) {
	if clientErr != nil || ctx.Err() != nil || FailureOf(e).Blame == Blameless {
		c.Blameless()
	}
}

// staleError marks err with [ErrStaleConn] if c was open before this use, so
// that the backend may have closed it meanwhile. It is for errors that came
// before any byte of the answer.
func staleError(c *backend.Conn, err error) error {
	if c != nil && c.Reused() && !IsTimeout(err) {
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
		e.Resend, e.Status, e.Err = false, failures[failOverdue].Status, overdue(ctx)
	case !alive || ctx.Err() != nil:
		e.Resend = false
		e.Op, e.Status, e.Err = OpClient, failures[failGone].Status, errors.Join(ErrClientGone, context.Cause(ctx))
	case clientErr != nil:
		return ClientBodyError(e.Backend, clientErr)
	}
	return e
}

// overdue is why a request failed whose deadline has passed: that, and the cause
// that the context has for it.
func overdue(ctx context.Context) error {
	cause := context.Cause(ctx)
	if IsTimeout(cause) {
		return cause
	}
	return fmt.Errorf("%w: %w", context.DeadlineExceeded, cause)
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
		e.Op, e.Status, e.Resend = OpClient, failures[failGone].Status, false
		e.Err = fmt.Errorf("%w: %w", ErrClientGone, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Status, e.Err = failures[failOverdue].Status, overdue(ctx)
		if errors.As(err, &dial) {
			e.Op, e.Err = OpDial, &backend.DialError{Address: dial.Address, Err: e.Err}
		}
	case own != nil: // of the one who tried for all who wait
		shared := *own
		return &shared
	case errors.As(err, &dial):
		e.Op = OpDial
		if backend.Over(ctx) != nil { // the request's own time, not the backend's
			e.Status = failures[failOverdue].Status
		}
	case errors.Is(err, context.DeadlineExceeded):
		e.Status = failures[failOverdue].Status
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
