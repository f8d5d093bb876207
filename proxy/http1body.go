package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// spliceFrom is the number of bytes from which on moving them inside the
// kernel is cheaper than copying.
const spliceFrom = 64 << 10

// splicePiece bounds one splice, so that time limits are renewed in between.
const splicePiece = 4 << 20

// responseBody reads the body of an HTTP/1 answer. What came with the head is
// written without a copy, and long bodies of known length from a TCP connection
// go through the io.ReaderFrom of their writer.
type responseBody struct {
	exchange.ResponseBody
	x      *attempt
	left   int64 // framingLength
	f      http1.Framing
	keep   bool // the connection is fit for reuse after the end
	chunks http1.ChunkedReader
}

func (b *responseBody) init(x *attempt, f http1.Framing, length int64, keep bool) {
	b.Init(b, x.c)
	b.x, b.f, b.left, b.keep = x, f, length, keep
	if f == http1.FramingChunked {
		b.chunks = http1.ChunkedReader{R: x.c.R, Lim: x.t.limits()}
	}
}

// ReadSome is part of [exchange.BodySource].
func (b *responseBody) ReadSome(p []byte) int {
	b.awaitClient()
	n, err := b.read(p)
	if err != nil {
		b.end(err)
	}
	return n
}

// awaitClient waits for the first byte of what is read next for as long as the
// client owes a part of the request's body: it is not the backend that is slow.
// Who sends a body of unknown length may be in a conversation, where both wait.
func (b *responseBody) awaitClient() {
	r := b.x.c.R
	for b.x.sender != nil && b.x.r.ContentLength > 0 && !b.here() && r.Buffered() < r.Size() {
		_, err := r.Peek(r.Buffered() + 1)
		switch {
		case exchange.IsTimeout(err) && b.x.sender.WaitsForClient():
			b.x.c.Extend()
		case err != nil:
			return // reading finds the same
		}
	}
}

// here reports whether a read finds something in the buffer.
func (b *responseBody) here() bool {
	if b.f == http1.FramingChunked {
		return b.chunks.Ready()
	}
	return b.x.c.R.Buffered() > 0
}

func (b *responseBody) read(p []byte) (int, error) {
	r := b.x.c.R
	switch b.f {
	case http1.FramingChunked:
		return b.chunks.Read(p)
	case http1.FramingClose:
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

// end gives the connection back after the end of the body, or its failure.
func (b *responseBody) end(err error) {
	if err == io.EOF {
		if b.f == http1.FramingChunked {
			b.mergeTrailer()
		}
		if b.x.release(b.Free() && b.keep) || b.f != http1.FramingClose {
			b.End(io.EOF)
			return
		}
	}
	b.End(b.x.fail(&exchange.Error{Op: exchange.OpBody, Err: http1.Unexpected(err)}))
}

func (b *responseBody) mergeTrailer() {
	if len(b.chunks.Trailer) == 0 {
		return
	}
	resp := &b.x.resp
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header, len(b.chunks.Trailer))
	}
	for name, values := range b.chunks.Trailer {
		resp.Trailer[name] = values
	}
}

// SomeReady is part of [exchange.BodySource].
func (b *responseBody) SomeReady() bool {
	return b.here() || b.x.c.Waiting()
}

// WriteSome is part of [exchange.BodySource].
func (b *responseBody) WriteSome(w io.Writer, ready bool) (int64, error) {
	c := b.x.c
	if b.f == http1.FramingLength {
		if have := min(int64(c.R.Buffered()), b.left); have > 0 {
			return b.writeBuffered(w, int(have))
		}
	}
	if ready && b.f == http1.FramingLength && b.left >= spliceFrom {
		if rf, ok := w.(io.ReaderFrom); ok {
			if tc := c.TCP(); tc != nil {
				return b.splice(rf, tc)
			}
		}
	}
	b.awaitClient()
	lent := copybuf.Pool.Get().(*[copybuf.Size]byte)
	defer copybuf.Pool.Put(lent)
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
	case errors.Is(err, exchange.ErrClientStalled):
		return n, err
	case b.left == 0 && err == nil:
		b.end(io.EOF)
	case err == nil && moved < want:
		b.end(io.ErrUnexpectedEOF)
	case err != nil && exchange.IsTimeout(err):
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

// Drop is part of [exchange.BodySource].
func (b *responseBody) Drop(tidy bool) { b.x.release(tidy && b.keep && b.discardRest()) }

// discardRest takes the rest of the body out of the buffer if all of it is
// there.
func (b *responseBody) discardRest() bool {
	r := b.x.c.R
	if b.f != http1.FramingLength || int64(r.Buffered()) != b.left {
		return false
	}
	_, _ = r.Discard(int(b.left))
	return true
}
