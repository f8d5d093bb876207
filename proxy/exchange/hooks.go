package exchange

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// Hooks tells those who want to know how far a transport has come with a
// request: the [Record] of the request, and the hooks of an
// httptrace.ClientTrace that anybody has put into its context. Those for DNS,
// connecting and TLS are not told here, but by the backend.
type Hooks struct {
	ctx    context.Context
	record *Record                // nil outside of a Handler
	trace  *httptrace.ClientTrace // nil if nobody but a Handler has hooks
}

// HooksOf returns the hooks of a request that is about to be sent.
func HooksOf(r *http.Request) Hooks {
	ctx := r.Context()
	return Hooks{ctx, RecordFrom(ctx), embedderTrace(ctx)}
}

// context is that of the request; the zero value has none.
func (h Hooks) context() context.Context {
	if h.ctx == nil {
		return context.Background()
	}
	return h.ctx
}

// Trace returns the httptrace.ClientTrace of those who want to know, nil if
// there is none. Writing the request and waiting for the answer are two steps
// where there is one ([backend.Conn.Turn] is both in one), so that the end of
// each can be told.
func (h Hooks) Trace() *httptrace.ClientTrace { return h.trace }

// Acquire takes a connection of b by get, such as b.Get.
func (h Hooks) Acquire(b *backend.Backend, get func(context.Context) (*backend.Conn, error)) (*backend.Conn, error) {
	h.GetConn(b)
	c, err := get(h.context())
	if err == nil {
		h.GotConn(c)
	} else {
		h.Failed(err)
	}
	return c, err
}

// GetConn tells that a connection of b is wanted, for who does not take it by
// [Hooks.Acquire].
func (h Hooks) GetConn(b *backend.Backend) {
	if h.record != nil {
		h.record.Ask(b.String())
	}
	if h.trace != nil && h.trace.GetConn != nil {
		h.trace.GetConn(b.Address())
	}
}

// GotConn tells that the request was given c.
func (h Hooks) GotConn(c *backend.Conn) {
	h.attempt(c.Backend(), c.Reused(), c.AcquireTime(), c.ConnectTime())
	if h.trace != nil && h.trace.GotConn != nil {
		h.tellConn(c.Info(), func() { c.Blameless(); c.Release(false) })
	}
}

// tellConn tells of a connection, which is given back if the hook panics.
func (h Hooks) tellConn(info httptrace.GotConnInfo, giveBack func()) {
	returned := false
	defer func() {
		if !returned {
			giveBack()
		}
	}()
	h.trace.GotConn(info)
	returned = true
}

// GotStream tells that the request was given a stream of a connection that it
// shares with others: how long it stood in line for one, and how long that was
// opened for it. giveBack is called if a hook panics.
func (h Hooks) GotStream(b *backend.Backend, info httptrace.GotConnInfo, acquire, connect time.Duration, giveBack func()) {
	h.attempt(b, info.Reused, acquire, connect)
	if h.trace != nil && h.trace.GotConn != nil {
		h.tellConn(info, giveBack)
	}
}

func (h Hooks) attempt(b *backend.Backend, reused bool, acquire, connect time.Duration) {
	if h.record != nil {
		h.record.Attempt(b.String(), reused)
		h.record.Acquire, h.record.Connect = acquire, connect
	}
}

// WroteHeaders tells that the head of the request, which has these fields, is
// written.
func (h Hooks) WroteHeaders(fields http.Header) {
	if h.trace == nil {
		return
	}
	if f := h.trace.WroteHeaderField; f != nil {
		for name, values := range fields {
			f(name, values)
		}
	}
	if h.trace.WroteHeaders != nil {
		h.trace.WroteHeaders()
	}
}

// Wait100Continue tells that the body is held back until the backend asks for
// it.
func (h Hooks) Wait100Continue() {
	if h.trace != nil && h.trace.Wait100Continue != nil {
		h.trace.Wait100Continue()
	}
}

// WroteRequest tells that the request is written with its body, or why not. A
// [BodySender] tells it by itself.
func (h Hooks) WroteRequest(err error) {
	if h.trace != nil && h.trace.WroteRequest != nil {
		h.trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

// FirstByte tells that the first byte of the answer is here.
func (h Hooks) FirstByte() {
	if h.trace != nil && h.trace.GotFirstResponseByte != nil {
		h.trace.GotFirstResponseByte()
	}
}

// Interim tells of an interim answer, which a Handler passes on. An error ends
// the exchange.
func (h Hooks) Interim(code int, fields http.Header) error {
	trace := h.trace
	if trace == nil {
		trace = httptrace.ContextClientTrace(h.context()) // a Handler's
	}
	if trace == nil {
		return nil
	}
	if code == http.StatusContinue && trace.Got100Continue != nil {
		trace.Got100Continue()
	}
	if trace.Got1xxResponse != nil {
		return trace.Got1xxResponse(code, textproto.MIMEHeader(fields))
	}
	return nil
}

// Answered tells that the head of the answer is in.
func (h Hooks) Answered() { h.record.Answered() }

// Failed tells that the attempt has failed because of err, for the case that
// somebody further out tries again.
func (h Hooks) Failed(err error) {
	if h.record != nil {
		h.record.tried = err
	}
}

// Resent tells that the attempt has failed because of err, and that the same
// backend is tried again.
func (h Hooks) Resent(err error) { h.record.Resent(err) }

// errNotKept is what PutIdleConn is told of a connection that could be used
// again, but is not wanted.
var errNotKept = errors.New("exchange: connection is one too many, or no longer of use")

// Release gives a connection back, as [backend.Conn.Release] does.
func (h Hooks) Release(c *backend.Conn, reusable bool) {
	b := c.Backend()
	kept := c.Release(reusable)
	if h.trace == nil || h.trace.PutIdleConn == nil || !reusable {
		return
	}
	switch {
	case kept:
		h.trace.PutIdleConn(nil)
	case !b.DisableReuse && b.MaxIdle >= 0:
		h.trace.PutIdleConn(errNotKept)
	}
}

// embedderTrace returns the hooks that others than Handlers have put into ctx,
// with those of the Handlers among them; nil without.
func embedderTrace(ctx context.Context) *httptrace.ClientTrace {
	for {
		inner, ok := ctx.(interface{ Within() context.Context })
		if !ok {
			break
		}
		ctx = inner.Within()
	}
	if h, ok := ctx.(handlerHooks); ok {
		if others, _ := h.Hooks(); others == nil {
			return nil // which is known without an allocation
		}
	}
	trace := httptrace.ContextClientTrace(ctx)
	if h, ok := ctx.Value(contextkey.Hooks{}).(handlerHooks); ok {
		if others, own := h.Hooks(); others == nil && trace == own {
			return nil
		}
	}
	return trace
}

// handlerHooks is the context of a request that a Handler sends.
type handlerHooks interface {
	// Hooks returns those that others have put there, nil without, and the
	// Handler's own, with those of others among them.
	Hooks() (others, own *httptrace.ClientTrace)
}
