package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

// spliceFrom is the number of bytes from which on moving them inside the
// kernel is cheaper than copying.
const spliceFrom = 64 << 10

// splicePiece bounds one splice, so that time limits are renewed in between.
const splicePiece = 4 << 20

var errBodyClosed = errors.New("proxy: read on a closed response body")

// The use of a responseBody: one goroutine reads; another may close.
const (
	bodyIdle int32 = iota
	bodyReading
	bodyClosed
)

// responseBody is the body of an HTTP/1 answer. It gives the connection back
// as soon as the last byte is read, or when it is closed before.
//
//	idle --Read--> reading --> idle ... --end or error--> released
//	any --Close--> closed, released by whoever is last
type responseBody struct {
	x      *exchange
	f      framing
	left   int64 // framingLength
	keep   bool  // the connection is fit for reuse after the end
	chunks chunkedReader
	use    atomic.Int32
	ended  error // what Read returns from now on; nil before the end
}

func (b *responseBody) init(x *exchange, f framing, length int64, keep bool) {
	b.x, b.f, b.left, b.keep = x, f, length, keep
	if f == framingChunked {
		b.chunks = chunkedReader{r: x.c.R, lim: x.t.limits()}
	}
}

// enter begins a read; it fails after Close.
func (b *responseBody) enter() error {
	if !b.use.CompareAndSwap(bodyIdle, bodyReading) {
		return errBodyClosed
	}
	return nil
}

// leave ends a read. The connection of a body that was closed meanwhile is
// given back here.
func (b *responseBody) leave() {
	if !b.use.CompareAndSwap(bodyReading, bodyIdle) {
		b.x.release(false)
	}
}

// Read returns io.EOF at the end of a complete body, and a [*Error] with
// OpBody, or OpClient if the request was cancelled, when it is cut short.
func (b *responseBody) Read(p []byte) (int, error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	defer b.leave()
	if b.ended != nil {
		return 0, b.ended
	}
	if len(p) == 0 {
		return 0, nil
	}
	b.x.c.Arm(0)
	n, err := b.read(p)
	if err != nil {
		err = b.end(err)
	}
	return n, err
}

func (b *responseBody) read(p []byte) (int, error) {
	r := b.x.c.R
	switch b.f {
	case framingChunked:
		return b.chunks.Read(p)
	case framingClose:
		return r.Read(p)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := r.Read(p)
	b.left -= int64(n)
	switch {
	case b.left == 0:
		return n, io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// end gives the connection back after the end of the body, or its failure,
// and returns what reads return from now on.
func (b *responseBody) end(err error) error {
	if err == io.EOF {
		if b.f == framingChunked {
			b.mergeTrailer()
		}
		if b.x.release(b.keep) || b.f != framingClose {
			b.ended = io.EOF
			return io.EOF
		}
	}
	b.ended = b.x.fail(&Error{Op: OpBody, Err: unexpected(err)})
	return b.ended
}

func (b *responseBody) mergeTrailer() {
	if len(b.chunks.trailer) == 0 {
		return
	}
	resp := &b.x.resp
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header, len(b.chunks.trailer))
	}
	for name, values := range b.chunks.trailer {
		resp.Trailer[name] = values
	}
}

// Ready reports whether a Read would return at once, as far as can be seen.
func (b *responseBody) Ready() bool {
	if b.enter() != nil {
		return true
	}
	defer b.leave()
	return b.ready()
}

func (b *responseBody) ready() bool {
	c := b.x.c
	switch {
	case b.ended != nil:
		return true
	case b.f == framingChunked && c.R.Buffered() > 0:
		return b.chunks.ready() || c.Waiting()
	}
	return c.R.Buffered() > 0 || c.Waiting()
}

// flusher is a ResponseWriter of net/http, or one that wraps it well.
type flusher interface{ FlushError() error }

// WriteTo writes the rest of the body to w. What came with the head is written
// without a copy, long bodies of known length from a TCP connection go through
// w's io.ReaderFrom, and a w that can be flushed is flushed whenever the
// backend pauses. An error of w is returned as it is.
func (b *responseBody) WriteTo(w io.Writer) (n int64, err error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	defer b.leave()
	for b.ended == nil {
		var m int64
		m, err = b.writeSome(w)
		n += m
		if err != nil {
			return n, err
		}
	}
	if b.ended != io.EOF {
		return n, b.ended
	}
	return n, nil
}

// writeSome writes what is there, or waits for more. Errors of the backend end
// the body, those of w are returned.
func (b *responseBody) writeSome(w io.Writer) (int64, error) {
	c := b.x.c
	c.Arm(0)
	if b.f == framingLength {
		if have := min(int64(c.R.Buffered()), b.left); have > 0 {
			return b.writeBuffered(w, int(have))
		}
	}
	ready := b.ready()
	if !ready {
		if err := flush(w); err != nil {
			return 0, err
		}
		c.Arm(0) // a slow client may have used the time up
	}
	if ready && b.f == framingLength && b.left >= spliceFrom {
		if rf, ok := w.(io.ReaderFrom); ok {
			if tc := c.TCP(); tc != nil {
				return b.splice(rf, tc)
			}
		}
	}
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	n, err := b.read(lent[:])
	if err != nil {
		b.end(err) // the connection is free before the client has the data
	}
	if n == 0 {
		return 0, nil
	}
	m, werr := w.Write(lent[:n])
	return int64(m), werr
}

func (b *responseBody) writeBuffered(w io.Writer, have int) (int64, error) {
	r := b.x.c.R
	data, _ := r.Peek(have)
	n, err := w.Write(data)
	_, _ = r.Discard(n)
	b.left -= int64(n)
	if err == nil && b.left == 0 {
		b.end(io.EOF)
	}
	return int64(n), err
}

// splice moves a piece of the body, whose begin is there, from socket to
// socket.
func (b *responseBody) splice(rf io.ReaderFrom, tc *net.TCPConn) (int64, error) {
	src := &io.LimitedReader{R: tc, N: min(b.left, splicePiece)}
	want, begun := src.N, time.Now()
	n, err := rf.ReadFrom(src)
	moved := want - src.N // what left the backend, whether or not the client got it
	b.left -= moved
	b.x.c.Count(0, moved)
	switch {
	case b.left == 0 && err == nil:
		b.end(io.EOF)
	case err == nil && moved < want:
		b.end(io.ErrUnexpectedEOF)
	case err != nil && isTimeout(err):
		if limit := b.x.c.Timeout(); limit < 0 || time.Since(begun) < limit-limit/16 {
			return n, err // the backend's limit has not passed: it is the client's
		}
		b.x.c.Disarmed() // a slow client used the time up: there was something to read
		return n, nil
	case err != nil && !errors.Is(err, syscall.EPIPE) && b.x.c.Ended():
		b.end(err)
		return n, nil
	}
	return n, err
}

func flush(w io.Writer) error {
	switch f := w.(type) {
	case flusher:
		return f.FlushError()
	case http.Flusher:
		f.Flush()
	}
	return nil
}

// Close gives the connection back. Unless the whole body was read it cannot be
// used again, but for a rest that is already here.
func (b *responseBody) Close() error {
	switch b.use.Swap(bodyClosed) {
	case bodyReading:
		b.x.c.Abort() // whoever reads gives it back
	case bodyIdle:
		if b.ended == nil {
			b.ended = errBodyClosed
			b.x.release(b.keep && b.discardRest())
		}
	}
	return nil
}

// discardRest takes the rest of the body out of the buffer if all of it is
// there.
func (b *responseBody) discardRest() bool {
	r := b.x.c.R
	if b.f != framingLength || int64(r.Buffered()) != b.left {
		return false
	}
	_, _ = r.Discard(int(b.left))
	return true
}
