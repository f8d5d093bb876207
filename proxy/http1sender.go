package proxy

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

const (
	sizeLineRoom = 16 // for a chunk's size line and the CRLF after its data
	headDelay    = 20 * time.Millisecond
)

// bodySender sends the body of a request over HTTP/1. The head waits for the
// first bytes of the body, to leave in one segment with them, but not longer
// than headDelay.
type bodySender struct {
	exchange.BodySender
	c     *backend.Conn
	r     *http.Request
	hooks exchange.Hooks
	f     http1.Framing

	mu   sync.Mutex // guards head and its writing
	head []byte     // not sent yet; nil once it is
	late *time.Timer
}

// startSender starts sending the body of r, after head if it is not nil. The
// sender owns the head's memory until it is done.
func startSender(c *backend.Conn, r *http.Request, f http1.Framing, head []byte, hooks exchange.Hooks) *exchange.BodySender {
	s := &bodySender{c: c, r: r, hooks: hooks, f: f, head: head}
	s.Init(c, r, hooks)
	s.Expect()
	if head != nil {
		s.late = time.AfterFunc(headDelay, s.sendHead)
	}
	go s.run()
	return &s.BodySender
}

func (s *bodySender) run() {
	err := s.Copy(s)
	if s.late != nil {
		s.late.Stop()
	}
	s.Finish(err)
}

// Room is part of [exchange.BodyFraming]. As long as the head is unsent, there is
// place for it, too, before the piece.
func (s *bodySender) Room(buf []byte) ([]byte, error) {
	before := 0
	if s.f == http1.FramingChunked {
		before = sizeLineRoom
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := before + len(s.head); n <= len(buf)/2 {
		before = n
	}
	return buf[before : len(buf)-sizeLineRoom], nil
}

// Send is part of [exchange.BodyFraming]. The head, if it is unsent, goes before
// the piece.
func (s *bodySender) Send(buf, room []byte, n int, last bool) error {
	at := cap(buf) - cap(room)
	end := at + n
	if s.f == http1.FramingChunked {
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
	head, alone := s.head, false
	s.head = nil
	if n := len(head); n > 0 && n <= at {
		at -= n
		copy(buf[at:], head)
	} else if n > 0 {
		if _, err := s.WriteHead(head); err != nil {
			s.mu.Unlock()
			return err
		}
		alone = true
	}
	s.mu.Unlock()
	var err error
	if at < end {
		_, err = s.Write(buf[at:end])
	}
	if head != nil && (err == nil || alone) {
		wroteHead(s.hooks, head)
	}
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
	b := append(http1.AppendTrailer([]byte("0\r\n"), s.r.Trailer), "\r\n"...)
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
		_, err := s.WriteHead(s.head)
		if err != nil {
			s.Broken(err)
		} else {
			wroteHead(s.hooks, s.head)
		}
		s.head = nil
	}
}
