package exchange

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Op is the phase of an exchange in which it failed.
type Op string

// The phases, in the order in which a request meets them.
const (
	OpRequest Op = "request" // the client's request cannot be forwarded as it is
	OpClient  Op = "client"  // the client left, or broke off its body
	OpAcquire Op = "acquire" // no connection became free in time
	OpDial    Op = "dial"    // resolving, connecting or the TLS handshake
	OpWrite   Op = "write"   // sending the request
	OpHeader  Op = "header"  // reading the head of the answer
	OpUpgrade Op = "upgrade" // switching protocols
	OpBody    Op = "body"    // the body of the answer, after its head was passed on
)

// StatusClientClosedRequest is recorded, and never sent, for a request whose
// client left before its answer was complete. The number is the one access
// logs have used for it since nginx.
const StatusClientClosedRequest = 499

// Error is what every failure of this library is, or wraps: which phase
// failed, toward which backend, what the client should be told, and whether
// the request may be sent again.
type Error struct {
	Op      Op
	Backend string // the backend's URL without credentials; empty if none was chosen
	Status  int    // the answer suggested for the client; 0 means by the table of [StatusOf]
	Resend  bool   // the request provably did not reach the application, or may be repeated
	Err     error  // the cause; never nil in errors made here

	// RetryAfter, if positive, is told to the client in whole seconds in
	// Retry-After: when it is worth coming again.
	RetryAfter time.Duration

	// Header, if not nil, are fields of the answer to the client, such as
	// Proxy-Authenticate.
	Header http.Header
}

// Error names the phase, the backend and the cause. It holds no field values
// of the request or the answer.
func (e *Error) Error() string {
	if e.Backend == "" {
		return fmt.Sprintf("proxy: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("proxy: %s %s: %v", e.Op, e.Backend, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the cause was a time limit, of whatever phase. With
// Temporary it makes e a net.Error.
func (e *Error) Timeout() bool { return IsTimeout(e.Err) }

// Temporary reports whether the same request may fare better in a moment: a time
// limit was met, or Resend says that it may be sent again.
func (e *Error) Temporary() bool { return e.Resend || e.Timeout() }

// MayResend reports whether the request that failed with err may be sent
// again, to the same backend or another, without the risk of its being
// processed twice.
func MayResend(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Resend
}

// Causes that callers may want to tell apart with errors.Is.
var (
	// ErrClientGone is returned when the client closed its connection, or its
	// request was cancelled, before the answer was complete.
	ErrClientGone = errors.New("client closed the request")

	// ErrClientStalled is returned when the client kept the request waiting for
	// longer than [proxy.ClientLimits] allow: it did not send its body, or did not
	// read the answer.
	ErrClientStalled = errors.New("client neither sends nor reads")

	// ErrStaleConn is returned when a reused connection was closed by the
	// backend before a byte of the answer came, and the request could not be
	// sent again on another.
	ErrStaleConn = errors.New("backend closed an idle connection before any byte of the answer")

	// ErrBodySent is returned by the GetBody function of a forwarded request
	// when more of the body was already consumed than was kept for replay.
	ErrBodySent = errors.New("request body was already sent and is not kept for replay")

	// ErrLoop is returned when the Via field shows that the request has passed
	// this proxy before.
	ErrLoop = errors.New("request has passed this proxy before")

	// ErrBusy is returned when a limit on connections was met and none became
	// free in time. It says nothing against the backend's health.
	ErrBusy = backend.ErrBusy

	// ErrMalformed is wrapped by every error that refuses an answer of the
	// backend for its form.
	ErrMalformed = errors.New("malformed answer")
)

// BadRequest is the error for a request that must not be forwarded.
func BadRequest(format string, args ...any) *Error {
	return &Error{Op: OpRequest, Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

// Malformed is the error for an answer that is refused for its form.
func Malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// ErrForbidden is wrapped by the errors of rules that refuse a client or a
// destination.
var ErrForbidden = errors.New("not allowed")

// Forbidden is the error for a request that a rule refuses.
func Forbidden(format string, args ...any) *Error {
	return &Error{Op: OpRequest, Status: http.StatusForbidden, Err: fmt.Errorf("%w: %w", ErrForbidden, fmt.Errorf(format, args...))}
}
