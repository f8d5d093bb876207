package fcgi

import "io"

// records finds the content of STDOUT in the records of one request. What comes
// on STDERR in between goes to a function.
type records struct {
	stderr func([]byte)
	errors int        // of the content of a STDERR record that was begun
	skip   int64      // to be skipped after it
	end    endRequest // once ending is set
	ending bool       // END_REQUEST has come, but for what is to be skipped
	closed bool       // the end of the stream STDOUT has come
	any    bool       // a record has come
}

// next goes to the next content of STDOUT, as [exchange.Framing] has it. io.EOF
// means that END_REQUEST has come.
func (s *records) next(b []byte) (used int, content int64, err error) {
	s.any = s.any || len(b) > 0
	for {
		if n := min(s.errors, len(b)-used); n > 0 {
			if s.stderr != nil {
				s.stderr(b[used : used+n])
			}
			s.errors -= n
			used += n
		}
		if s.errors == 0 {
			n := min(s.skip, int64(len(b)-used))
			s.skip -= n
			used += int(n)
		}
		switch {
		case s.errors > 0 || s.skip > 0:
			return used, 0, nil
		case s.ending:
			return used, 0, io.EOF
		}
		n, content, err := s.begin(b[used:])
		used += n
		if err != nil || content > 0 || n == 0 {
			return used, content, err
		}
	}
}

// begin takes the head of a record, and all of END_REQUEST.
func (s *records) begin(b []byte) (used int, content int64, err error) {
	if len(b) < headLength {
		return 0, 0, nil
	}
	h, err := parseRecordHead(b)
	if err != nil {
		return 0, 0, err
	}
	used, s.skip = headLength, int64(h.padding)
	switch {
	case h.id == 0: // management: an answer that nobody asked for
		s.skip += int64(h.length)
	case h.id != requestID:
		return 0, 0, malformed("record for request %d", h.id)
	case h.kind == typeStderr:
		s.errors = h.length
	case h.kind == typeEndRequest:
		n := min(h.length, 8)
		if len(b) < used+n {
			s.skip = 0
			return 0, 0, nil
		}
		if s.end, err = parseEnd(b[used : used+n]); err != nil {
			return 0, 0, err
		}
		used += n
		s.ending = true
		s.skip += int64(h.length - n)
	case h.kind != typeStdout:
		return 0, 0, malformed("record of type %d", h.kind)
	case s.closed && h.length > 0:
		return 0, 0, malformed("STDOUT after its end")
	default:
		content, s.closed = int64(h.length), h.length == 0
	}
	return used, content, nil
}

// foretell looks at b, whose first left bytes are content, and takes nothing. It
// returns how much content of STDOUT there is, and whether the end, or what is an
// error, is here too, so that no read will wait any more.
func (s *records) foretell(b []byte, left int64) (content int, ended bool) {
	ahead := *s
	ahead.stderr = nil
	for {
		n := int(min(left, int64(len(b))))
		content += n
		if b = b[n:]; int64(n) < left {
			return content, false
		}
		used, next, err := ahead.next(b)
		if err != nil || next == 0 {
			return content, err != nil
		}
		b, left = b[used:], next
	}
}
