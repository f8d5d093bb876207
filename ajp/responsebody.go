package ajp

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy"
)

var errBodyClosed = errors.New("ajp: read on a closed response body")

// The use of a responseBody: one goroutine reads; another may close.
const (
	bodyIdle int32 = iota
	bodyReading
	bodyClosed
)

// responseBody is the body of an answer: the data of SEND_BODY_CHUNK packets
// up to END_RESPONSE. It gives the connection back as soon as that has come,
// or when it is closed before.
//
//	idle --Read--> reading --> idle ... --end or error--> released
//	any --Close--> closed, released by whoever is last
type responseBody struct {
	x     *exchange
	left  int64 // of the announced length; negative if none was
	chunk int   // bytes of the current packet's data that are to be read
	pad   int   // bytes behind them
	none  bool  // the answer has no body: data are thrown away
	bulk  bool  // bytes were read past the connection's buffer
	use   atomic.Int32
	ended error // what Read returns from now on; nil before the end
}

// enter begins a read; it fails after Close.
func (b *responseBody) enter() error {
	if !b.use.CompareAndSwap(bodyIdle, bodyReading) {
		return errBodyClosed
	}
	return nil
}

// leave ends a read. The connection of a body that was closed meanwhile is
// given back here.
func (b *responseBody) leave() {
	if !b.use.CompareAndSwap(bodyReading, bodyIdle) {
		b.x.release(false)
	}
}

// Read returns io.EOF at the end of a complete body, and a [*proxy.Error] with
// OpBody, or OpClient if the request was cancelled, when it is cut short.
func (b *responseBody) Read(p []byte) (int, error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	defer b.leave()
	if b.ended == nil && len(p) > 0 {
		b.x.c.Arm(0)
	}
	n := 0
	for b.ended == nil && n == 0 && len(p) > 0 {
		n = b.read(p)
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, b.ended
}

// read reads into p what there is, or waits for it. The end of the body, or
// its failure, is in b.ended, which may come along with the last bytes.
func (b *responseBody) read(p []byte) int {
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
	for b.ended == nil {
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
	kind, length, err := b.x.next()
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
	b.x.release(reuse)
	b.ended = io.EOF
	return nil
}

// fail ends the exchange in the middle of the body.
func (b *responseBody) fail(err error) {
	b.ended = b.x.fail(&proxy.Error{Op: proxy.OpBody, Err: err})
}

// settle ends the body if nothing but its end is left and that is here, and
// reports whether it has ended.
func (b *responseBody) settle() bool {
	r := b.x.c.R
	if b.ended != nil || b.chunk > 0 {
		return b.ended != nil
	}
	const whole = headSize + 2
	if r.Buffered() < b.pad+whole {
		return false
	}
	next, _ := r.Peek(b.pad + whole)
	if next[b.pad+headSize] == typeEndResponse {
		b.advance()
	}
	return b.ended != nil
}

// Ready reports whether a Read would return at once, as far as can be seen.
func (b *responseBody) Ready() bool {
	if b.enter() != nil {
		return true
	}
	defer b.leave()
	return b.ready()
}

func (b *responseBody) ready() bool {
	if b.ended != nil {
		return true
	}
	c := b.x.c
	return c.R.Buffered() > b.pad || c.Waiting()
}

// flusher is a ResponseWriter of net/http, or one that wraps it well.
type flusher interface{ FlushError() error }

// copyBuffers lends memory for long bodies.
var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

const copyBufferSize = 64 << 10

// WriteTo writes the rest of the body to w, which is flushed, if it can be,
// whenever the container pauses: so its flushes are passed on. An error of w is
// returned as it is.
func (b *responseBody) WriteTo(w io.Writer) (n int64, err error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	defer b.leave()
	for b.ended == nil {
		m, err := b.writeSome(w)
		n += m
		if err != nil {
			return n, err
		}
	}
	if b.ended != io.EOF {
		return n, b.ended
	}
	return n, nil
}

// writeSome writes what is there, or waits for more. Errors of the container
// end the body, those of w are returned.
func (b *responseBody) writeSome(w io.Writer) (int64, error) {
	c := b.x.c
	c.Arm(0)
	if !b.ready() {
		if err := flush(w); err != nil {
			return 0, err
		}
		c.Arm(0) // a slow client may have used the time up
	}
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

func flush(w io.Writer) error {
	switch f := w.(type) {
	case flusher:
		return f.FlushError()
	case http.Flusher:
		f.Flush()
	}
	return nil
}

// Close gives the connection back. Unless the whole body was read it cannot be
// used again, but for a rest that is already here.
func (b *responseBody) Close() error {
	switch b.use.Swap(bodyClosed) {
	case bodyReading:
		b.x.c.Abort() // whoever reads gives it back
	case bodyIdle:
		if b.ended == nil && !b.discardRest() {
			b.ended = errBodyClosed
			b.x.release(false)
		}
	}
	return nil
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
		return b.settle() && b.ended == io.EOF
	}
	return false
}
