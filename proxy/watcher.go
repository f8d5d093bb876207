package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// watchAfter is how old an exchange is when its context begins to be watched.
const watchAfter = 10 * time.Millisecond

// watcher breaks exchanges off when their context ends. Watching a context
// costs more than all else in a short exchange, so it begins only with those
// that last: a timer, which runs while there are young ones, looks for them.
//
//	young --watchAfter--> watched (context.AfterFunc) --context ends--> aborted
//	young or watched --remove--> done
type watcher struct {
	mu    sync.Mutex // guards all below and the watched it holds
	young *watched   // newest first
	timer *time.Timer
	armed bool
}

// watched is one exchange's place in a watcher.
type watched struct {
	ctx        context.Context
	c          *backend.Conn
	prev, next *watched
	young      bool
	old        bool        // has seen a tick of the timer
	stop       func() bool // of context.AfterFunc; nil while young
}

// add begins to watch over an exchange. It reports false if the context has
// ended already.
func (w *watcher) add(e *watched, ctx context.Context, c *backend.Conn) bool {
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
func (w *watcher) unlink(e *watched) {
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

// remove ends the watch, and reports whether the context had not ended.
func (w *watcher) remove(e *watched) bool {
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
func (w *watcher) tick() {
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
