package backend

import (
	"errors"
	"fmt"
	"time"
)

var errTrialFailed = errors.New("trial failed")

// State returns the health of the backend.
func (b *Backend) State() State { return b.health.Condition().State }

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
	return b.Flags()&(Disabled|Stopped) == 0 && b.health.Usable(now)
}

// UnusableError is why Get lets no request in now. To errors.Is it is
// [ErrUnusable].
type UnusableError struct {
	State State     // StateUsable if it is Disabled or Stopped
	Until time.Time // when a trial is allowed; zero outside of the error state
	Cause error     // why it is in the error state; not to be unwrapped
}

// Error names the time and the cause.
func (e *UnusableError) Error() string {
	switch e.State {
	case StateError:
		return fmt.Sprintf("%v: in the error state until %s: %v", ErrUnusable, e.Until.Format(time.RFC3339), e.Cause)
	case StateTrial:
		return fmt.Sprintf("%v: another request is probing it", ErrUnusable)
	}
	return fmt.Sprintf("%v: switched off", ErrUnusable)
}

// Is reports whether target is [ErrUnusable].
func (e *UnusableError) Is(target error) bool { return target == ErrUnusable }

// Ready returns nil if Get would admit a request now, else an [*UnusableError]:
// for protocols with a pool of their own.
func (b *Backend) Ready() error {
	if b.Usable(time.Now()) {
		return nil
	}
	return b.refusal()
}

// refusal is why no request is let in.
func (b *Backend) refusal() error {
	e := &UnusableError{}
	if b.Flags()&(Disabled|Stopped) != 0 {
		return e
	}
	c := b.health.Condition()
	e.State, e.Cause = c.State, c.Cause
	if c.State == StateError {
		e.Until = c.Due
	}
	return e
}

// admit lets a request in, and tells whether it is the trial of a backend in
// the error state.
func (b *Backend) admit() (trial bool, err error) {
	ok := b.Flags()&(Disabled|Stopped) == 0
	if ok {
		trial, ok = b.health.Admit()
	}
	if !ok {
		return false, b.refusal()
	}
	if trial {
		b.changed(StateError, StateTrial, nil)
	}
	return trial, nil
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
	wait := b.Retry
	if wait <= 0 {
		wait = -1
	}
	b.changed(b.health.Fail(cause, wait), StateError, cause)
}

// MarkOK puts the backend into the usable state.
func (b *Backend) MarkOK() { b.changed(b.health.Recover(), StateUsable, nil) }

// endTrial gives a trial back undecided.
func (b *Backend) endTrial() {
	if b.health.EndTrial() == StateTrial {
		b.changed(StateTrial, StateError, nil)
	}
}

// changed tells of a change of state, if it is one.
func (b *Backend) changed(from, to State, cause error) {
	if from == to {
		return
	}
	if b.Logger != nil {
		b.Logger.Warn("backend changed state", "backend", b.String(), "from", from.String(), "to", to.String(), "cause", cause)
	}
	if b.OnStateChange != nil {
		b.OnStateChange(b, from, to, cause)
	}
}
