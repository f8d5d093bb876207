package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// relay moves the bytes of one tunnel: one goroutine for each direction, and
// no buffer while nothing moves where the system can wait without one.
//
//	Client ──up──► Backend
//	Client ◄─down─ Backend
//
// A side that has sent its last byte half-closes the other; an error, the idle
// timeout or a shutdown closes both.
type relay struct {
	tunnels *Tunnels
	tn      Tunnel
	started time.Time
	sent    atomic.Int64
	got     atomic.Int64
	left    atomic.Int32 // directions still open
	mu      sync.Mutex   // guards timer
	timer   *time.Timer  // nil without a time limit, and after the end
	moved   int64        // sum of the counts when the timer last looked; its own
	quiet   int          // times that the timer has seen no change; its own

	once  sync.Once
	cause atomic.Pointer[error]
}

func newRelay(t *Tunnels, tn Tunnel) *relay {
	r := &relay{tunnels: t, tn: tn, started: time.Now()}
	r.left.Store(2)
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
	if d := r.nextLook(); d > 0 {
		r.mu.Lock()
		r.timer = time.AfterFunc(d, r.look)
		r.mu.Unlock()
	}
	go r.move(backend, client, clientData, &r.sent)
	go r.move(client, backend, backendData, &r.got)
}

// bare returns what to read from and write to, with old deadlines removed.
func bare(c io.ReadWriteCloser) (io.ReadWriteCloser, []byte) {
	var data []byte
	if d, ok := c.(detacher); ok {
		var nc net.Conn
		nc, data = d.Detached()
		c = nc
	}
	if nc, ok := c.(net.Conn); ok {
		_ = nc.SetDeadline(time.Time{})
	}
	return c, data
}

// move is one direction.
func (r *relay) move(dst io.ReadWriteCloser, src io.ReadWriteCloser, first []byte, count *atomic.Int64) {
	err := r.write(dst, first, count)
	if err == nil {
		err = r.copy(dst, src, count)
	}
	switch {
	case err != nil:
		r.end(err)
	case r.tn.NoHalfClose || !closeWrite(dst):
		r.end(nil)
	}
	if r.left.Add(-1) == 0 {
		r.end(nil)
		r.finish()
	}
}

func (r *relay) write(dst io.Writer, b []byte, count *atomic.Int64) error {
	if len(b) == 0 {
		return nil
	}
	n, err := dst.Write(b)
	count.Add(int64(n))
	return err
}

const (
	smallBuffer = 2 << 10 // held while idle, where that needs one
	splicing    = 4 << 20 // one splice
	breath      = 250 * time.Millisecond
	bulk        = 64 << 10 // in one go: worth splicing
)

// copy moves bytes until src ends.
func (r *relay) copy(dst io.Writer, src io.Reader, count *atomic.Int64) error {
	wait := newWaiter(src)
	var own []byte
	if wait == nil {
		own = make([]byte, smallBuffer)
	}
	for {
		if wait != nil {
			if err := wait.readable(); err != nil {
				return err
			}
		}
		n, err := r.burst(dst, src, own, wait, count)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if wait != nil && n >= bulk && canSplice(dst, src) {
			if err := r.splice(dst, src, count); err != nil {
				if err == io.EOF {
					return nil
				}
				return err
			}
		}
	}
}

// burst moves what is there with a lent buffer, or one read with the own one
// if the wait needs it.
func (r *relay) burst(dst io.Writer, src io.Reader, own []byte, wait *readWaiter, count *atomic.Int64) (total int64, err error) {
	buf := own
	if wait != nil {
		lent := copyBuffers.Get().(*[copyBufferSize]byte)
		defer copyBuffers.Put(lent)
		buf = lent[:]
	}
	for {
		n, rerr := src.Read(buf)
		if werr := r.write(dst, buf[:n], count); werr != nil {
			return total, werr
		}
		total += int64(n)
		if rerr != nil {
			return total, rerr
		}
		if n == len(buf) && wait == nil { // more than the small buffer holds is coming
			if total, err = r.large(dst, src, total, count); err != nil {
				return total, err
			}
			return total, nil
		}
		if wait == nil || n < len(buf) || total >= bulk {
			return total, nil
		}
	}
}

// large reads with a lent buffer for as long as reads fill it.
func (r *relay) large(dst io.Writer, src io.Reader, total int64, count *atomic.Int64) (int64, error) {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	for {
		n, err := src.Read(lent[:])
		if werr := r.write(dst, lent[:n], count); werr != nil {
			return total, werr
		}
		total += int64(n)
		if err != nil || n < smallBuffer {
			return total, err
		}
	}
}

func canSplice(dst io.Writer, src io.Reader) bool {
	_, to := dst.(*net.TCPConn)
	_, from := src.(*net.TCPConn)
	return to && from
}

// splice moves a piece inside the kernel. It comes up for air now and then, so
// that the count is right and nothing is held while the flow has stopped.
func (r *relay) splice(dst io.Writer, src io.Reader, count *atomic.Int64) error {
	from := src.(*net.TCPConn)
	_ = from.SetReadDeadline(time.Now().Add(breath))
	lr := &io.LimitedReader{R: src, N: splicing}
	n, err := dst.(*net.TCPConn).ReadFrom(lr)
	count.Add(n)
	_ = from.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err == nil && lr.N > 0 {
		return io.EOF
	}
	return err
}

// closeWrite half-closes c, and reports whether it could.
func closeWrite(c io.Closer) bool {
	hc, ok := c.(interface{ CloseWrite() error })
	return ok && hc.CloseWrite() == nil
}

// end closes both ends, so that the goroutines return. The first cause counts.
func (r *relay) end(cause error) {
	r.once.Do(func() {
		r.cause.Store(&cause)
		if m, ok := r.tn.Backend.(interface{ moved(sent, received int64) }); ok {
			m.moved(r.sent.Load(), r.got.Load())
		}
		_ = r.tn.Client.Close()
		_ = r.tn.Backend.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.timer != nil {
			r.timer.Stop()
			r.timer = nil
		}
	})
}

// finish runs once, after both directions.
func (r *relay) finish() {
	r.tunnels.done(r)
	if r.tn.OnEnd != nil {
		r.tn.OnEnd(r.stats())
	}
}

func (r *relay) stats() TunnelStats {
	s := TunnelStats{
		Protocol: r.tn.Protocol, Target: r.tn.Target, ClientAddr: r.tn.ClientAddr,
		Started: r.started, Duration: time.Since(r.started),
		Sent: r.sent.Load(), Received: r.got.Load(),
	}
	if cause := r.cause.Load(); cause != nil && !errors.Is(*cause, net.ErrClosed) && !errors.Is(*cause, os.ErrDeadlineExceeded) {
		s.Err = *cause
	}
	return s
}

// idleLooks is how often the timer looks in the time that ends a tunnel.
const idleLooks = 4

// nextLook is when the timer is to look next; zero is never.
func (r *relay) nextLook() time.Duration {
	idle := r.tn.IdleTimeout
	if idle > 0 {
		idle = max(idle/idleLooks, 1)
	}
	if r.tn.MaxLife <= 0 {
		return idle
	}
	left := max(r.tn.MaxLife-time.Since(r.started), 1)
	if idle > 0 && idle < left {
		return idle
	}
	return left
}

// look is run by the timer. It ends the tunnel if its time is up.
func (r *relay) look() {
	if r.tn.MaxLife > 0 && time.Since(r.started) >= r.tn.MaxLife {
		r.farewell()
		r.end(ErrTunnelLife)
		return
	}
	now := r.sent.Load() + r.got.Load()
	r.quiet++
	if now != r.moved {
		r.moved, r.quiet = now, 0
	}
	if r.tn.IdleTimeout > 0 && r.quiet >= idleLooks {
		r.end(ErrTunnelIdle)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Reset(r.nextLook())
	}
}

// farewell tells the client of a shutdown if no message is in the middle.
func (r *relay) farewell() {
	if len(r.tn.Farewell) == 0 || r.tn.AtBoundary == nil || !r.tn.AtBoundary() {
		return
	}
	if nc, ok := r.tn.Client.(net.Conn); ok {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
	}
	_, _ = r.tn.Client.Write(r.tn.Farewell)
}
