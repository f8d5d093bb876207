package fcgi

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// bodyFraming is an attempt in the body of its answer, or in the header, which
// comes by STDOUT, too.
type bodyFraming attempt

// begin is told what the header says of the body, whose first content may be
// here.
func (x *bodyFraming) begin(length int64, bodyless bool) {
	x.want, x.got, x.bodyless = length, 0, bodyless
	_, content := x.body.Buffered()
	x.records.skip += x.body.Cut(x.take(content))
}

// take counts content that has come, and returns how much of it belongs to the
// answer: what comes beyond the length that the header names is dropped.
func (x *bodyFraming) take(content int64) int64 {
	if x.bodyless {
		return 0
	}
	if x.want >= 0 {
		content = min(content, x.want-x.got)
	}
	x.got += content
	return content
}

// Next is part of [exchange.Framing].
func (x *bodyFraming) Next(p []byte) (used int, content int64, err error) {
	if !x.first && len(p) > 0 {
		x.first = true
		x.hooks.FirstByte()
		x.hunger.feed()
	}
	for {
		n, whole, err := x.records.next(p[used:])
		used += n
		content = x.take(whole)
		x.records.skip += whole - content
		if err != nil || whole == 0 || content > 0 {
			return used, content, err
		}
	}
}

// End is part of [exchange.Framing].
func (x *bodyFraming) End(err error, reusable bool) error {
	end := x.records.end
	complete := x.bodyless || x.want < 0 || x.got == x.want
	switch {
	case err == io.EOF && end.protocol != requestComplete:
		err = malformed("protocol status %d after the header", end.protocol)
	case err == io.EOF && complete:
		(*attempt)(x).release(reusable)
		return io.EOF
	case err == io.EOF:
		err = malformed("body has %d bytes, and not the %d of its Content-Length", x.got, x.want)
	case complete && errors.Is(err, io.ErrUnexpectedEOF) && (x.want >= 0 || x.records.closed):
		if (*attempt)(x).release(false) { // only END_REQUEST is missing
			return io.EOF
		}
	}
	return (*attempt)(x).fail(&exchange.Error{Op: exchange.OpBody, Err: err})
}

// Rest is part of [exchange.Framing].
func (x *bodyFraming) Rest(limit int64) bool {
	return (x.bodyless || x.want-x.got <= limit) && x.r.Context().Err() == nil
}

// Drop is part of [exchange.Framing].
func (x *bodyFraming) Drop() { (*attempt)(x).release(false) }

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
