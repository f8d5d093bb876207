package balancer

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Why a member was chosen, besides the name of the method.
const (
	whySession  = "session"
	whyRedirect = "redirect"
)

// Why members are passed over, besides their flags.
const (
	skipError    = "in error"
	skipTrial    = "on trial"
	skipCheck    = "health check failed"
	skipFull     = "full"
	skipTried    = "already tried"
	skipRejected = "busy"
)

// decision is what came of choosing.
type decision struct {
	member  *Member
	why     string
	trial   bool            // this request probes the member
	skipped []exchange.Skip // those passed over
}

// candidates lends slices for lists of members.
var candidates = sync.Pool{New: func() any { return new([]*Member) }}

// Choose returns the member that a request would be sent to, or why there is
// none. The method's turn counts as played, but nothing else changes: for
// tests, and to see what a configuration does.
func (b *Balancer) Choose(r *http.Request) (*Member, error) {
	v := b.view.Load()
	d, err := b.choose(v, r, v.session(r), nil, false)
	return d.member, err
}

// choose picks a member for a request: that of the session, or one by the
// method. Members in tried are left out.
func (b *Balancer) choose(v *view, r *http.Request, s session, tried map[*Member]bool, admit bool) (decision, error) {
	if b.unwell.Load() == 0 && !v.limited && !v.redirects && !s.known && len(tried) == 0 {
		for i := range v.sets {
			if well := v.sets[i].well; len(well) > 0 {
				if m := v.config.Method.Pick(r, well); m != nil {
					return decision{member: m, why: v.method, skipped: v.skipped}, nil
				}
			}
		}
	}
	c := chooser{b: b, view: v, r: r, tried: tried, admit: admit, limited: v.limited && !backend.IsCheck(r.Context())}
	return c.choose(s)
}

// chooser chooses where the short way of choose does not do.
type chooser struct {
	b       *Balancer
	view    *view
	r       *http.Request
	tried   map[*Member]bool // by this request
	refused map[*Member]bool // lost a race for a trial
	now     time.Time        // zero until health was looked at
	forced  bool             // health does not matter
	admit   bool             // trials are taken
	limited bool             // members may be full
}

func (c *chooser) choose(s session) (decision, error) {
	if s.known {
		d := c.bound(s.route)
		if d.member == nil && c.recover() {
			d = c.bound(s.route)
		}
		if d.member != nil {
			return d, nil
		}
		if c.view.config.Sticky.NoFailover {
			return decision{skipped: c.skips(nil)}, ErrSessionMember
		}
	}
	d := c.free()
	if d.member == nil && c.recover() {
		d = c.free()
	}
	if d.member == nil {
		d.skipped = c.skips(nil)
		if c.view.closed {
			return d, ErrClosed
		}
		return d, ErrNoMember
	}
	if c.view.redirects && !s.known {
		d = c.redirected(d)
	}
	return d, nil
}

// bound returns the member of a session, or the one it redirects to.
func (c *chooser) bound(route string) decision {
	why := whySession
	for range len(c.view.members) + 1 { // redirects may lead in a circle
		next := ""
		for _, m := range c.view.routes[route] {
			if c.usable(m, true) {
				if d, ok := c.take(m, why); ok {
					return d
				}
			}
			if next == "" {
				next = m.config.Load().Redirect
			}
		}
		if next == "" {
			break
		}
		route, why = next, whyRedirect
	}
	return decision{}
}

// redirected follows the redirect of a member chosen for a request without a
// session.
func (c *chooser) redirected(d decision) decision {
	to := d.member.config.Load().Redirect
	if to == "" {
		return d
	}
	for _, m := range c.view.routes[to] {
		if m != d.member && m.Flags()&Draining == 0 && c.usable(m, true) {
			if e, ok := c.take(m, whyRedirect); ok {
				if d.trial {
					d.member.endTrial(c.r.Context())
				}
				e.skipped = append(slices.Clip(d.skipped), exchange.Skip{Member: d.member.name, Why: whyRedirect})
				return e
			}
		}
	}
	return d
}

// free chooses by the method: set by set, first among those with room, then
// among those where requests can wait.
func (c *chooser) free() decision {
	lent := candidates.Get().(*[]*Member)
	defer func() {
		clear((*lent)[:cap(*lent)])
		candidates.Put(lent)
	}()
	for _, waiting := range []bool{false, true} {
		if waiting && !c.limited {
			break
		}
		for i := range c.view.sets {
			for {
				*lent = c.offer(&c.view.sets[i], (*lent)[:0], waiting)
				if len(*lent) == 0 {
					break
				}
				m := c.view.config.Method.Pick(c.r, *lent)
				if m == nil {
					break
				}
				if d, ok := c.take(m, c.view.method); ok {
					return d
				}
			}
		}
	}
	return decision{}
}

// offer appends the candidates of a set to list.
func (c *chooser) offer(s *memberSet, list []*Member, waiting bool) []*Member {
	missing := s.off
	for _, m := range s.ordinary {
		if c.usable(m, waiting) {
			list = append(list, m)
		} else {
			missing++
		}
	}
	for _, m := range s.spares {
		if missing == 0 {
			break
		}
		if c.usable(m, waiting) {
			list = append(list, m)
			missing--
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, m := range s.standbys {
		if c.usable(m, waiting) {
			list = append(list, m)
		}
	}
	return list
}

// usable reports whether a member can be chosen. With waiting, a full member
// can if there is room in its line.
func (c *chooser) usable(m *Member, waiting bool) bool { return c.skip(m, waiting) == "" }

// skip returns why a member cannot be chosen, or "".
func (c *chooser) skip(m *Member, waiting bool) string {
	if f := m.Flags(); f&(Disabled|Stopped) != 0 {
		return "disabled"
	}
	if m.removed.Load() {
		return "removed"
	}
	if c.tried[m] {
		return skipTried
	}
	if c.refused[m] {
		return skipRejected
	}
	if m.health.Unwell() && !c.forced {
		if c.now.IsZero() {
			c.now = time.Now()
		}
		if why := refusal(m.health.Condition(), c.now); why != "" {
			return why
		}
	}
	if c.limited && (m.gate.full() && !waiting || m.gate.closed()) {
		return skipFull
	}
	return ""
}

// refusal is why a member of that health lets nobody in, or "".
func refusal(h backend.Condition, now time.Time) string {
	switch {
	case h.Usable(now):
		return ""
	case h.CheckFailed:
		return skipCheck
	case h.State == StateTrial:
		return skipTrial
	}
	return skipError
}

// take makes m the choice, unless another request probes it already.
func (c *chooser) take(m *Member, why string) (decision, bool) {
	trial := false
	if c.admit {
		ok := true
		if !c.forced {
			trial, ok = m.admit(c.r.Context())
		}
		if !ok {
			if c.refused == nil {
				c.refused = make(map[*Member]bool)
			}
			c.refused[m] = true
			return decision{}, false
		}
	}
	return decision{member: m, why: why, trial: trial, skipped: c.skips(m)}, true
}

// skips lists the members that cannot be chosen, with the reasons.
func (c *chooser) skips(chosen *Member) []exchange.Skip {
	list := slices.Clip(c.view.skipped)
	for _, m := range c.view.members {
		if m == chosen || m.Flags()&(Disabled|Stopped|Draining) != 0 {
			continue // among the view's
		}
		if why := c.skip(m, true); why != "" {
			list = append(list, exchange.Skip{Member: m.name, Why: why})
		}
	}
	return list
}

// recover clears the error state of all members if all of them are in it, or
// failed their checks: rather a try than a refusal. It does so once, and not for
// a request that has tried some.
func (c *chooser) recover() bool {
	if c.view.config.NoForceRecovery || c.forced || len(c.tried) > 0 {
		return false
	}
	var sick []*Member
	for _, m := range c.view.members {
		if m.Flags()&(Disabled|Stopped|Draining) != 0 {
			continue
		}
		if !m.health.Unwell() {
			return false
		}
		sick = append(sick, m)
	}
	if len(sick) == 0 {
		return false
	}
	c.forced, c.refused = true, nil
	if c.admit {
		for _, m := range sick {
			m.forgive(c.r.Context())
		}
	}
	return true
}

// await is choose, waiting for a member to become usable for as long as the
// configuration says.
func (b *Balancer) await(ctx context.Context, v *view, r *http.Request, s session, tried map[*Member]bool) (*view, decision, error) {
	d, err := b.choose(v, r, s, tried, true)
	if err == nil || err == ErrClosed || v.config.Timeout <= 0 || len(tried) > 0 {
		return v, d, err
	}
	b.hoping.Add(1)
	defer b.hoping.Add(-1)
	end := time.Now().Add(v.config.Timeout)
	for {
		freed := b.freed.wait()
		v = b.view.Load()
		if d, err = b.choose(v, r, s, tried, true); err == nil || err == ErrClosed {
			return v, d, err
		}
		left := time.Until(end)
		if left <= 0 {
			return v, d, err
		}
		timer := time.NewTimer(min(left, v.nextTrial()))
		select {
		case <-freed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return v, d, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// nextTrial returns how long it is until a member may be tried again, a minute
// if that is not known.
func (v *view) nextTrial() time.Duration {
	soonest := time.Minute
	now := time.Now()
	for _, m := range v.members {
		h := m.health.Condition()
		if h.State == StateError && !h.CheckFailed && m.Flags()&(Disabled|Stopped|Draining) == 0 {
			soonest = min(soonest, max(h.Due.Sub(now), time.Millisecond))
		}
	}
	return soonest
}
