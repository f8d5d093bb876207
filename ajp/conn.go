package ajp

import (
	"cmp"
	"net/http"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// connState is what is kept with a connection: the memory for packets.
type connState struct{ out []byte }

// attempt is one request and its answer over a connection.
type attempt struct {
	t      *Transport
	c      *backend.Conn
	r      *http.Request
	hooks  exchange.Hooks
	state  *connState
	watch  exchange.Watch
	sender *bodySender // nil without a request body
	size   int         // of packets
	first  bool        // a byte of the answer has come
	owned  bool        // somebody closes the request's body
	freed  bool        // the connection was given back
	none   bool        // the answer has no body: data are thrown away
	reuse  bool        // END_RESPONSE has come, and said so
	resp   http.Response
	body   exchange.FramedBody
	left   int64 // of the announced length of the body; negative if none was
	skip   int   // bytes that are none of the body, before the next packet
}

// attempt sends r over c and reads the head of the answer. It owns c and the
// body of r from now on, whatever happens; only a first try whose ping is not
// answered leaves the body alone.
func (t *Transport) attempt(c *backend.Conn, r *http.Request, hooks exchange.Hooks, first bool) (*http.Response, *exchange.Error) {
	x := &attempt{t: t, c: c, r: r, hooks: hooks, size: packetSize(t.PacketSize)}
	if x.state, _ = c.State.(*connState); x.state == nil {
		x.state = new(connState)
		c.State = x.state
	}
	returned := false
	defer func() {
		if !returned { // Attributes has panicked, or a hook
			x.c.Blameless()
			x.release(false)
			if x.sender == nil { // else that has closed it
				exchange.CloseBody(x.r)
			}
		}
	}()
	resp, err := x.answer(first)
	returned = true
	return resp, err
}

// answer is attempt that may panic.
func (x *attempt) answer(first bool) (*http.Response, *exchange.Error) {
	t, c, r := x.t, x.c, x.r
	if !t.watcher.Add(&x.watch, r.Context(), c) {
		return nil, x.fail(&exchange.Error{Op: exchange.OpClient, Err: exchange.ErrClientGone})
	}
	if t.Ping > 0 {
		if err := ping(c, t.Ping); err != nil {
			x.owned = first
			return nil, x.fail(&exchange.Error{Op: exchange.OpHeader, Status: http.StatusServiceUnavailable, Resend: true, Err: err})
		}
	}
	c.Arm(0)
	if err := x.send(); err != nil {
		return nil, x.fail(err)
	}
	if err := x.head(); err != nil {
		return nil, x.fail(err)
	}
	return &x.resp, nil
}

// send writes the request, and leaves its body to a goroutine.
func (x *attempt) send() *exchange.Error {
	kind := bodyKindOf(x.r)
	f := x.t.facts(x.c, x.r)
	var perr *exchange.Error
	x.state.out, perr = appendForwardRequest(x.state.out[:0], x.r, kind, &f, x.size)
	if perr != nil {
		x.hooks.WroteRequest(perr)
		return perr
	}
	write := x.c.Write
	if kind == bodyNone {
		exchange.CloseBody(x.r)
		x.owned = true
		if x.hooks.Trace() == nil {
			write = x.c.Turn
		}
	}
	if n, err := write(x.state.out); err != nil {
		x.hooks.WroteRequest(err)
		return exchange.WriteError(x.c, x.r, err, n == len(x.state.out))
	}
	x.hooks.WroteHeaders(x.r.Header)
	if kind == bodyNone {
		x.hooks.WroteRequest(nil)
		return nil
	}
	x.owned = true
	x.sender = startSender(x.c, x.r, kind, x.size, x.hooks)
	return nil
}

// peek looks at the next packet.
func (x *attempt) peek() (kind byte, length int, err error) {
	for {
		kind, length, err = peekPacket(x.c.R, x.size)
		if err == nil {
			if !x.first {
				x.first = true
				x.hooks.FirstByte()
			}
			return kind, length, nil
		}
		if !exchange.IsTimeout(err) || !x.sender.body().Excuses() {
			return 0, 0, err
		}
	}
}

// next is peek, after it has answered those packets that ask for more of the
// request's body.
func (x *attempt) next() (kind byte, length int, err error) {
	for {
		kind, length, err = x.peek()
		if err != nil || kind != typeGetBodyChunk {
			return kind, length, err
		}
		ask, err := x.c.R.Peek(headSize + length)
		if err != nil {
			return 0, 0, unexpected(err)
		}
		want := getInt(ask[headSize+1:])
		_, _ = x.c.R.Discard(headSize + length)
		if err := x.feed(want); err != nil {
			return 0, 0, err
		}
	}
}

// feed answers a GET_BODY_CHUNK.
func (x *attempt) feed(want int) error {
	if want == 0 {
		return malformed("asked for none of the body")
	}
	if x.sender.takes(want) {
		x.c.Arm(0)
		return nil
	}
	if x.sender.overrun() {
		return malformed("asked for more of the body before the last part has come")
	}
	_, err := x.c.Write(emptyPacket)
	return err
}

// head reads heads of answers up to the final one.
func (x *attempt) head() *exchange.Error {
	limit := cmp.Or(x.t.MaxInterim, proxy.DefaultMaxInterim)
	for interim := 0; ; interim++ {
		h, err := x.readHead()
		if err != nil {
			return err
		}
		if h.status >= 200 {
			return x.accept(h)
		}
		if h.status == http.StatusSwitchingProtocols {
			return &exchange.Error{Op: exchange.OpHeader, Err: malformed("switch of protocols, which AJP has not")}
		}
		if interim >= limit {
			return &exchange.Error{Op: exchange.OpHeader, Err: malformed("more than %d interim answers", max(limit, 0))}
		}
		if err := x.interim(h); err != nil {
			return err
		}
	}
}

// readHead reads one SEND_HEADERS packet.
func (x *attempt) readHead() (*answerHead, *exchange.Error) {
	kind, length, err := x.next()
	if err != nil {
		return nil, exchange.HeadError(x.c, x.r, err, x.first)
	}
	if kind != typeSendHeaders {
		return nil, &exchange.Error{Op: exchange.OpHeader, Err: malformed("packet of type %d before the head of the answer", kind)}
	}
	text, err := payload(x.c.R, length)
	if err != nil {
		return nil, &exchange.Error{Op: exchange.OpHeader, Err: err}
	}
	h := new(answerHead)
	if err := parseSendHeaders(text, h); err != nil {
		return nil, &exchange.Error{Op: exchange.OpHeader, Err: err}
	}
	return h, nil
}

// interim passes an interim answer on.
func (x *attempt) interim(h *answerHead) *exchange.Error {
	if err := x.hooks.Interim(h.status, h.header); err != nil {
		return &exchange.Error{Op: exchange.OpClient, Err: err}
	}
	x.c.Arm(0)
	return nil
}

// accept makes the response of the final head.
func (x *attempt) accept(h *answerHead) *exchange.Error {
	length, err := h.contentLength()
	if err != nil {
		return &exchange.Error{Op: exchange.OpHeader, Err: err}
	}
	x.sender.body().Answered()
	x.c.Succeeded()
	// These speak of a connection of HTTP; AJP frames the body by packets.
	delete(h.header, "Connection")
	delete(h.header, "Keep-Alive")
	delete(h.header, "Transfer-Encoding")
	x.resp = http.Response{
		Status: h.statusLine(), StatusCode: h.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h.header, ContentLength: length, Request: x.r,
	}
	x.left = length
	x.body.Init((*bodyFraming)(x), x.c, x.sender.body(), 0)
	switch {
	case h.status == http.StatusNoContent:
		delete(h.header, "Content-Length")
		x.resp.ContentLength = 0
		x.none = true
	case h.status == http.StatusNotModified:
		x.none = true
		x.resp.ContentLength = max(length, 0)
	case x.r.Method == http.MethodHead:
		x.none = true
	}
	x.resp.Body = &x.body
	if (x.none || length == 0) && x.body.Settle() {
		x.resp.Body = http.NoBody
		if e, failed := x.body.Ended().(*exchange.Error); failed {
			return e
		}
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
	alive := x.t.watcher.Remove(&x.watch)
	if x.sender != nil {
		if !x.sender.Finished() {
			keep = false
			x.sender.CloseBody()
		}
		x.sender.stop()
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
	if x.freed { // it ended when the head was in, and e says why
		return e
	}
	e.Backend = x.c.Backend().String()
	if !x.owned {
		exchange.CloseBody(x.r)
	}
	e, cause := x.sender.body().Failure(e)
	ctx := x.r.Context()
	exchange.Judge(ctx, x.c, e, cause)
	alive := x.release(e.Op == exchange.OpRequest) // then nothing was written
	if (!alive || ctx.Err() != nil) && x.owned && x.sender == nil {
		exchange.CloseBody(x.r) // there will be no second try
	}
	return exchange.EndError(ctx, e, alive, cause)
}
