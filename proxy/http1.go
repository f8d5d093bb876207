package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// conn1 is what HTTP/1 keeps with a connection.
type conn1 struct{ scratch []byte }

// attempt is one request and its answer over an HTTP/1.1 connection.
type attempt struct {
	t       *Transport
	c       *backend.Conn
	r       *http.Request
	hooks   exchange.Hooks
	state   *conn1
	watch   exchange.Watch
	sender  *exchange.BodySender // nil without a request body, or before it is sent
	waits   bool                 // the body waits for a 100
	first   bool                 // a byte of the answer has come
	shown   bool                 // an interim answer was passed on
	freed   bool                 // the connection was given back
	sends   http1.Framing        // of the request's body
	keep    bool                 // it is fit for reuse after the body of the answer
	framing http1.Framing        // of that
	resp    http.Response
	body    exchange.FramedBody
	chunks  http1.Chunked
	fields  [12]string // behind the values of a short head
}

// attempt sends r over c and reads the head of the answer. It owns c and the
// body of r from now on, whatever happens.
func (t *Transport) attempt(c *backend.Conn, r *http.Request, hooks exchange.Hooks) (*http.Response, *exchange.Error) {
	x := &attempt{t: t, c: c, r: r, hooks: hooks}
	if x.state, _ = c.State.(*conn1); x.state == nil {
		x.state = new(conn1)
		c.State = x.state
	}
	returned := false
	defer func() {
		if !returned { // a hook has panicked
			x.c.Blameless()
			x.release(false)
			if x.sender == nil { // else that has closed it
				exchange.CloseBody(r)
			}
		}
	}()
	resp, err := x.answer()
	returned = true
	return resp, err
}

// answer is attempt that may panic.
func (x *attempt) answer() (*http.Response, *exchange.Error) {
	t, c, r := x.t, x.c, x.r
	if !t.watcher.Add(&x.watch, r.Context(), c) {
		exchange.CloseBody(r)
		return nil, x.fail(&exchange.Error{Op: exchange.OpClient, Err: exchange.ErrClientGone})
	}
	c.Arm(0)
	if err := x.send(); err != nil {
		return nil, x.fail(err)
	}
	for interim := 0; ; interim++ {
		if err := x.readHead(); err != nil {
			return nil, x.fail(err)
		}
		code := x.resp.StatusCode
		if code >= 200 || code == http.StatusSwitchingProtocols {
			break
		}
		if interim >= cmp.Or(t.MaxInterim, DefaultMaxInterim) {
			return nil, x.fail(&exchange.Error{Op: exchange.OpHeader, Err: exchange.Malformed("more than %d interim answers", max(cmp.Or(t.MaxInterim, DefaultMaxInterim), 0))})
		}
		if err := x.interim(); err != nil {
			return nil, x.fail(err)
		}
	}
	if err := x.accept(); err != nil {
		return nil, x.fail(err)
	}
	return &x.resp, nil
}

// send writes the request, or leaves its body to a goroutine.
func (x *attempt) send() *exchange.Error {
	r, f := x.r, http1.RequestFraming(x.r)
	x.sends = f
	// Apache tells its KeepAliveTimeout only to those who say keep-alive. Once
	// for each connection is enough.
	opt := http1.HeadOptions{Close: r.Close || x.c.Backend().DisableReuse, Keep: !x.c.Reused()}
	if f == http1.FramingNone {
		exchange.CloseBody(r)
	} else {
		expects := httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue")
		opt.Expect = x.t.Ping > 0 && !expects && f != http1.FramingClose
		x.waits = expects || opt.Expect
	}
	x.state.scratch = http1.AppendRequestHead(x.state.scratch[:0], r, f, opt)
	if f != http1.FramingNone && !x.waits {
		x.sender = startSender(x.c, r, f, x.state.scratch, x.hooks)
		return nil
	}
	n, err := x.write()
	if err != nil {
		x.unsent(err)
		return exchange.WriteError(x.c, x.r, err, n == len(x.state.scratch))
	}
	wroteHead(x.hooks, x.state.scratch)
	if x.waits {
		x.hooks.Wait100Continue()
		return x.await(f)
	}
	x.hooks.WroteRequest(nil)
	return nil
}

// write sends the head. If the answer is all that can come next, it waits for
// that in the same step.
func (x *attempt) write() (int, error) {
	if x.waits || x.hooks.Trace() != nil {
		return x.c.Write(x.state.scratch)
	}
	return x.c.Turn(x.state.scratch)
}

// unsent ends a request whose body, if there is one, will not be sent.
func (x *attempt) unsent(why error) {
	x.waits = false
	exchange.CloseBody(x.r)
	x.hooks.WroteRequest(why)
}

// await holds the body back until the backend has said something, or for as
// long as it may stay silent.
func (x *attempt) await(f http1.Framing) *exchange.Error {
	wait := cmp.Or(x.t.ExpectTimeout, DefaultExpectTimeout)
	if limit := x.c.Limits().Header; limit > 0 {
		wait = min(wait, limit)
	}
	if x.t.Ping > 0 {
		wait = x.t.Ping
	}
	_ = x.c.SetReadDeadline(time.Now().Add(wait))
	_, err := x.c.R.Peek(1)
	x.c.Disarmed()
	x.c.Arm(0)
	switch {
	case err == nil:
		return nil
	case !exchange.IsTimeout(err):
		return nil // reading the head will say what it is
	case x.t.Ping > 0 && !x.first:
		err = fmt.Errorf("backend did not answer the ping: %w", err)
		x.unsent(err)
		return &exchange.Error{Op: exchange.OpHeader, Status: http.StatusServiceUnavailable, Resend: true, Err: err}
	}
	x.startBody(f)
	return nil
}

// startBody sends the body that was held back.
func (x *attempt) startBody(f http1.Framing) {
	x.waits = false
	x.sender = startSender(x.c, x.r, f, nil, x.hooks)
}

// readHead reads one head into x.resp.
func (x *attempt) readHead() *exchange.Error {
	for {
		_, err := x.c.R.Peek(1)
		if err == nil {
			break
		}
		if exchange.IsTimeout(err) && x.sends != http1.FramingClose && x.sender.Excuses() {
			continue // it is not the backend that is slow
		}
		return exchange.HeadError(x.c, x.r, err, x.first) // an interim answer may have come
	}
	if !x.first {
		x.first = true
		x.hooks.FirstByte()
	}
	block, err := http1.ReadHead(x.c.R, x.headSpace(), x.t.limits())
	if err != nil {
		return exchange.HeadError(x.c, x.r, err, true)
	}
	x.keepSpace(block)
	x.resp = http.Response{}
	room := x.fields[:0:len(x.fields)]
	if x.shown {
		room = nil // it holds those of an interim answer, which hooks may have kept
	}
	if err := http1.ParseResponse(string(block), &x.resp, room); err != nil {
		return &exchange.Error{Op: exchange.OpHeader, Err: err}
	}
	return nil
}

// headSpace returns the scratch space if the sender does not hold it.
func (x *attempt) headSpace() []byte {
	if x.sender == nil {
		return x.state.scratch[:0]
	}
	return nil
}

func (x *attempt) keepSpace(b []byte) {
	const most = 16 << 10
	if x.sender == nil && cap(b) <= most {
		x.state.scratch = b
	}
}

func (t *Transport) limits() http1.HeadLimits {
	return http1.HeadLimits{Line: exchange.Limit(t.MaxLineBytes, DefaultMaxLineBytes), Total: exchange.Limit(t.MaxHeadBytes, DefaultMaxHeadBytes)}
}

// interim passes an interim answer on.
func (x *attempt) interim() *exchange.Error {
	x.shown = true
	code := x.resp.StatusCode
	if code == http.StatusContinue && x.waits {
		x.startBody(x.sends)
	}
	if err := x.hooks.Interim(code, x.resp.Header); err != nil {
		return &exchange.Error{Op: exchange.OpClient, Err: err}
	}
	x.c.Arm(0)
	if x.waits { // that was not what the body waits for
		return x.await(x.sends)
	}
	return nil
}

// accept decides from the final head how the body is read and what becomes of
// the connection.
func (x *attempt) accept() *exchange.Error {
	resp := &x.resp
	resp.Request, resp.TLS = x.r, x.c.TLS()
	x.sender.Answered()
	x.c.Succeeded()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return x.upgrade()
	}
	f, length, err := http1.ResponseFraming(x.r.Method, resp)
	if err != nil {
		return &exchange.Error{Op: exchange.OpHeader, Err: err}
	}
	keep := f != http1.FramingClose && x.sends != http1.FramingClose && !x.waits && !x.r.Close && resp.ProtoMinor == 1
	if v := resp.Header["Connection"]; v != nil && httpguts.HeaderValuesContainsToken(v, "close") {
		keep = false
	}
	resp.Close = !keep
	if v := resp.Header["Keep-Alive"]; v != nil && keep {
		x.c.LimitIdle(http1.KeepAliveTimeout(v[0]))
	}
	if x.waits {
		x.unsent(nil)
	}
	resp.ContentLength = length
	if f == http1.FramingNone || f == http1.FramingLength && length == 0 {
		if f == http1.FramingNone && length < 0 && x.r.Method != http.MethodHead {
			resp.ContentLength = 0
		}
		resp.Body = http.NoBody
		if !x.release(keep) {
			return &exchange.Error{Op: exchange.OpClient, Err: exchange.ErrClientGone}
		}
		return nil
	}
	if f == http1.FramingChunked {
		resp.TransferEncoding = []string{"chunked"}
	}
	x.beginBody(f, length, keep)
	return nil
}

// release gives the connection back, and reports whether the exchange ended
// before its context did.
func (x *attempt) release(keep bool) bool {
	if x.freed {
		return false
	}
	x.freed = true
	alive := x.t.watcher.Remove(&x.watch)
	if x.sender != nil {
		if !x.sender.Finished() {
			keep = false
			x.sender.CloseBody()
		}
		x.c.Disarmed()
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
	if x.waits {
		x.unsent(e)
	}
	e, cause := x.sender.Failure(e)
	exchange.Judge(x.r.Context(), x.c, e, cause)
	alive := x.release(false)
	return exchange.EndError(x.r.Context(), e, alive, cause)
}

// wroteHead tells of a head that is written, as it is on the wire.
func wroteHead(h exchange.Hooks, head []byte) {
	trace := h.Trace()
	if trace == nil {
		return
	}
	var fields http.Header
	if trace.WroteHeaderField != nil {
		_, lines := syntax.CutLine(string(head))
		fields, _ = exchange.ParseFields(lines, nil) // they are our own
	}
	h.WroteHeaders(fields)
}
