package exchange

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// endDelay is how long an answer waits for the last piece of the request's body
// to leave.
const endDelay = 50 * time.Millisecond

// BodySender is what the sending of a request's body has in common in every
// protocol. It is done on a goroutine of its own, so that an answer that comes
// before the body's end is seen. That goroutine calls Copy, or Read and Write, and
// at its end Finish; the exchange calls the other methods, also of a nil
// BodySender: one without a body. So is one without Init.
type BodySender struct {
	c     *backend.Conn
	r     *http.Request
	hooks Hooks
	left  int64 // negative if the length is not known

	reading  atomic.Bool  // the goroutine waits for the client
	writing  atomic.Bool  // it waits for the backend to take a piece
	fed      atomic.Int64 // when either ended last, since born
	ending   atomic.Bool  // the last byte is being written
	broken   atomic.Bool  // the client's body failed
	closed   atomic.Bool  // the client's body was closed
	born     time.Time
	extended time.Time     // when the time limits were last moved ahead
	step     time.Duration // how often they are
	done     chan struct{}
	err      error      // of the client's body if that is broken, else of writing; read it after done
	writes   sync.Mutex // held while writing

	mu       sync.Mutex // guards the rest
	unsent   error      // why the request cannot be written
	answered bool       // the head of the final answer is in
	late     *time.Timer
	gaveUp   bool // on an answer that could have come before
}

// Init prepares for sending the body of r, of which there is one, to c.
func (s *BodySender) Init(c *backend.Conn, r *http.Request, hooks Hooks) {
	s.c, s.r, s.hooks, s.left = c, r, hooks, r.ContentLength
	if s.left == 0 {
		s.left = -1 // by the convention of net/http
	}
	s.born, s.done = time.Now(), make(chan struct{})
	s.extended, s.step = s.born, time.Second
	if c != nil {
		l := c.Limits()
		for _, limit := range []time.Duration{l.Write, l.Header, l.Read} {
			if limit > 0 {
				s.step = min(s.step, limit/8)
			}
		}
	}
}

// Expect tells that the backend can say nothing before the client has sent
// something: the goroutine is about to Read.
func (s *BodySender) Expect() { s.reading.Store(true) }

// Read reads some of the body into p, which is not empty, and tells whether
// that is its last. An error is the client's; the backend's connection is then
// aborted, for it must not take a part for the whole.
func (s *BodySender) Read(p []byte) (n int, last bool, err error) {
	if s.r == nil {
		return 0, true, nil
	}
	if s.left >= 0 && int64(len(p)) > s.left {
		p = p[:s.left]
	}
	s.reading.Store(true)
	n, err = s.r.Body.Read(p)
	s.fed.Store(int64(time.Since(s.born)))
	s.reading.Store(false)
	last = err == io.EOF
	if s.left >= 0 {
		s.left -= int64(n)
		if last && s.left > 0 {
			err = ShortBody(s.left)
			last = false
		}
		last = last || s.left == 0
	}
	if err != nil && err != io.EOF {
		s.broken.Store(true)
		s.c.Abort()
		return n, false, err
	}
	if last {
		s.ending.Store(true)
	}
	return n, last, nil
}

// ShortBody is the error of a client's body that ends so many bytes before its
// length.
func ShortBody(missing int64) error {
	return fmt.Errorf("request body ended %d bytes short of its length: %w", missing, io.ErrUnexpectedEOF)
}

// Write writes to the backend, whose time limit is moved ahead.
func (s *BodySender) Write(p []byte) (int, error) {
	if s.c == nil {
		return 0, net.ErrClosed
	}
	if now := time.Now(); now.Sub(s.extended) > s.step {
		s.extended = now
		s.c.Extend()
	}
	s.writing.Store(true)
	n, err := s.WriteHead(p)
	s.fed.Store(int64(time.Since(s.born)))
	s.writing.Store(false)
	return n, err
}

// WriteHead writes what goes before the body. Another goroutine may do so, before
// the first Write.
func (s *BodySender) WriteHead(p []byte) (int, error) {
	if s.c == nil {
		return 0, net.ErrClosed
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	return s.c.Write(p)
}

// BodyFraming is what a protocol puts around the pieces of a request's body.
type BodyFraming interface {
	// Room returns the part of buf that the next piece is read into, which is
	// not empty: around it is place for what the protocol adds. It may wait until
	// a piece is wanted.
	Room(buf []byte) ([]byte, error)

	// Send sends a piece, the n bytes that were read into room, which is a part of
	// buf; last tells whether it is the last one, which may be empty.
	Send(buf, room []byte, n int, last bool) error
}

// Copy sends the body piece by piece, up to its end or the first error, which is
// for Finish.
func (s *BodySender) Copy(f BodyFraming) error {
	if s.r == nil {
		return nil
	}
	lent := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(lent)
	for {
		room, err := f.Room(lent[:])
		n, last := 0, false
		for err == nil && n == 0 && !last {
			n, last, err = s.Read(room)
		}
		if err == nil {
			err = f.Send(lent[:], room, n, last)
		}
		if err != nil || last {
			return err
		}
	}
}

// Finish ends the sending; err is the error of Read or Write that ended it.
func (s *BodySender) Finish(err error) {
	s.err = err
	if s.r != nil {
		s.CloseBody()
		s.hooks.WroteRequest(err)
		close(s.done)
		if err != nil && !s.broken.Load() {
			s.Broken(err)
		}
	}
}

// Broken tells that the request cannot be written to its end. What the backend
// may have answered before is waited for, but not long: then the connection is
// aborted. Finish tells it by itself.
func (s *BodySender) Broken(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsent != nil || s.answered || s.c == nil {
		return
	}
	if s.c == nil {
		return // without Init
	}
	s.unsent = err
	s.late = time.AfterFunc(endDelay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.answered {
			s.gaveUp = true
			s.c.Abort()
		}
	})
}

// Answered tells that the head of the final answer is in: that the rest of the
// request cannot be written no longer matters.
func (s *BodySender) Answered() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = true
	if s.late != nil {
		s.late.Stop()
	}
}

// Failure returns the failure e of an exchange, or in its place that the request
// could not be written, and the error of reading the client's body if it was that.
func (s *BodySender) Failure(e *Error) (_ *Error, clientErr error) {
	if s == nil {
		return e, nil
	}
	s.mu.Lock()
	if s.gaveUp && !s.broken.Load() {
		e = &Error{Op: OpWrite, Backend: e.Backend, Resend: IsIdempotent(s.r), Err: staleError(s.c, s.unsent)}
	}
	s.mu.Unlock()
	if e.Op == OpWrite || errors.Is(e.Err, ErrStaleConn) {
		e.Resend = e.Resend || s.unwritten()
	}
	return e, s.clientError()
}

// unwritten ends the connection, and reports whether nothing of the request went
// over it: nobody has acted on that, whatever its method is.
func (s *BodySender) unwritten() bool {
	if s.c == nil || !s.c.Unwritten() {
		return false
	}
	s.c.Abort()
	s.writes.Lock() // the write that may be under way ends
	defer s.writes.Unlock()
	return s.c.Unwritten()
}

// CloseBody closes the client's body, if that was not done before: it ends a
// Read that may be waiting for the client.
func (s *BodySender) CloseBody() {
	if s != nil && s.r != nil && !s.closed.Swap(true) {
		_ = s.r.Body.Close()
	}
}

// Excuses reports whether a time limit for reading that was met was not the
// backend's, and moves it ahead: nothing can come since the client has not sent what
// is to be answered, or the backend has not taken it yet, for which there is another
// limit, or has taken it later than the limit began.
func (s *BodySender) Excuses() bool {
	if s == nil || s.c == nil {
		return false
	}
	limit := s.c.ReadLimit()
	if s.reading.Load() || s.writing.Load() {
		s.c.ExtendRead(limit)
		return true
	}
	left := limit - (time.Since(s.born) - time.Duration(s.fed.Load()))
	if s.fed.Load() == 0 || left <= limit/16 {
		return false
	}
	s.c.ExtendRead(left)
	return true
}

// Ending reports whether the last piece was read, which is written in a moment.
func (s *BodySender) Ending() bool { return s.ending.Load() }

// Wait waits for the end of the goroutine.
func (s *BodySender) Wait() {
	if s != nil && s.done != nil {
		<-s.done
	}
}

// Finished reports whether the whole body was sent. A body whose last byte is
// on its way is waited for, but not long: a backend that has answered need not
// read it.
func (s *BodySender) Finished() bool {
	if !s.ending.Load() {
		return false
	}
	select {
	case <-s.done:
	default:
		late := time.NewTimer(endDelay)
		defer late.Stop()
		select {
		case <-s.done:
		case <-late.C:
			return false
		}
	}
	return s.err == nil
}

// Settled reports whether there is no body, or its sending has ended well.
func (s *BodySender) Settled() bool { return s == nil || s.Finished() }

// clientError returns the error of reading the client's body, if that ended
// the exchange.
func (s *BodySender) clientError() error {
	if !s.broken.Load() {
		return nil
	}
	<-s.done
	return s.err
}
