package backend

import (
	"errors"
	"sync"
	"time"
)

// State is the health of a backend.
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

// Flags are set by an administrator and never by traffic. The names and
// letters are those of Apache's balancer members.
type Flags uint32

const (
	Disabled     Flags = 1 << iota // D: takes no requests
	Stopped                        // S: takes no requests and is not checked
	IgnoreErrors                   // I: never enters the error state
	Draining                       // N: only for requests bound to it by a session; balancers obey it
)

var errTrialFailed = errors.New("trial failed")

// health is the state machine. The common case, usable, is read without the
// lock from counters.unwell.
type health struct {
	mu    sync.Mutex // guards the rest
	state State
	since time.Time
	cause error
}

// State returns the health of the backend.
func (b *Backend) State() State {
	b.health.mu.Lock()
	defer b.health.mu.Unlock()
	return b.health.state
}

// SetFlags sets and clears administrative flags, in this order.
func (b *Backend) SetFlags(set, clear Flags) {
	for {
		old := b.flags.Load()
		if b.flags.CompareAndSwap(old, (old|uint32(set))&^uint32(clear)) {
			return
		}
	}
}

// Flags returns the administrative flags that are set.
func (b *Backend) Flags() Flags { return Flags(b.flags.Load()) }

// Usable reports whether Get would admit a request at the time now: not
// Disabled or Stopped, and usable or due for a trial.
func (b *Backend) Usable(now time.Time) bool {
	if b.Flags()&(Disabled|Stopped) != 0 {
		return false
	}
	if !b.counters.unwell.Load() {
		return true
	}
	h := &b.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return b.admits(now)
}

// admits is Usable under the lock and without the flags.
func (b *Backend) admits(now time.Time) bool {
	switch b.health.state {
	case StateUsable:
		return true
	case StateError:
		return b.Retry <= 0 || now.Sub(b.health.since) >= b.Retry
	}
	return false
}

// admit lets a request in, and tells whether it is the trial of a backend in
// the error state.
func (b *Backend) admit() (trial bool, err error) {
	if b.Flags()&(Disabled|Stopped) != 0 {
		return false, ErrUnusable
	}
	if !b.counters.unwell.Load() {
		return false, nil
	}
	h := &b.health
	h.mu.Lock()
	if !b.admits(time.Now()) {
		h.mu.Unlock()
		return false, ErrUnusable
	}
	if h.state != StateError || b.Retry <= 0 {
		h.mu.Unlock()
		return false, nil
	}
	h.state = StateTrial
	h.mu.Unlock()
	b.changed(StateError, StateTrial, nil)
	return true, nil
}

// MarkError puts the backend into the error state because of cause, or begins
// the wait of Retry anew if it is there. It does nothing to a backend with the
// flag IgnoreErrors.
func (b *Backend) MarkError(cause error) {
	b.counters.errors.Add(1)
	if b.Flags()&IgnoreErrors != 0 {
		b.endTrial()
		return
	}
	b.enter(StateError, cause)
}

// MarkOK puts the backend into the usable state.
func (b *Backend) MarkOK() {
	if b.counters.unwell.Load() {
		b.enter(StateUsable, nil)
	}
}

// endTrial gives a trial back undecided: the next request may probe at once.
func (b *Backend) endTrial() {
	h := &b.health
	h.mu.Lock()
	if h.state != StateTrial {
		h.mu.Unlock()
		return
	}
	h.state = StateError
	h.mu.Unlock()
	b.changed(StateTrial, StateError, nil)
}

func (b *Backend) enter(s State, cause error) {
	h := &b.health
	h.mu.Lock()
	from := h.state
	h.state, h.since, h.cause = s, time.Now(), cause
	b.counters.unwell.Store(s != StateUsable)
	h.mu.Unlock()
	if from != s {
		b.changed(from, s, cause)
	}
}

func (b *Backend) changed(from, to State, cause error) {
	if b.Logger != nil {
		b.Logger.Warn("backend changed state", "backend", b.String(), "from", from.String(), "to", to.String(), "cause", cause)
	}
	if b.OnStateChange != nil {
		b.OnStateChange(b, from, to, cause)
	}
}
