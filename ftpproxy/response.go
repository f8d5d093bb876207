package ftpproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

var errBodyClosed = errors.New("ftpproxy: read on a closed response body")

// The use of a body: one goroutine reads; another may close.
const (
	bodyIdle int32 = iota
	bodyReading
	bodyWriting // what was read is being written; whoever closes need not wait for that
	bodyClosed
)

// turn lets one goroutine read a body while another may close it, which gives
// the connection back.
//
//	idle --read--> reading --> idle ... --end or error--> released
//	reading --write--> writing --> reading
//	any --close--> closed, released by whoever is last, or by close while a
//	write waits for the client
type turn struct {
	use  atomic.Int32
	drop sync.Mutex // held by close while it releases what is being written
}

// enter begins a read; it fails after close.
func (t *turn) enter() error {
	if !t.use.CompareAndSwap(bodyIdle, bodyReading) {
		return errBodyClosed
	}
	return nil
}

// leave ends a read.
func (t *turn) leave(x *attempt) {
	if !t.use.CompareAndSwap(bodyReading, bodyIdle) {
		x.release(false)
	}
}

// write writes to the client, during a read.
func (t *turn) write(write func() (int64, error)) (int64, error) {
	t.use.CompareAndSwap(bodyReading, bodyWriting)
	n, err := write()
	if !t.use.CompareAndSwap(bodyWriting, bodyReading) {
		t.drop.Lock() // until close has done its work
		defer t.drop.Unlock()
		if err == nil {
			err = errBodyClosed
		}
	}
	return n, err
}

func (t *turn) close(x *attempt) {
	t.drop.Lock()
	defer t.drop.Unlock()
	switch t.use.Swap(bodyClosed) {
	case bodyReading:
		x.abort() // whoever reads gives it back
	case bodyWriting:
		x.abort()
		x.release(false)
	case bodyIdle:
		x.release(false) // without effect after the end
	}
}

// fileBody is the body of an answer: what comes over the data connection, up
// to its end and the reply that the transfer is complete.
type fileBody struct {
	x     *attempt
	name  string
	size  int64 // of the file, or below zero
	left  int64 // of the body; below zero: up to the end of the connection
	toEnd bool  // of the file
	slow  bool  // a splice met its time limit
	turn  turn
	ended error // what Read returns from now on; nil before the end
}

// shutLimit is how long a server may take to end a transfer all of which is
// here.
const shutLimit = 10 * time.Second

// leaveLimit is how long it may take to say something to our leaving early: by
// a reset, since some servers give up the control connection, too, when a TLS
// connection for data ends well but early. The client waits meanwhile.
const leaveLimit = time.Second

// lastWord is how long a server may take to say why a transfer has failed.
const lastWord = time.Second

// Read returns io.EOF at the end of a complete body, and a [*exchange.Error] with
// OpBody, or OpClient if the request was cancelled, when it is cut short. The
// last bytes are handed out when the server has said that all is well.
func (b *fileBody) Read(p []byte) (int, error) {
	if err := b.turn.enter(); err != nil {
		return 0, err
	}
	defer b.turn.leave(b.x)
	if b.ended != nil || len(p) == 0 {
		return 0, b.ended
	}
	n := b.read(p)
	if n == 0 {
		return 0, b.ended
	}
	return n, nil
}

// read reads into p what there is, or waits for it. The end, or the failure, is
// in b.ended.
func (b *fileBody) read(p []byte) int {
	if b.left >= 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.x.s.data.Read(p)
	if b.left >= 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0, b.left < 0 && err == io.EOF:
		if perr := b.finish(exchange.OpBody); perr != nil {
			b.fail(perr)
			return 0
		}
		b.end()
	case err != nil:
		b.fail(b.broken(exchange.OpBody, err))
	}
	return n
}

// end gives the connection back after a complete body.
func (b *fileBody) end() {
	b.ended = io.EOF
	if !b.x.release(true) {
		b.fail(&exchange.Error{Op: exchange.OpBody, Err: io.ErrUnexpectedEOF})
	}
}

func (b *fileBody) fail(e *exchange.Error) { b.ended = b.x.fail(e) }

// finish ends the transfer: what was to be sent is here, and now the server
// must say so. It returns an error if it says otherwise.
func (b *fileBody) finish(op exchange.Op) *exchange.Error {
	s := b.x.s
	if b.left < 0 {
		return b.x.complete(op)
	}
	s.ctl.wait = atMost(s.c, shutLimit)
	if !b.toEnd {
		s.ctl.wait = atMost(s.c, leaveLimit)
	}
	longer := false
	if b.toEnd {
		s.data.arm(s.ctl.wait)
		var one [1]byte
		n, _ := s.data.Conn.Read(one[:])
		longer = n > 0
	}
	if !b.toEnd {
		s.data.reset()
	}
	s.closeData()
	if err := s.ctl.reply(); err != nil {
		s.lost = true // all bytes are here: only the connection is of no more use
		if longer {
			return &exchange.Error{Op: op, Err: err}
		}
		return nil
	}
	s.ctl.wait = 0
	switch {
	case !b.toEnd: // whatever it says to our leaving early
	case longer:
		return b.grown(op)
	case s.ctl.code < 200 || s.ctl.code > 299:
		return &exchange.Error{Op: op, Status: statusOf(s.ctl.code, phaseTransfer), Err: &ReplyError{s.ctl.verb, s.ctl.code}}
	}
	return nil
}

// grown is called when there was more than the server had said. Unless it says
// something else by now, it was no file that grows, but a lie.
func (b *fileBody) grown(op exchange.Op) *exchange.Error {
	size, err := b.x.s.ftp.FileSize(guard(b.name))
	if err == nil && size > b.size {
		return nil
	}
	return &exchange.Error{Op: op, Err: malformed("file is longer than its SIZE")}
}

// complete reads the reply that ends a transfer of unknown length.
func (x *attempt) complete(op exchange.Op) *exchange.Error {
	ctl := x.s.ctl
	x.s.closeData()
	if err := ctl.reply(); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return &exchange.Error{Op: op, Err: err}
	}
	if ctl.code < 200 || ctl.code > 299 {
		return &exchange.Error{Op: op, Status: statusOf(ctl.code, phaseTransfer), Err: &ReplyError{ctl.verb, ctl.code}}
	}
	return nil
}

// broken words why the data connection ended early.
func (b *fileBody) broken(op exchange.Op, err error) *exchange.Error {
	s := b.x.s
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if !exchange.IsTimeout(err) {
		s.ctl.wait = atMost(s.c, lastWord)
		s.closeData()
		if s.ctl.reply() == nil && s.ctl.code >= 400 {
			err = errors.Join(err, &ReplyError{s.ctl.verb, s.ctl.code})
		}
	}
	return &exchange.Error{Op: op, Err: err}
}

// Bodies that are longer are moved from socket to socket, in pieces between
// which the time limits are renewed.
const (
	spliceFrom  = 64 << 10
	splicePiece = 4 << 20
)

// copyBuffers lends memory for bodies that are copied.
var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// WriteTo writes the rest of the body to w: from socket to socket where that is
// possible. An error of w is returned as it is.
func (b *fileBody) WriteTo(w io.Writer) (n int64, err error) {
	if err := b.turn.enter(); err != nil {
		return 0, err
	}
	defer b.turn.leave(b.x)
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

// writeSome writes a piece. Errors of the server end the body, those of w are
// returned.
func (b *fileBody) writeSome(w io.Writer) (int64, error) {
	d := b.x.s.data
	if rf, ok := w.(io.ReaderFrom); ok && b.left > spliceFrom && !b.slow && d.tcp() != nil {
		return b.splice(rf, d)
	}
	b.slow = false
	lent := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(lent)
	n := b.read(lent[:])
	if n == 0 {
		return 0, nil
	}
	return b.turn.write(func() (int64, error) {
		m, err := w.Write(lent[:n])
		if err == nil && b.ended == nil && (b.left < 0 || n < 4096) {
			err = exchange.FlushWriter(w) // more may be long in coming
		}
		return int64(m), err
	})
}

// splice moves a piece of the body, but for its last byte.
func (b *fileBody) splice(rf io.ReaderFrom, d *dataConn) (int64, error) {
	src := &io.LimitedReader{R: d.tcp(), N: min(b.left-1, splicePiece)}
	want, begun, limit := src.N, time.Now(), d.control.Limits().Read
	d.arm(limit)
	n, err := b.turn.write(func() (int64, error) { return rf.ReadFrom(src) })
	moved := want - src.N // what left the server, whether or not the client got it
	b.left -= moved
	d.control.Count(0, moved)
	switch {
	case errors.Is(err, exchange.ErrClientStalled), err == errBodyClosed:
		return n, err
	case err == nil && moved < want:
		b.fail(b.broken(exchange.OpBody, io.ErrUnexpectedEOF))
		return n, nil
	case err == nil:
		return n, nil
	case exchange.IsTimeout(err) && limit > 0 && time.Since(begun) >= limit-limit/16:
		b.slow = true // whoever was slow: the next read finds out
		d.deadline = time.Time{}
		return n, nil
	case !errors.Is(err, syscall.EPIPE) && d.broke():
		b.fail(b.broken(exchange.OpBody, err))
		return n, nil
	}
	return n, err
}

// broke reports whether the connection has ended, given that an error came of
// it or of the one that it was spliced to. A byte may be lost.
func (d *dataConn) broke() bool {
	_ = d.raw.SetReadDeadline(time.Now().Add(time.Millisecond))
	var one [1]byte
	n, err := d.raw.Read(one[:])
	var ne net.Error
	return n == 0 && err != nil && !(errors.As(err, &ne) && ne.Timeout())
}

// Close gives the connection back. It cannot be used again unless the whole
// body was read.
func (b *fileBody) Close() error {
	b.turn.close(b.x)
	return nil
}

// whole is a body that was read from the server before the answer.
type whole struct{ *bytes.Reader }

// Close has nothing to close.
func (whole) Close() error { return nil }

func wholeBody(b []byte) whole { return whole{bytes.NewReader(b)} }

func isWhole(b io.ReadCloser) bool {
	_, ok := b.(whole)
	return ok
}

// respond makes a response. A length below zero is unknown.
func respond(r *http.Request, status int, h http.Header, body io.ReadCloser, length int64) *http.Response {
	resp := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: body, ContentLength: length, Request: r,
	}
	if length >= 0 && status != http.StatusNotModified && status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if r.Method == http.MethodHead {
		resp.Body = http.NoBody
	}
	return resp
}

// say makes a short answer of our own.
func say(r *http.Request, status int, h http.Header) *http.Response {
	if status == http.StatusNotModified || status == http.StatusNoContent {
		return respond(r, status, h, http.NoBody, 0)
	}
	text := fmt.Sprintf("%d %s\n", status, http.StatusText(status))
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	return respond(r, status, h, wholeBody([]byte(text)), int64(len(text)))
}

func (t *Transport) notAllowed(r *http.Request, at target) *http.Response {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		if t.allows(m, at) {
			allow = append(allow, m)
		}
	}
	return say(r, http.StatusMethodNotAllowed, http.Header{"Allow": {strings.Join(allow, ", ")}})
}

// loginRefused asks for credentials where the client can give other ones.
func (x *attempt) loginRefused() *http.Response {
	if x.who.from == fromURL || x.who.from == fromConfiguration || x.t.IgnoreAuthorization {
		return say(x.r, http.StatusForbidden, http.Header{})
	}
	realm := x.t.Realm
	if realm == "" {
		realm = x.c.Backend().URL.Host
	}
	realm = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm)
	return say(x.r, http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Basic realm="` + realm + `", charset="UTF-8"`}})
}

// notFound answers for a name that names nothing.
func (x *attempt) notFound() *http.Response {
	return say(x.r, http.StatusNotFound, http.Header{})
}

// toSlash redirects to the path of a directory.
func (x *attempt) toSlash() *http.Response {
	return say(x.r, http.StatusMovedPermanently, http.Header{"Location": {"./" + lastSegment(x.escapedClientPath()) + "/"}})
}

// refusedPath answers a refusal of a path by the server, or words it as a
// failure.
func (x *attempt) refusedPath(at phase, err error) (*http.Response, *exchange.Error) {
	e := x.failed(at, err)
	if e.Status >= 400 && e.Status < 500 && x.s.ctl.failure == nil {
		return say(x.r, e.Status, http.Header{}), nil
	}
	return nil, e
}
