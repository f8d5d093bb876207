package balancer

import (
	"fmt"
	"time"
)

// StatusError is why a member that answered with one of FailOnStatus is in the
// error state.
type StatusError struct{ Status int }

// Error names the status.
func (e *StatusError) Error() string { return fmt.Sprintf("answered with status %d", e.Status) }

// strike counts a failure that is no proof of the member's being down, and
// ejects it after too many in a row.
func (x *roundTrip) strike() {
	e, m := x.view.config.Eject, x.m
	if e == nil {
		return
	}
	limit := int32(e.Failures)
	if limit == 0 {
		limit = 5
	}
	if m.health.failures.Add(1) >= limit && m.Flags()&IgnoreErrors == 0 {
		x.b.eject(m, e)
	}
}

// eject takes a member out, if one more may be.
func (b *Balancer) eject(m *Member, e *Ejection) {
	b.ejecting.Lock()
	out := b.mayEject(m, e) && m.eject(e)
	b.ejecting.Unlock()
	if out {
		m.entered(StateUsable, StateError, errEjected)
	}
}

// mayEject reports whether one more member may be out: within the share, and
// never the last.
func (b *Balancer) mayEject(m *Member, e *Ejection) bool {
	list := b.view.Load().members
	share := e.MaxShare
	if share == 0 {
		share = 0.5
	}
	ejected, usable := 0, 0
	for _, o := range list {
		h := &o.health
		h.mu.Lock()
		if h.ejected {
			ejected++
		}
		if o != m && h.state == StateUsable && !h.checkFailed && o.Flags()&(Disabled|Stopped|Draining) == 0 {
			usable++
		}
		h.mu.Unlock()
	}
	return usable > 0 && ejected+1 <= max(int(share*float64(len(list))), 1)
}

// eject reports whether the member was usable, and no longer is.
func (m *Member) eject(e *Ejection) bool {
	first := e.Time
	if first == 0 {
		first = 30 * time.Second
	}
	h := &m.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != StateUsable {
		return false
	}
	h.ejections = min(h.ejections+1, 10)
	m.set(StateError, errEjected, first*time.Duration(h.ejections), true)
	return true
}
