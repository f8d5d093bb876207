package tunnel

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
	ErrIdle = errors.New("tunnel was idle for too long")

	// ErrTunnelLife is the cause of a tunnel that has lived for its MaxLife.
	ErrLife = errors.New("tunnel has lived for as long as it may")

	// ErrTunnelShutdown is the cause of a tunnel that was closed by Shutdown.
	ErrShutdown = errors.New("tunnel was closed by shutdown")
)

// Registry is a registry of running tunnels: upgraded connections and CONNECT.
// http.Server.Shutdown knows nothing of hijacked connections; Registry.Shutdown
// waits for them. The zero value is ready for use, by any goroutine.
type Registry struct {
	mu      sync.Mutex // guards the rest
	running map[*relay]struct{}
	past    backend.Counts // of tunnels that are over; Elected of all
	loops   loops
	closing bool
	idle    chan struct{} // closed when closing and none runs
}

// Start joins the two ends and returns at once. After Shutdown it closes them
// and returns http.ErrServerClosed.
func (t *Registry) Start(tn Tunnel) error {
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
func (t *Registry) Closing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing
}

func (t *Registry) done(r *relay) {
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
func (t *Registry) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running)
}

// List returns what the running tunnels have done so far, in no order.
func (t *Registry) List() []Stats {
	list := make([]Stats, 0, t.Count())
	for _, r := range t.all() {
		list = append(list, r.stats())
	}
	return list
}

func (t *Registry) all() []*relay {
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
func (t *Registry) Shutdown(ctx context.Context) error {
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
		asking.Go(func() { r.leave(ErrShutdown) }) // who does not read must not hold the others up
	}
	select {
	case <-idle:
		asking.Wait()
		return nil
	case <-ctx.Done():
	}
	for _, r := range t.all() {
		asking.Go(func() { r.evict(ErrShutdown) })
	}
	asking.Wait()
	<-idle
	return ctx.Err()
}

// RegistryStats are the figures of a registry of tunnels: in Counts, Elected are
// the tunnels that were started, Busy those that run, Errors those that ended
// with a cause of its own, Sent and Received the bytes of all of them, running
// or over.
type RegistryStats struct {
	Name string `json:"name"` // "tunnels"
	backend.Counts
	Running []Stats `json:"running"` // as [Registry.List]
}

// Stats returns the figures.
func (t *Registry) Stats() RegistryStats {
	t.mu.Lock()
	s := RegistryStats{Name: "tunnels", Counts: t.past, Running: make([]Stats, 0, len(t.running))}
	for r := range t.running {
		one := r.stats()
		s.Busy++
		s.Sent += one.Sent
		s.Received += one.Received
		s.Running = append(s.Running, one)
	}
	t.mu.Unlock()
	slices.SortFunc(s.Running, func(a, b Stats) int { return a.Started.Compare(b.Started) })
	return s
}

// passed adds a tunnel that is over to the figures. The caller holds the lock.
func (t *Registry) passed(s Stats) {
	t.past.Sent += s.Sent
	t.past.Received += s.Received
	if s.Err != nil {
		t.past.Errors++
	}
}
