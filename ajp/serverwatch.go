package ajp

import (
	"context"
	"sync"
	"time"
)

// watcher ends the context of a request when the proxy closes its connection,
// which is how it says that the client has left. It begins to look after a
// while, since most requests are done by then, and only when no more of the
// request is to come, since then nothing but the end can be read.
//
//	off --begin--> armed --watchAfter--> watching --the proxy closes--> context ends
//	any --end--> off
type watcher struct {
	mu       sync.Mutex // guards all below
	timer    *time.Timer
	cancel   context.CancelFunc // nil between requests
	complete bool               // the request was read wholly
	late     bool               // watchAfter has passed
	watching chan struct{}      // closed when the watch ends; nil if there is none
}

func (w *watcher) begin(c *serverConn, cancel context.CancelFunc, complete bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel, w.complete, w.late = cancel, complete, false
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, func() { w.arrive(c) })
		return
	}
	w.timer.Reset(watchAfter)
}

// arrive is run by the timer.
func (w *watcher) arrive(c *serverConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = true
	w.start(c)
}

// completed tells that the body was read to its end.
func (w *watcher) completed(c *serverConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.complete = true
	w.start(c)
}

// start begins to watch if that is due. The caller holds mu.
func (w *watcher) start(c *serverConn) {
	if w.cancel == nil || !w.late || !w.complete || w.watching != nil {
		return
	}
	cancel, done := w.cancel, make(chan struct{})
	w.watching = done
	_ = c.nc.SetReadDeadline(time.Time{})
	go func() {
		defer close(done)
		if _, err := c.r.Peek(1); err == nil {
			return // the next request, too early
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cancel != nil {
			cancel()
		}
	}()
}

// fire ends the context at once.
func (w *watcher) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
	}
}

// end stops watching, so that the connection can be read again.
func (w *watcher) end(c *serverConn) {
	w.mu.Lock()
	w.cancel = nil
	w.timer.Stop()
	done := w.watching
	w.watching = nil
	if done != nil {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
	w.mu.Unlock()
	if done != nil {
		<-done
		_ = c.nc.SetReadDeadline(time.Time{})
	}
}
