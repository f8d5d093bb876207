package fcgi

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy"
)

var errBodyClosed = errors.New("fcgi: read on a closed response body")

// The use of a responseBody: one goroutine reads; another may close.
const (
	bodyIdle int32 = iota
	bodyReading
	bodyClosed
)

// responseBody is the body of an answer that is still coming. It gives the
// connection back at END_REQUEST, or when it is closed before.
//
//	idle --Read--> reading --> idle ... --end or error--> released
//	any --Close--> closed, released by whoever is last
type responseBody struct {
	x        *exchange
	want     int64 // by Content-Length; -1 if that is not known
	got      int64
	bodyless bool // what comes is not part of the answer
	use      atomic.Int32
	ended    error // what Read returns from now on; nil before the end
}

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
	if b.ended != nil {
		return 0, b.ended
	}
	if len(p) == 0 {
		return 0, nil
	}
	b.x.c.Arm(0)
	n, err := b.read(p)
	if err != nil {
		err = b.end(err)
	}
	return n, err
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

// end gives the connection back after the end of the body, or its failure,
// and returns what reads return from now on.
func (b *responseBody) end(err error) error {
	end := b.x.records.end
	complete := b.bodyless || b.want < 0 || b.got == b.want
	switch {
	case err == io.EOF && end.protocol != requestComplete:
		err = malformed("protocol status %d after the header", end.protocol)
	case err == io.EOF && complete:
		b.x.release(true)
		b.ended = io.EOF
		return io.EOF
	case err == io.EOF:
		err = malformed("body has %d bytes, and not the %d of its Content-Length", b.got, b.want)
	case complete && errors.Is(err, io.ErrUnexpectedEOF) && (b.want >= 0 || b.x.records.closed):
		if b.x.release(false) { // only END_REQUEST is missing
			b.ended = io.EOF
			return io.EOF
		}
	}
	b.ended = b.x.fail(&proxy.Error{Op: proxy.OpBody, Err: err})
	return b.ended
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
	return b.ended != nil || b.here() || b.x.c.Waiting()
}

// here reports whether a read finds something in the buffer.
func (b *responseBody) here() bool {
	content, ended := b.x.records.rest()
	return content > 0 || ended
}

// flusher is a ResponseWriter of net/http, or one that wraps it well.
type flusher interface{ FlushError() error }

// WriteTo writes the rest of the body to w. Whenever the application pauses, a
// w that can be flushed is flushed. An error of w is returned as it is.
func (b *responseBody) WriteTo(w io.Writer) (n int64, err error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	defer b.leave()
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	for b.ended == nil {
		if !b.ready() {
			if err := flush(w); err != nil {
				return n, err
			}
		}
		have := b.fill(lent[:])
		if have == 0 {
			continue
		}
		m, err := w.Write(lent[:have])
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	if b.ended != io.EOF {
		return n, b.ended
	}
	return n, nil
}

// fill reads what comes without a pause, but waits for the first byte. The
// connection is free at the end, before the client has the data.
func (b *responseBody) fill(buf []byte) int {
	const enough = 16 << 10
	total := 0
	for {
		b.x.c.Arm(0)
		n, err := b.read(buf[total:])
		total += n
		if err != nil {
			b.end(err)
			return total
		}
		if total == len(buf) || !b.here() && (total >= enough || !b.x.c.Waiting()) {
			return total
		}
	}
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

// Close gives the connection back. Unless the answer was read to its end it
// cannot be used again.
func (b *responseBody) Close() error {
	switch b.use.Swap(bodyClosed) {
	case bodyReading:
		b.x.c.Abort() // whoever reads gives it back
	case bodyIdle:
		if b.ended == nil {
			b.ended = errBodyClosed
			b.x.release(false)
		}
	}
	return nil
}

// wholeBody is the body of an answer that came at once.
type wholeBody struct {
	data   []byte
	closed atomic.Bool
}

// Read reads from what came.
func (b *wholeBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errBodyClosed
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
		return 0, errBodyClosed
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
