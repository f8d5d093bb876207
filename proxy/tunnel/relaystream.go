package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// move is one direction of a relay that copies.
func (r *relay) move(d *direction, dst, src io.ReadWriteCloser, first []byte) {
	err := r.write(d, dst, first)
	if err == nil {
		err = r.copy(d, dst, src)
	}
	var w *writeError
	d.shut.Store(err == nil)
	switch {
	case errors.As(err, &w):
		r.writeFailed(w.error)
	case err != nil:
		r.cut(err)
	case r.tn.NoHalfClose || !closeWrite(dst):
		r.end(nil)
	default:
		r.goWithin(nil, r.tn.HalfCloseTimeout)
	}
	if r.open.Add(-1) == 0 {
		r.end(nil)
		r.finish()
	}
}

// writeError is an error of the side that bytes go to.
type writeError struct{ error }

// write passes bytes on.
func (r *relay) write(d *direction, dst io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d.mu.Lock()
	passes, last := d.follow(b)
	var err error
	if len(passes) > 0 {
		var n int
		d.stalled.begin()
		n, err = dst.Write(passes)
		d.stalled.end()
		d.count.Add(int64(n))
	}
	if last && err == nil {
		d.said = true
		_, err = dst.Write(d.farewell.Bytes)
	}
	d.mu.Unlock()
	if err != nil {
		return &writeError{err}
	}
	if d.wanted.Load() { // since it was looked at
		r.sayCopying(d, dst)
	}
	return nil
}

// sayCopying writes the farewell, unless bytes are being written, or a message
// is under way.
func (r *relay) sayCopying(d *direction, dst io.Writer) {
	if !d.mu.TryLock() {
		return // who writes will look again
	}
	defer d.mu.Unlock()
	if !d.ready() {
		return
	}
	d.said = true
	if nc, ok := dst.(net.Conn); ok {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		defer func() { _ = nc.SetWriteDeadline(time.Time{}) }()
	}
	_, _ = dst.Write(d.farewell.Bytes)
}

const relayBufferSize = 64 << 10

type relayBuffer [relayBufferSize]byte

// relayBuffers lends buffers to tunnels on which bytes move.
var relayBuffers = sync.Pool{New: func() any { return new(relayBuffer) }}

const (
	smallBuffer = 2 << 10  // held while idle, where the wait needs a buffer
	tlsRecord   = 16 << 10 // what a read of TLS has at most, and has of a long message
)

// copy moves bytes until src ends.
func (r *relay) copy(d *direction, dst io.Writer, src io.Reader) error {
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
		err := r.burst(d, dst, src, own, wait)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// burst moves what is there with a lent buffer, or one read with the own one
// if the wait needs it.
func (r *relay) burst(d *direction, dst io.Writer, src io.Reader, own []byte, wait *readWaiter) error {
	if wait != nil {
		return r.large(d, dst, src, relayBufferSize)
	}
	n, err := src.Read(own)
	if werr := r.write(d, dst, own[:n]); werr != nil {
		return werr
	}
	if err == nil && n == len(own) { // more than it holds is coming
		return r.large(d, dst, src, tlsRecord)
	}
	return err
}

// large reads with a lent buffer for as long as reads bring least bytes or more.
func (r *relay) large(d *direction, dst io.Writer, src io.Reader, least int) error {
	lent := relayBuffers.Get().(*relayBuffer)
	defer relayBuffers.Put(lent)
	for {
		n, err := src.Read(lent[:])
		if werr := r.write(d, dst, lent[:n]); werr != nil {
			return werr
		}
		if err != nil || n < least {
			return err
		}
	}
}

// closeWrite half-closes c, and reports whether it could.
func closeWrite(c io.Closer) bool {
	hc, ok := c.(interface{ CloseWrite() error })
	return ok && hc.CloseWrite() == nil
}
