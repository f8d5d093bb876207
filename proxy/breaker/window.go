package breaker

import "time"

// steps is of how many slots a window is made.
const steps = 10

// counts are requests, and those of them that were not well.
type counts struct{ requests, failures, slow int }

func (c *counts) plus(d counts, sign int) {
	c.requests += sign * d.requests
	c.failures += sign * d.failures
	c.slow += sign * d.slow
}

// window counts what happened within a span, which is the same each time. The
// zero value is empty.
type window struct {
	sum   counts
	slots [steps]counts
	begun time.Time // of slot 0, the first time
	last  int64     // the slot of the last call, counted from there
}

// add moves the window to now, and adds d.
func (w *window) add(now time.Time, span time.Duration, d counts) {
	if w.begun.IsZero() {
		w.begun = now
	}
	at := int64(now.Sub(w.begun) / max(span/steps, 1))
	for w.last < at && w.sum != (counts{}) {
		w.last++
		old := &w.slots[w.last%steps]
		w.sum.plus(*old, -1)
		*old = counts{}
	}
	w.last = max(w.last, at) // what is empty needs no more
	w.slots[w.last%steps].plus(d, 1)
	w.sum.plus(d, 1)
}
