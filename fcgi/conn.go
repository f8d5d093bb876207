package fcgi

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// connState is what is kept with a connection.
type connState struct {
	scratch []byte
	params  cgi.Params
}

// question is what a request asks of an application.
type question struct {
	client  *http.Request // nil without one
	role    role
	script  script
	content []byte // the body, if it was read before; else that of the request is sent
	length  int64  // of the body
}

// attempt is one request and its answer.
type attempt struct {
	t     *Transport
	o     *origin
	c     *backend.Conn
	r     *http.Request
	hooks exchange.Hooks
	question

	state    *connState
	watch    exchange.Watch
	hunger   *hunger              // nil on a reused connection
	sender   *exchange.BodySender // nil unless a body is streamed
	records  records
	stderr   *stderrLog // nil until something came
	first    bool       // a record of the answer has come
	freed    bool
	resp     http.Response
	want     int64 // length of the body by Content-Length; -1 if that is not known, or the header has not come
	got      int64
	bodyless bool // what comes is not part of the answer
	body     exchange.FramedBody
}

// run sends the request and reads the header of the answer. It owns the
// connection and the request's body from now on, whatever happens.
func (x *attempt) run() (*http.Response, *exchange.Error) {
	returned := false
	defer func() {
		if !returned { // Env has panicked, or a hook
			x.c.Blameless()
			x.release(false)
		}
	}()
	resp, err := x.answer()
	returned = true
	return resp, err
}

// answer is run that may panic.
func (x *attempt) answer() (*http.Response, *exchange.Error) {
	if x.state, _ = x.c.State.(*connState); x.state == nil {
		x.state = new(connState)
		x.c.State = x.state
	}
	x.records = records{stderr: x.logStderr}
	if !x.t.watcher.Add(&x.watch, x.r.Context(), x.c) {
		return nil, x.fail(&exchange.Error{Op: exchange.OpClient, Err: exchange.ErrClientGone})
	}
	if !x.c.Reused() && !x.c.Backend().DisableReuse {
		x.hunger = x.o.hungry()
	}
	x.c.Arm(0)
	if err := x.send(); err != nil {
		return nil, x.fail(err)
	}
	x.want = -1
	x.body.Init((*bodyFraming)(x), x.c, x.sender, 0)
	head, err := x.readHead()
	if err != nil {
		return nil, x.fail(x.headError(err))
	}
	if err := x.accept(head); err != nil {
		return nil, x.fail(&exchange.Error{Op: exchange.OpHeader, Err: err})
	}
	return &x.resp, nil
}

// send writes the request, and leaves a long body to a goroutine.
func (x *attempt) send() *exchange.Error {
	b := x.appendRequest(x.state.scratch[:0])
	x.keepSpace(b)
	streams := x.content == nil && x.length > 0
	var n int
	var err error
	if streams || x.hooks.Trace() != nil {
		n, err = x.c.Write(b)
	} else {
		n, err = x.c.Turn(b)
	}
	if err != nil {
		x.hooks.WroteRequest(err)
		return exchange.WriteError(x.c, x.r, err, n == len(b))
	}
	x.hooks.WroteHeaders(x.r.Header)
	if streams {
		x.sender = startSender(x.c, x.r, x.hooks)
	} else {
		x.hooks.WroteRequest(nil)
	}
	return nil
}

// keepSpace keeps memory for the next request on the connection, unless it is
// much.
func (x *attempt) keepSpace(b []byte) {
	const most = 32 << 10
	if cap(b) <= most {
		x.state.scratch = b
	}
}

// readHead collects the header of the answer, up to and with its empty line.
func (x *attempt) readHead() ([]byte, error) {
	line, total := exchange.Limit(x.t.MaxLineBytes, DefaultMaxLineBytes), exchange.Limit(x.t.MaxHeadBytes, DefaultMaxHeadBytes)
	scan := cgi.HeadScanner{Line: line, Total: total}
	head := x.state.scratch[:0]
	for {
		b, err := x.body.Content()
		if err != nil {
			return nil, err
		}
		n, done, err := scan.Scan(b)
		head = append(head, b[:n]...)
		x.body.Discard(n)
		if err != nil {
			return nil, err
		}
		if done {
			x.keepSpace(head)
			return head, nil
		}
	}
}

// headError words why no header was read.
func (x *attempt) headError(err error) *exchange.Error {
	if err == io.EOF {
		return x.refused()
	}
	if !x.records.any && err == io.ErrUnexpectedEOF {
		err = io.EOF // the connection has ended before any byte
	}
	return exchange.HeadError(x.c, x.r, err, x.records.any)
}

// refused words an END_REQUEST that came before a header.
func (x *attempt) refused() *exchange.Error {
	e := &exchange.Error{Op: exchange.OpHeader}
	switch end := x.records.end; end.protocol {
	case requestComplete:
		e.Err = malformed("the request ended before the header did, with application status %d", end.app)
	case overloaded:
		e.Status, e.Resend = http.StatusServiceUnavailable, true
		e.Err = errors.New("backend is overloaded")
	case cantMultiplex:
		e.Resend, e.Err = true, errors.New("backend takes the connection for busy")
	case unknownRole:
		e.Err = fmt.Errorf("backend does not know the role %v", x.role)
	default:
		e.Err = malformed("protocol status %d", end.protocol)
	}
	return e
}

// accept makes the answer out of its header, and decides how its body is read.
func (x *attempt) accept(head []byte) error {
	x.sender.Answered()
	x.c.Succeeded()
	resp := &x.resp
	if err := cgi.ParseHead(string(head), resp); err != nil {
		return err
	}
	resp.Request = x.r
	length, bodyless, err := cgi.TakeLength(resp, x.r.Method)
	if err != nil {
		return err
	}
	resp.ContentLength = length
	content, whole := x.records.foretell(x.body.Buffered())
	if whole && (bodyless || length < 0 || length == int64(content)) {
		return x.takeWhole(content, bodyless)
	}
	(*bodyFraming)(x).begin(length, bodyless)
	resp.Body = &x.body
	return nil
}

// takeWhole takes an answer that is here to its end, and gives the connection
// back, so that no slow client holds it.
func (x *attempt) takeWhole(content int, bodyless bool) error {
	var whole []byte
	if content > 0 && !bodyless {
		whole = make([]byte, 0, content)
	}
	for {
		b, err := x.body.Content()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if !bodyless {
			whole = append(whole, b...)
		}
		x.body.Discard(len(b))
	}
	if x.records.end.protocol != requestComplete {
		return malformed("protocol status %d after the header", x.records.end.protocol)
	}
	if !x.release(true) {
		return exchange.ErrClientGone
	}
	if !bodyless {
		x.resp.ContentLength = int64(len(whole))
		if len(whole) > 0 && x.resp.Header["Content-Length"] == nil {
			x.resp.Header["Content-Length"] = []string{strconv.Itoa(len(whole))}
		}
	}
	if len(whole) == 0 {
		x.resp.Body = http.NoBody
	} else {
		x.resp.Body = &wholeBody{data: whole}
	}
	return nil
}

// release gives the connection back, and reports whether the exchange ended
// before its context did.
func (x *attempt) release(keep bool) bool {
	if x.freed {
		return false
	}
	x.freed = true
	if x.hunger != nil {
		x.hunger.feed()
	}
	alive := x.t.watcher.Remove(&x.watch)
	if x.sender != nil {
		if !x.sender.Finished() {
			keep = false
			x.sender.CloseBody()
		}
		x.c.Disarmed()
	} else {
		exchange.CloseBody(x.r)
	}
	if keep && x.o.take() {
		keep = false
	}
	if x.stderr != nil {
		x.stderr.close()
	}
	if end := x.records.end; x.records.ending && end.app != 0 && x.t.Logger != nil {
		x.t.Logger.LogAttrs(x.r.Context(), slog.LevelDebug, "fcgi: application ended with a status", slog.Uint64("status", uint64(end.app)), slog.String("script", x.script.filename))
	}
	if !keep || !alive {
		x.c.Abort()
	}
	x.hooks.Release(x.c, keep && alive)
	return alive
}

// fail ends the exchange and words its failure.
func (x *attempt) fail(e *exchange.Error) *exchange.Error {
	e.Backend = x.c.Backend().String()
	e, cause := x.sender.Failure(e)
	ctx := x.r.Context()
	exchange.Judge(ctx, x.c, e, cause)
	alive := x.release(false)
	return exchange.EndError(ctx, e, alive, cause)
}
