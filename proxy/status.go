package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
)

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
	case isTimeout(err):
		return http.StatusGatewayTimeout
	case e != nil && e.Op == OpRequest:
		return http.StatusBadRequest
	}
	return http.StatusBadGateway
}

// isTimeout reports whether err is a deadline of a socket or a context.
func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
