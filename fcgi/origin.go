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

// origin is a backend as seen by the exchanges with it.
//
// A child of php-fpm that has a connection takes no other, even while nothing
// comes over it. If we open one more connection than there are children, nobody
// serves it until we close one of those that are idle. So, as long as a new
// connection has had no answer for a while, others are closed after use instead
// of being kept.
type origin struct {
	b        *backend.Backend
	starving atomic.Int32
}

// hunger watches over a new connection.
type hunger struct {
	o     *origin
	timer *time.Timer

	mu    sync.Mutex // guards the rest
	fed   bool
	grown bool // it is counted in starving
}

// hungry begins to watch a new connection.
func (o *origin) hungry() *hunger {
	h := &hunger{o: o}
	h.timer = time.AfterFunc(starvingAfter, h.grow)
	return h
}

func (h *hunger) grow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.fed {
		h.grown = true
		h.o.starving.Add(1)
		h.o.b.CloseIdle(1)
	}
}

// feed ends the watch: an answer has come, or none will.
func (h *hunger) feed() {
	if h == nil {
		return
	}
	h.timer.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fed {
		return
	}
	h.fed = true
	if h.grown {
		h.o.starving.Add(-1)
	}
}
