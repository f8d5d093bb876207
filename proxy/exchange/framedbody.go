package exchange

import (
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

const (
	// spliceFrom is the number of bytes from which on moving them inside the
	// kernel is cheaper than copying.
	spliceFrom = 64 << 10

	// splicePiece bounds one splice, so that time limits are renewed in between.
	splicePiece = 4 << 20

	// gatherTo is the number of bytes up to which it is worth looking for more
	// before what has come is written.
	gatherTo = 16 << 10

	largeBuffer = 64 << 10
)

// largeBuffers lends buffers of largeBuffer bytes, for bodies in many pieces.
var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// errMore says that what follows cannot be told yet.
var errMore = errors.New("more bytes are needed")

// Framing is how a protocol delimits the content of an answer. One goroutine at
// a time calls it, and never after End or Drop.
type Framing interface {
	// Next is called when all content that it has announced was taken, with the
	// bytes that have come, which may be none. It returns how many of them are
	// no content, and how many bytes of content follow, some of which may not
	// have come: none if that takes more bytes than b to tell. At the end of the
	// body the error is io.EOF.
	Next(b []byte) (used int, content int64, err error)

	// End gives the connection back, and returns what reads return from then on:
	// io.EOF or a [*Error]. err is io.EOF after the end of the body, and then
	// reusable tells whether the connection is fit for it; else why reading
	// failed, with io.ErrUnexpectedEOF for a connection that has ended.
	End(err error, reusable bool) error

	// Rest reports whether the connection is of use once the rest of the body
	// was taken off it, which for all that is known has no more than limit bytes
	// of content.
	Rest(limit int64) bool

	// Drop gives the connection back before the end of the body, to be closed.
	Drop()
}

// FramedBody is the body of an answer that comes over a connection, in whatever
// pieces a [Framing] finds. It is a [ResponseBody].
//
// Content of known length that nothing interrupts is written without a copy, and
// if it is long, from socket to socket through the io.ReaderFrom of its writer.
type FramedBody struct {
	ResponseBody
	f      Framing
	sender *BodySender
	left   int64 // bytes of content that follow
	plain  bool  // they are all there are
	toEnd  bool  // so is all up to the end of the connection
	lost   bool  // bytes that came behind what was written are gone
}

// Init makes b the body that comes over c. For one without anything between its
// bytes, plain is its length, or below zero if it ends with the connection; for
// any other it is zero. While the sender of the
// request's body waits for the client, the backend's time does not run. A
// FramedBody is not to be copied any more.
func (b *FramedBody) Init(f Framing, c *backend.Conn, sender *BodySender, plain int64) {
	b.ResponseBody.Init((*framedSource)(b), c)
	b.f, b.sender, b.left, b.plain = f, sender, plain, plain > 0
	if plain < 0 {
		b.left, b.toEnd = math.MaxInt64, true
	}
}

// next goes to the next content, and with wait waits for it. Errors are those of
// the Framing or of the connection; without wait, errMore says that nothing can be
// told yet.
func (b *FramedBody) next(wait bool) error {
	r := b.c.R
	for b.left == 0 {
		have, _ := r.Peek(r.Buffered())
		used, n, err := b.f.Next(have)
		_, _ = r.Discard(used)
		b.left = n
		if err == nil && n == 0 {
			if !wait {
				return errMore
			}
			err = b.await()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Content waits for content, and returns what of it is here without a break.
// Errors are those of the Framing or of the connection. Like the methods below,
// it is for a protocol that finds more than the body in its content, and not to be
// called any more after the body has been returned.
func (b *FramedBody) Content() ([]byte, error) {
	if b.f == nil {
		return nil, io.EOF
	}
	if err := b.next(true); err != nil {
		return nil, err
	}
	r := b.c.R
	if r.Buffered() == 0 {
		if err := b.await(); err != nil {
			return nil, err
		}
	}
	return r.Peek(int(min(b.left, int64(r.Buffered()))))
}

// Discard takes n bytes of what Content has returned.
func (b *FramedBody) Discard(n int) {
	if b.f == nil {
		return
	}
	_, _ = b.c.R.Discard(n)
	b.left -= int64(n)
}

// Buffered returns the bytes that are here, and how much content they begin with
// or is still to come before anything else.
func (b *FramedBody) Buffered() (have []byte, content int64) {
	if b.f == nil {
		return nil, 0
	}
	have, _ = b.c.R.Peek(b.c.R.Buffered())
	return have, b.left
}

// Cut leaves no more than n bytes of the content that was announced, and returns
// the number of those that the Framing has to skip.
func (b *FramedBody) Cut(n int64) (skip int64) {
	skip = max(b.left-n, 0)
	b.left -= skip
	return skip
}

// Settle ends the body if its end is here, and reports whether it has ended.
func (b *FramedBody) Settle() bool {
	if b.f != nil && b.ended == nil && b.left == 0 {
		b.look()
	}
	return b.ended != nil
}

// await waits for one more byte in the buffer.
func (b *FramedBody) await() error {
	r := b.c.R
	if r.Buffered() == r.Size() {
		return Malformed("more than %d bytes without content", r.Size())
	}
	for {
		_, err := r.Peek(r.Buffered() + 1)
		if err == nil || !b.excused(err) {
			return b.unexpected(err)
		}
	}
}

// excused reports whether the time limit was met since the client owes a part of
// the request's body, and moves the limit ahead.
func (b *FramedBody) excused(err error) bool {
	return !b.resting && IsTimeout(err) && b.sender.Excuses()
}

// unexpected makes an end of the connection inside of a message an error.
func (b *FramedBody) unexpected(err error) error {
	if err == io.EOF && !b.toEnd {
		return io.ErrUnexpectedEOF
	}
	return err
}

// look goes on behind the content that was taken, as far as that is here, so
// that the connection is free before the last content is passed on.
func (b *FramedBody) look() {
	if err := b.next(false); err != nil && err != errMore {
		b.end(err, true)
	}
}

// end ends the body; tidy says that nothing was read behind it.
func (b *FramedBody) end(err error, tidy bool) {
	b.End(b.f.End(err, err == io.EOF && b.Free() && tidy && !b.lost))
}

// framedSource is a FramedBody as a BodySource.
type framedSource FramedBody

// ReadSome is part of [BodySource].
func (s *framedSource) ReadSome(p []byte) int {
	b := (*FramedBody)(s)
	if err := b.next(true); err != nil {
		b.end(err, true)
		return 0
	}
	n, err := b.c.R.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case err != nil:
		b.broke(err)
	case b.left == 0:
		b.look()
	}
	return n
}

// broke ends the body after an error of reading content, unless that is excused.
func (b *FramedBody) broke(err error) {
	if !b.excused(err) {
		b.end(b.unexpected(err), true)
	}
}

// SomeReady is part of [BodySource].
func (s *framedSource) SomeReady() bool {
	b := (*FramedBody)(s)
	const looks = 16 // what is no content may never end
	r := b.c.R
	for range looks {
		if b.left == 0 {
			b.look()
		}
		switch {
		case b.ended != nil, b.left > 0 && r.Buffered() > 0:
			return true
		case !b.c.Waiting():
			return false
		case b.left > 0:
			return true
		}
		// It may be no content, behind which nothing comes for long.
		if _, err := r.Peek(r.Buffered() + 1); err != nil {
			return true // a read fails at once
		}
	}
	return false
}

// WriteSome is part of [BodySource].
func (s *framedSource) WriteSome(w io.Writer, ready bool) (int64, error) {
	b := (*FramedBody)(s)
	if b.plain {
		if have := min(int64(b.c.R.Buffered()), b.left); have > 0 {
			return b.writeBuffered(w, int(have))
		}
		if rf, ok := w.(io.ReaderFrom); ok && ready && b.left >= spliceFrom {
			if tc := b.c.TCP(); tc != nil {
				return b.splice(rf, tc)
			}
		}
	}
	return b.writeGathered(w)
}

// writeBuffered writes what is in the buffer as it is.
func (b *FramedBody) writeBuffered(w io.Writer, have int) (int64, error) {
	r := b.c.R
	data, _ := r.Peek(have)
	n, err := w.Write(data)
	_, _ = r.Discard(n)
	b.left -= int64(n)
	if err == nil && b.left == 0 {
		b.look()
	}
	return int64(n), err
}

// splice moves a piece of the body, whose begin is there, from socket to
// socket.
func (b *FramedBody) splice(rf io.ReaderFrom, tc *net.TCPConn) (int64, error) {
	src := &io.LimitedReader{R: tc, N: min(b.left, splicePiece)}
	want, begun := src.N, time.Now()
	n, err := rf.ReadFrom(src)
	moved := want - src.N // what left the backend, whether or not the client got it
	b.left -= moved
	b.c.Count(0, moved)
	switch {
	case errors.Is(err, ErrClientStalled):
		return n, err
	case b.left == 0 && err == nil:
		b.look()
	case err == nil && moved < want:
		b.end(io.ErrUnexpectedEOF, true)
	case err != nil && IsTimeout(err):
		if limit := b.c.Limits().Read; limit < 0 || time.Since(begun) < limit-limit/16 {
			return n, err // the backend's limit has not passed: it is the client's
		}
		b.c.Disarmed() // a slow client used the time up: there was something to read
		return n, nil
	case err != nil && !errors.Is(err, syscall.EPIPE) && b.c.Ended():
		b.end(err, true)
		return n, nil
	}
	return n, err
}

// writeGathered reads as much as fits a large buffer, whatever pieces that may
// be, moves their content together and writes it at once: one piece at a time
// would cost a system call for each. It goes on while what it has read ends
// inside of what is no content.
func (b *FramedBody) writeGathered(w io.Writer) (written int64, err error) {
	lent := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(lent)
	r, buf := b.c.R, lent[:]
	content, raw := 0, 0 // buf begins with content, behind which come bytes that were not looked at
	flushed := true      // all that was written, with the time limit set anew
	for {
		n, err := r.Read(buf[content+raw:])
		if raw += n; raw > 0 {
			data, used := b.gather(buf[content : content+raw])
			raw -= used
			copy(buf[content+data:], buf[content+used:content+used+raw])
			content += data
		}
		if err != nil && b.ended == nil {
			b.broke(err)
		}
		if b.ended == nil && content < gatherTo && content+raw < len(buf) && (r.Buffered() > 0 || content+raw > 0 && b.c.Waiting()) {
			continue
		}
		if content > 0 {
			b.lost = raw > 0
			n, err := w.Write(buf[:content])
			written += int64(n)
			if err != nil {
				return written, err
			}
			b.lost = false
			copy(buf, buf[content:content+raw])
			content, flushed = 0, false
		}
		switch {
		case b.ended != nil || raw == 0:
			return written, nil
		case raw == len(buf):
			b.end(Malformed("more than %d bytes without content", raw), true)
			return written, nil
		}
		if !flushed {
			if b.c.Waiting() {
				b.c.ArmBody()
				continue
			}
			if err := FlushWriter(w); err != nil {
				return written, err
			}
			flushed = true
			b.c.ArmBody()
		}
	}
}

// gather moves the content in buf to its begin. It returns the length of the
// content, and how many bytes of buf it has used: the rest tells nothing yet.
func (b *FramedBody) gather(buf []byte) (content, used int) {
	for {
		n := copy(buf[content:], buf[used:used+int(min(b.left, int64(len(buf)-used)))])
		b.left -= int64(n)
		content, used = content+n, used+n
		if b.left > 0 {
			return content, used
		}
		skip, next, err := b.f.Next(buf[used:])
		used, b.left = used+skip, next
		if err != nil {
			b.end(err, used == len(buf))
		}
		if err != nil || next == 0 {
			return content, used
		}
	}
}

// Rest is part of [BodySource].
func (s *framedSource) Rest(limit int64) bool {
	b := (*FramedBody)(s)
	return !b.lost && b.left <= limit && !b.c.Backend().DisableReuse && b.sender.Settled() && b.f.Rest(limit)
}

// Drop is part of [BodySource].
func (b *framedSource) Drop() { b.f.Drop() }
