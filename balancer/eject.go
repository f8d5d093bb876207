package balancer

import (
	"context"
	"fmt"
	"math"
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
	limit := int32(min(e.Failures, math.MaxInt32))
	if limit == 0 {
		limit = 5
	}
	if m.failures.Add(1) >= limit && m.Flags()&IgnoreErrors == 0 {
		x.b.eject(x.Context, m, e)
	}
}

// eject takes a member out, if one more may be.
func (b *Balancer) eject(ctx context.Context, m *Member, e *Ejection) {
	b.ejecting.Lock()
	if m.health.Condition().State != StateUsable || !b.mayEject(m, e) {
		b.ejecting.Unlock()
		return
	}
	first := min(e.Time, math.MaxInt64/10)
	if first == 0 {
		first = 30 * time.Second
	}
	m.ejections = min(m.ejections+1, 10)
	m.failures.Store(0)
	from := m.health.Fail(errEjected, first*time.Duration(m.ejections))
	b.ejecting.Unlock()
	m.changed(ctx, from, StateError, errEjected)
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
		h := o.health.Condition()
		if h.Cause == errEjected {
			ejected++
		}
		if o != m && h.State == StateUsable && !h.CheckFailed && o.Flags()&(Disabled|Stopped|Draining) == 0 {
			usable++
		}
	}
	return usable > 0 && ejected+1 <= max(int(share*float64(len(list))), 1)
}
