package ftpproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// attempt is one request and its answer over a connection.
type attempt struct {
	t     *Transport
	c     *backend.Conn
	s     *session
	r     *http.Request
	hooks exchange.Hooks
	ctx   context.Context
	who   credentials
	at    target
	stale bool // a kept connection was closed before anything was said

	mu    sync.Mutex // guards freed, and the session against an abort after that
	freed bool       // the connection was given back
}

// run logs in if need be, and serves the request. The connection is given back
// when that has failed, or when the body of the answer has ended.
func (x *attempt) run() (*http.Response, *exchange.Error) {
	returned := false
	defer func() {
		if !returned && x.s != nil { // a hook has panicked
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
	resp, err := x.serve()
	if err == nil {
		x.told(nil)
		x.c.Succeeded()
		if resp.Body == http.NoBody || resp.Body == nil || isWhole(resp.Body) {
			if !x.release(true) && x.ctx.Err() != nil {
				return nil, x.fail(&exchange.Error{Op: exchange.OpClient, Err: exchange.ErrClientGone})
			}
		}
		return resp, nil
	}
	if errors.Is(err.Err, errLoginRefused) && x.ctx.Err() == nil {
		x.told(nil)
		x.c.Succeeded() // the server is well
		x.release(false)
		return x.loginRefused(), nil
	}
	x.told(err)
	return nil, x.fail(err)
}

// told tells of what FTP has for the steps of an exchange: the head and the body
// of the request are commands and what is stored, and there is an answer when all
// of that has succeeded.
func (x *attempt) told(failed *exchange.Error) {
	if failed != nil {
		x.hooks.WroteRequest(failed)
		return
	}
	x.hooks.WroteHeaders(nil)
	x.hooks.WroteRequest(nil)
	x.hooks.FirstByte()
}

func (x *attempt) serve() (*http.Response, *exchange.Error) {
	if err := x.session(); err != nil {
		return nil, err
	}
	switch x.r.Method {
	case http.MethodPut:
		return x.put()
	case http.MethodDelete:
		return x.delete()
	}
	if x.at.name == "" {
		return x.directory(x.at.dir, nil)
	}
	return x.file()
}

// failed words a failure in the way of err, an error of the library or of a
// connection.
func (x *attempt) failed(at phase, err error) *exchange.Error {
	s := x.s
	if s.dialErr != nil {
		return &exchange.Error{Op: exchange.OpHeader, Err: s.dialErr}
	}
	cause := s.ctl.refusal(err)
	if cause == nil {
		return x.refused(at)
	}
	if !s.ctl.heard && isConnError(cause) {
		e := exchange.HeadError(x.c, x.r, cause, false)
		x.stale = errors.Is(e, exchange.ErrStaleConn)
		return e
	}
	return exchange.HeadError(nil, x.r, cause, at >= phaseTransfer && cause == io.ErrUnexpectedEOF)
}

// refused words the failure that the last reply tells of.
func (x *attempt) refused(at phase) *exchange.Error {
	ctl := x.s.ctl
	e := &exchange.Error{Op: exchange.OpHeader, Status: statusOf(ctl.code, at), Err: &ReplyError{ctl.verb, ctl.code}}
	if ctl.code == 421 && at < phaseTransfer {
		e.Resend = true
		x.stale = x.c.Reused()
	}
	return e
}

// refusedBy reports whether err is a refusal by one of the codes.
func (x *attempt) refusedBy(err error, codes ...int) bool {
	if x.s.ctl.refusal(err) != nil {
		return false
	}
	for _, c := range codes {
		if x.s.ctl.code == c {
			return true
		}
	}
	return false
}

// release gives the connection back, and reports whether the exchange ended
// before its context did.
func (x *attempt) release(keep bool) bool {
	x.mu.Lock()
	freed := x.freed
	x.freed = true
	x.mu.Unlock()
	if freed {
		return false
	}
	alive := x.s.finish()
	keep = keep && alive && x.s.reusable()
	if !keep {
		x.c.State = nil
		x.c.Abort()
	}
	x.hooks.Release(x.c, keep)
	return alive
}

// abort breaks the exchange off, from any goroutine, if it has not ended.
func (x *attempt) abort() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.freed {
		x.s.abort()
	}
}

// fail ends the exchange and words its failure.
func (x *attempt) fail(e *exchange.Error) *exchange.Error {
	e.Backend = x.c.Backend().String()
	exchange.Judge(x.ctx, x.c, e, nil)
	alive := x.release(false)
	if !alive || x.ctx.Err() != nil {
		x.stale = false
	}
	return exchange.EndError(x.ctx, e, alive, nil)
}
