package backend

import "sync"

// DefaultIdleLimit is the Max of an [IdleLimit] that says nothing else.
const DefaultIdleLimit = 512

// IdleLimit limits the connections that many backends keep open and unused
// together, whatever MaxIdle each has. At the limit the one that was unused for
// longest is closed, whosever it is. Transports that make a Backend for each
// origin have one: clients name origins, and none of them may fill the table of
// sockets. The zero value is ready for use, by any number of goroutines.
type IdleLimit struct {
	// Max is the number of connections. Zero means 512, a negative value keeps
	// none. It must not change once a backend was added.
	Max int

	mu          sync.Mutex // guards the rest, and the links of listed connections
	n           int
	first, last *Conn // the longest unused first
}

// Add has l count the connections of b, unless another limit does so already.
func (l *IdleLimit) Add(b *Backend) {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	if b.pool.limit == nil {
		b.pool.limit = l
	}
}

// place is that of an unused connection in the list of an IdleLimit.
type place struct {
	before, after *Conn
	listed        bool
	close         func() // of one that was detached; nil for one of the pool
}

// add counts c as the last to become unused. The caller evicts what it returns
// once it has given up its locks.
func (l *IdleLimit) add(c *Conn) (tooMany *Conn) {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlink(c)
	c.place.before, c.place.listed = l.last, true
	if l.last == nil {
		l.first = c
	} else {
		l.last.place.after = c
	}
	l.last = c
	l.n++
	if most := or(l.Max, DefaultIdleLimit); l.n > max(most, 0) {
		tooMany = l.first
		l.unlink(tooMany)
	}
	return tooMany
}

// drop counts c no more.
func (l *IdleLimit) drop(c *Conn) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.unlink(c)
	l.mu.Unlock()
}

func (l *IdleLimit) unlink(c *Conn) {
	at := &c.place
	if !at.listed {
		return
	}
	if at.before == nil {
		l.first = at.after
	} else {
		at.before.place.after = at.after
	}
	if at.after == nil {
		l.last = at.before
	} else {
		at.after.place.before = at.before
	}
	at.before, at.after, at.listed = nil, nil, false
	l.n--
}

// evict closes a connection that is one too many, unless it is in use again.
func (c *Conn) evict() {
	if c == nil {
		return
	}
	if c.place.close != nil {
		c.place.close()
		return
	}
	p := &c.backend.pool
	p.mu.Lock()
	dead := p.unfit(func(idle *Conn) bool { return idle != c })
	p.mu.Unlock()
	closeAll(dead)
}

// Rest tells that a connection that was detached is open and unused, as those
// of the pool are: close is called if it has to make room, possibly before Rest
// returns, and may find that it is in use again. Rest reports false, and the
// caller closes the connection, where none is kept.
func (c *Conn) Rest(close func()) bool {
	b, p := c.backend, &c.backend.pool
	p.mu.Lock()
	if p.closed || p.retired || b.DisableReuse || b.MaxIdle < 0 {
		p.mu.Unlock()
		return false
	}
	if p.limit != nil && c.place.close == nil {
		c.place.close = close
	}
	tooMany := p.limit.add(c)
	p.mu.Unlock()
	tooMany.evict()
	return true
}

// Wake tells that a connection that was at rest is in use.
func (c *Conn) Wake() {
	p := &c.backend.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit.drop(c)
}
