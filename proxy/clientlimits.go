package proxy

import (
	"cmp"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultClientTimeout is the Timeout of [ClientLimits] that have none.
const DefaultClientTimeout = 60 * time.Second

// ClientLimits say how long a client may keep its request waiting, and with it
// the connection to the backend: by not sending the body that it has announced,
// or by not reading the answer. The zero value has the defaults. It may be
// shared by several handlers, and must not be copied after first use.
//
// What counts is one wait for the client, not the whole message: a client that
// goes on sending, however slowly, or that goes on reading is waited for as long
// as it takes. What it reads is seen by the piece: 32 KB, or 256 KB where the
// kernel moves them, must not take longer than Timeout.
// The time that the backend takes does not count, so that long polls and event
// streams may last, and once the answer has begun, the pauses of a body do not
// count while the answer moves on. Upgraded connections have limits of their
// own.
//
// When the time is over, the connection to the backend is given up at once, and
// nothing is held against it. The client gets 408 if its answer has not begun;
// else its connection, or its stream of HTTP/2, is cut. The error is
// [exchange.ErrClientStalled].
//
// The deadlines of the http.Server, such as its ReadTimeout, stay in force: none
// is ever moved ahead, and none is left behind for the next request. Reads and
// writes are ended by those of an http.ResponseController. Where the
// ResponseWriter has none, only the backend is freed: the handler returns when
// its write does. The same goes for a connection of HTTP/2 from which the client
// reads nothing at all: set WriteByteTimeout in the http.Server's HTTP2.
type ClientLimits struct {
	// Timeout is how long one wait for the client may take. Zero means 60 s;
	// negative means no limit. Apache: Timeout.
	Timeout time.Duration

	// BodyTimeout, if positive, is how long all waits for a request's body may
	// take together. Apache: RequestReadTimeout body=20.
	BodyTimeout time.Duration

	// BodyMinRate, if positive, adds a second to BodyTimeout whenever that many
	// bytes have come. Apache: RequestReadTimeout body=20,MinRate=500.
	BodyMinRate int

	// BodyMaxTimeout, if positive, is what BodyTimeout may grow to. Apache:
	// RequestReadTimeout body=20-40,MinRate=500.
	BodyMaxTimeout time.Duration

	mu   sync.Mutex // guards free
	free []*clientWait
}

// Wrap puts the limits around next: for handlers that have none of their own.
// A client that does not read has its connection cut. Bodies of requests are
// not looked at.
func (l *ClientLimits) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := &clientWriter{ResponseWriter: w, limits: l}
		defer to.end()
		next.ServeHTTP(to, r)
	})
}

// timeout is Timeout with its default.
func (l *ClientLimits) timeout() time.Duration { return cmp.Or(l.Timeout, DefaultClientTimeout) }

// body is how long the next wait for a body may take, of which received bytes
// have come in spent time; not positive if no more than that was allowed.
func (l *ClientLimits) body(spent time.Duration, received int64) time.Duration {
	each := l.timeout()
	if each < 0 {
		each = math.MaxInt64
	}
	if l.BodyTimeout <= 0 {
		return each
	}
	all := l.BodyTimeout
	if l.BodyMinRate > 0 {
		if more := float64(received) / float64(l.BodyMinRate) * float64(time.Second); more < float64(math.MaxInt64-all) {
			all += time.Duration(more)
		} else {
			all = math.MaxInt64
		}
		if l.BodyMaxTimeout > 0 {
			all = min(all, max(l.BodyMaxTimeout, l.BodyTimeout))
		}
	}
	return min(each, all-spent)
}

// mostFree is how many waits are kept for the next request.
const mostFree = 256

// lend returns a wait for owner, which is to be given back.
func (l *ClientLimits) lend(owner stallOwner) *clientWait {
	l.mu.Lock()
	var w *clientWait
	if n := len(l.free); n > 0 {
		w, l.free = l.free[n-1], l.free[:n-1]
	}
	l.mu.Unlock()
	if w == nil {
		w = new(clientWait)
	}
	w.init(owner)
	return w
}

// giveBack takes a wait back that nobody needs any more.
func (l *ClientLimits) giveBack(w *clientWait) {
	if !w.forget() {
		return
	}
	l.mu.Lock()
	if len(l.free) < mostFree {
		l.free = append(l.free, w)
	}
	l.mu.Unlock()
}

// stallOwner is told that its client has stalled. Whoever waits does not go on
// before stalled has returned.
type stallOwner interface{ stalled() }

// clientWait watches over the waits for one client, which come one after the
// other. Its timer is left running between them, and begins anew only when it
// fires, so that a wait costs little more than looking at the clock.
type clientWait struct {
	born  time.Time
	until atomic.Int64 // when the wait under way has lasted too long, since born; 0: there is none
	due   atomic.Int64 // when the timer fires; 0: it does not run

	mu    sync.Mutex // guards what follows, and making until tooLong
	timer *time.Timer
	owner stallOwner // nil: nobody wants to know any more
}

// tooLong is the until of a wait that has lasted too long, and of all after it.
const tooLong = -1

func (c *clientWait) init(owner stallOwner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.born.IsZero() {
		c.born = time.Now()
	}
	c.owner = owner
}

// begin begins a wait that may take as long as limit, which is positive. It
// reports false if an earlier one has lasted too long.
func (c *clientWait) begin(limit time.Duration) bool {
	old, until := c.until.Load(), c.in(limit)
	if old == tooLong || !c.until.CompareAndSwap(old, until) {
		return false
	}
	// Either this sees that the timer has fired, or that sees the wait.
	if due := c.due.Load(); due == 0 || due > until {
		c.mu.Lock()
		c.arm(until)
		c.mu.Unlock()
	}
	return true
}

// in returns the time in which limit has passed.
func (c *clientWait) in(limit time.Duration) int64 {
	until := int64(time.Since(c.born)) + int64(limit)
	if until <= 0 {
		return math.MaxInt64
	}
	return until
}

// renew begins the limit of the wait under way anew, if there is one.
func (c *clientWait) renew(limit time.Duration) {
	if until := c.until.Load(); until > 0 {
		c.until.CompareAndSwap(until, c.in(limit))
	}
}

// end ends the wait. It reports false if that has lasted too long, when its
// owner has been told.
func (c *clientWait) end() bool {
	for {
		until := c.until.Load()
		if until == tooLong {
			c.mu.Lock() // until the owner has been told
			defer c.mu.Unlock()
			return false
		}
		if c.until.CompareAndSwap(until, 0) {
			return true
		}
	}
}

// exceed ends the patience with a client that is not waited for now.
func (c *clientWait) exceed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.Swap(tooLong) != tooLong && c.owner != nil {
		c.owner.stalled()
	}
}

// exceeded reports whether a wait has lasted too long.
func (c *clientWait) exceeded() bool { return c.until.Load() == tooLong }

// forget has nobody told any more. It reports false if the owner was.
func (c *clientWait) forget() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owner = nil
	return !c.exceeded()
}

// stop is forget for a wait that is not used again.
func (c *clientWait) stop() bool {
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	return c.forget()
}

// arm has the timer fire at due; mu is held.
func (c *clientWait) arm(due int64) {
	c.due.Store(due)
	left := time.Duration(due) - time.Since(c.born)
	if c.timer == nil {
		c.timer = time.AfterFunc(left, c.tick)
	} else {
		c.timer.Reset(left)
	}
}

// tick looks whether the wait under way lasts too long.
func (c *clientWait) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due.Store(0)
	for {
		until := c.until.Load()
		switch {
		case c.owner == nil || until <= 0:
			return
		case time.Duration(until) > time.Since(c.born):
			c.arm(until)
			return
		case c.until.CompareAndSwap(until, tooLong):
			c.owner.stalled()
			return
		}
	}
}
