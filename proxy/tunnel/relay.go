package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// relay is a running tunnel: two directions, the time limits of both, and how
// it ends.
//
//	Client ──up──► Backend
//	Client ◄─down─ Backend
//
// A side that has sent its last byte half-closes the other; an error, a time
// limit or a shutdown closes both. What moves the bytes is one of three:
//
//	sockets  two bare sockets, on Linux: one goroutine waits for many tunnels
//	copying  anything else: one goroutine for each direction
//	Join     a function of the tunnel's own
type relay struct {
	tunnels  *Registry
	tn       Tunnel
	started  time.Time
	up, down direction
	open     atomic.Int32 // directions that are not over, while copying
	sockets  *socketPair  // nil otherwise

	mu     sync.Mutex  // guards what follows
	timer  *time.Timer // nil without a time limit, and after the end
	ended  bool
	going  error     // why it was asked to leave; nil if it was not
	goneBy time.Time // when it must have ended; zero if that is not known

	moved int64 // sum of the counts when the timer last looked; its own
	quiet int   // times that the timer has seen no change; its own
	cause error // why it ended; read it after ended
}

// direction is what a relay knows of one of its directions.
type direction struct {
	farewell Farewell
	count    atomic.Int64 // bytes that were written
	wanted   atomic.Bool  // the farewell is to be written when it can be
	said     bool         // it was: nothing may follow
	mu       sync.Mutex   // held while bytes are written, while copying
	shut     atomic.Bool  // its end was passed on, unless sockets do it
	stalled  stalled      // unless sockets do it
}

func newRelay(t *Registry, tn Tunnel) *relay {
	r := &relay{tunnels: t, tn: tn, started: time.Now()}
	r.up.farewell, r.down.farewell = tn.ToBackend, tn.ToClient
	return r
}

// detacher is a connection that can be taken apart into the bare connection
// and what was read from it too far.
type detacher interface{ Detached() (net.Conn, []byte) }

func (r *relay) start() {
	client, clientData := bare(r.tn.Client)
	backend, backendData := bare(r.tn.Backend)
	clientData = append(r.tn.ClientData, clientData...)
	backendData = append(r.tn.BackendData, backendData...)
	r.tn.ClientData, r.tn.BackendData = nil, nil
	switch {
	case r.tn.Join != nil:
		go r.join(client, backend, clientData, backendData)
	case r.startSockets(client, backend, clientData, backendData):
	default:
		r.watch(client, backend)
		r.open.Store(2)
		go r.move(&r.up, backend, client, clientData)
		go r.move(&r.down, client, backend, backendData)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.nextLook(r.started); d > 0 && !r.ended && r.timer == nil {
		r.timer = time.AfterFunc(d, r.look)
	}
}

// watch sets up what looks at a side that is not read from.
func (r *relay) watch(client, backend any) {
	r.up.stalled = stalled{relay: r, from: client, back: &r.down}
	r.down.stalled = stalled{relay: r, from: backend, back: &r.up}
}

// bare returns what to read from and write to, with old deadlines removed. One
// connection may stand on another, as those of listeners do.
func bare(c io.ReadWriteCloser) (io.ReadWriteCloser, []byte) {
	var data []byte
	for {
		d, ok := c.(detacher)
		if !ok {
			break
		}
		nc, ahead := d.Detached()
		c, data = nc, append(data, ahead...)
	}
	if nc, ok := c.(net.Conn); ok {
		_ = nc.SetDeadline(time.Time{})
	}
	return c, data
}

// follow tells the framing of the bytes that pass next. It returns those that
// may, and whether the farewell comes behind them.
func (d *direction) follow(b []byte) (passes []byte, last bool) {
	if d.said {
		return nil, false
	}
	if d.farewell.Framing == nil {
		return b, false
	}
	whole := d.farewell.Framing.Follow(b)
	if whole > 0 && d.wanted.Load() {
		return b[:whole], true
	}
	return b, false
}

// ready reports whether the farewell is wanted, was not written, and cuts no
// message now.
func (d *direction) ready() bool {
	return d.wanted.Load() && !d.said && d.farewell.Framing.Between()
}

// want asks for the farewell, and reports whether there is one.
func (d *direction) want() bool {
	if len(d.farewell.Bytes) == 0 || d.farewell.Framing == nil {
		return false
	}
	d.wanted.Store(true)
	return true
}

// over reports whether the farewell was written, while copying.
func (d *direction) over() bool {
	if !d.mu.TryLock() {
		return false
	}
	defer d.mu.Unlock()
	return d.said
}

// unseen is how many of the bytes that come next the framing need not see, at
// most n.
func (d *direction) unseen(n int64) int64 {
	if d.farewell.Framing == nil || d.said {
		return n
	}
	return min(n, d.farewell.Framing.Payload())
}

func (d *direction) skip(n int64) {
	if d.farewell.Framing != nil && !d.said {
		d.farewell.Framing.Skip(n)
	}
}

// writeFailed is what becomes of a tunnel when one direction can write no
// more: the other may still have something to say, but not for long.
func (r *relay) writeFailed(err error) { r.goWithin(err, lastWords) }

// endBehind is what becomes of a tunnel when the end of one side has come and
// stands behind bytes that the other does not read.
func (r *relay) endBehind() {
	d := r.tn.HalfCloseTimeout
	if r.tn.NoHalfClose {
		d = lastWords
	}
	r.goWithin(nil, d)
}

// lastWords is how long a side that no longer hears may go on to speak.
const lastWords = 5 * time.Second

// goWithin gives the tunnel a time by which it must have ended, if it has no
// earlier one, and the cause that it ends with.
func (r *relay) goWithin(cause error, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if r.going == nil {
		r.going = cause
	}
	if by := time.Now().Add(d); d > 0 && (r.goneBy.IsZero() || by.Before(r.goneBy)) {
		r.goneBy = by
		if d = r.nextLook(time.Now()); r.timer == nil {
			r.timer = time.AfterFunc(d, r.look)
		} else {
			r.timer.Reset(d)
		}
	}
}

// aborter is a connection whose Close looks like an end that was meant, where
// Abort looks like a cut: a stream of HTTP/2.
type aborter interface{ Abort() error }

// cut is end for a tunnel that its sides did not end. Who was told so by a
// farewell is not cut.
func (r *relay) cut(cause error) {
	if a, ok := r.tn.Client.(aborter); ok && !r.down.over() {
		r.endBy(cause, a.Abort)
		return
	}
	r.end(cause)
}

// end closes both ends, so that what moves the bytes stops. The first cause
// counts.
func (r *relay) end(cause error) { r.endBy(cause, r.tn.Client.Close) }

func (r *relay) endBy(cause error, closeClient func() error) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	if r.ended = true; cause == nil {
		cause = r.going
	}
	r.cause = cause
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.mu.Unlock()
	if r.sockets != nil {
		r.sockets.close()
	}
	if m, ok := r.tn.Backend.(interface{ Moved(sent, received int64) }); ok {
		m.Moved(r.up.count.Load(), r.down.count.Load())
	}
	_ = closeClient()
	_ = r.tn.Backend.Close()
	if r.sockets != nil {
		go r.finish() // a function of the user's must not hold other tunnels up
	}
}

// finish runs once, when nothing moves any more.
func (r *relay) finish() {
	if r.tn.OnEnd != nil {
		r.tn.OnEnd(r.stats())
	}
	r.tunnels.done(r)
}

func (r *relay) stats() Stats {
	s := Stats{
		Protocol: r.tn.Protocol, Target: r.tn.Target, ClientAddr: r.tn.ClientAddr,
		Started: r.started, Duration: time.Since(r.started),
		Sent: r.up.count.Load(), Received: r.down.count.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause != nil && !errors.Is(r.cause, net.ErrClosed) && !errors.Is(r.cause, os.ErrDeadlineExceeded) {
		s.Err = r.cause
	}
	return s
}
