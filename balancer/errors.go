package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// FailedAttempt is one failed try of a request.
type FailedAttempt struct {
	Member   string        // its name
	Status   int           // the answer's, if it was one of FailOnStatus; else 0
	Err      error         // why it failed; nil with a Status
	Duration time.Duration // until it failed
}

// Error is why a balancer could not get a request answered. It is wrapped in a
// [exchange.Error], which has the status for the client.
type Error struct {
	Balancer string
	Attempts []FailedAttempt // in their order; none if no member could be chosen
	Skipped  []exchange.Skip // members that could not be chosen
	Err      error           // why no further member was tried; nil after the last attempt
}

// Error names each attempt and each member that was passed over.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "balancer://%s:", e.Balancer)
	sep := " "
	for _, a := range e.Attempts {
		if a.Err != nil {
			fmt.Fprintf(&b, "%s%s: %v", sep, a.Member, a.Err)
		} else {
			fmt.Fprintf(&b, "%s%s: status %d", sep, a.Member, a.Status)
		}
		sep = "; "
	}
	if e.Err != nil {
		fmt.Fprintf(&b, "%s%v", sep, e.Err)
		sep = "; "
	}
	for _, s := range e.Skipped {
		fmt.Fprintf(&b, "%s%s %s", sep, s.Member, s.Why)
		sep = ", "
	}
	return b.String()
}

// Unwrap returns the errors of the attempts, and why no further was made.
func (e *Error) Unwrap() []error {
	var list []error
	for _, a := range e.Attempts {
		if a.Err != nil {
			list = append(list, a.Err)
		}
	}
	if e.Err != nil {
		list = append(list, e.Err)
	}
	return list
}

// Timeout reports whether what ended the last attempt, or kept a further one from
// being made, was a time limit.
func (e *Error) Timeout() bool {
	if e.Err != nil && e.Err != ErrRetryBudget {
		return exchange.IsTimeout(e.Err)
	}
	n := len(e.Attempts)
	return n > 0 && exchange.IsTimeout(e.Attempts[n-1].Err)
}

// errOverdue is why a function of others is not called: it has not returned from
// the call before.
var errOverdue = errors.New("the call before has not returned")

// clientGone reports whether the request ended because nobody wants it any
// more.
func clientGone(ctx context.Context, err error) bool {
	return backend.Over(ctx) != nil || errors.Is(err, exchange.ErrClientGone) || errors.Is(err, exchange.ErrClientStalled) || errors.Is(err, context.Canceled)
}

// judge decides what err says about the member.
func judge(ctx context.Context, err error, failOnTimeout bool) exchange.Blame {
	if isBusy(err) {
		return exchange.Blameless
	}
	blame := exchange.BlameOf(ctx, err)
	if blame == exchange.Faulty && failOnTimeout && isTimeout(err) {
		return exchange.Down
	}
	return blame
}

// isBusy reports whether a limit on requests or connections was met.
func isBusy(err error) bool {
	return errors.Is(err, ErrQueueFull) || errors.Is(err, ErrQueueTimeout) ||
		errors.Is(err, exchange.ErrBusy) || errors.Is(err, backend.ErrBusy) || errors.Is(err, backend.ErrUnusable)
}

// notSent reports whether err is of a foreign transport that has sent nothing.
func notSent(err error) bool {
	var e *exchange.Error
	return !errors.As(err, &e) && exchange.FailureOf(err).Again == exchange.Always
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout() || exchange.StatusOf(err) == http.StatusGatewayTimeout
}

// mayResend reports whether the request may go to another member after err.
func (v *view) mayResend(r *http.Request, err error) bool {
	if exchange.MayResend(err) || isBusy(err) || notSent(err) || errors.Is(err, backend.ErrClosed) {
		return true
	}
	return v.config.RetryIdempotent && exchange.IsIdempotent(r) && exchange.FailureOf(err).Again != exchange.Never
}
