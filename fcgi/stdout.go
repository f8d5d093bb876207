package fcgi

import (
	"bufio"
	"errors"
	"io"
)

// records reads the content of STDOUT out of the records of one request. What
// comes on STDERR in between goes to a function.
type records struct {
	r       *bufio.Reader
	stderr  func([]byte)
	left    int        // of the content of the STDOUT record that was begun
	errors  int        // of that of the STDERR record that was begun
	skip    int        // to be skipped after it
	end     endRequest // once ending is set
	ending  bool       // END_REQUEST has come, but for what is to be skipped
	ended   bool       // all of it has come
	closed  bool       // the end of the stream STDOUT has come
	any     bool       // a record has come
	refused error      // a record that must not come has come
}

// errNotHere is returned when what is asked for has not come yet.
var errNotHere = errors.New("not here")

// next goes to the next content of STDOUT. io.EOF means that END_REQUEST has
// come; a connection that ends is io.ErrUnexpectedEOF, but io.EOF before any
// record.
func (s *records) next() error { return s.advance(true) }

// ready reports whether a read finds content of STDOUT, or the end, in the
// buffer. It takes what comes before that.
func (s *records) ready() bool {
	switch err := s.advance(false); err {
	case nil:
		return s.r.Buffered() > 0
	case errNotHere:
		return false
	}
	return true // a read fails at once
}

// advance is next, which with wait waits for what has not come.
func (s *records) advance(wait bool) error {
	for s.left == 0 {
		if s.refused != nil {
			return s.refused
		}
		if s.ended {
			return io.EOF
		}
		var err error
		switch {
		case s.errors > 0:
			err = s.passErrors(wait)
		case s.skip > 0:
			err = s.skipSome(wait)
		case s.ending:
			s.ended = true
		default:
			err = s.begin(wait)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// need returns the next n bytes, and takes nothing.
func (s *records) need(n int, wait bool) ([]byte, error) {
	if !wait && s.r.Buffered() < n {
		return nil, errNotHere
	}
	b, err := s.r.Peek(n)
	s.any = s.any || len(b) > 0
	return b, s.cut(err)
}

func (s *records) cut(err error) error {
	if err == io.EOF && s.any {
		return io.ErrUnexpectedEOF
	}
	return err
}

// begin takes the head of a record.
func (s *records) begin(wait bool) error {
	b, err := s.need(headLength, wait)
	if err != nil {
		return err
	}
	h, err := parseRecordHead(b)
	if err != nil {
		return err
	}
	if h.kind == typeEndRequest && h.id == requestID {
		return s.finish(h, wait)
	}
	_, _ = s.r.Discard(headLength)
	s.skip = h.padding
	switch {
	case h.id == 0: // management: an answer that nobody asked for
		s.skip += h.length
	case h.id != requestID:
		s.refused = malformed("record for request %d", h.id)
	case h.kind == typeStderr:
		s.errors = h.length
	case h.kind != typeStdout:
		s.refused = malformed("record of type %d", h.kind)
	case s.closed && h.length > 0:
		s.refused = malformed("STDOUT after its end")
	default:
		s.left, s.closed = h.length, h.length == 0
	}
	return s.refused
}

// finish takes END_REQUEST.
func (s *records) finish(h recordHead, wait bool) error {
	content := min(h.length, 8)
	b, err := s.need(headLength+content, wait)
	if err != nil {
		return err
	}
	if s.end, err = parseEnd(b[headLength:]); err != nil {
		return err
	}
	_, _ = s.r.Discard(headLength + content)
	s.ending, s.skip = true, h.length-content+h.padding
	return nil
}

// passErrors passes the content of STDERR on.
func (s *records) passErrors(wait bool) error {
	if _, err := s.need(1, wait); err != nil {
		return err
	}
	b, _ := s.r.Peek(min(s.errors, s.r.Buffered()))
	if s.stderr != nil {
		s.stderr(b)
	}
	s.errors -= len(b)
	_, _ = s.r.Discard(len(b))
	return nil
}

func (s *records) skipSome(wait bool) error {
	if _, err := s.need(1, wait); err != nil {
		return err
	}
	n, _ := s.r.Discard(min(s.skip, s.r.Buffered()))
	s.skip -= n
	return nil
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
	if _, err := s.need(1, true); err != nil {
		return nil, err
	}
	b, _ := s.r.Peek(min(s.left, s.r.Buffered()))
	return b, nil
}

func (s *records) discard(n int) {
	_, _ = s.r.Discard(n)
	s.left -= n
}

// rest looks at all that is buffered, and takes nothing. It returns how much
// content of STDOUT there is, and whether END_REQUEST is here too, so that no
// read will wait any more.
func (s *records) rest() (content int, ended bool) {
	if s.ended || s.refused != nil {
		return 0, true
	}
	b, _ := s.r.Peek(s.r.Buffered())
	left, skip, closed, ending := s.left, s.errors+s.skip, s.closed, s.ending
	for {
		n := min(left, len(b))
		content += n
		if b = b[n:]; n < left || len(b) < skip {
			return content, false
		}
		if b = b[skip:]; ending {
			return content, true
		}
		if len(b) < headLength {
			return content, false
		}
		h, err := parseRecordHead(b)
		if err != nil {
			return content, true // a read fails at once
		}
		b = b[headLength:]
		left, skip = 0, h.padding
		switch {
		case h.id == 0 || h.id == requestID && h.kind == typeStderr:
			skip += h.length
		case h.id != requestID, h.kind != typeStdout && h.kind != typeEndRequest:
			return content, true // as here
		case h.kind == typeEndRequest:
			if h.length < 5 && len(b) >= h.length {
				return content, true // as here
			}
			ending, skip = true, skip+h.length
		case closed && h.length > 0:
			return content, true // as here
		default:
			left, closed = h.length, h.length == 0
		}
	}
}
