package backend

import (
	"sync/atomic"
	"time"
)

// counters are what a backend counts; each is changed without a lock.
type counters struct {
	elected, busy, sent, received, errors atomic.Int64
	reused, created, waited               atomic.Int64
	unwell                                atomic.Bool // state is not usable
}

// Stats is what a backend has done so far and what it is doing.
type Stats struct {
	Elected  int64 // requests that came to Get
	Busy     int64 // connections in use
	Waiting  int64 // requests in line for a connection
	Sent     int64 // bytes sent, of released connections
	Received int64 // bytes received, of released connections
	Errors   int64 // failed connects and other marks of error
	Open     int64 // connections open or being opened
	Idle     int64 // connections open and unused
	Created  int64 // connections opened so far
	Reused   int64 // times that an open connection was used again
	Waited   int64 // requests that had to stand in line so far

	State State
	Flags Flags
	Since time.Time // when State was entered; zero if it never changed
	Cause error     // why State is StateError
}

// Stats returns a snapshot. The figures are read one after another, so that
// they may differ by what happened in between.
func (b *Backend) Stats() Stats {
	k := &b.counters
	s := Stats{
		Elected: k.elected.Load(), Busy: k.busy.Load(), Sent: k.sent.Load(), Received: k.received.Load(),
		Errors: k.errors.Load(), Created: k.created.Load(), Reused: k.reused.Load(), Waited: k.waited.Load(),
		Flags: b.Flags(),
	}
	b.pool.mu.Lock()
	s.Open, s.Idle, s.Waiting = int64(b.pool.open), int64(len(b.pool.idle)), int64(b.pool.line.n)
	b.pool.mu.Unlock()
	b.health.mu.Lock()
	s.State, s.Since, s.Cause = b.health.state, b.health.since, b.health.cause
	b.health.mu.Unlock()
	return s
}
