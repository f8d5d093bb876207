package breaker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// State is that of a breaker; the package comment draws it.
type State int32

// The states.
const (
	Closed   State = iota // requests pass
	Open                  // none do
	HalfOpen              // a few do, as probes
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "unknown"
}

// MarshalText returns the state's name, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// outcome is what a request says about Next.
type outcome struct {
	cause error // why it has failed; nil if it did not
	slow  bool
	mute  bool // it says nothing
}

// circuit is what a Transport knows of Next.
type circuit struct {
	outage backend.Outage // for the log
	passes atomic.Int32   // the State, to be read without the lock

	mu      sync.Mutex // guards the rest
	state   State
	since   time.Time // when it was entered; zero if it never changed
	until   time.Time // when it is worth asking again, unless closed
	wait    time.Duration
	row     int    // how often it was opened in a row
	opened  int64  // ever
	cause   error  // why it was opened last
	refuses error  // what is told to those who are not let through
	period  uint64 // of probes; a new one makes those before it count no more
	probing int    // probes that are under way
	passed  int    // probes that were well
	window  window
}

// admit lets a request in, or not; probe is the period of which it is a probe, 0
// if it is none.
func (t *Transport) admit(ctx context.Context) (probe uint64, ok bool) {
	c := &t.circuit
	if State(c.passes.Load()) == Closed {
		return 0, true
	}
	now := time.Now()
	c.mu.Lock()
	from := c.state
	if from == Closed {
		c.mu.Unlock()
		return 0, true
	}
	if !now.Before(c.until) { // also if the probes before have come to nothing
		c.enter(HalfOpen, now)
		c.until = now.Add(c.wait)
		c.period++
		c.probing, c.passed = 0, 0
	}
	to := c.state
	if ok = to == HalfOpen && c.probing+c.passed < positive(t.Probes, DefaultProbes); ok {
		c.probing++
		probe = c.period
	}
	c.mu.Unlock()
	t.changed(ctx, from, to, nil)
	return probe, ok
}

// refusal is why a request is not let in, and when it is worth coming again.
func (c *circuit) refusal(now time.Time) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != Open {
		return 0, c.refuses
	}
	return c.until.Sub(now), c.refuses
}

// undecided takes back a probe that says nothing.
func (t *Transport) undecided(ctx context.Context, probe uint64) {
	t.note(ctx, probe, time.Now(), outcome{mute: true})
}

// note draws the conclusions of a request that is answered, or is not.
func (t *Transport) note(ctx context.Context, probe uint64, now time.Time, o outcome) {
	c := &t.circuit
	c.mu.Lock()
	from := c.state
	bad := o.cause != nil || o.slow
	switch {
	case from == Closed && !o.mute:
		c.window.add(now, t.span(), counts{requests: 1, failures: one(o.cause != nil), slow: one(o.slow)})
		if bad {
			t.judge(now, o)
		}
	case from == HalfOpen && probe == c.period:
		c.probing--
		switch {
		case o.mute:
		case bad:
			t.open(now, o)
		default:
			if c.passed++; c.passed >= positive(t.Probes, DefaultProbes) {
				c.window = window{}
				c.enter(Closed, now)
			}
		}
	}
	to, cause := c.state, c.cause
	c.mu.Unlock()
	t.changed(ctx, from, to, cause)
}

// brokeOff draws the conclusions of a body that ends early, of a request that is
// counted already.
func (t *Transport) brokeOff(ctx context.Context, probe uint64, now time.Time, err error) {
	c := &t.circuit
	o := outcome{cause: err}
	c.mu.Lock()
	from := c.state
	switch {
	case from == Closed:
		c.window.add(now, t.span(), counts{failures: 1})
		t.judge(now, o)
	case from == HalfOpen && probe == c.period:
		t.open(now, o)
	}
	to := c.state
	c.mu.Unlock()
	t.changed(ctx, from, to, err)
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (t *Transport) span() time.Duration { return positive(t.Window, DefaultWindow) }

// judge opens a closed circuit if the window says so. The caller holds the lock.
func (t *Transport) judge(now time.Time, o outcome) {
	n := t.circuit.window.sum
	if n.requests < positive(t.MinRequests, DefaultMinRequests) {
		return
	}
	if reached(n.failures, n.requests, t.FailureShare) || reached(n.slow, n.requests, t.SlowShare) {
		t.open(now, o)
	}
}

// reached reports whether n of all are a share.
func reached(n, all int, share float64) bool {
	if share == 0 {
		share = DefaultShare
	}
	return share > 0 && share <= 1 && float64(n) >= share*float64(all)
}

// open opens the circuit, for longer if that is so again. The caller holds the
// lock.
func (t *Transport) open(now time.Time, o outcome) {
	c := &t.circuit
	if c.state == Closed && now.Sub(c.since) >= t.span() {
		c.row = 0
	}
	first := positive(t.OpenTime, DefaultOpenTime)
	longest := max(positive(t.MaxOpenTime, DefaultMaxOpenTime), first)
	c.wait = first
	for i := 0; i < c.row && c.wait < longest; i++ {
		c.wait = min(c.wait, longest/2) * 2
		if c.wait >= longest-1 {
			c.wait = longest
		}
	}
	c.row++
	c.opened++
	if c.cause = o.cause; c.cause == nil {
		c.cause = errSlow
	}
	c.refuses = fmt.Errorf("%w: %v", ErrOpen, c.cause)
	c.until = now.Add(c.wait)
	c.window = window{}
	c.enter(Open, now)
}

// enter notes the state. The caller holds the lock.
func (c *circuit) enter(s State, now time.Time) {
	if c.state != s {
		c.state, c.since = s, now
		c.passes.Store(int32(s))
	}
}

// changed tells of a change of state, if it is one.
func (t *Transport) changed(ctx context.Context, from, to State, cause error) {
	if from == to {
		return
	}
	if to != Open {
		cause = nil
	}
	level, sums := slog.LevelDebug, []slog.Attr(nil)
	switch {
	case to == Open && t.circuit.outage.Failed():
		level = slog.LevelWarn
	case to == Closed:
		level, sums = slog.LevelInfo, t.circuit.outage.Over()
	}
	if t.Logger != nil {
		attrs := append([]slog.Attr{slog.String("from", from.String()), slog.String("to", to.String())}, sums...)
		if cause != nil {
			attrs = append(attrs, slog.Any("error", cause))
		}
		t.Logger.LogAttrs(ctx, level, "breaker: changed state", attrs...)
	}
	if t.OnStateChange != nil {
		t.OnStateChange(from, to, cause)
	}
}

// Stats are the figures of a [Transport].
type Stats struct {
	State    State     `json:"state"`
	Since    time.Time `json:"since,omitzero"` // of State; zero if it never changed
	Until    time.Time `json:"until,omitzero"` // when an open one lets probes through
	Cause    string    `json:"cause,omitempty"`
	Requests int       `json:"requests"` // in the window of a closed one, that say something
	Failures int       `json:"failures"` // of those
	Slow     int       `json:"slow"`     // of those
	Opened   int64     `json:"opened"`   // how often it has opened
	Refused  int64     `json:"refused"`  // requests that were not let through
}

// Stats returns the figures. An open breaker stays so until a request comes.
func (t *Transport) Stats() Stats {
	c := &t.circuit
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window.add(time.Now(), t.span(), counts{})
	n := c.window.sum
	s := Stats{State: c.state, Since: c.since, Requests: n.requests, Failures: n.failures, Slow: n.slow, Opened: c.opened, Refused: t.refused.Load()}
	if c.state == Open {
		s.Until = c.until
	}
	if c.state != Closed {
		s.Cause = c.cause.Error()
	}
	return s
}
