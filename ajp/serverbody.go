package ajp

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// serverBody is the body of a request at a [Server]. What the proxy does not
// send by itself it asks for.
type serverBody struct {
	c *serverConn

	mu       sync.Mutex // guards the rest: handlers may close while they read
	left     int64      // of the announced length; negative if none was
	data     int        // bytes of the current packet that are to be read
	unasked  bool       // a packet is going to come without being asked for
	closed   atomic.Bool
	retiring atomic.Bool // the handler has returned, and waits for mu
	over     bool        // the handler has returned
	err      error       // what Read returns from now on
}

var (
	errRequestBodyClosed = errors.New("ajp: read on a closed request body")
	errHeadTooLarge      = errors.New("ajp: head of the answer does not fit a packet")
	errHandlerDone       = errors.New("ajp: read on a request body after its handler has returned")
)

// Read returns io.EOF at the end of a complete body, and io.ErrUnexpectedEOF
// when it is cut short.
func (b *serverBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
		return 0, errHandlerDone
	case b.closed.Load():
		return 0, errRequestBodyClosed
	case len(p) == 0:
		return 0, nil
	}
	if b.data == 0 && b.err == nil {
		b.next()
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.c.r.Read(p[:min(len(p), b.data)])
	b.data -= n
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err != nil {
		b.err = unexpected(err)
		return n, b.err
	}
	if b.left == 0 && b.data == 0 {
		b.end(io.EOF)
	}
	return n, nil
}

// end notes how the body has ended.
func (b *serverBody) end(err error) {
	b.err = err
	if err == io.EOF {
		b.c.watcher.completed(b.c)
	}
}

// next waits for the next packet, which it asks for if it does not come by
// itself.
func (b *serverBody) next() {
	c := b.c
	if !b.unasked {
		c.mu.Lock()
		c.out = appendAsk(c.out, c.size-bodyHead)
		err := c.flush()
		c.mu.Unlock()
		if err != nil {
			b.end(err)
			return
		}
	}
	b.unasked = false
	c.limitRead(timeout(c.s.ReadTimeout))
	if b.retiring.Load() && !b.over {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // see retire
	}
	length, err := c.readHead()
	switch {
	case err != nil:
		b.end(err)
		return
	case length == 0:
		b.finish()
		return
	case length < 2:
		b.end(malformed("packet of a body of %d bytes", length))
		return
	}
	head, err := c.r.Peek(2)
	if err != nil {
		b.end(unexpected(err))
		return
	}
	n := getInt(head)
	_, _ = c.r.Discard(2)
	switch {
	case n != length-2:
		b.end(malformed("packet of %d bytes has %d of a body", length, n))
	case n == 0:
		b.finish()
	case b.left >= 0 && int64(n) > b.left:
		b.end(malformed("body is longer than its Content-Length"))
	default:
		b.data = n
	}
}

// finish ends the body by an empty packet.
func (b *serverBody) finish() {
	if b.left > 0 {
		b.end(io.ErrUnexpectedEOF)
		return
	}
	b.end(io.EOF)
}

// appendAsk appends a packet that asks for more of the body.
func appendAsk(b []byte, want int) []byte {
	return append(b, 0x41, 0x42, 0, 3, typeGetBodyChunk, byte(want>>8), byte(want))
}

// Close ends reading.
func (b *serverBody) Close() error {
	b.closed.Store(true)
	return nil
}

// retire is called when the handler has returned. It reports whether all of
// the body is off the connection; what is here of it is taken off.
func (b *serverBody) retire() (clean bool) {
	b.retiring.Store(true)
	if !b.mu.TryLock() { // a goroutine of the handler's still reads: it must not hold up the answer
		b.c.limited.Store(true)
		_ = b.c.nc.SetReadDeadline(time.Unix(1, 0))
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	b.over = true
	if b.err == nil && b.unasked && b.c.r.Buffered() >= bodyHead {
		b.next()
	}
	if b.err == nil && b.data > 0 && b.data <= b.c.r.Buffered() && int64(b.data) == b.left {
		_, _ = b.c.r.Discard(b.data)
		b.err = io.EOF
	}
	return b.err == io.EOF
}
