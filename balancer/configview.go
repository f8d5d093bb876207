package balancer

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// view is what a request sees of a balancer from beginning to end: members and
// configuration at one moment, arranged for choosing. It is never changed.
type view struct {
	config    Config
	members   []*Member
	sets      []memberSet // by number
	routes    map[string][]*Member
	redirects bool            // a member has one
	limited   bool            // a member has MaxInFlight
	attempts  int             // members that may be tried for one request
	skipped   []exchange.Skip // by their flags
	method    string          // its name
	feedback  Feedback        // the method, if it is one
	failOn    [600]bool       // by status
	closed    bool
}

// currentView is the view of a balancer; the zero value's has no members.
type currentView struct{ p atomic.Pointer[view] }

func (v *currentView) Store(now *view) { v.p.Store(now) }

func (v *currentView) Load() *view {
	if now := v.p.Load(); now != nil {
		return now
	}
	return &view{config: Config{Method: &ByRequests{}}, attempts: 1, method: MethodName(&ByRequests{})}
}

// memberSet is the members of one number. Members that an administrator has
// switched off are not in it, but counted: spares stand in for them.
type memberSet struct {
	ordinary, spares, standbys []*Member
	off                        int       // ordinary members switched off
	well                       []*Member // candidates if the health of all is good
}

// rebuild makes the view anew and wakes those who wait; b.mu is held.
func (b *Balancer) rebuild() {
	v := &view{config: b.config, members: slices.Clone(b.list), closed: b.closed, method: MethodName(b.config.Method)}
	v.feedback, _ = b.config.Method.(Feedback)
	for _, s := range v.config.FailOnStatus {
		v.failOn[s] = true
	}
	v.routes = make(map[string][]*Member)
	bySet := make(map[int]*memberSet)
	var numbers []int
	for _, m := range v.members {
		c := m.config.Load()
		s := bySet[c.LBSet]
		if s == nil {
			s = &memberSet{}
			bySet[c.LBSet] = s
			numbers = append(numbers, c.LBSet)
		}
		if why := s.place(m, c.Flags); why != "" {
			v.skipped = append(v.skipped, exchange.Skip{Member: m.name, Why: why})
		}
		v.redirects = v.redirects || c.Redirect != ""
		v.limited = v.limited || c.MaxInFlight > 0
		if c.Route != "" && c.Flags&HotStandby == 0 {
			v.routes[c.Route] = append(v.routes[c.Route], m)
		}
	}
	for _, m := range v.members { // standbys come after the others of their route
		if c := m.config.Load(); c.Route != "" && c.Flags&HotStandby != 0 {
			v.routes[c.Route] = append(v.routes[c.Route], m)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		s := bySet[n]
		s.well = slices.Concat(s.ordinary, s.spares[:min(s.off, len(s.spares))])
		if len(s.well) == 0 {
			s.well = s.standbys
		}
		v.sets = append(v.sets, *s)
	}
	v.attempts = min(v.config.MaxAttempts, math.MaxInt-1) + 1
	switch {
	case v.config.MaxAttempts == 0:
		v.attempts = max(len(v.members), 1)
	case v.config.MaxAttempts < 0:
		v.attempts = 1
	}
	b.view.Store(v)
	b.recount()
	b.checks.wake()
	b.wakeHoping()
}

// failsOn reports whether a status is one of FailOnStatus.
func (v *view) failsOn(status int) bool {
	return uint(status) < uint(len(v.failOn)) && v.failOn[status]
}

// place puts a member where its flags say, and tells why it is switched off.
func (s *memberSet) place(m *Member, f Flags) (why string) {
	switch {
	case f&Stopped != 0:
		why = "stopped"
	case f&Disabled != 0:
		why = "disabled"
	case f&Draining != 0:
		why = "draining"
	case f&HotSpare != 0:
		s.spares = append(s.spares, m)
		return ""
	case f&HotStandby != 0:
		s.standbys = append(s.standbys, m)
		return ""
	default:
		s.ordinary = append(s.ordinary, m)
		return ""
	}
	if f&(HotSpare|HotStandby) == 0 {
		s.off++
	}
	return why
}

// recount counts the members whose health needs a look.
func (b *Balancer) recount() {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	n := int64(0)
	if v := b.view.Load(); v != nil {
		for _, m := range v.members {
			if m.health.Unwell() {
				n++
			}
		}
	}
	b.unwell.Store(n)
}

// noticeState is told of each change of a member's state, and whether an outage
// begins with it. Its end is told when the member has answered: a request may be
// let in because all are in error, and trials fail.
func (b *Balancer) noticeState(ctx context.Context, m *Member, from, to State, cause error, begins bool) {
	b.recount()
	if to == StateUsable {
		b.wakeHoping()
	}
	v := b.view.Load()
	if v == nil {
		return
	}
	level := slog.LevelDebug
	if begins {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("from", from.String()), slog.String("to", to.String())}
	if cause != nil {
		attrs = append(attrs, slog.Any("error", cause))
	}
	b.logMember(ctx, level, "balancer: member changed state", m, attrs...)
	if v.config.OnStateChange != nil {
		v.config.OnStateChange(m, from, to, cause)
	}
}

// noticeCheck is told when active checks change their mind about a member.
func (b *Balancer) noticeCheck(ctx context.Context, m *Member, failed bool, cause error) {
	b.recount()
	if failed {
		b.logMember(ctx, slog.LevelWarn, "balancer: health check failed", m, slog.Any("error", cause))
		return
	}
	b.wakeHoping()
	b.logMember(ctx, slog.LevelInfo, "balancer: health check passed", m, m.outage().checks.Over()...)
}

// logMember logs a line about a member.
func (b *Balancer) logMember(ctx context.Context, level slog.Level, msg string, m *Member, attrs ...slog.Attr) {
	v := b.view.Load()
	if v == nil || v.config.Logger == nil || !v.config.Logger.Enabled(ctx, level) {
		return
	}
	who := []slog.Attr{slog.String("balancer", v.config.Name), slog.String("member", m.name)}
	v.config.Logger.LogAttrs(ctx, level, msg, append(who, attrs...)...)
}

func (b *Balancer) wakeHoping() {
	if b.hoping.Load() > 0 {
		b.freed.wake()
	}
}
