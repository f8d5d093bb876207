package fcgi

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// starvingAfter is how long a new connection may go without an answer before
// idle ones are suspected of keeping the application from it.
const starvingAfter = 100 * time.Millisecond

// origin is a backend as seen by the exchanges with it, and what it remembers.
//
// A child of php-fpm that has a connection takes no other, even while nothing
// comes over it. If we open one more connection than there are children, nobody
// serves it until we close one of those that are idle. So each new connection
// that has had no answer for a while has one other closed for it: an idle one,
// or else the next that would be kept. While it goes on to starve, it asks again
// after twice the time, for the child may have taken somebody else's connection.
type origin struct {
	b    *backend.Backend
	owed atomic.Int32 // connections to be closed instead of kept
}

func originOf(b *backend.Backend) *origin {
	o, ok := b.Memo(func() any { return &origin{b: b} }).(*origin)
	if !ok { // of another protocol, which has no children
		o = &origin{b: b}
	}
	return o
}

// hunger watches over a new connection.
type hunger struct {
	o *origin

	mu    sync.Mutex // guards the rest
	timer *time.Timer
	fed   bool
	wait  time.Duration // before it asks again
	owed  bool          // it has asked, and none was idle
}

// hungry begins to watch a new connection.
func (o *origin) hungry() *hunger {
	h := &hunger{o: o, wait: starvingAfter}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(h.wait, h.ask)
	return h
}

func (h *hunger) ask() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fed {
		return
	}
	if h.owed && h.o.owed.Load() == 0 {
		h.owed = false // one was closed, to no avail
	}
	if !h.owed && h.o.b.CloseIdle(1) == 0 {
		h.owed = true
		h.o.owed.Add(1)
	}
	h.wait *= 2
	h.timer.Reset(h.wait)
}

// feed ends the watch: an answer has come, or none will.
func (h *hunger) feed() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer.Stop()
	if h.fed {
		return
	}
	h.fed = true
	if h.owed {
		h.o.take()
	}
}

// take reports whether a connection is to be closed instead of kept, and counts
// it as closed. What one starving connection asked for may serve another.
func (o *origin) take() bool {
	for {
		n := o.owed.Load()
		if n <= 0 {
			return false
		}
		if o.owed.CompareAndSwap(n, n-1) {
			return true
		}
	}
}
