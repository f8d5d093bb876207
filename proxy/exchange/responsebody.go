package exchange

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
)

// The use of a ResponseBody: one goroutine reads; another may close.
const (
	bodyIdle int32 = iota
	bodyReading
	bodyWriting // what was read is being written; whoever closes need not wait for that
	bodyFreed   // is being read, but its connection is no longer its own
	bodyBroken  // was closed while it was read
	bodyClosed
)

// ResponseBody is the body of an answer that is still coming over a connection,
// as far as that is the same for every protocol. It gives the connection back
// as soon as the last byte is read, or when it is closed before.
//
//	idle --Read--> reading --> idle ... --Free--> released --End--> idle
//	reading --write--> writing --> reading
//	any --Close--> closed, released by whoever is last, or by Close while a
//	write waits for the client
//
// A transport embeds it in the type that is its BodySource. One goroutine may
// read while another closes.
type ResponseBody struct {
	src     BodySource
	c       *backend.Conn
	use     atomic.Int32
	resting bool       // Close takes the rest
	ended   error      // what Read returns from now on; nil before the end
	to      io.Writer  // of WriteTo
	drop    sync.Mutex // held by Close while it drops a body that is being written
}

// BodySource is what differs between protocols in reading the body of an
// answer. One goroutine at a time calls it, with the connection armed.
type BodySource interface {
	// ReadSome reads into p, which is not empty, what there is, or waits for
	// it. It ends the body, maybe along with the last bytes, by
	// [ResponseBody.End].
	ReadSome(p []byte) int

	// WriteSome writes what there is to w, or waits for it, and ends the body
	// as ReadSome does; ready is what SomeReady has just said. It returns the
	// errors of w, and those alone. The time limit is set before the first call,
	// and anew after each that has written something.
	WriteSome(w io.Writer, ready bool) (int64, error)

	// SomeReady reports whether ReadSome would return at once, as far as can be
	// seen. It may end the body.
	SomeReady() bool

	// Rest reports whether the connection is of use once the rest of the body
	// was taken off it, which for all that is known has no more than limit bytes.
	Rest(limit int64) bool

	// Drop gives the connection back before the end of the body, to be closed.
	Drop()
}

// Init makes b the body that src reads from c.
func (b *ResponseBody) Init(src BodySource, c *backend.Conn) { b.src, b.c = src, c }

// Free is called before the connection is given back at the end of the body,
// and reports whether it is fit for reuse: whether nobody has closed the body
// meanwhile, who would abort it. From then on it is left alone.
func (b *ResponseBody) Free() bool {
	b.use.CompareAndSwap(bodyReading, bodyFreed)
	return b.use.Load() != bodyBroken
}

// End ends the body, whose connection has been given back: with io.EOF, or with
// the failure that Read is to return. It returns err.
func (b *ResponseBody) End(err error) error {
	b.ended = err
	return err
}

// Ended returns what End was told; nil before.
func (b *ResponseBody) Ended() error { return b.ended }

// enter begins a read; it fails after Close, and before Init.
func (b *ResponseBody) enter() bool {
	return b.src != nil && b.use.CompareAndSwap(bodyIdle, bodyReading)
}

// leave ends a read. The connection of a body that was closed meanwhile is
// given back here.
func (b *ResponseBody) leave() {
	if b.use.CompareAndSwap(bodyReading, bodyIdle) || b.use.CompareAndSwap(bodyFreed, bodyIdle) {
		return
	}
	if b.ended == nil {
		b.src.Drop()
	}
}

// Read returns io.EOF at the end of a complete body, and a [*Error] with
// OpBody, or OpClient if the request was cancelled, when it is cut short.
func (b *ResponseBody) Read(p []byte) (n int, err error) {
	if !b.enter() {
		return 0, http.ErrBodyReadAfterClose
	}
	defer b.leave()
	if b.ended == nil && len(p) > 0 {
		b.c.ArmBody()
	}
	for b.ended == nil && n == 0 && len(p) > 0 {
		n = b.src.ReadSome(p)
	}
	return n, b.ended
}

// Ready reports whether a Read would return at once, as far as can be seen.
func (b *ResponseBody) Ready() bool {
	if !b.enter() {
		return true
	}
	defer b.leave()
	return b.ended != nil || b.src.SomeReady()
}

// WriteTo writes the rest of the body to w. A w that can be flushed is flushed
// whenever the backend pauses. An error of w is returned as it is.
func (b *ResponseBody) WriteTo(w io.Writer) (n int64, err error) {
	if !b.enter() {
		return 0, http.ErrBodyReadAfterClose
	}
	defer b.leave()
	b.to = w
	to := (*bodyWriter)(b)
	b.c.ArmBody()
	for flushed := false; b.ended == nil; {
		ready := b.src.SomeReady()
		if b.ended != nil { // SomeReady has found it out
			break
		}
		if !ready && !flushed {
			if err := to.FlushError(); err != nil {
				return n, err
			}
			flushed = true
			b.c.ArmBody() // a slow client may have used the time up
		}
		m, err := b.src.WriteSome(to, ready)
		n += m
		if err != nil {
			return n, err
		}
		if m > 0 && b.ended == nil { // or there would be no end to what says nothing
			flushed = false
			b.c.ArmBody()
		}
	}
	if b.ended != io.EOF {
		return n, b.ended
	}
	return n, nil
}

// A rest of a body that nobody wants is taken off the connection, so that it can
// be used again, if it is no longer than restLimit and comes within restTime.
const (
	restLimit = 256 << 10
	restTime  = 200 * time.Millisecond
)

// takeRest reads the rest of the body to its end, or gives the connection up.
func (b *ResponseBody) takeRest() {
	if b.src.Rest(restLimit) {
		b.resting = true
		_ = b.c.SetReadDeadline(time.Now().Add(restTime))
		b.c.Disarmed()
		lent := copybuf.Pool.Get().(*[copybuf.Size]byte)
		defer copybuf.Pool.Put(lent)
		for taken := 0; b.ended == nil && taken <= restLimit; {
			taken += b.src.ReadSome(lent[:])
		}
	}
	if b.ended == nil {
		b.src.Drop()
	}
}

// Close gives the connection back. It is used again only if the whole body was
// read, or if what is left of it is short and comes in a moment.
func (b *ResponseBody) Close() error {
	switch {
	case b.use.CompareAndSwap(bodyReading, bodyBroken):
		b.c.Abort() // whoever reads gives it back
	case b.closeWriting(), b.use.CompareAndSwap(bodyFreed, bodyClosed):
	case b.use.CompareAndSwap(bodyIdle, bodyReading):
		if b.ended == nil && b.src != nil {
			b.takeRest()
		}
		b.use.Store(bodyClosed)
	case b.use.Load() < bodyBroken: // it has changed meanwhile
		return b.Close()
	}
	return nil
}

// closeWriting closes a body that waits for the client to take a part of it.
func (b *ResponseBody) closeWriting() bool {
	b.drop.Lock()
	defer b.drop.Unlock()
	if !b.use.CompareAndSwap(bodyWriting, bodyClosed) {
		return false
	}
	b.src.Drop()
	b.ended = http.ErrBodyReadAfterClose
	return true
}

// bodyWriter is the writer that a body is written to. While that waits for the
// client, the body may be closed.
type bodyWriter ResponseBody

// lend lets Close have the body, unless it has ended.
func (t *bodyWriter) lend() bool { return t.use.CompareAndSwap(bodyReading, bodyWriting) }

// back takes it back, or makes err tell that it was closed.
func (t *bodyWriter) back(lent bool, err *error) {
	if !lent || t.use.CompareAndSwap(bodyWriting, bodyReading) {
		return
	}
	t.drop.Lock() // until Close has done its work
	defer t.drop.Unlock()
	if *err == nil {
		*err = t.ended
	}
}

func (t *bodyWriter) Write(p []byte) (n int, err error) {
	defer t.back(t.lend(), &err)
	return t.to.Write(p)
}

func (t *bodyWriter) ReadFrom(r io.Reader) (n int64, err error) {
	defer t.back(t.lend(), &err)
	if rf, ok := t.to.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return copybuf.Writer{Writer: t.to}.ReadFrom(r)
}

// FlushError flushes if that can be done.
func (t *bodyWriter) FlushError() (err error) {
	defer t.back(t.lend(), &err)
	return FlushWriter(t.to)
}

// flusher is a ResponseWriter of net/http, or one that wraps it well.
type flusher interface{ FlushError() error }

// FlushWriter flushes w if it can be flushed.
func FlushWriter(w io.Writer) error {
	switch f := w.(type) {
	case flusher:
		if err := f.FlushError(); !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	case http.Flusher:
		f.Flush()
	}
	return nil
}
