package balancer

import (
	"errors"
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

// MarkError puts the member into the error state because of cause, or begins
// the wait of Retry anew. It does nothing to a member with the flag
// IgnoreErrors.
func (m *Member) MarkError(cause error) {
	if m.Flags()&IgnoreErrors != 0 {
		m.endTrial()
		return
	}
	retry := m.config.Load().Retry
	if retry == 0 {
		retry = DefaultRetry
	}
	m.failures.Store(0)
	m.changed(m.health.Fail(cause, max(retry, 0)), StateError, cause)
}

// MarkOK puts the member into the usable state. It does not take off the
// failure of an active check.
func (m *Member) MarkOK() {
	if m.health.Unwell() {
		m.failures.Store(0)
		m.changed(m.health.Recover(), StateUsable, nil)
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
func (m *Member) setCheckFailed(failed bool, cause error) {
	if !m.health.SetCheck(failed, cause) {
		return
	}
	if !failed {
		m.startSlowly()
	}
	if m.b != nil {
		m.b.noticeCheck(m, failed, cause)
	}
}

// admit lets a request in, or not, and tells whether it is the trial of a member
// in the error state.
func (m *Member) admit() (trial, ok bool) {
	trial, ok = m.health.Admit()
	if trial {
		m.changed(StateError, StateTrial, nil)
	}
	return trial, ok
}

// endTrial gives a trial back undecided: the next request may probe at once.
func (m *Member) endTrial() {
	if m.health.EndTrial() == StateTrial {
		m.changed(StateTrial, StateError, nil)
	}
}

// changed tells of a change of state, if it is one.
func (m *Member) changed(from, to State, cause error) {
	if from == to {
		return
	}
	if to == StateUsable {
		m.startSlowly()
	}
	if m.b != nil {
		m.b.noticeState(m, from, to, cause)
	}
}
