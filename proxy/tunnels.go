package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

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
	closing bool
	idle    chan struct{} // closed when closing and none runs
}

// Tunnel is a pair of connections to be joined.
type Tunnel struct {
	// Client and Backend are the two ends. Both are closed at the end.
	Client, Backend io.ReadWriteCloser

	// ClientData is what the client has sent already, BackendData what the
	// backend has: each goes to the other side first.
	ClientData, BackendData []byte

	// IdleTimeout ends the tunnel when nothing moved in either direction for
	// that long, or up to a fourth longer. Zero means never.
	IdleTimeout time.Duration

	// MaxLife ends the tunnel that long after its start, whatever moves. Zero
	// means never.
	MaxLife time.Duration

	// NoHalfClose ends the tunnel when one side has sent its last byte. Without
	// it, the other side may go on sending. Apache: proxy-nohalfclose.
	NoHalfClose bool

	// Protocol, Target and ClientAddr tell what the tunnel is, in List.
	Protocol, Target, ClientAddr string

	// Farewell is written to the client when Shutdown closes the tunnel, if
	// AtBoundary, which must not be nil then, says that no message is cut.
	Farewell   []byte
	AtBoundary func() bool

	// OnEnd, if not nil, is called once when both connections are closed.
	OnEnd func(TunnelStats)
}

// TunnelStats is what moved through a tunnel.
type TunnelStats struct {
	Protocol, Target, ClientAddr string
	Started                      time.Time
	Duration                     time.Duration
	Sent                         int64 // bytes to the backend
	Received                     int64 // bytes from the backend
	Err                          error // why it ended; nil after a clean end of both sides
}

// Start joins the two ends and returns at once. After Shutdown it closes them
// and returns http.ErrServerClosed.
func (t *Tunnels) Start(tn Tunnel) error {
	r := newRelay(t, tn)
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		_ = tn.Client.Close()
		_ = tn.Backend.Close()
		return http.ErrServerClosed
	}
	if t.running == nil {
		t.running = make(map[*relay]struct{})
	}
	t.running[r] = struct{}{}
	t.mu.Unlock()
	r.start()
	return nil
}

func (t *Tunnels) done(r *relay) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, r)
	if t.closing && len(t.running) == 0 {
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
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]TunnelStats, 0, len(t.running))
	for r := range t.running {
		list = append(list, r.stats())
	}
	return list
}

// Shutdown refuses new tunnels and waits for the running ones. When ctx ends
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
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	var ending sync.WaitGroup
	t.mu.Lock()
	for r := range t.running {
		ending.Go(func() { // a client that does not read must not hold the others up
			r.farewell()
			r.end(ErrTunnelShutdown)
		})
	}
	t.mu.Unlock()
	ending.Wait()
	<-idle
	return ctx.Err()
}
