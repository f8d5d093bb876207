package single

import (
	"io"
	"net/http"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// attempt is one request and its answer over a connection.
type attempt struct {
	exchange.Attempt
	question

	resp  http.Response
	toEnd bool // the body ends with the connection
	body  exchange.FramedBody
}

// run sends the request and reads the head of the answer. It owns the connection
// and the request's body from now on, whatever happens.
func (x *attempt) run(w *exchange.Watcher) (*http.Response, *exchange.Error) {
	returned := false
	defer func() {
		if !returned { // a hook has panicked
			x.Conn.Blameless()
			x.Release(false)
		}
	}()
	err := x.Begin(w)
	if err == nil {
		err = x.send()
	}
	if err == nil {
		err = x.answer()
	}
	if err != nil {
		err = x.Fail(err)
	}
	returned = true
	return &x.resp, err
}

// send writes the request, and leaves a long body to a goroutine.
func (x *attempt) send() *exchange.Error {
	write := x.Conn.Turn
	if x.streams || x.Hooks.Trace() != nil {
		write = x.Conn.Write
	}
	if n, err := write(x.head); err != nil {
		x.Hooks.WroteRequest(err)
		return exchange.WriteError(x.Conn, x.Request, err, n == len(x.head))
	}
	x.Hooks.WroteHeaders(x.Request.Header)
	if x.streams {
		x.SendBody(func(dst, piece []byte, _ bool) []byte { return append(dst, piece...) })
	} else {
		x.Hooks.WroteRequest(nil)
	}
	return nil
}

// answer reads the head of the answer, and makes its body.
func (x *attempt) answer() *exchange.Error {
	scan := cgi.HeadScanner{
		Line:  exchange.Limit(x.s.MaxLineBytes, DefaultMaxLineBytes),
		Total: exchange.Limit(x.s.MaxHeadBytes, DefaultMaxHeadBytes),
	}
	for {
		head, any, err := x.readHead(&scan)
		if err != nil {
			return exchange.HeadError(x.Conn, x.Request, err, any)
		}
		if err := x.p.Parse(head, &x.resp); err != nil {
			return &exchange.Error{Op: exchange.OpHeader, Err: err}
		}
		code := x.resp.StatusCode
		switch {
		case code >= 200:
			if err := x.begin(); err != nil {
				return &exchange.Error{Op: exchange.OpHeader, Err: err}
			}
			return nil
		case code == http.StatusSwitchingProtocols:
			return &exchange.Error{Op: exchange.OpHeader, Err: exchange.Malformed("status %d without a request for it", code)}
		}
		if err := x.Hooks.Interim(code, x.resp.Header); err != nil {
			return &exchange.Error{Op: exchange.OpClient, Err: err}
		}
		x.Conn.Arm(0)
	}
}

// readHead collects a head, up to and with its empty line. All heads of an answer
// share the limit on one.
func (x *attempt) readHead(scan *cgi.HeadScanner) (head string, any bool, err error) {
	var all []byte
	in := x.Conn.R
	for {
		if _, err := in.Peek(1); err != nil {
			if x.WaitsForClient(err) {
				continue
			}
			return "", len(all) > 0, err
		}
		if len(all) == 0 {
			x.Hooks.FirstByte()
		}
		have, _ := in.Peek(in.Buffered())
		n, done, err := scan.Scan(have)
		all = append(all, have[:n]...)
		_, _ = in.Discard(n)
		if err != nil || done {
			return string(all), true, err
		}
	}
}

// begin makes the body of the answer.
func (x *attempt) begin() error {
	x.Sender.Answered()
	x.Conn.Succeeded()
	resp := &x.resp
	resp.Request = x.Request
	length, bodyless, err := cgi.TakeLength(resp, x.Request.Method)
	if err != nil {
		return err
	}
	resp.ContentLength = length
	if bodyless || length == 0 {
		if !x.Release(false) {
			return exchange.ErrClientGone
		}
		resp.Body = http.NoBody
		return nil
	}
	x.toEnd = length < 0
	x.body.Init((*bodyFraming)(x), x.Conn, x.Sender, length)
	resp.Body = &x.body
	return nil
}

// bodyFraming is an attempt in the body of its answer, in which nothing else is.
type bodyFraming attempt

// Next is part of [exchange.Framing].
func (x *bodyFraming) Next([]byte) (used int, content int64, err error) { return 0, 0, io.EOF }

// End is part of [exchange.Framing].
func (x *bodyFraming) End(err error, _ bool) error {
	if err == io.EOF && (x.Release(false) || !x.toEnd) {
		return io.EOF
	}
	return x.Fail(&exchange.Error{Op: exchange.OpBody, Err: err})
}

// Rest is part of [exchange.Framing].
func (x *bodyFraming) Rest(int64) bool { return false }

// Drop is part of [exchange.Framing].
func (x *bodyFraming) Drop() { x.Release(false) }
