package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
func (b *Backend) admit(ctx context.Context) (trial bool, err error) {
	ok := b.Flags()&(Disabled|Stopped) == 0
	if ok {
		trial, ok = b.health.Admit()
	}
	if !ok {
		b.outage.Refused()
		return false, b.refusal()
	}
	if trial {
		b.changed(ctx, StateError, StateTrial, nil)
	}
	return trial, nil
}

// MarkError puts the backend into the error state because of cause, or begins
// the wait of Retry anew if it is there. It does nothing to a backend with the
// flag IgnoreErrors.
func (b *Backend) MarkError(cause error) { b.markError(context.Background(), cause) }

func (b *Backend) markError(ctx context.Context, cause error) {
	b.counters.errors.Add(1)
	if b.Flags()&IgnoreErrors != 0 {
		b.endTrial(ctx)
		return
	}
	wait := b.Retry
	if wait <= 0 {
		wait = -1
	}
	b.changed(ctx, b.health.Fail(cause, wait), StateError, cause)
}

// MarkOK puts the backend into the usable state.
func (b *Backend) MarkOK() { b.MarkOKFor(context.Background()) }

// MarkOKFor is MarkOK because of the request of ctx, for the log.
func (b *Backend) MarkOKFor(ctx context.Context) {
	b.changed(ctx, b.health.Recover(), StateUsable, nil)
}

// endTrial gives a trial back undecided.
func (b *Backend) endTrial(ctx context.Context) {
	if b.health.EndTrial() == StateTrial {
		b.changed(ctx, StateTrial, StateError, nil)
	}
}

// changed tells of a change of state, if it is one. What happens between the
// beginning of an outage and its end, such as trials, is detail.
func (b *Backend) changed(ctx context.Context, from, to State, cause error) {
	level, sums := slog.LevelDebug, []slog.Attr(nil)
	switch {
	case cause != nil && b.outage.Failed():
		level = slog.LevelWarn
	case to == StateUsable:
		if sums = b.outage.Over(); sums != nil {
			level = slog.LevelInfo
		}
	}
	if from == to {
		return
	}
	if b.Logger != nil && b.Logger.Enabled(ctx, level) {
		attrs := append([]slog.Attr{slog.String("backend", b.String()), slog.String("from", from.String()), slog.String("to", to.String())}, sums...)
		if cause != nil {
			attrs = append(attrs, slog.Any("error", cause))
		}
		b.Logger.LogAttrs(ctx, level, "backend: changed state", attrs...)
	}
	if b.OnStateChange != nil {
		b.OnStateChange(b, from, to, cause)
	}
}
