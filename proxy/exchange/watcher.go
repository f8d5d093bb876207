package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// watchAfter is how old an exchange is when its context begins to be watched.
const watchAfter = 10 * time.Millisecond

// Watcher breaks exchanges off when their contexts end. One serves all the
// exchanges of a transport, at less than the cost of a context.AfterFunc for
// each. The zero value is ready for use.
//
// Watching a context costs more than all else in a short exchange, so it begins
// only with those that last: a timer, which runs while there are young ones,
// looks for them.
//
//	young --watchAfter--> watched (context.AfterFunc) --context ends--> aborted
//	young or watched --Remove--> done
type Watcher struct {
	mu    sync.Mutex // guards all below and each Watch it holds
	young *Watch     // newest first
	timer *time.Timer
	armed bool
}

// Watch is one exchange's place in a [Watcher]. It must not be copied while it
// is watched.
type Watch struct {
	ctx        context.Context
	c          *backend.Conn
	prev, next *Watch
	young      bool
	old        bool        // has seen a tick of the timer
	stop       func() bool // of context.AfterFunc; nil while young
}

// Add begins to watch over an exchange: when ctx ends, c is aborted, at the
// latest some 20 ms after. It reports false, and watches nothing, if the
// context has ended already.
func (w *Watcher) Add(e *Watch, ctx context.Context, c *backend.Conn) bool {
	e.ctx, e.c = ctx, c
	if ctx.Err() != nil {
		return false
	}
	if d, ok := ctx.Deadline(); ok && time.Until(d) < time.Second {
		e.stop = context.AfterFunc(ctx, c.Abort)
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e.young, e.next = true, w.young
	if e.next != nil {
		e.next.prev = e
	}
	w.young = e
	if !w.armed {
		w.armed = true
		if w.timer == nil {
			w.timer = time.AfterFunc(watchAfter, w.tick)
		} else {
			w.timer.Reset(watchAfter)
		}
	}
	return true
}

// unlink takes a young exchange out of the list.
func (w *Watcher) unlink(e *Watch) {
	if e.prev == nil {
		w.young = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.prev, e.next, e.young = nil, nil, false
}

// Remove ends the watch, and reports whether the context had not ended. Only
// then is the connection fit for reuse.
func (w *Watcher) Remove(e *Watch) bool {
	if e.ctx == nil {
		return true
	}
	w.mu.Lock()
	if e.young {
		w.unlink(e)
	}
	stop := e.stop
	w.mu.Unlock()
	if stop != nil {
		return stop()
	}
	return e.ctx.Err() == nil
}

// tick watches the contexts of those that were there at the tick before.
func (w *Watcher) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e := w.young; e != nil; {
		next := e.next
		if e.old {
			w.unlink(e)
			e.stop = context.AfterFunc(e.ctx, e.c.Abort)
		}
		e.old = true
		e = next
	}
	if w.armed = w.young != nil; w.armed {
		w.timer.Reset(watchAfter)
	}
}
