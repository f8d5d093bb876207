package logsink

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// queueSize bounds what waits for a slow reader, in bytes.
const queueSize = 4 << 20

// drainTime is how long Close waits for what is left to be read.
const drainTime = time.Second

// tellTime is how often it is told that lines are lost, at most.
const tellTime = 10 * time.Second

// queue writes lines in the background.
type queue struct {
	out  io.WriteCloser
	lost func(lines int64) // is told how many more are lost

	wake    chan struct{} // has room for one
	closing chan struct{}
	ended   chan struct{} // when nothing writes any more

	mu      sync.Mutex // guards the rest
	waiting []byte
	missing int64
	told    time.Time
	closed  bool
}

func newQueue(out io.WriteCloser, lost func(lines int64)) *queue {
	q := &queue{out: out, lost: lost, wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{})}
	go q.run()
	return q
}

// Write takes a line, or counts it as lost. It never fails.
func (q *queue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if q.closed || len(q.waiting)+len(line) > queueSize {
		q.missing++
	} else {
		q.waiting = append(q.waiting, line...)
	}
	q.mu.Unlock()
	q.tell(false)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// tell says how many lines are lost, from time to time or at the end.
func (q *queue) tell(last bool) {
	q.mu.Lock()
	missing := q.missing
	if missing == 0 || !last && time.Since(q.told) < tellTime {
		q.mu.Unlock()
		return
	}
	q.missing, q.told = 0, time.Now()
	q.mu.Unlock()
	q.lost(missing)
}

func (q *queue) run() {
	defer close(q.ended)
	var spare []byte
	for {
		select {
		case <-q.wake:
		case <-q.closing:
		}
		q.mu.Lock()
		batch, closed := q.waiting, q.closed
		q.waiting = spare[:0]
		q.mu.Unlock()
		if closed && len(batch) == 0 {
			return
		}
		if n, err := q.out.Write(batch); err != nil {
			q.mu.Lock()
			q.missing += int64(bytes.Count(batch[n:], []byte("\n")))
			q.mu.Unlock()
		}
		q.tell(false)
		spare = batch
	}
}

// Close writes what is left for as long as somebody reads, and closes what it wrote
// to.
func (q *queue) Close() error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	q.mu.Unlock()
	close(q.closing)
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-q.ended:
	case <-t.C:
	}
	err := q.out.Close() // which ends a Write that hangs
	<-q.ended
	q.tell(true)
	return err
}
