package breaker

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Defaults of the fields of a [Transport].
const (
	DefaultWindow      = 10 * time.Second
	DefaultMinRequests = 20
	DefaultShare       = 0.5
	DefaultOpenTime    = 5 * time.Second
	DefaultMaxOpenTime = 5 * time.Minute
	DefaultProbes      = 3
)

// ErrOpen is wrapped by the [*exchange.Error] of a request that was not let
// through.
var ErrOpen = errors.New("the breaker is open")

// errSlow is why a breaker opens for latency.
var errSlow = errors.New("answers are slow")

// Transport lets requests through to Next for as long as Next is well. The zero
// value sends them to their URLs. The fields must not be changed after first use;
// the methods may be called from any goroutine. Of what is zero or negative, the
// default is taken, unless it says otherwise.
type Transport struct {
	// Next answers. If nil, a [proxy.Transport] of its own.
	Next http.RoundTripper

	// Fallback, if not nil, gets the requests that are not let through: another
	// backend, or a function that makes an answer. If nil, such a request fails
	// with ErrOpen: a [proxy.Handler] answers with 503 and Retry-After, or by its
	// ErrorHandler, and a balancer tries another member.
	Fallback http.RoundTripper

	// Window is how far back requests count, in steps of a tenth. 10 s by default.
	Window time.Duration

	// MinRequests is how many must be in the window before it opens. 20 by
	// default.
	MinRequests int

	// FailureShare of the requests in the window opens it, if they fail. Zero
	// means 0.5; negative, more than 1, or not a number, never.
	FailureShare float64

	// FailOn, if not nil, says which answers are failures, such as those of a
	// status of 500 and more. It must not read the body. If nil, none.
	FailOn func(*http.Response) bool

	// Slow is how long the head of an answer takes that is slow. Zero or negative
	// means that none is.
	Slow time.Duration

	// SlowShare of the requests in the window opens it, if they are slow. Zero
	// means 0.5; negative, more than 1, or not a number, never.
	SlowShare float64

	// OpenTime is for how long it is open the first time, 5 s by default; each
	// time in a row it is twice as long, up to MaxOpenTime, 5 min by default. To
	// have been closed for a Window ends the row.
	OpenTime, MaxOpenTime time.Duration

	// Probes is how many requests are let through when it is half-open. When all
	// of them were well, it is closed. 3 by default.
	Probes int

	// Logger, if not nil, is told at level Warn when the circuit opens, at Info
	// with the sums when it is closed again, and at Debug of what is in between.
	Logger *slog.Logger

	// OnStateChange, if not nil, is called after each change of state, by the
	// goroutine of the request that brought it about. cause is why it has opened;
	// nil for other changes.
	OnStateChange func(from, to State, cause error)

	own     proxy.Transport // used when Next is nil
	refused atomic.Int64
	circuit circuit
}

// RoundTrip sends r to Next, or to Fallback. Without one, a request that is not
// let through fails with an [*exchange.Error] that wraps [ErrOpen], which may be
// sent elsewhere; all other answers and errors are those of Next.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	probe, ok := t.admit(r.Context())
	if !ok {
		return t.refuse(r)
	}
	out, clock := r, (*bodyClock)(nil)
	if t.Slow > 0 && r.Body != nil && r.Body != http.NoBody {
		out, clock = clocked(r)
	}
	var resp *http.Response
	returned := false
	defer func() {
		if !returned { // Next has panicked, or a function of the embedder's
			t.undecided(r.Context(), probe)
			if resp != nil && resp.Body != nil {
				_ = resp.Body.Close()
			}
		}
	}()
	var begun time.Time
	if t.Slow > 0 {
		begun = time.Now()
	}
	resp, err := t.next().RoundTrip(out)
	now := time.Now()
	o := outcome{slow: t.Slow > 0 && clock.latency(begun, now) >= t.Slow}
	switch {
	case err != nil && exchange.BlameOf(r.Context(), err) != exchange.Blameless:
		o.cause = err
	case err != nil:
		o.mute = !o.slow
	case t.FailOn != nil && resp != nil && t.FailOn(resp):
		o.cause = statusError(resp.StatusCode)
	}
	t.note(r.Context(), probe, now, o)
	returned = true
	if err != nil || resp == nil {
		return resp, err
	}
	if resp.Request == out {
		resp.Request = r
	}
	if o.cause == nil && resp.Body != nil && resp.Body != http.NoBody && resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = newBody(t, probe, r, resp.Body)
	}
	return resp, nil
}

func (t *Transport) next() http.RoundTripper {
	if t.Next != nil {
		return t.Next
	}
	return &t.own
}

// refuse is for what is not let through.
func (t *Transport) refuse(r *http.Request) (*http.Response, error) {
	t.refused.Add(1)
	t.circuit.outage.Refused()
	if t.Fallback != nil {
		return t.Fallback.RoundTrip(r)
	}
	exchange.CloseBody(r)
	wait, cause := t.circuit.refusal(time.Now())
	e := &exchange.Error{Op: exchange.OpAcquire, Status: http.StatusServiceUnavailable, Resend: true, RetryAfter: max(wait, time.Second), Err: cause}
	if r.URL != nil {
		e.Backend = r.URL.Scheme + "://" + r.URL.Host
	}
	return nil, e
}

// CloseIdleConnections closes those of Next and of Fallback.
func (t *Transport) CloseIdleConnections() {
	t.own.CloseIdleConnections()
	for _, rt := range []http.RoundTripper{t.Next, t.Fallback} {
		if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// positive returns v, or the default if v is none.
func positive[T cmp.Ordered](v, otherwise T) T {
	var zero T
	if v > zero {
		return v
	}
	return otherwise
}

// bodyClock is the body of a request that knows when its client has kept the
// backend waiting.
type bodyClock struct {
	io.ReadCloser
	at *atomic.Int64 // when the last Read returned, in ns from begun; waiting, or 0 for never
	of time.Time
}

// waiting is the time of a Read that has not returned.
const waiting = -1

// clocked returns r with a body that is one.
func clocked(r *http.Request) (*http.Request, *bodyClock) {
	out := *r
	clock := &bodyClock{r.Body, new(atomic.Int64), time.Now()}
	out.Body = clock
	if r.GetBody != nil {
		out.GetBody = func() (io.ReadCloser, error) {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			return &bodyClock{body, clock.at, clock.of}, nil
		}
	}
	return &out, clock
}

func (c *bodyClock) Read(p []byte) (int, error) {
	c.at.Store(waiting)
	n, err := c.ReadCloser.Read(p)
	c.at.Store(max(int64(time.Since(c.of)), 1))
	return n, err
}

// latency is how long the backend has taken up to now, since begun or since it
// was given the last of the body; c is nil without one.
func (c *bodyClock) latency(begun, now time.Time) time.Duration {
	if c == nil {
		return now.Sub(begun)
	}
	switch at := c.at.Load(); at {
	case waiting:
		return 0
	case 0:
		return now.Sub(begun)
	default:
		return now.Sub(c.of.Add(time.Duration(at)))
	}
}
