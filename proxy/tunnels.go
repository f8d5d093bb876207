package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/modproxy/modproxy/proxy/backend"
)

var errNoEnds = errors.New("a tunnel has two ends")

// Causes with which tunnels end, for errors.Is.
var (
	// ErrTunnelIdle is the cause of a tunnel on which nothing moved for its
	// IdleTimeout.
	ErrTunnelIdle = errors.New("tunnel was idle for too long")

	// ErrTunnelLife is the cause of a tunnel that has lived for its MaxLife.
	ErrTunnelLife = errors.New("tunnel has lived for as long as it may")

	// ErrTunnelShutdown is the cause of a tunnel that was closed by Shutdown.
	ErrTunnelShutdown = errors.New("tunnel was closed by shutdown")
)

// Tunnels is a registry of running tunnels: upgraded connections and CONNECT.
// http.Server.Shutdown knows nothing of hijacked connections; Tunnels.Shutdown
// waits for them. The zero value is ready for use, by any goroutine.
type Tunnels struct {
	mu      sync.Mutex // guards the rest
	running map[*relay]struct{}
	past    backend.Counts // of tunnels that are over; Elected of all
	loops   loops
	closing bool
	idle    chan struct{} // closed when closing and none runs
}

// Start joins the two ends and returns at once. After Shutdown it closes them
// and returns http.ErrServerClosed.
func (t *Tunnels) Start(tn Tunnel) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	switch {
	case tn.Client == nil || tn.Backend == nil:
		err = errNoEnds
	case t.closing:
		err = http.ErrServerClosed
	}
	if err != nil {
		for _, end := range []io.Closer{tn.Client, tn.Backend} {
			if end != nil {
				_ = end.Close()
			}
		}
		return err
	}
	r := newRelay(t, tn)
	if t.running == nil {
		t.running = make(map[*relay]struct{})
	}
	t.running[r] = struct{}{}
	t.past.Elected++
	r.start() // under the lock, so that Shutdown finds it started
	return nil
}

// Closing reports whether Shutdown was called: a tunnel that is started now is
// refused.
func (t *Tunnels) Closing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing
}

func (t *Tunnels) done(r *relay) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, r)
	t.passed(r.stats())
	if len(t.running) > 0 {
		return
	}
	t.loops.close()
	if t.closing {
		close(t.idle)
	}
}

// Count returns the number of running tunnels.
func (t *Tunnels) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running)
}

// List returns what the running tunnels have done so far, in no order.
func (t *Tunnels) List() []TunnelStats {
	list := make([]TunnelStats, 0, t.Count())
	for _, r := range t.all() {
		list = append(list, r.stats())
	}
	return list
}

func (t *Tunnels) all() []*relay {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*relay, 0, len(t.running))
	for r := range t.running {
		list = append(list, r)
	}
	return list
}

// Shutdown refuses new tunnels, asks those to leave that know how to (see
// Tunnel's ToClient, Leave and CloseDelay), and waits for all. When ctx ends
// before they do, it closes them and returns the context's error.
func (t *Tunnels) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	if !t.closing {
		t.closing = true
		t.idle = make(chan struct{})
		if len(t.running) == 0 {
			close(t.idle)
		}
	}
	idle := t.idle
	t.mu.Unlock()
	var asking sync.WaitGroup
	for _, r := range t.all() {
		asking.Go(func() { r.leave(ErrTunnelShutdown) }) // who does not read must not hold the others up
	}
	select {
	case <-idle:
		asking.Wait()
		return nil
	case <-ctx.Done():
	}
	for _, r := range t.all() {
		asking.Go(func() { r.evict(ErrTunnelShutdown) })
	}
	asking.Wait()
	<-idle
	return ctx.Err()
}

// TunnelsStats are the figures of a registry of tunnels: in Counts, Elected are
// the tunnels that were started, Busy those that run, Errors those that ended
// with a cause of its own, Sent and Received the bytes of all of them, running
// or over.
type TunnelsStats struct {
	Name string `json:"name"` // "tunnels"
	backend.Counts
	Running []TunnelStats `json:"running"` // as [Tunnels.List]
}

// Stats returns the figures.
func (t *Tunnels) Stats() TunnelsStats {
	t.mu.Lock()
	s := TunnelsStats{Name: "tunnels", Counts: t.past, Running: make([]TunnelStats, 0, len(t.running))}
	for r := range t.running {
		one := r.stats()
		s.Busy++
		s.Sent += one.Sent
		s.Received += one.Received
		s.Running = append(s.Running, one)
	}
	t.mu.Unlock()
	slices.SortFunc(s.Running, func(a, b TunnelStats) int { return a.Started.Compare(b.Started) })
	return s
}

// passed adds a tunnel that is over to the figures. The caller holds the lock.
func (t *Tunnels) passed(s TunnelStats) {
	t.past.Sent += s.Sent
	t.past.Received += s.Received
	if s.Err != nil {
		t.past.Errors++
	}
}
