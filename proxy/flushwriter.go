package proxy

import (
	"net/http"
	"time"
)

// flushDelay is how long the head of a stream waits for its first byte, and
// bytes of a known length for more of them. A transport's own HTTP/1 bodies need
// no such clock: they tell when they pause.
const flushDelay = 10 * time.Millisecond

// flushWriter flushes what is written to it, at once or after an interval.
type flushWriter struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	interval time.Duration // negative: at once

	turn    baton // guards w and the rest
	timer   *time.Timer
	pending bool
	stopped bool
}

func newFlushWriter(w http.ResponseWriter, interval time.Duration) *flushWriter {
	f := &flushWriter{w: w, rc: http.NewResponseController(w), interval: interval, turn: newBaton(), pending: true}
	f.timer = time.AfterFunc(max(interval, flushDelay), f.flush)
	return f
}

func (f *flushWriter) Write(b []byte) (int, error) {
	f.turn.take()
	defer f.turn.give()
	n, err := f.w.Write(b)
	if err != nil {
		return n, err
	}
	if f.interval < 0 {
		f.pending = false
		return n, f.rc.Flush()
	}
	if !f.pending {
		f.pending = true
		f.timer.Reset(f.interval)
	}
	return n, nil
}

func (f *flushWriter) flush() {
	f.turn.take()
	defer f.turn.give()
	if f.pending && !f.stopped {
		_ = f.rc.Flush()
		f.pending = false
	}
}

// stop ends flushing; the writer is not touched afterwards.
func (f *flushWriter) stop() {
	f.turn.take()
	f.stopped = true
	f.turn.give()
	f.timer.Stop()
}
