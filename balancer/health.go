package balancer

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// State is the health of a member as traffic has found it. The states are
// those of [backend.State]; package comment has the drawing.
type State = backend.State

// The states of a member.
const (
	StateUsable = backend.StateUsable
	StateError  = backend.StateError // left alone until Retry has elapsed
	StateTrial  = backend.StateTrial // one request is probing it
)

var errEjected = errors.New("too many failures in a row")

// health is the state machine of one member of one balancer. It lives as long
// as the member does, through every change of its configuration.
//
//	usable --MarkError--> error --Retry elapsed, chosen--> trial --answer--> usable
//	                        ▲                                │
//	                        └───────────── failure ──────────┘
//
// A failed active check is a flag beside it: the member is not used while it
// is set, and only checks take it off.
type health struct {
	failures atomic.Int32 // in a row, for outlier ejection

	mu          sync.Mutex // guards the rest
	state       State
	since       time.Time
	due         time.Time // when a trial is allowed, in the error state
	cause       error
	ejected     bool
	ejections   int // so far
	checkFailed bool
	checkCause  error
}

// admits reports whether the member's health lets a request in.
func (m *Member) admits(now time.Time) bool {
	if !m.unwell.Load() {
		return true
	}
	h := &m.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.admits(now)
}

func (h *health) admits(now time.Time) bool {
	if h.checkFailed {
		return false
	}
	return h.state == StateUsable || h.state == StateError && !now.Before(h.due)
}

// admit lets a request in, and tells whether it is the trial of a member in
// the error state.
func (m *Member) admit(forced bool) (trial, ok bool) {
	if !m.unwell.Load() {
		return false, true
	}
	h := &m.health
	h.mu.Lock()
	if forced {
		h.mu.Unlock()
		return false, true
	}
	if !h.admits(time.Now()) {
		h.mu.Unlock()
		return false, false
	}
	if h.state == StateUsable {
		h.mu.Unlock()
		return false, true
	}
	h.state = StateTrial
	h.mu.Unlock()
	m.changed(StateError, StateTrial, nil)
	return true, true
}

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
	m.enter(StateError, cause, max(retry, 0), false)
}

// MarkOK puts the member into the usable state. It does not take off the
// failure of an active check.
func (m *Member) MarkOK() {
	if m.unwell.Load() {
		m.enter(StateUsable, nil, 0, false)
	}
}

// State returns the health of the member, and why it is not usable.
func (m *Member) State() (State, error) {
	h := &m.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state, h.cause
}

// CheckFailed reports whether active checks have found the member down
// (Apache: HcFl), and the last check's error.
func (m *Member) CheckFailed() (bool, error) {
	h := &m.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checkFailed, h.checkCause
}

// Usable reports whether the member would get requests without a session now.
func (m *Member) Usable() bool {
	return m.Flags()&(Disabled|Stopped|Draining) == 0 && !m.Removed() && m.admits(time.Now())
}

// endTrial gives a trial back undecided: the next request may probe at once.
func (m *Member) endTrial() {
	h := &m.health
	h.mu.Lock()
	if h.state != StateTrial {
		h.mu.Unlock()
		return
	}
	h.state = StateError
	h.mu.Unlock()
	m.changed(StateTrial, StateError, nil)
}

func (m *Member) enter(s State, cause error, wait time.Duration, ejected bool) {
	m.health.mu.Lock()
	from := m.health.state
	m.set(s, cause, wait, ejected)
	m.health.mu.Unlock()
	m.entered(from, s, cause)
}

// set is the part of enter under the lock.
func (m *Member) set(s State, cause error, wait time.Duration, ejected bool) {
	h := &m.health
	from, now := h.state, time.Now()
	h.state, h.cause, h.ejected = s, cause, ejected
	if from != s {
		h.since = now
	}
	h.due = now.Add(wait)
	h.failures.Store(0)
	m.unwell.Store(s != StateUsable || h.checkFailed)
}

// entered is the part of enter after it.
func (m *Member) entered(from, s State, cause error) {
	if s == StateUsable && from != s {
		m.startSlowly()
	}
	if from != s {
		m.changed(from, s, cause)
	}
}

// setCheckFailed notes what active checks think of the member.
func (m *Member) setCheckFailed(failed bool, cause error) {
	h := &m.health
	h.mu.Lock()
	was := h.checkFailed
	h.checkFailed, h.checkCause = failed, cause
	m.unwell.Store(h.state != StateUsable || failed)
	h.mu.Unlock()
	if was == failed {
		return
	}
	if !failed {
		m.startSlowly()
	}
	if m.b != nil {
		m.b.noticeCheck(m, failed, cause)
	}
}

func (m *Member) changed(from, to State, cause error) {
	if m.b != nil {
		m.b.noticeState(m, from, to, cause)
	}
}
