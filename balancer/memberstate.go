package balancer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// State is the health of a member as traffic has found it. The states are
// those of [backend.State]; the package comment has the drawing.
type State = backend.State

// The states of a member.
const (
	StateUsable = backend.StateUsable
	StateError  = backend.StateError // left alone until Retry has elapsed
	StateTrial  = backend.StateTrial // one request is probing it
)

// Flags are set by an administrator and never by traffic.
type Flags = backend.Flags

// The flags of a member.
const (
	Disabled     = backend.Disabled     // D: takes no requests, but is checked
	Stopped      = backend.Stopped      // S: takes no requests and is not checked
	IgnoreErrors = backend.IgnoreErrors // I: never enters the error state
	Draining     = backend.Draining     // N: only for requests bound to it by a session
	HotStandby   = backend.HotStandby   // H: only when no other member of its set is usable
	HotSpare     = backend.HotSpare     // R: takes the place of an unusable member of its set
)

var errEjected = errors.New("too many failures in a row")

// outages are those of a member, for the log: of its state, and of its checks.
type outages struct{ state, checks backend.Outage }

// outage returns them; a member that no balancer has made has none to keep.
func (m *Member) outage() *outages {
	if m.outages == nil {
		return new(outages)
	}
	return m.outages
}

// MarkError puts the member into the error state because of cause, or begins
// the wait of Retry anew. It does nothing to a member with the flag
// IgnoreErrors.
func (m *Member) MarkError(cause error) { m.markError(context.Background(), cause) }

func (m *Member) markError(ctx context.Context, cause error) {
	if m.Flags()&IgnoreErrors != 0 {
		m.endTrial(ctx)
		return
	}
	retry := m.config.Load().Retry
	if retry == 0 {
		retry = DefaultRetry
	}
	m.failures.Store(0)
	m.changed(ctx, m.health.Fail(cause, max(retry, 0)), StateError, cause)
}

// MarkOK puts the member into the usable state. It does not take off the
// failure of an active check.
func (m *Member) MarkOK() { m.markOK(context.Background()) }

func (m *Member) markOK(ctx context.Context) {
	if m.outage().state.On() {
		m.backAgain(ctx)
	}
	m.forgive(ctx)
}

// forgive is MarkOK without the knowledge that the member works.
func (m *Member) forgive(ctx context.Context) {
	if m.health.Unwell() {
		m.failures.Store(0)
		m.changed(ctx, m.health.Recover(), StateUsable, nil)
	}
}

// backAgain tells the log that the member works, with the sums of its outage.
func (m *Member) backAgain(ctx context.Context) {
	state, _ := m.State()
	if sums := m.outage().state.Over(); sums != nil && m.b != nil {
		m.b.logMember(ctx, slog.LevelInfo, "balancer: member works again", m, append(sums, slog.String("from", state.String()))...)
	}
}

// State returns the health of the member, and why it is not usable.
func (m *Member) State() (State, error) {
	c := m.health.Condition()
	return c.State, c.Cause
}

// CheckFailed reports whether active checks have found the member down
// (Apache: HcFl), and the last check's error.
func (m *Member) CheckFailed() (bool, error) {
	c := m.health.Condition()
	return c.CheckFailed, c.CheckCause
}

// Usable reports whether the member would get requests without a session now.
func (m *Member) Usable() bool {
	return m.Flags()&(Disabled|Stopped|Draining) == 0 && !m.Removed() && m.health.Usable(time.Now())
}

// setCheckFailed notes what active checks think of the member.
func (m *Member) setCheckFailed(ctx context.Context, failed bool, cause error) {
	if failed {
		m.outage().checks.Failed()
	}
	if !m.health.SetCheck(failed, cause) {
		return
	}
	if !failed {
		m.startSlowly()
	}
	if m.b != nil {
		m.b.noticeCheck(ctx, m, failed, cause)
	}
}

// admit lets a request in, or not, and tells whether it is the trial of a member
// in the error state.
func (m *Member) admit(ctx context.Context) (trial, ok bool) {
	trial, ok = m.health.Admit()
	if trial {
		m.changed(ctx, StateError, StateTrial, nil)
	}
	return trial, ok
}

// endTrial gives a trial back undecided: the next request may probe at once.
func (m *Member) endTrial(ctx context.Context) {
	if m.health.EndTrial() == StateTrial {
		m.changed(ctx, StateTrial, StateError, nil)
	}
}

// changed tells of a change of state, if it is one.
func (m *Member) changed(ctx context.Context, from, to State, cause error) {
	begins := cause != nil && m.outage().state.Failed()
	if from == to {
		return
	}
	if to == StateUsable {
		m.startSlowly()
	}
	if m.b != nil {
		m.b.noticeState(ctx, m, from, to, cause, begins)
	}
}
