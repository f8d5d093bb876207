package fcgi

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

const copyBufferSize = 64 << 10

// copyBuffers lends buffers of copyBufferSize bytes.
var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// endDelay is how long an answer waits for the last piece of the body to leave.
const endDelay = 50 * time.Millisecond

// bodySender sends a request body as the stream STDIN on a goroutine of its
// own, so that an answer that comes before the body's end is seen.
type bodySender struct {
	c    *backend.Conn
	body io.ReadCloser
	left int64

	reading  atomic.Bool // the goroutine waits for the client
	ending   atomic.Bool // the last byte is being written
	broken   atomic.Bool // the client's body failed
	extended time.Time   // when the time limit was last moved ahead
	done     chan struct{}
	readErr  error // of the client's body; read it after done
	writeErr error
}

func startSender(c *backend.Conn, body io.ReadCloser, length int64) *bodySender {
	s := &bodySender{c: c, body: body, left: length, done: make(chan struct{}), extended: time.Now()}
	s.reading.Store(true)
	go s.run()
	return s
}

// waitsForClient reports whether nothing can come from the application since
// the client has not sent what it has to answer.
func (s *bodySender) waitsForClient() bool { return s != nil && s.reading.Load() }

// finished reports whether the whole body was sent. One whose last byte is on
// its way is waited for, but not long: an application that has answered need
// not read it.
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
	defer s.body.Close()
	if err := s.copy(); err != nil {
		if s.readErr != nil {
			s.broken.Store(true)
			s.c.Abort()
		} else {
			s.writeErr = err
		}
	}
}

// copy sends one record for each piece that the client sends, and the end of
// the stream with the last.
func (s *bodySender) copy() error {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	buf := lent[:]
	const after = 8 + headLength // padding, and the end of the stream
	for s.left > 0 {
		room := buf[headLength : len(buf)-after]
		if int64(len(room)) > s.left {
			room = room[:s.left]
		}
		s.reading.Store(true)
		n, err := s.body.Read(room)
		s.reading.Store(false)
		s.left -= int64(n)
		if err == io.EOF && s.left > 0 {
			err = fmt.Errorf("request body ended %d bytes short of its length: %w", s.left, io.ErrUnexpectedEOF)
		}
		if err != nil && s.left > 0 {
			s.readErr = err
			return err
		}
		if n == 0 {
			continue
		}
		padding := putRecordHead(buf, typeStdin, requestID, n)
		out := append(buf[:headLength+n], zeros[:padding]...)
		if s.left == 0 {
			s.ending.Store(true)
			out = appendRecord(out, typeStdin, requestID, nil)
		}
		if err := s.write(out); err != nil {
			return err
		}
	}
	return nil
}

func (s *bodySender) write(b []byte) error {
	if now := time.Now(); now.Sub(s.extended) > time.Second {
		s.extended = now
		s.c.Extend()
	}
	_, err := s.c.Write(b)
	return err
}
