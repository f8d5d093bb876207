package backend

import (
	"errors"
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

// admit lets a request in, and tells whether it is the trial of a backend in
// the error state.
func (b *Backend) admit() (trial bool, err error) {
	if b.Flags()&(Disabled|Stopped) != 0 {
		return false, ErrUnusable
	}
	trial, ok := b.health.Admit()
	if !ok {
		return false, ErrUnusable
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
