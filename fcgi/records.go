package fcgi

import (
	"bufio"
	"io"
)

// records reads the content of STDOUT out of the records of one request. What
// comes on STDERR in between goes to a function.
type records struct {
	r       *bufio.Reader
	stderr  func([]byte)
	left    int        // of the content of the STDOUT record that was begun
	padding int        // to be skipped after it
	end     endRequest // once ended is set
	ended   bool       // END_REQUEST has come
	closed  bool       // the end of the stream STDOUT has come
	any     bool       // a record has come
}

// next goes to the next content of STDOUT. io.EOF means that END_REQUEST has
// come; a connection that ends is io.ErrUnexpectedEOF, but io.EOF before any
// record.
func (s *records) next() error {
	for s.left == 0 {
		if s.ended {
			return io.EOF
		}
		if err := s.skip(s.padding); err != nil {
			return s.cut(err)
		}
		s.padding = 0
		b, err := s.r.Peek(headLength)
		if err != nil {
			if len(b) > 0 {
				s.any = true
			}
			return s.cut(err)
		}
		h, err := parseRecordHead(b)
		if err != nil {
			return err
		}
		s.any = true
		_, _ = s.r.Discard(headLength)
		if err := s.begin(h); err != nil {
			return s.cut(err)
		}
	}
	return nil
}

func (s *records) cut(err error) error {
	if err == io.EOF && s.any {
		return io.ErrUnexpectedEOF
	}
	return err
}

// begin takes a record whose head was read.
func (s *records) begin(h recordHead) error {
	if h.id != requestID {
		if h.id == 0 { // management: an answer that nobody asked for
			return s.skip(h.length + h.padding)
		}
		return malformed("record for request %d", h.id)
	}
	switch h.kind {
	case typeStdout:
		if s.closed && h.length > 0 {
			return malformed("STDOUT after its end")
		}
		s.closed = h.length == 0
		s.left, s.padding = h.length, h.padding
		return nil
	case typeStderr:
		return s.errors(h)
	case typeEndRequest:
		return s.finish(h)
	}
	return malformed("record of type %d", h.kind)
}

// errors passes the content of STDERR on.
func (s *records) errors(h recordHead) error {
	for left := h.length; left > 0; {
		if _, err := s.r.Peek(1); err != nil {
			return err
		}
		b, _ := s.r.Peek(min(left, s.r.Buffered()))
		if s.stderr != nil {
			s.stderr(b)
		}
		left -= len(b)
		_, _ = s.r.Discard(len(b))
	}
	return s.skip(h.padding)
}

func (s *records) finish(h recordHead) error {
	b, err := s.r.Peek(min(h.length, 8))
	if err != nil {
		return err
	}
	if s.end, err = parseEnd(b); err != nil {
		return err
	}
	s.ended = true
	return s.skip(h.length + h.padding)
}

func (s *records) skip(n int) error {
	if n == 0 {
		return nil
	}
	_, err := s.r.Discard(n)
	return err
}

// Read reads content of STDOUT.
func (s *records) Read(p []byte) (int, error) {
	if err := s.next(); err != nil {
		return 0, err
	}
	if len(p) > s.left {
		p = p[:s.left]
	}
	n, err := s.r.Read(p)
	s.left -= n
	return n, s.cut(err)
}

// buffered returns the content of STDOUT that is here already without a break,
// or waits for some. It is taken with discard.
func (s *records) buffered() ([]byte, error) {
	if err := s.next(); err != nil {
		return nil, err
	}
	if _, err := s.r.Peek(1); err != nil {
		return nil, s.cut(err)
	}
	b, _ := s.r.Peek(min(s.left, s.r.Buffered()))
	return b, nil
}

func (s *records) discard(n int) {
	_, _ = s.r.Discard(n)
	s.left -= n
}

// rest looks at what is buffered, and takes nothing. It returns how much
// content of STDOUT there is, and whether END_REQUEST is here too, so that no
// read will wait any more.
func (s *records) rest() (content int, ended bool) {
	if s.ended {
		return 0, true
	}
	b, _ := s.r.Peek(s.r.Buffered())
	left, padding, closed := s.left, s.padding, s.closed
	for {
		n := min(left, len(b))
		content += n
		if b = b[n:]; n < left || len(b) < padding+headLength {
			return content, false
		}
		b = b[padding:]
		h, err := parseRecordHead(b)
		if err != nil {
			return content, true // a read fails at once
		}
		b = b[headLength:]
		left, padding = 0, h.padding
		switch {
		case h.id != requestID && h.id != 0:
			return content, true // as here
		case h.id == 0 || h.kind == typeStderr:
		case h.kind == typeEndRequest:
			return content, len(b) >= h.length+h.padding
		case h.kind != typeStdout || closed && h.length > 0:
			return content, true
		default:
			left, closed = h.length, h.length == 0
			continue
		}
		if len(b) < h.length {
			return content, false
		}
		b = b[h.length:]
	}
}
