package backend

import (
	"sync/atomic"
	"time"
)

// counters are what a backend counts; each is changed without a lock.
type counters struct {
	elected, busy, sent, received, errors atomic.Int64
	reused, created, waited               atomic.Int64
}

// Counts are the figures that all parts keep alike: a backend, a balancer and
// its members, a registry of tunnels. Each has a Stats method whose answer
// begins with its name and these, so that one function can show them all. Sent
// and Received are seen from the proxy, looking at its backends, as wherever
// else these words are used.
type Counts struct {
	Elected  int64 `json:"elected"`  // what it was given so far: requests, or tunnels
	Busy     int64 `json:"busy"`     // what is under way now
	Waiting  int64 `json:"waiting"`  // what is in line now
	Errors   int64 `json:"errors"`   // failures that it is to blame for
	Sent     int64 `json:"sent"`     // bytes toward the backend
	Received int64 `json:"received"` // bytes from the backend
}

// Stats is what a backend has done so far and what it is doing. Of its Counts,
// Elected are the calls of Get, Busy the connections in use, Waiting those in
// line for one, Errors the failed connects and other marks of error, Sent and
// Received all bytes, inside TLS if there is any, of released connections.
type Stats struct {
	Name string `json:"name"` // as [Backend.String]
	Counts
	Open    int64 `json:"open"`    // connections open or being opened
	Idle    int64 `json:"idle"`    // connections open and unused
	Created int64 `json:"created"` // connections opened so far
	Reused  int64 `json:"reused"`  // times that an open connection was used again
	Waited  int64 `json:"waited"`  // calls of Get that had to stand in line so far

	HealthStats
	Flags Flags `json:"flags"`
}

// HealthStats are a [Condition] for whoever shows figures: of a backend, and of
// a balancer's member.
type HealthStats struct {
	State   State         `json:"state"`
	Since   time.Time     `json:"since,omitzero"` // when State was entered; zero if it never changed
	RetryIn time.Duration `json:"retryIn"`        // until a trial is allowed, in the error state
	Cause   string        `json:"cause"`          // why State is not usable
}

// Stats returns the figures.
func (c *Condition) Stats() HealthStats {
	s := HealthStats{State: c.State, Since: c.Since}
	if c.State == StateError {
		s.RetryIn = max(time.Until(c.Due), 0)
	}
	if c.Cause != nil {
		s.Cause = c.Cause.Error()
	}
	return s
}

// Stats returns a snapshot. The figures are read one after another, so that
// they may differ by what happened in between. Connections that the backend has
// closed are not among the idle ones: those that are found so are closed here.
func (b *Backend) Stats() Stats {
	k := &b.counters
	s := Stats{
		Name: b.String(),
		Counts: Counts{
			Elected: k.elected.Load(), Busy: k.busy.Load(), Errors: k.errors.Load(),
			Sent: k.sent.Load(), Received: k.received.Load(),
		},
		Created: k.created.Load(), Reused: k.reused.Load(), Waited: k.waited.Load(),
		Flags: b.Flags(),
	}
	b.pool.mu.Lock()
	dead, _ := b.pool.look(b)
	s.Open, s.Idle, s.Waiting = int64(b.pool.open), int64(len(b.pool.idle)), int64(b.pool.line.n)
	b.pool.mu.Unlock()
	closeAll(dead)
	c := b.health.Condition()
	s.HealthStats = c.Stats()
	return s
}
