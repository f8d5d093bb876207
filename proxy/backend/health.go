package backend

import (
	"sync"
	"sync/atomic"
	"time"
)

// State is the health of a backend as traffic has found it.
type State int32

// The states; the package comment draws how they follow each other.
const (
	StateUsable State = iota
	StateError        // left alone until Retry has elapsed
	StateTrial        // one request is probing it
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case StateUsable:
		return "usable"
	case StateError:
		return "error"
	case StateTrial:
		return "trial"
	}
	return "unknown"
}

// MarshalText returns the state's name, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Condition is what is known of somebody's health at one moment.
type Condition struct {
	State State

	// CheckFailed says that active checks have found it down, CheckCause why.
	// It stands beside State: who has failed them is not usable in any state.
	CheckFailed bool

	open  bool      // in the error state, all are let in
	Since time.Time // when State was entered; zero if it never changed
	Due   time.Time // when a trial is allowed, in the error state
	Cause error     // why State is not usable

	CheckCause error
}

// Usable reports whether a request would be let in at the time now.
func (c *Condition) Usable(now time.Time) bool {
	if c.CheckFailed {
		return false
	}
	return c.State == StateUsable || c.State == StateError && !now.Before(c.Due)
}

// Health is the state machine of one backend, or of one member of a balancer;
// the package comment draws it. The zero value is usable. All methods may be
// called from any goroutine; while all is well they take no lock.
type Health struct {
	unwell atomic.Bool // now is not the zero value's
	mu     sync.Mutex  // guards now
	now    Condition
}

// Unwell reports whether Usable has to look closer: the state is not usable, or
// checks have failed.
func (h *Health) Unwell() bool { return h.unwell.Load() }

// Condition returns what is known now.
func (h *Health) Condition() Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// Usable reports whether Admit would let a request in at the time now.
func (h *Health) Usable(now time.Time) bool {
	if !h.unwell.Load() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now.Usable(now)
}

// Admit lets a request in, or not, and tells whether it is the trial that ends
// the error state: whoever makes it then calls Recover, Fail or EndTrial.
func (h *Health) Admit() (trial, ok bool) {
	if !h.unwell.Load() {
		return false, true
	}
	h.mu.Lock()
	ok = h.now.Usable(time.Now())
	trial = ok && h.now.State == StateError && !h.now.open
	if trial {
		h.now.State = StateTrial
	}
	h.mu.Unlock()
	return trial, ok
}

// Fail enters the error state because of cause, or begins the wait anew: no
// request is let in for so long, and then one as a trial. With a negative wait
// all are let in, and none is a trial. It returns the state before.
func (h *Health) Fail(cause error, wait time.Duration) (from State) {
	return h.enter(StateError, cause, wait)
}

// Recover enters the usable state, and returns the state before. It does not
// take off the failure of checks.
func (h *Health) Recover() (from State) {
	if !h.unwell.Load() {
		return StateUsable
	}
	return h.enter(StateUsable, nil, 0)
}

// EndTrial gives a trial back undecided, if there is one: the next request may
// probe at once. It returns the state before.
func (h *Health) EndTrial() (from State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from = h.now.State; from == StateTrial {
		h.now.State = StateError
	}
	return from
}

// SetCheck notes what active checks have found, and reports whether that is
// another verdict than before.
func (h *Health) SetCheck(failed bool, cause error) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed = h.now.CheckFailed != failed
	h.now.CheckFailed, h.now.CheckCause = failed, cause
	h.unwell.Store(failed || h.now.State != StateUsable)
	return changed
}

func (h *Health) enter(s State, cause error, wait time.Duration) (from State) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	from = h.now.State
	if from != s {
		h.now.Since = now
	}
	h.now.State, h.now.Cause, h.now.Due, h.now.open = s, cause, now.Add(wait), wait < 0
	h.unwell.Store(s != StateUsable || h.now.CheckFailed)
	return from
}
