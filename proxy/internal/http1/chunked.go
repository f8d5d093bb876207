package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Chunked decodes the framing of the chunked transfer coding (RFC 9112 section
// 7.1) without leniency: sizes are plain hexadecimal, lines end in CRLF,
// extensions are skipped within the limit of a line, and so is what all chunks
// have of them beyond a little for each and as much as there is data.
type Chunked struct {
	Lim     HeadLimits
	Trailer http.Header // once the end was read
	excess  int64       // bytes of framing beyond those that are allowed
	begun   bool        // a chunk was read, whose final CRLF is due
	last    bool        // the size line of the last chunk was read
	block   *block      // of the trailer, so far
}

// block is a trailer that has not ended.
type block struct {
	text []byte
	line int // bytes of the line in it that has not ended
}

// Next is that of [exchange.Framing]. io.EOF is returned behind the trailer, and
// any other error wraps [exchange.ErrMalformed].
func (c *Chunked) Next(b []byte) (used int, content int64, err error) {
	if c.begun {
		if len(b) < 2 {
			return 0, 0, nil
		}
		if b[0] != '\r' || b[1] != '\n' {
			return 0, 0, exchange.Malformed("chunk is longer than its size")
		}
		used, c.begun = 2, false
	}
	if !c.last {
		n, size, err := c.sizeLine(b[used:])
		used += n
		if err != nil || !c.last {
			return used, size, err
		}
	}
	n, err := c.readTrailer(b[used:])
	return used + n, 0, err
}

// sizeLine reads the line before a chunk, of n bytes.
func (c *Chunked) sizeLine(b []byte) (n int, size int64, err error) {
	n = bytes.IndexByte(b, '\n') + 1
	switch {
	case n > c.Lim.Line, n == 0 && len(b) > c.Lim.Line:
		return 0, 0, exchange.Malformed("line of a chunk is too long")
	case n == 0:
		return 0, 0, nil
	case n < 2 || b[n-2] != '\r':
		return 0, 0, exchange.Malformed("line of a chunk does not end in CRLF")
	}
	line := b[:n-2]
	if !syntax.ValidValue(line) {
		return 0, 0, exchange.Malformed("line of a chunk has control bytes")
	}
	if size, err = chunkSize(line); err != nil {
		return 0, 0, err
	}
	const free = 16
	c.excess = max(c.excess+int64(len(line))-free-size, 0)
	if c.excess > int64(c.Lim.Line) {
		return 0, 0, exchange.Malformed("chunks have more framing than data")
	}
	c.begun, c.last = size > 0, size == 0
	return n, size, nil
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

// readTrailer reads what follows the last chunk, up to and with an empty line.
func (c *Chunked) readTrailer(b []byte) (used int, err error) {
	if c.block == nil {
		if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' { // there is none
			return 2, io.EOF
		}
		c.block = new(block)
	}
	for {
		n := bytes.IndexByte(b[used:], '\n') + 1
		if n == 0 {
			n = len(b) - used
		}
		c.block.text = append(c.block.text, b[used:used+n]...)
		used += n
		c.block.line += n
		switch whole := n > 0 && b[used-1] == '\n'; {
		case c.block.line > c.Lim.Line+2, len(c.block.text) > c.Lim.Total:
			return used, exchange.Malformed("trailer is too long")
		case !whole:
			return used, nil
		case c.block.line == 1, c.block.line == 2 && c.block.text[len(c.block.text)-2] == '\r':
			return used, c.parseTrailer()
		}
		c.block.line = 0
	}
}

// parseTrailer reads the block of the trailer. Fields that must not stand in one
// are dropped.
func (c *Chunked) parseTrailer() error {
	switch string(c.block.text) {
	case "\r\n":
		return io.EOF
	case "\n":
		return exchange.Malformed("line of a chunk does not end in CRLF")
	}
	block, err := ReadHead(bufio.NewReader(bytes.NewReader(c.block.text)), nil, c.Lim)
	if err != nil {
		return err
	}
	h, err := exchange.ParseFields(string(block), nil)
	if err != nil {
		return err
	}
	for name := range h {
		if exchange.ForbiddenTrailer(name) {
			delete(h, name)
		}
	}
	c.Trailer = h
	return io.EOF
}

// Unexpected turns an end before the end into io.ErrUnexpectedEOF.
func Unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
