package ajp

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// answerHead is what a SEND_HEADERS packet says.
type answerHead struct {
	status int
	reason string
	header http.Header
}

// parseSendHeaders reads the payload of a SEND_HEADERS packet, behind its
// type, and refuses what could be read in two ways.
func parseSendHeaders(payload string, h *answerHead) error {
	d := decoder{s: payload}
	h.status = d.int()
	h.reason, _ = d.string()
	n := d.int()
	if d.err != nil {
		return d.err
	}
	if h.status < 100 || h.status > 999 {
		return malformed("status is not three digits")
	}
	if !httpguts.ValidHeaderFieldValue(h.reason) {
		return malformed("reason has control bytes")
	}
	header, err := d.fields(n, responseNames[:])
	if err == nil && d.s != "" {
		err = malformed("bytes behind the fields")
	}
	h.header = header
	return err
}

// statusLine returns status and reason as http.Response has them. Tomcat sends
// the number, or nothing, in place of a reason.
func (h *answerHead) statusLine() string {
	number := strconv.Itoa(h.status)
	reason := h.reason
	if reason == "" || reason == number {
		reason = http.StatusText(h.status)
		if h.status == http.StatusOK {
			return "200 OK"
		}
	}
	return number + " " + reason
}

// contentLength returns the length that the answer announces, or -1.
func (h *answerHead) contentLength() (int64, error) {
	values, ok := h.header["Content-Length"]
	if !ok {
		return -1, nil
	}
	length := int64(-1)
	for _, v := range values {
		if v == "" || len(v) > 18 || strings.Trim(v, "0123456789") != "" {
			return 0, malformed("Content-Length is no number")
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || length >= 0 && n != length {
			return 0, malformed("conflicting values of Content-Length")
		}
		length = n
	}
	if len(values) > 1 {
		h.header["Content-Length"] = values[:1]
	}
	return length, nil
}

// writeBulk is WriteTo for a body that comes faster than it is read: it reads
// as much as fits a large buffer, whatever packets that may be, moves their
// data together and writes them at once. That saves most of the system calls
// that one packet at a time would cost. It goes on to the end of the body.
func (b *responseBody) writeBulk(w io.Writer) (written int64, err error) {
	c := b.x.c
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	buf := lent[:]
	b.bulk = true
	flushed := false
	have, _ := io.ReadFull(c.R, buf[:c.R.Buffered()]) // from here on the connection itself is read
	for {
		data, used := b.strip(buf[:have])
		if data > 0 {
			n, err := w.Write(buf[:data])
			written += int64(n)
			if err != nil {
				return written, err
			}
		}
		if b.Ended() != nil {
			return written, nil
		}
		have = copy(buf, buf[used:have])
		flushed = flushed && data == 0
		if !flushed && !c.Waiting() {
			if err := exchange.FlushWriter(w); err != nil {
				return written, err
			}
			flushed = true
			c.Arm(0)
		} else if data > 0 {
			c.Arm(0)
		}
		n, err := c.Read(buf[have:])
		have += n
		if err != nil && !(exchange.IsTimeout(err) && b.x.feeder.sender().WaitsForClient()) {
			b.fail(unexpected(err))
			return written, nil
		}
		if err != nil {
			c.Extend()
		}
	}
}

// strip takes packets off buf and moves their data to its begin. It returns
// the length of the data, and how many bytes of buf it has used: the rest is a
// packet whose head is not all there.
func (b *responseBody) strip(buf []byte) (data, used int) {
	for b.Ended() == nil {
		if b.chunk > 0 {
			n := copy(buf[data:], buf[used:min(used+b.chunk, len(buf))])
			b.took(n)
			data, used = data+n, used+n
		}
		if b.chunk > 0 || b.pad > len(buf)-used {
			return data, used
		}
		used += b.pad
		b.pad = 0
		if len(buf)-used < headSize+1 {
			return data, used
		}
		kind, length, err := packetHead(buf[used:], b.x.size)
		if err != nil {
			b.fail(err)
			return data, used
		}
		n := bodyPacketHead(kind)
		if len(buf)-used < n {
			return data, used
		}
		head := buf[used : used+n]
		used += n
		if kind == typeEndResponse && used < len(buf) {
			head[headSize+1] = 0 // what follows was not asked for: not to be used again
		}
		if err := b.take(kind, length, head); err != nil {
			b.fail(err)
		}
	}
	return data, used
}

// responseBody reads the body of an answer: the data of SEND_BODY_CHUNK
// packets up to END_RESPONSE.
type responseBody struct {
	exchange.ResponseBody
	x     *attempt
	left  int64 // of the announced length; negative if none was
	chunk int   // bytes of the current packet's data that are to be read
	pad   int   // bytes behind them
	none  bool  // the answer has no body: data are thrown away
	bulk  bool  // bytes were read past the connection's buffer
}

// ReadSome is part of [exchange.BodySource].
func (b *responseBody) ReadSome(p []byte) int {
	if b.chunk == 0 && !b.advance() {
		return 0
	}
	n, err := b.x.c.R.Read(p[:min(len(p), b.chunk)])
	b.took(n)
	if err != nil {
		b.fail(unexpected(err))
		return n
	}
	b.settle()
	return n
}

// took notes that n bytes of the current data were read.
func (b *responseBody) took(n int) {
	b.chunk -= n
	if b.left >= 0 {
		b.left -= int64(n)
	}
}

// advance goes to the next packet with data. It reports false when the body
// has ended.
func (b *responseBody) advance() bool {
	for b.Ended() == nil {
		if err := b.packet(); err != nil {
			b.fail(unexpected(err))
			break
		}
		if b.chunk > 0 && !b.none {
			return true
		}
	}
	return false
}

// packet takes the head of one packet, or all of one without data.
func (b *responseBody) packet() error {
	r := b.x.c.R
	if skip := b.pad + b.chunk; skip > 0 { // data of an answer without a body
		if _, err := r.Discard(skip); err != nil {
			return err
		}
		b.pad, b.chunk = 0, 0
	}
	kind, length, err := b.x.peek()
	if err != nil {
		return err
	}
	head, err := r.Peek(bodyPacketHead(kind))
	if err != nil {
		return err
	}
	var kept [headSize + 3]byte // the buffer may be filled anew
	n := copy(kept[:], head)
	_, _ = r.Discard(n)
	return b.take(kind, length, kept[:n])
}

// bodyPacketHead is the length of what comes before the data of a packet, or
// of all of one without data.
func bodyPacketHead(kind byte) int {
	switch kind {
	case typeSendBodyChunk, typeGetBodyChunk:
		return headSize + 3
	case typeEndResponse:
		return headSize + 2
	}
	return headSize + 1
}

// take acts on a packet whose head was taken off the connection.
func (b *responseBody) take(kind byte, length int, head []byte) (err error) {
	switch kind {
	case typeSendBodyChunk:
		chunk := getInt(head[headSize+1:])
		if b.pad, err = chunkData(length, chunk); err != nil {
			return err
		}
		if b.left >= 0 && int64(chunk) > b.left && !b.none {
			return malformed("body is longer than its Content-Length")
		}
		b.chunk = chunk
	case typeEndResponse:
		return b.end(head[headSize+1] != 0)
	case typeGetBodyChunk:
		return b.x.feed(getInt(head[headSize+1:]))
	default:
		return malformed("packet of type %d in the body of the answer", kind)
	}
	return nil
}

// end gives the connection back after END_RESPONSE.
func (b *responseBody) end(reuse bool) error {
	if b.left > 0 && !b.none {
		return io.ErrUnexpectedEOF
	}
	b.x.release(b.Free() && reuse)
	b.End(io.EOF)
	return nil
}

// fail ends the exchange in the middle of the body.
func (b *responseBody) fail(err error) {
	b.End(b.x.fail(&exchange.Error{Op: exchange.OpBody, Err: err}))
}

// settle ends the body if nothing but its end is left and that is here, and
// reports whether it has ended.
func (b *responseBody) settle() bool {
	r := b.x.c.R
	if b.Ended() != nil || b.chunk > 0 {
		return b.Ended() != nil
	}
	const whole = headSize + 2
	if r.Buffered() < b.pad+whole {
		return false
	}
	next, _ := r.Peek(b.pad + whole)
	if next[b.pad+headSize] == typeEndResponse {
		b.advance()
	}
	return b.Ended() != nil
}

// SomeReady is part of [exchange.BodySource].
func (b *responseBody) SomeReady() bool {
	c := b.x.c
	return c.R.Buffered() > b.pad || c.Waiting()
}

// copyBuffers lends memory for long bodies.
var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

const copyBufferSize = 64 << 10

// WriteSome is part of [exchange.BodySource]. The container's flushes are passed
// on, since w is flushed before each packet that has not come yet.
func (b *responseBody) WriteSome(w io.Writer, _ bool) (int64, error) {
	c := b.x.c
	if b.chunk == 0 || b.none { // one packet only: what follows may be long in coming
		if err := b.packet(); err != nil {
			b.fail(unexpected(err))
		}
		return 0, nil
	}
	have := min(c.R.Buffered(), b.chunk)
	if have < b.chunk && c.R.Buffered() <= copyBufferSize/2 {
		return b.writeBulk(w)
	}
	if have == 0 { // of a packet that is larger than the buffer
		if _, err := c.R.Peek(1); err != nil {
			b.fail(unexpected(err))
			return 0, nil
		}
		have = min(c.R.Buffered(), b.chunk)
	}
	data, _ := c.R.Peek(have)
	n, err := w.Write(data)
	_, _ = c.R.Discard(n)
	b.took(n)
	if err != nil {
		return int64(n), err
	}
	b.settle()
	return int64(n), nil
}

// Drop is part of [exchange.BodySource].
func (b *responseBody) Drop(tidy bool) {
	if !tidy || !b.discardRest() {
		b.x.release(false)
	}
}

// discardRest takes the rest of the body out of the buffer if all of it, and
// its end, is there.
func (b *responseBody) discardRest() bool {
	r := b.x.c.R
	if b.bulk {
		return false
	}
	if rest := b.chunk + b.pad; r.Buffered() >= rest+headSize+2 {
		_, _ = r.Discard(rest)
		b.left -= min(b.left, int64(b.chunk))
		b.chunk, b.pad = 0, 0
		b.none = true // nobody reads it any more
		return b.settle() && b.Ended() == io.EOF
	}
	return false
}
