package ftpproxy

import (
	"bufio"
	"io"
	"strings"
)

const (
	// maxLineBytes limits one line of a listing.
	maxLineBytes = 16 << 10
	// batchLines is how many lines are read at a time.
	batchLines = 256
	// sortedEntries is how long a listing may be to be sorted, and read before
	// it is answered: longer ones come in the order and at the pace of the
	// server.
	sortedEntries = 1000
)

// lister reads a listing from the data connection. The time limit is one for the
// next entry, whatever lines come before it.
type lister struct {
	data    *dataConn
	r       *bufio.Reader
	mlsd    bool
	only    *pattern // nil: all
	parser  *lineParser
	lines   []string
	entries []entry
}

// openList asks for the listing of the current directory. It returns nil for
// one that is empty.
func (x *attempt) openList(only *pattern) (*lister, error) {
	s := x.s
	s.ctl.holdFinal()
	if _, err := s.ftp.List(""); err != nil {
		s.ctl.hold = false
		if x.refusedBy(err, 450, 226, 250) {
			return nil, nil
		}
		return nil, err
	}
	s.data.lent = false
	if err := s.handshakeData(x.ctx); err != nil {
		s.dialErr = err
		return nil, err
	}
	s.data.hold()
	l := &lister{data: s.data, r: bufio.NewReaderSize(s.data, maxLineBytes), mlsd: s.ctl.verb == "MLSD", only: only}
	if l.mlsd {
		return l, nil
	}
	var err error
	l.parser, err = newLineParser(x.t.Location)
	return l, err
}

// next returns the entries of some lines, until io.EOF, which may come along
// with the last ones. They are good up to the next call.
func (l *lister) next() (list []entry, err error) {
	if len(l.entries) > 0 {
		l.data.hold()
	}
	l.lines = l.lines[:0]
	for len(l.lines) < batchLines && err == nil {
		if len(l.lines) > 0 && l.r.Buffered() == 0 {
			break // what is here need not wait
		}
		var line []byte
		line, err = l.r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return nil, malformed("line of the listing exceeds %d bytes", maxLineBytes)
		}
		if text := strings.TrimRight(string(line), "\r\n"); text != "" {
			l.lines = append(l.lines, text)
		}
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	if perr := l.parse(); perr != nil {
		return nil, perr
	}
	return l.entries, err
}

func (l *lister) parse() (err error) {
	l.entries = l.entries[:0]
	if l.mlsd {
		for _, line := range l.lines {
			if e, ok := parseMLSD(line); ok {
				l.entries = append(l.entries, e)
			}
		}
	} else if l.entries, err = l.parser.parse(l.entries, l.lines); err != nil {
		return err
	}
	if l.only == nil {
		return nil
	}
	kept := l.entries[:0]
	for _, e := range l.entries {
		if l.only.matches(e.name) {
			kept = append(kept, e)
		}
	}
	l.entries = kept
	return nil
}
