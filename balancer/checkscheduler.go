package balancer

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// checkState is where the checks of one member stand; guarded by the
// scheduler's lock.
type checkState struct {
	check         *Check // whose counts these are
	running       bool
	next          time.Time // zero means at once
	passes, fails int       // in a row
	total         int64
	last          time.Time
	lastErr       error
}

// scheduler runs the active checks of all members of a balancer: one goroutine
// that sleeps until the next is due, and one for each check that is running. It
// starts with the first member that has a check, and ends with the balancer.
type scheduler struct {
	b    *Balancer
	max  int
	kick chan struct{}

	mu      sync.Mutex // guards the rest, and the checkState of all members
	started bool
	running int
}

func (s *scheduler) init(b *Balancer, most int) {
	s.b, s.max, s.kick = b, most, make(chan struct{}, 1)
	if s.max <= 0 {
		s.max = 16
	}
}

// wake makes the scheduler look at the members again. b.mu is held, except
// when the balancer is closed.
func (s *scheduler) wake() {
	s.mu.Lock()
	if !s.started && !s.b.closed && slices.ContainsFunc(s.b.list, func(m *Member) bool { return m.config.Load().Check != nil }) {
		s.started = true
		s.b.work.Add(1)
		go s.run()
	}
	s.mu.Unlock()
	s.poke()
}

func (s *scheduler) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *scheduler) run() {
	defer s.b.work.Done()
	for {
		timer := time.NewTimer(s.start())
		select {
		case <-timer.C:
		case <-s.kick:
		case <-s.b.life.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// start starts the checks that are due, those first that have waited longest,
// and returns how long it is until the next.
func (s *scheduler) start() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, pause := time.Now(), time.Hour
	var due []*Member
	for _, m := range s.b.view.Load().members {
		c := m.config.Load()
		st := &m.check
		if c.Check == nil || c.Flags&Stopped != 0 || st.running {
			continue
		}
		if st.check != c.Check {
			*st = checkState{check: c.Check}
		}
		if wait := st.next.Sub(now); wait > 0 {
			pause = min(pause, wait)
		} else {
			due = append(due, m)
		}
	}
	slices.SortStableFunc(due, func(a, b *Member) int { return a.check.next.Compare(b.check.next) })
	for _, m := range due {
		if s.running >= s.max {
			break // the end of one will wake the scheduler
		}
		s.running++
		m.check.running = true
		s.b.work.Add(1)
		go s.check(m, m.check.check)
	}
	return pause
}

// check runs one check and draws the conclusions.
func (s *scheduler) check(m *Member, c *Check) {
	defer s.b.work.Done()
	err := c.run(s.b.life, m)
	interval := c.interval()
	s.mu.Lock()
	s.running--
	st := &m.check
	st.running = false
	st.last, st.lastErr = time.Now(), err
	st.total++
	st.next = st.last.Add(interval - interval/10 + rand.N(interval/5+1))
	var passed, failed bool
	if err == nil {
		st.passes, st.fails = st.passes+1, 0
		passed = st.passes >= max(c.Passes, 1)
	} else {
		st.passes, st.fails = 0, st.fails+1
		failed = st.fails >= max(c.Fails, 1)
	}
	s.mu.Unlock()
	// A check that was taken off meanwhile has no say, and nobody would take
	// its failure off again.
	if s.b.life.Err() == nil && m.config.Load().Check == c {
		switch {
		case passed:
			m.passedCheck()
		case failed:
			m.setCheckFailed(context.Background(), true, err)
			if m.config.Load().Check == nil {
				m.setCheckFailed(context.Background(), false, nil)
			}
		}
	}
	s.poke()
}

// passedCheck takes the failure of checks off the member, and ends an error
// state that a failed connection has caused. That of a bad status or of an
// ejection stays: a check may well pass where requests fail.
func (m *Member) passedCheck() {
	m.setCheckFailed(context.Background(), false, nil)
	state, cause := m.State()
	_, byStatus := cause.(*StatusError)
	if state == StateError && !byStatus && cause != errEjected {
		m.MarkOK()
	}
}

// CheckNow checks a member at once, outside of the schedule, and returns the
// result. It changes nothing. The member must have a Check.
func (m *Member) CheckNow(ctx context.Context) error {
	c := m.config.Load().Check
	if c == nil {
		return ErrNoCheck
	}
	return c.run(ctx, m)
}
