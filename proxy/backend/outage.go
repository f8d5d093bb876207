package backend

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Outage counts what fails while something is out of order, so that a log has a
// line when that begins, and one with the sums when it is over, whatever happens
// in between. The zero value is in order. All methods may be called from any
// goroutine; while all is well, Over takes no lock.
type Outage struct {
	on       atomic.Bool
	mu       sync.Mutex // guards what follows
	since    time.Time
	failures int64
}

// Failed counts a failure, and reports whether it is the first: the outage begins.
func (o *Outage) Failed() (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if first = !o.on.Load(); first {
		o.since, o.failures = time.Now(), 0
		o.on.Store(true)
	}
	o.failures++
	return first
}

// Refused counts what was refused because of the outage, if there is one.
func (o *Outage) Refused() {
	if !o.on.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.on.Load() {
		o.failures++
	}
}

// On reports whether it is out of order.
func (o *Outage) On() bool { return o.on.Load() }

// Over ends the outage, and returns its sums for a log: how long it was, and how
// much has failed. They are nil if there was none.
func (o *Outage) Over() []slog.Attr {
	if !o.on.Load() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on.Swap(false) {
		return nil
	}
	return []slog.Attr{slog.Duration("duration", time.Since(o.since)), slog.Int64("failures", o.failures)}
}
