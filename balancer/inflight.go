package balancer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrQueueFull is returned when a member has MaxInFlight requests and no more
// may wait in line.
var ErrQueueFull = errors.New("member is full and so is its line")

// ErrQueueTimeout is returned when a request has waited in line for a member's
// WaitTimeout.
var ErrQueueTimeout = fmt.Errorf("no request of the member ended in time: %w", os.ErrDeadlineExceeded)

// gate limits the requests in flight, with a line in the order of arrival.
type gate struct {
	max   atomic.Int64 // 0: no limit
	taken atomic.Int64 // changed under mu

	mu      sync.Mutex // guards the rest
	line    []chan struct{}
	maxLine int
}

func (g *gate) limit(inFlight, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if waiting == 0 {
		waiting = inFlight
	}
	g.maxLine = max(waiting, 0)
	g.max.Store(int64(inFlight))
	for len(g.line) > 0 && (inFlight == 0 || g.taken.Load() < int64(inFlight)) {
		g.handOver()
	}
}

// full reports whether a request would have to wait.
func (g *gate) full() bool {
	limit := g.max.Load()
	return limit > 0 && g.taken.Load() >= limit
}

// closed reports whether a request would be refused at once.
func (g *gate) closed() bool {
	if !g.full() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.line) >= g.maxLine
}

// enter takes a place, or waits for one.
func (g *gate) enter(ctx context.Context, wait time.Duration) error {
	g.mu.Lock()
	limit := g.max.Load()
	if limit == 0 || g.taken.Load() < limit {
		g.taken.Add(1)
		g.mu.Unlock()
		return nil
	}
	if len(g.line) >= g.maxLine {
		g.mu.Unlock()
		return ErrQueueFull
	}
	turn := make(chan struct{}, 1)
	g.line = append(g.line, turn)
	g.mu.Unlock()
	var late <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	err := ErrQueueTimeout
	select {
	case <-turn:
		return nil
	case <-late:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.line {
		if w == turn {
			g.line = append(g.line[:i], g.line[i+1:]...)
			return err
		}
	}
	return nil // the turn came meanwhile
}

// leave gives the place to the next in line.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken.Add(-1)
	if limit := g.max.Load(); len(g.line) > 0 && (limit == 0 || g.taken.Load() < limit) {
		g.handOver()
	}
}

// handOver lets the first in line in; mu is held.
func (g *gate) handOver() {
	turn := g.line[0]
	g.line = g.line[1:]
	g.taken.Add(1)
	turn <- struct{}{}
}

// waiting returns the length of the line.
func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.line)
}
