package balancer

import "context"

// Drain sets the flag Draining, so that the member gets no new sessions, and
// returns when it has no request, or with the context's error. Requests bound
// to it by a session still arrive: clear them out of the cookies, or wait.
// The flag stays set.
func (m *Member) Drain(ctx context.Context) error {
	m.SetFlags(Draining, 0)
	return m.waitIdle(ctx)
}

// waitIdle returns when the member has no request.
func (m *Member) waitIdle(ctx context.Context) error {
	for {
		idle := m.idle.wait()
		if m.busy.Load() == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// becameIdle is called when the last request has ended.
func (m *Member) becameIdle() {
	m.idle.wake()
	if m.removed.Load() {
		m.retireNow()
	}
}

// takeOut makes a member one that gets no further requests, and closes what was
// made for it when the last has ended.
func (m *Member) takeOut() {
	m.removed.Store(true)
	// A request counts itself before it looks at removed: either it sees it,
	// or it is counted here.
	if m.busy.Load() == 0 {
		m.retireNow()
	}
}

func (m *Member) retireNow() { m.retire.Do(m.release) }
