package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

const (
	copyBufferSize = 32 << 10
	sizeLineRoom   = 16 // for a chunk's size line and the CRLF after its data
	headDelay      = 20 * time.Millisecond
	endDelay       = 50 * time.Millisecond // that an answer waits for the last piece of the body to leave
)

// copyBuffers lends buffers of copyBufferSize bytes.
var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// bodySender sends the body of a request on a goroutine of its own, so that an
// answer that comes before the body's end is seen. The head waits for the
// first bytes of the body, to leave in one segment with them, but not longer
// than headDelay.
type bodySender struct {
	c *backend.Conn
	r *http.Request
	f framing

	mu   sync.Mutex // guards head and its writing
	head []byte     // not sent yet; nil once it is
	late *time.Timer

	reading  atomic.Bool // the goroutine waits for the client
	ending   atomic.Bool // the last byte is being written
	broken   atomic.Bool // the client's body failed
	extended time.Time   // when the time limit was last moved ahead
	done     chan struct{}
	readErr  error // of the client's body; read it after done
	writeErr error
}

// startSender starts sending the body of r, after head if it is not nil. The
// sender owns the head's memory until it is done.
func startSender(c *backend.Conn, r *http.Request, f framing, head []byte) *bodySender {
	s := &bodySender{c: c, r: r, f: f, head: head, done: make(chan struct{}), extended: time.Now()}
	s.reading.Store(true)
	if head != nil {
		s.late = time.AfterFunc(headDelay, s.sendHead)
	}
	go s.run()
	return s
}

// waitsForClient reports whether nothing can come from the backend since the
// client has not sent what it has to answer.
func (s *bodySender) waitsForClient() bool { return s != nil && s.reading.Load() }

// finished reports whether the whole body was sent. A body whose last byte is
// on its way is waited for, but not long: a backend that has answered need not
// read it.
func (s *bodySender) finished() bool {
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
	return s.readErr == nil && s.writeErr == nil
}

// clientError returns the error of reading the client's body, if that ended
// the exchange.
func (s *bodySender) clientError() error {
	if s == nil || !s.broken.Load() {
		return nil
	}
	<-s.done
	return s.readErr
}

func (s *bodySender) run() {
	defer close(s.done)
	defer s.r.Body.Close()
	if s.late != nil {
		defer s.late.Stop()
	}
	if err := s.copy(); err != nil {
		if s.readErr != nil {
			s.broken.Store(true)
			s.c.Abort() // the backend must not take a part for the whole
		} else {
			s.writeErr = err
		}
	}
}

// copy reads and writes piece by piece.
func (s *bodySender) copy() error {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	buf := lent[:]
	left := s.r.ContentLength
	for {
		room := s.room(buf)
		if s.f == framingLength && int64(len(room)) > left {
			room = room[:left]
		}
		s.reading.Store(true)
		n, err := s.r.Body.Read(room)
		s.reading.Store(false)
		if err != nil && err != io.EOF {
			s.readErr = err
			return err
		}
		left -= int64(n)
		last := err == io.EOF || s.f == framingLength && left == 0
		if last && s.f == framingLength && left > 0 {
			s.readErr = fmt.Errorf("request body ended %d bytes short of its length: %w", left, io.ErrUnexpectedEOF)
			return s.readErr
		}
		if last {
			s.ending.Store(true)
		}
		if err := s.write(buf, room, n, last); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

// room is the part of buf into which the body is read: behind it, and before
// it as long as the head is unsent, other bytes of the message find place.
func (s *bodySender) room(buf []byte) []byte {
	before := 0
	if s.f == framingChunked {
		before = sizeLineRoom
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := before + len(s.head); n <= len(buf)/2 {
		before = n
	}
	return buf[before : len(buf)-sizeLineRoom]
}

// write sends n bytes that were read into room, with their framing and, if it
// is unsent, the head before them.
func (s *bodySender) write(buf, room []byte, n int, last bool) error {
	at := cap(buf) - cap(room)
	end := at + n
	if s.f == framingChunked {
		if n > 0 {
			at = putSizeLine(buf, at, n)
			end += copy(buf[end:], "\r\n")
		}
		if last {
			return s.writeLast(buf, at, end)
		}
	}
	return s.writePiece(buf, at, end)
}

// writePiece writes buf[at:end], after the head if that is unsent.
func (s *bodySender) writePiece(buf []byte, at, end int) error {
	s.mu.Lock()
	head := s.head
	s.head = nil
	if n := len(head); n > 0 && n <= at {
		at -= n
		copy(buf[at:], head)
	} else if n > 0 {
		if _, err := s.c.Write(head); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.mu.Unlock()
	if at == end {
		return nil
	}
	if now := time.Now(); now.Sub(s.extended) > time.Second {
		s.extended = now
		s.c.Extend()
	}
	_, err := s.c.Write(buf[at:end])
	return err
}

// writeLast adds the last chunk and the trailer.
func (s *bodySender) writeLast(buf []byte, at, end int) error {
	if len(s.r.Trailer) == 0 && end+5 <= len(buf) {
		end += copy(buf[end:], "0\r\n\r\n")
		return s.writePiece(buf, at, end)
	}
	if err := s.writePiece(buf, at, end); err != nil {
		return err
	}
	b := append(appendTrailer([]byte("0\r\n"), s.r.Trailer), "\r\n"...)
	_, err := s.c.Write(b)
	return err
}

// putSizeLine writes the size line of a chunk of n bytes so that it ends at
// at, and returns where it begins.
func putSizeLine(buf []byte, at, n int) int {
	var line [sizeLineRoom]byte
	b := append(strconv.AppendInt(line[:0], int64(n), 16), "\r\n"...)
	copy(buf[at-len(b):], b)
	return at - len(b)
}

// sendHead sends the head if the first bytes of the body have not come yet.
func (s *bodySender) sendHead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head != nil {
		_, err := s.c.Write(s.head)
		s.head = nil
		if err != nil {
			s.c.Abort()
		}
	}
}
