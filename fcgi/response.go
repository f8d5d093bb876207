package fcgi

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// responseBody reads the body of an answer up to END_REQUEST.
type responseBody struct {
	exchange.ResponseBody
	x        *attempt
	want     int64 // by Content-Length; -1 if that is not known
	got      int64
	bodyless bool // what comes is not part of the answer
}

// ReadSome is part of [exchange.BodySource].
func (b *responseBody) ReadSome(p []byte) int {
	n, err := b.read(p)
	if err != nil {
		b.end(err)
	}
	return n
}

// read reads what belongs to the answer. What comes beyond the length that the
// header names is dropped.
func (b *responseBody) read(p []byte) (int, error) {
	for {
		n, err := b.x.records.Read(p)
		if b.bodyless {
			n = 0
		} else if b.want >= 0 {
			n = int(min(int64(n), b.want-b.got))
		}
		b.got += int64(n)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// end gives the connection back after the end of the body, or its failure.
func (b *responseBody) end(err error) {
	end := b.x.records.end
	complete := b.bodyless || b.want < 0 || b.got == b.want
	switch {
	case err == io.EOF && end.protocol != requestComplete:
		err = malformed("protocol status %d after the header", end.protocol)
	case err == io.EOF && complete:
		b.x.release(b.Free())
		b.End(io.EOF)
		return
	case err == io.EOF:
		err = malformed("body has %d bytes, and not the %d of its Content-Length", b.got, b.want)
	case complete && errors.Is(err, io.ErrUnexpectedEOF) && (b.want >= 0 || b.x.records.closed):
		if b.x.release(false) { // only END_REQUEST is missing
			b.End(io.EOF)
			return
		}
	}
	b.End(b.x.fail(&exchange.Error{Op: exchange.OpBody, Err: err}))
}

// SomeReady is part of [exchange.BodySource].
func (b *responseBody) SomeReady() bool {
	const looks = 16 // error output may never end
	r := b.x.c.R
	for range looks {
		if b.here() {
			return true
		}
		if !b.x.c.Waiting() {
			return false
		}
		// It may be error output, behind which nothing comes for long.
		if _, err := r.Peek(r.Buffered() + 1); err != nil {
			return true // a read fails at once
		}
	}
	return b.here()
}

// here reports whether a read finds something in the buffer.
func (b *responseBody) here() bool { return b.x.records.ready() }

// WriteSome is part of [exchange.BodySource].
func (b *responseBody) WriteSome(w io.Writer, _ bool) (int64, error) {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	have := b.fill(lent[:])
	if have == 0 {
		return 0, nil
	}
	n, err := w.Write(lent[:have])
	return int64(n), err
}

// fill reads what comes without a pause, but waits for the first byte. The
// connection is free at the end, before the client has the data.
func (b *responseBody) fill(buf []byte) int {
	const enough = 16 << 10
	total := 0
	for {
		n, err := b.read(buf[total:])
		total += n
		if err != nil {
			b.end(err)
			return total
		}
		if total == len(buf) || !b.here() && (total >= enough || !b.SomeReady()) {
			return total
		}
		b.x.c.Arm(0)
	}
}

// Drop is part of [exchange.BodySource].
func (b *responseBody) Drop(bool) { b.x.release(false) }

// wholeBody is the body of an answer that came at once.
type wholeBody struct {
	data   []byte
	closed atomic.Bool
}

// Read reads from what came.
func (b *wholeBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// WriteTo writes the rest to w.
func (b *wholeBody) WriteTo(w io.Writer) (int64, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := w.Write(b.data)
	b.data = b.data[n:]
	return int64(n), err
}

// Ready reports true: a read never waits.
func (b *wholeBody) Ready() bool { return true }

// Close ends reading.
func (b *wholeBody) Close() error {
	b.closed.Store(true)
	return nil
}

// headScanner looks for the empty line that ends a header, in whatever pieces
// that comes.
type headScanner struct {
	line, total int  // limits
	seen        int  // bytes so far
	width       int  // bytes of the line so far, but for a CR at its end
	cr          bool // the last byte was a CR
}

// scan reads b, and returns how many bytes of it belong to the header, and
// whether it has ended.
func (s *headScanner) scan(b []byte) (n int, done bool, err error) {
	for i, c := range b {
		s.seen++
		switch {
		case c == '\n':
			if s.width == 0 {
				return i + 1, true, nil
			}
			s.width, s.cr = 0, false
		case s.cr: // one that ends no line
			s.width += 2
			if s.cr = c == '\r'; s.cr {
				s.width--
			}
		case c == '\r':
			s.cr = true
		default:
			s.width++
		}
		if s.width > s.line {
			return i + 1, false, malformed("line of the header is longer than %d bytes", s.line)
		}
		if s.seen > s.total {
			return i + 1, false, malformed("header is longer than %d bytes", s.total)
		}
	}
	return len(b), false, nil
}

// parseHead reads a CGI header into resp, RFC 3875 section 6. Without Status
// a Location is a redirection; a local one, too, is left to the client.
func parseHead(head string, resp *http.Response) error {
	h, err := exchange.ParseFields(head, nil)
	if err != nil {
		return err
	}
	code, text := http.StatusOK, ""
	if v := h["Status"]; v != nil {
		if code, text, err = parseStatus(v); err != nil {
			return err
		}
		delete(h, "Status")
	} else if h["Location"] != nil {
		code = http.StatusFound
	}
	if text == "" {
		text = strconv.Itoa(code) + " " + http.StatusText(code)
	}
	delete(h, "Transfer-Encoding") // records delimit the body
	delete(h, "Connection")
	*resp = http.Response{Status: text, StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h}
	return nil
}

// parseStatus reads three digits and a reason or none.
func parseStatus(values []string) (code int, text string, err error) {
	text = values[0]
	if len(values) > 1 {
		return 0, "", malformed("Status more than once")
	}
	if len(text) < 3 || len(text) > 3 && text[3] != ' ' {
		return 0, "", malformed("Status is not three digits")
	}
	for i := range 3 {
		if text[i] < '0' || text[i] > '9' {
			return 0, "", malformed("Status is not three digits")
		}
		code = code*10 + int(text[i]-'0')
	}
	if code < 200 || code > 999 {
		return 0, "", malformed("Status %d is no final one", code)
	}
	if len(text) == 3 {
		text = ""
	}
	return code, text, nil
}
