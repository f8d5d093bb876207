package backend

import "time"

// maxSweep is the longest that a connection closed by the backend stays
// unnoticed in the pool.
const maxSweep = 5 * time.Second

// sweepIn is when to look after an idle connection.
func (b *Backend) sweepIn(c *Conn) time.Duration {
	if limit := b.idleLimit(c); limit > 0 {
		return min(limit, maxSweep)
	}
	return maxSweep
}

// arm starts the sweeper; the caller holds the lock.
func (p *pool) arm(b *Backend, d time.Duration) {
	p.armed = true
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(d, func() { p.sweep(b) })
	} else {
		p.sweeper.Reset(d)
	}
}

// sweep closes what was idle for too long or was closed by the backend.
func (p *pool) sweep(b *Backend) {
	p.mu.Lock()
	dead, next := p.look(b)
	p.armed = false
	if len(p.idle) > 0 && !p.closed {
		p.arm(b, max(next, time.Millisecond))
	}
	p.mu.Unlock()
	closeAll(dead)
	b.tend()
}

// look takes those idle connections out of the list that are not fit for use, for
// the caller to close, and returns when to look again. The caller holds the lock.
func (p *pool) look(b *Backend) (dead []*Conn, next time.Duration) {
	next = maxSweep
	now := time.Since(b.epoch)
	dead = p.unfit(func(c *Conn) bool {
		if !b.fit(c, false) {
			return false
		}
		if limit := b.idleLimit(c); limit > 0 {
			next = min(next, limit-(now-c.since))
		}
		return true
	})
	return dead, next
}

// tend does what is due besides serving: it opens connections for MinIdle and
// looks the address up again.
func (b *Backend) tend() {
	if b.MinIdle > 0 {
		b.warm()
	}
	if b.network == "tcp" {
		b.refresh()
	}
}

// warm opens connections in the background until MinIdle are idle, or one
// fails.
func (b *Backend) warm() {
	if b.ProxyProtocol != 0 || b.State() != StateUsable {
		return
	}
	p := &b.pool
	p.mu.Lock()
	due := !p.warming && p.lacksIdle(b)
	p.warming = p.warming || due
	if due {
		b.work.Add(1)
	}
	p.mu.Unlock()
	if !due {
		return
	}
	go func() {
		defer b.work.Done()
		for {
			p.mu.Lock()
			if !p.lacksIdle(b) {
				p.warming = false
				p.mu.Unlock()
				return
			}
			p.open++
			p.mu.Unlock()
			c, err := b.dial(b.life, Audience{})
			if err != nil {
				p.forget(b)
				p.mu.Lock()
				p.warming = false
				p.mu.Unlock()
				return
			}
			b.counters.created.Add(1)
			p.put(b, c)
		}
	}()
}

func (p *pool) lacksIdle(b *Backend) bool {
	return !p.closed && !p.retired && len(p.idle) < min(b.MinIdle, or(b.MaxIdle, DefaultMaxIdle)) &&
		(b.MaxConns <= 0 || p.open < b.MaxConns)
}

// CloseIdle closes up to n connections that are open and unused, the longest
// idle first, and returns how many there were. It is for backends that can
// serve only so many connections at a time, whether something comes over them
// or not.
func (b *Backend) CloseIdle(n int) int {
	p := &b.pool
	p.mu.Lock()
	left := n
	old := p.unfit(func(*Conn) bool {
		left--
		return left < 0
	})
	p.mu.Unlock()
	closeAll(old)
	return len(old)
}
