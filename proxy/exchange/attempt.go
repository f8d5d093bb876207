package exchange

import (
	"io"
	"net/http"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
)

// Attempt is one request and its answer over a connection, as far as that is the
// same in every protocol: its context is watched, and at its end, which comes
// once, the connection is kept or closed. A transport sets Conn, Request and
// Hooks.
//
//	Begin ─► write, SendBody ─► read the head ─┬► Body ─► its end, or Close
//	                                           ├► Release  an answer without a body
//	                                           └► Fail
type Attempt struct {
	Conn    *backend.Conn
	Request *http.Request
	Hooks   Hooks
	Sender  *BodySender // nil without a body, or until it is sent

	watcher *Watcher
	watch   Watch
	freed   bool
}

// Begin begins the watch, and the time limit. It fails if the client has left
// already.
func (x *Attempt) Begin(w *Watcher) *Error {
	x.watcher = w
	if !w.Add(&x.watch, x.Request.Context(), x.Conn) {
		return &Error{Op: OpClient, Err: ErrClientGone}
	}
	x.Conn.Arm(0)
	return nil
}

// SendBody sends the body of the request, of which there is one, on a goroutine
// of its own, so that an answer before its end is seen. frame makes of a piece
// what the backend is sent: appended to dst, which is empty. The last piece may
// have no bytes.
func (x *Attempt) SendBody(frame func(dst, piece []byte, last bool) []byte) {
	s := new(BodySender)
	s.Init(x.Conn, x.Request, x.Hooks)
	s.Expect()
	x.Sender = s
	go func() { s.Finish(s.Copy(&bodyFrames{s: s, frame: frame})) }()
}

// bodyFrames is a BodyFraming by a function that appends.
type bodyFrames struct {
	s     *BodySender
	frame func(dst, piece []byte, last bool) []byte
	out   []byte
}

// Room is part of [BodyFraming].
func (f *bodyFrames) Room(buf []byte) ([]byte, error) { return buf, nil }

// Send is part of [BodyFraming].
func (f *bodyFrames) Send(_, room []byte, n int, last bool) error {
	f.out = f.frame(f.out[:0], room[:n], last)
	_, err := f.s.Write(f.out)
	return err
}

// WaitsForClient reports whether err, of waiting for the backend, is a time
// limit that the client has used up, by sending its body slowly, or the sending of
// it, which has a limit of its own. The limit then begins anew.
func (x *Attempt) WaitsForClient(err error) bool {
	return IsTimeout(err) && x.Request.Context().Err() == nil && x.Sender.Excuses()
}

// Body makes the body of the answer. r ends it with io.EOF, and with any other
// error if it is cut. With keep, the connection is fit for reuse then.
func (x *Attempt) Body(r io.Reader, keep bool) io.ReadCloser {
	x.Sender.Answered()
	b := &readerBody{x: x, r: r, keep: keep}
	b.Init(b, x.Conn)
	return b
}

// Release ends the attempt, and gives the connection back. With keep, it is fit
// for reuse, unless the body of the request was not sent to its end. It reports
// whether the attempt ended before its context did.
func (x *Attempt) Release(keep bool) (alive bool) {
	if x.freed {
		return false
	}
	x.freed = true
	alive = x.watcher.Remove(&x.watch)
	switch {
	case x.Sender == nil:
		CloseBody(x.Request)
	case !x.Sender.Finished():
		keep = false
		x.Sender.CloseBody()
		fallthrough
	default:
		x.Conn.Disarmed()
	}
	if !keep || !alive {
		x.Conn.Abort()
	}
	x.Hooks.Release(x.Conn, keep && alive)
	return alive
}

// Fail ends the attempt, and words its failure e: that the client has left, or
// has broken off its body, goes before what the backend did.
func (x *Attempt) Fail(e *Error) *Error {
	e.Backend = x.Conn.Backend().String()
	ctx := x.Request.Context()
	e, client := x.Sender.Failure(e)
	Judge(ctx, x.Conn, e, client)
	return EndError(ctx, e, x.Release(false), client)
}

// readerBody is the body of an answer that a reader reads.
type readerBody struct {
	ResponseBody
	x    *Attempt
	r    io.Reader
	keep bool
}

// ReadSome is part of [BodySource].
func (b *readerBody) ReadSome(p []byte) int {
	n, err := b.r.Read(p)
	for !b.resting && b.x.WaitsForClient(err) && n == 0 {
		n, err = b.r.Read(p)
	}
	switch {
	case err == io.EOF:
		b.x.Release(b.Free() && b.keep)
		b.End(io.EOF)
	case err != nil:
		b.End(b.x.Fail(&Error{Op: OpBody, Err: err}))
	}
	return n
}

// WriteSome is part of [BodySource].
func (b *readerBody) WriteSome(w io.Writer, _ bool) (int64, error) {
	lent := copybuf.Pool.Get().(*[copybuf.Size]byte)
	defer copybuf.Pool.Put(lent)
	have := b.ReadSome(lent[:])
	if have == 0 {
		return 0, nil
	}
	n, err := w.Write(lent[:have])
	return int64(n), err
}

// SomeReady is part of [BodySource].
func (b *readerBody) SomeReady() bool { return b.x.Conn.R.Buffered() > 0 || b.x.Conn.Waiting() }

// Rest is part of [BodySource].
func (b *readerBody) Rest(int64) bool {
	return b.keep && b.x.Sender.Settled() && b.x.Request.Context().Err() == nil
}

// Drop is part of [BodySource].
func (b *readerBody) Drop() { b.x.Release(false) }
