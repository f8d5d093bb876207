package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// ChunkedReader decodes the chunked transfer coding (RFC 9112 section 7.1)
// without leniency: sizes are plain hexadecimal, lines end in CRLF, extensions
// are skipped within the limit of a line, and so is what all chunks have of them
// beyond a little for each and as much as there is data.
type ChunkedReader struct {
	R       *bufio.Reader
	Lim     HeadLimits
	left    int64 // of the current chunk
	excess  int64 // bytes of framing beyond those that are allowed
	begun   bool  // a chunk was read, whose final CRLF is due
	done    bool  // the last chunk and the trailer were read
	Trailer http.Header
}

// next reads chunk heads until data or the end is before it.
func (c *ChunkedReader) next() error {
	if c.begun {
		if err := c.expectCRLF(); err != nil {
			return err
		}
		c.begun = false
	}
	line, err := c.readLine()
	if err != nil {
		return err
	}
	size, err := chunkSize(line)
	if err != nil {
		return err
	}
	const free = 16
	c.excess = max(c.excess+int64(len(line))-free-size, 0)
	if c.excess > int64(c.Lim.Line) {
		return exchange.Malformed("chunks have more framing than data")
	}
	if size > 0 {
		c.left, c.begun = size, true
		return nil
	}
	return c.readTrailer()
}

// Read returns io.EOF after the trailer, and an error wrapping ErrMalformed or
// io.ErrUnexpectedEOF for anything else that ends the data.
func (c *ChunkedReader) Read(p []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, Unexpected(err)
		}
		if c.done {
			return 0, io.EOF
		}
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.R.Read(p)
	c.left -= int64(n)
	if err != nil {
		return n, Unexpected(err)
	}
	if c.left == 0 && c.endsBuffered() {
		// The end has come with the data: see it now, so that the connection
		// is free before the data is passed on.
		if err := c.next(); err != nil {
			return n, Unexpected(err)
		}
		if c.done {
			return n, io.EOF
		}
	}
	return n, nil
}

// endsBuffered reports whether the whole end of an answer without a trailer is
// in the buffer.
func (c *ChunkedReader) endsBuffered() bool {
	const end = "\r\n0\r\n\r\n"
	if c.R.Buffered() < len(end) {
		return false
	}
	b, _ := c.R.Peek(len(end))
	return string(b) == end
}

// Ready reports whether more data, or the end, is in the buffer: a part of a
// size line, or of a trailer, is not enough.
func (c *ChunkedReader) Ready() bool {
	n := c.R.Buffered()
	if c.done || c.left > 0 && n > 0 {
		return true
	}
	b, _ := c.R.Peek(n)
	if c.begun && n >= 2 {
		b = b[2:]
	}
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	if size, err := chunkSize(bytes.TrimSuffix(line, []byte("\r"))); ok && err == nil && size == 0 {
		return bytes.HasPrefix(rest, []byte("\r\n")) || bytes.Contains(rest, []byte("\n\r\n"))
	}
	return ok
}

// readLine returns a line without its CRLF. It is valid until the next read.
func (c *ChunkedReader) readLine() ([]byte, error) {
	line, err := c.R.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > c.Lim.Line {
		return nil, exchange.Malformed("line of a chunk is too long")
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, exchange.Malformed("line of a chunk does not end in CRLF")
	}
	line = line[:len(line)-2]
	if !syntax.ValidValue(line) {
		return nil, exchange.Malformed("line of a chunk has control bytes")
	}
	return line, nil
}

func (c *ChunkedReader) expectCRLF() error {
	b, err := c.R.Peek(2)
	if err != nil {
		return err
	}
	if b[0] != '\r' || b[1] != '\n' {
		return exchange.Malformed("chunk is longer than its size")
	}
	_, _ = c.R.Discard(2)
	return nil
}

// chunkSize reads the size of a chunk; an extension may follow it.
func chunkSize(line []byte) (int64, error) {
	var size int64
	i := 0
	for ; i < len(line); i++ {
		d, ok := syntax.HexDigit(line[i])
		if !ok {
			break
		}
		if i == 15 {
			return 0, exchange.Malformed("chunk size has too many digits")
		}
		size = size<<4 | int64(d)
	}
	if i == 0 {
		return 0, exchange.Malformed("chunk has no size")
	}
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i < len(line) && line[i] != ';' {
		return 0, exchange.Malformed("chunk size is no number")
	}
	return size, nil
}

// readTrailer reads what follows the last chunk. Fields that must not stand in
// a trailer are dropped.
func (c *ChunkedReader) readTrailer() error {
	if b, err := c.R.Peek(2); err != nil {
		return err
	} else if b[0] == '\r' && b[1] == '\n' {
		_, _ = c.R.Discard(2)
		c.done = true
		return nil
	} else if b[0] == '\n' {
		return exchange.Malformed("line of a chunk does not end in CRLF")
	}
	block, err := ReadHead(c.R, nil, c.Lim)
	if err != nil {
		return err
	}
	h, err := exchange.ParseFields(string(block), nil)
	if err != nil {
		return err
	}
	for name := range h {
		if ForbiddenTrailer(name) {
			delete(h, name)
		}
	}
	c.Trailer, c.done = h, true
	return nil
}

// Unexpected turns an end before the end into io.ErrUnexpectedEOF.
func Unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
