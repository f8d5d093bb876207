package exchange

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Failure is a row of the table of failures: what becomes of an exchange that
// has failed in one way, in whatever protocol. The package comment shows the
// table; [FailureOf] finds the row of an error.
type Failure struct {
	Name   string // what has happened
	Status int    // what the client is told, unless the error has a Status of its own
	Again  Again  // whether the request may be sent again
	Blame  Blame  // what it says about the backend
}

// Again says when a request that has failed may be sent again.
type Again int

const (
	// Never: it would fail again, or do its work twice, or its answer has begun.
	Never Again = iota
	// IfAsked: if the request is idempotent, and a balancer was told to do so.
	IfAsked
	// IfIdempotent: no byte of an answer has come.
	IfIdempotent
	// Always: it has not reached the application.
	Always
)

// String says it in words.
func (a Again) String() string {
	switch a {
	case IfAsked:
		return "on demand"
	case IfIdempotent:
		return "if idempotent"
	case Always:
		return "yes"
	}
	return "no"
}

// Blame is what a failure says about the backend, and so about the member of a
// balancer.
type Blame int

const (
	// Blameless says nothing about it. A trial is given back undecided.
	Blameless Blame = iota
	// Faulty: it failed, but may well serve the next request. A trial has failed;
	// a member is ejected after several in a row.
	Faulty
	// Down: it is not there. It enters the error state.
	Down
)

// String says it in a word.
func (b Blame) String() string {
	switch b {
	case Faulty:
		return "fault"
	case Down:
		return "error state"
	}
	return "none"
}

// Level is the level at which the failure is logged.
func (f Failure) Level() slog.Level { return LevelOf(f.Status) }

// LevelOf returns the level at which a failure is logged that is answered with
// a status: what is of the client's making must not fill the log.
func LevelOf(status int) slog.Level {
	switch {
	case status == StatusClientClosedRequest:
		return slog.LevelDebug
	case status >= 400 && status < 500:
		return slog.LevelInfo
	}
	return slog.LevelError
}

// MayResend reports whether r may be sent again after the failure, by all that
// its transport knows.
func (f Failure) MayResend(r *http.Request) bool {
	return f.Again == Always || f.Again == IfIdempotent && IsIdempotent(r)
}

// The rows, in the order in which an exchange meets them.
const (
	failGone = iota
	failStalled
	failTooLarge
	failClientBody
	failHook
	failRequest
	failForbidden
	failLoop
	failBusy
	failDial
	failServerName
	failWrite
	failStale
	failSilent
	failTimeout
	failOverdue
	failMalformed
	failHead
	failUpgrade
	failBody
	failForeign
	failForeignDial
	failForeignLate
)

// failures is the table. Nothing changes it.
var failures = [...]Failure{
	failGone:        {"the client has left", StatusClientClosedRequest, Never, Blameless},
	failStalled:     {"the client does not send its body, or does not read", http.StatusRequestTimeout, Never, Blameless},
	failTooLarge:    {"the request is too large", http.StatusRequestEntityTooLarge, Never, Blameless},
	failClientBody:  {"the client's body cannot be read", http.StatusBadRequest, Never, Blameless},
	failHook:        {"a hook refuses an interim answer", http.StatusBadGateway, Never, Blameless},
	failRequest:     {"the request is malformed", http.StatusBadRequest, Never, Blameless},
	failForbidden:   {"the client or the destination is not allowed", http.StatusForbidden, Never, Blameless},
	failLoop:        {"the request has been here before", http.StatusLoopDetected, Never, Blameless},
	failBusy:        {"no connection is free, or the backend is left alone", http.StatusServiceUnavailable, Always, Blameless},
	failDial:        {"the backend cannot be reached, or not in time", http.StatusServiceUnavailable, Always, Down},
	failServerName:  {"the backend does not serve the Host by TLS", http.StatusBadGateway, Always, Blameless},
	failWrite:       {"the request is not written to its end", http.StatusBadGateway, Always, Faulty},
	failStale:       {"a connection was closed while it was idle", http.StatusBadGateway, IfIdempotent, Blameless},
	failSilent:      {"no byte of an answer", http.StatusBadGateway, IfIdempotent, Faulty},
	failTimeout:     {"no answer in time", http.StatusGatewayTimeout, IfAsked, Faulty},
	failOverdue:     {"the request's own time is over", http.StatusGatewayTimeout, Never, Blameless},
	failMalformed:   {"a malformed answer", http.StatusBadGateway, IfAsked, Faulty},
	failHead:        {"the answer ends in its head", http.StatusBadGateway, IfAsked, Faulty},
	failUpgrade:     {"the protocol cannot be switched", http.StatusBadGateway, IfAsked, Faulty},
	failBody:        {"the answer ends in its body", http.StatusBadGateway, Never, Faulty},
	failForeign:     {"another library's transport fails", http.StatusBadGateway, IfAsked, Faulty},
	failForeignDial: {"another library's transport cannot connect", http.StatusBadGateway, Always, Down},
	failForeignLate: {"another library's transport cannot connect in time", http.StatusGatewayTimeout, Always, Down},
}

// FailureOf returns the row of an error.
func FailureOf(err error) Failure { return failures[rowOf(err)] }

// BlameOf returns what err says about the backend that a request with ctx was
// sent to: nothing if the request is over, for then whatever fails may do so
// because of that; else as [FailureOf] says.
func BlameOf(ctx context.Context, err error) Blame {
	if backend.Over(ctx) != nil || errors.Is(err, context.Canceled) {
		return Blameless
	}
	return FailureOf(err).Blame
}

// rowOf finds the row. What the client, or a rule, has done goes before what the
// backend did.
func rowOf(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return failTooLarge
	case errors.Is(err, ErrClientStalled):
		return failStalled
	case errors.Is(err, ErrClientGone):
		return failGone
	case errors.Is(err, ErrForbidden):
		return failForbidden
	case errors.Is(err, ErrLoop):
		return failLoop
	}
	var e *Error
	if !errors.As(err, &e) {
		return foreignRowOf(err)
	}
	switch {
	case e.Op == OpAcquire:
		return failBusy
	case e.Op == OpDial && errors.As(err, new(*backend.ServerNameError)):
		return failServerName
	case e.Op == OpDial:
		return failDial
	case e.Op == OpClient && e.Status == 0:
		return failHook
	case e.Op == OpClient:
		return failClientBody
	case e.Op == OpRequest && IsTimeout(err):
		return failOverdue
	case e.Op == OpRequest:
		return failRequest
	case e.Status >= 400 && e.Status < 500: // the backend is well, and says so
		return failRequest
	case errors.Is(err, ErrStaleConn):
		return failStale
	case IsTimeout(err):
		return failTimeout
	case errors.Is(err, ErrMalformed):
		return failMalformed
	}
	switch e.Op {
	case OpWrite:
		return failWrite
	case OpUpgrade:
		return failUpgrade
	case OpBody:
		return failBody
	}
	if e.Resend || errors.Is(err, errSilent) {
		return failSilent
	}
	return failHead
}

// foreignRowOf finds the row of an error that is none of ours.
func foreignRowOf(err error) int {
	var op *net.OpError
	switch {
	case errors.Is(err, ErrBusy), errors.Is(err, backend.ErrUnusable):
		return failBusy
	case errors.As(err, &op) && op.Op == "dial" && !IsTimeout(err):
		return failForeignDial
	case errors.As(err, &op) && op.Op == "dial":
		return failForeignLate
	case IsTimeout(err):
		return failTimeout
	}
	return failForeign
}

// StatusOf returns the status code with which a failure is answered: that of an
// [*Error] that carries one, or the one of the table.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) && e.Status != 0 {
		return e.Status
	}
	return FailureOf(err).Status
}

// IsTimeout reports whether err is a deadline of a socket or a context. Of an
// error that joins those of several attempts, its own Timeout says so.
func IsTimeout(err error) bool {
	var several interface {
		Unwrap() []error
		Timeout() bool
	}
	if errors.As(err, &several) {
		return several.Timeout()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
