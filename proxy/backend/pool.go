package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// DialError is what Get returns when no connection could be opened.
type DialError struct {
	Address string // what was dialled: host:port or the path of a socket
	Err     error
}

// Error names the address and the cause.
func (e *DialError) Error() string { return fmt.Sprintf("dial %s: %v", e.Address, e.Err) }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// pool holds the connections of a backend. Idle ones are used last in, first
// out, so that what is not needed grows old and is closed.
type pool struct {
	mu      sync.Mutex // guards all below
	open    int        // connections open, or being opened
	idle    []*Conn    // the longest idle first
	line    line
	sweeper *time.Timer // nil until a connection was idle
	armed   bool        // the sweeper is going to run
	warming bool        // a goroutine is opening connections for MinIdle
	limit   *IdleLimit  // counts the idle ones, too, if not nil
	checks  *Backend    // what For returns for health checks; nil until the first
	memo    any         // what Memo returns
	retired bool        // no connection is kept any more
	closed  bool
}

// Get returns a connection: an idle one that is still open, or a new one. At
// MaxConns it waits in line for AcquireTimeout and as long as ctx allows. It
// fails with [ErrBusy], an [*UnusableError], [ErrClosed], the context's error, or a
// [*DialError]; a failed dial puts the backend into the error state.
func (b *Backend) Get(ctx context.Context) (*Conn, error) { return b.get(ctx, "", reuse) }

// GetTurn is Get for those who begin with [Conn.Turn] and then, if it has sent
// nothing, go on with GetFresh. Turn looks at the connection itself, so one that
// was in use a moment ago is not looked at before.
func (b *Backend) GetTurn(ctx context.Context) (*Conn, error) { return b.get(ctx, "", reuseUnseen) }

// GetFresh is Get without the idle connections: for a second try after a
// reused connection turned out to be closed.
func (b *Backend) GetFresh(ctx context.Context) (*Conn, error) { return b.get(ctx, "", dialAnew) }

// GetFor is Get for protocols in which somebody logs in on a connection: those
// that were opened for one owner never serve another. At MaxConns idle ones of
// others make room, and so do the longest idle at MaxIdle. MinIdle opens
// connections for nobody, which serve Get alone.
func (b *Backend) GetFor(ctx context.Context, owner string) (*Conn, error) {
	return b.get(ctx, owner, reuse)
}

// GetFreshFor is GetFor without the idle connections, as GetFresh is.
func (b *Backend) GetFreshFor(ctx context.Context, owner string) (*Conn, error) {
	return b.get(ctx, owner, dialAnew)
}

// choice says which connections will do.
type choice int

const (
	reuse       choice = iota // an idle one that is open, or a new one
	reuseUnseen               // the same, but one that was just used may be closed
	dialAnew                  // a new one
)

// justUsed is how long ago a connection was used whose state is left to Turn.
const justUsed = time.Second

func (b *Backend) get(ctx context.Context, owner string, which choice) (*Conn, error) {
	b = b.For(ctx)
	if err := b.setup(); err != nil {
		return nil, err
	}
	trial, err := b.admit(ctx)
	if err != nil {
		return nil, err
	}
	got := false
	if trial {
		defer func() {
			if !got { // also where a function of others has panicked
				b.endTrial(ctx)
			}
		}()
	}
	var audience Audience
	if b.ProxyProtocol != NoProxyProtocol || b.ServerNameFromHost {
		if audience, err = b.AudienceOf(ctx); err != nil {
			return nil, err
		}
	}
	audience.owner = owner
	b.counters.elected.Add(1)
	var begun time.Duration
	if b.MaxConns > 0 { // else nobody waits
		begun = time.Since(b.epoch)
	}
	// A trial opens a connection of its own: that an old one is still open says
	// little, and that it is not, nothing.
	if trial {
		which = dialAnew
	}
	c, err := b.acquire(ctx, audience, which)
	if c == nil && err == nil {
		c, err = b.open(ctx, audience)
	}
	if err != nil {
		return nil, err
	}
	got = true
	if c.opening > 0 && b.MaxConns > 0 {
		c.waited = c.born - begun
	}
	if c.used {
		b.note(ctx, levelTrace2, "backend: connection reused", c)
	} else {
		b.note(ctx, slog.LevelDebug, "backend: connection opened", c)
	}
	if c.trial = trial; trial || b.Retry <= 0 && b.health.Unwell() {
		c.judged = ctx
	}
	b.counters.busy.Add(1)
	return c, nil
}

// acquire returns an idle connection, or nil for the permission to dial.
func (b *Backend) acquire(ctx context.Context, audience Audience, which choice) (*Conn, error) {
	p := &b.pool
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, ErrClosed
		}
		var c *Conn
		if which != dialAnew {
			c = p.take(audience)
		}
		if c == nil {
			break
		}
		p.mu.Unlock()
		if b.fit(c, which == reuseUnseen) {
			b.counters.reused.Add(1)
			b.tend()
			return c, nil
		}
		b.note(ctx, slog.LevelDebug, "backend: idle connection not fit for use", c)
		p.discard(b, c)
	}
	if b.MaxConns <= 0 || p.open < b.MaxConns {
		p.open++
		p.mu.Unlock()
		return nil, nil
	}
	if len(p.idle) > 0 { // none of them serves, so the oldest makes room
		c := p.idle[0]
		p.remove(0)
		p.mu.Unlock()
		_ = c.Close()
		return nil, nil
	}
	w := &waiter{handed: make(chan *Conn, 1), audience: audience, fresh: which == dialAnew}
	p.line.push(w)
	p.mu.Unlock()
	b.note(ctx, slog.LevelDebug, "backend: waiting for a connection", nil)
	return b.wait(ctx, w)
}

// wait stands in line until w is handed something, or gives up its place.
func (b *Backend) wait(ctx context.Context, w *waiter) (*Conn, error) {
	b.counters.waited.Add(1)
	begun := time.Since(b.epoch)
	var expired <-chan time.Time
	if b.AcquireTimeout > 0 {
		t := time.NewTimer(b.AcquireTimeout)
		defer t.Stop()
		expired = t.C
	}
	var err error
	select {
	case c, open := <-w.handed:
		if !open {
			return nil, ErrClosed
		}
		c, err := b.accept(c)
		if c != nil {
			c.waited = time.Since(b.epoch) - begun
		}
		return c, err
	case <-expired:
		err = ErrBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p := &b.pool
	p.mu.Lock()
	if w.queued {
		p.line.remove(w)
		p.mu.Unlock()
		return nil, err
	}
	p.mu.Unlock()
	// It was handed something at the same moment: pass it on.
	switch c, open := <-w.handed; {
	case c != nil:
		p.put(b, c)
	case open:
		p.forget(b)
	}
	return nil, err
}

// accept turns a connection that was handed over and has since been closed
// into the permission to dial.
func (b *Backend) accept(c *Conn) (*Conn, error) {
	if c != nil && !b.fit(c, false) {
		_ = c.Close()
		c = nil
	}
	if c != nil {
		c.rested = -1
		b.counters.reused.Add(1)
	}
	return c, nil
}

// fit reports whether an idle connection may still be used. Whether one that
// turns and was just used is open, Turn will tell.
func (b *Backend) fit(c *Conn, turns bool) bool {
	idle := time.Since(b.epoch) - c.since
	c.rested = idle
	if limit := b.idleLimit(c); limit > 0 && idle >= limit {
		return false
	}
	return !b.resolved.gone(c) && (turns && idle < justUsed && c.looks() || c.alive())
}

// idleLimit is how long c may be idle; 0 means for ever.
func (b *Backend) idleLimit(c *Conn) time.Duration {
	limit := max(or(b.IdleTTL, DefaultIdleTTL), 0)
	if c.idle > 0 && (limit == 0 || c.idle < limit) {
		return c.idle
	}
	return limit
}

// open dials with the permission to do so, and gives it back on failure, also
// where a hook or a function of others has panicked.
func (b *Backend) open(ctx context.Context, audience Audience) (*Conn, error) {
	opened := false
	defer func() {
		if !opened {
			b.pool.forget(b)
		}
	}()
	c, err := b.dial(ctx, audience)
	if err == nil {
		opened = true
		b.counters.created.Add(1)
		c.opening = max(time.Since(b.epoch)-c.born, 1)
		b.tend()
		return c, nil
	}
	if cause := Over(ctx); cause != nil {
		return nil, &DialError{b.address, cause}
	}
	var name *ServerNameError
	blameless := errors.As(err, &name)
	err = &DialError{b.address, err}
	if !blameless {
		b.markError(ctx, err)
	}
	return nil, err
}

// Over returns why ctx has ended, or is about to, and nil if it goes on: a socket
// that has the context's deadline may fail a moment before the context does,
// which says nothing about the backend.
func Over(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

// take returns the idle connection used last that serves this audience.
func (p *pool) take(audience Audience) *Conn {
	i := len(p.idle) - 1
	for i >= 0 && p.idle[i].audience != audience {
		i--
	}
	if i < 0 {
		return nil
	}
	c := p.idle[i]
	p.remove(i)
	return c
}

// remove takes an idle connection out of the list.
func (p *pool) remove(i int) {
	p.limit.drop(p.idle[i])
	copy(p.idle[i:], p.idle[i+1:])
	p.idle[len(p.idle)-1] = nil
	p.idle = p.idle[:len(p.idle)-1]
}

// unfit takes those idle connections that do not pass out of the list, for the
// caller to close. It holds the lock.
func (p *pool) unfit(passes func(*Conn) bool) (dead []*Conn) {
	kept := p.idle[:0]
	for _, c := range p.idle {
		if passes(c) {
			kept = append(kept, c)
			continue
		}
		p.limit.drop(c)
		dead = append(dead, c)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.lost(len(dead)) // nobody is in line while connections are idle
	return dead
}

// lost counts n connections less as open. Nothing is left to look after when
// there is none. The caller holds the lock.
func (p *pool) lost(n int) {
	p.open -= n
	if p.open == 0 && p.armed {
		p.sweeper.Stop()
		p.armed = false
	}
}

// put hands c to the first in line, or keeps it idle, and reports whether it did.
func (p *pool) put(b *Backend, c *Conn) (kept bool) {
	c.since, c.pooled = time.Since(b.epoch), true
	c.waited, c.opening = 0, 0
	p.mu.Lock()
	if w := p.line.pop(); w != nil {
		p.mu.Unlock()
		if w.fresh || w.audience != c.audience {
			_ = c.Close()
			c = nil
		}
		kept = c != nil
		w.handed <- c
		return kept
	}
	if p.closed || p.retired || len(p.idle) >= or(b.MaxIdle, DefaultMaxIdle) {
		p.lost(1)
		if c.audience != (Audience{}) && !p.closed && !p.retired && len(p.idle) > 0 {
			// Or those who came once would keep all who come often waiting.
			oldest := p.idle[0]
			p.remove(0)
			p.idle = append(p.idle, c)
			p.limit.add(c) // in the place of the oldest
			c, kept = oldest, true
		}
		p.mu.Unlock()
		_ = c.Close()
		return kept
	}
	p.idle = append(p.idle, c)
	if !p.armed {
		p.arm(b, b.sweepIn(c))
	}
	tooMany := p.limit.add(c)
	p.mu.Unlock()
	tooMany.evict()
	return true
}

// discard closes a connection that must not be used again.
func (p *pool) discard(b *Backend, c *Conn) {
	_ = c.wire.Close() // no farewell: the other side may not be reading
	p.forget(b)
}

// forget frees the place of a connection that is closed or was never opened.
func (p *pool) forget(b *Backend) {
	p.mu.Lock()
	w := p.line.pop()
	if w == nil {
		p.lost(1)
	}
	p.mu.Unlock()
	if w != nil {
		w.handed <- nil
	}
}

// retire closes the idle connections and keeps none from now on.
func (p *pool) retire() {
	p.mu.Lock()
	p.retired = true
	idle := p.unfit(func(*Conn) bool { return false })
	p.mu.Unlock()
	closeAll(idle)
}

func (p *pool) close() {
	p.retire()
	p.mu.Lock()
	p.closed = true
	if p.checks != nil {
		_ = p.checks.Close()
	}
	for w := p.line.pop(); w != nil; w = p.line.pop() {
		close(w.handed)
	}
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.mu.Unlock()
}
