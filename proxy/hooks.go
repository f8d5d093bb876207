package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
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

// Traced reports whether there is an httptrace.ClientTrace. Writing the request
// and waiting for the answer are two steps then ([backend.Conn.Turn] is both in
// one), so that the end of each can be told.
func (h Hooks) Traced() bool { return h.trace != nil }

// Acquire takes a connection of b by get, such as b.Get.
func (h Hooks) Acquire(b *backend.Backend, get func(context.Context) (*backend.Conn, error)) (*backend.Conn, error) {
	h.getConn(b)
	c, err := get(h.context())
	if err == nil {
		h.gotConn(c)
	}
	return c, err
}

func (h Hooks) getConn(b *backend.Backend) {
	if h.trace != nil && h.trace.GetConn != nil {
		h.trace.GetConn(b.Address())
	}
}

func (h Hooks) gotConn(c *backend.Conn) {
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

// gotStream is gotConn for HTTP/2.
func (h Hooks) gotStream(b *backend.Backend, use h2Use) {
	h.attempt(b, use.reused, use.acquire, use.connect)
	if h.trace != nil && h.trace.GotConn != nil {
		alone := use.conn.taken.Load() == 1
		h.tellConn(httptrace.GotConnInfo{Conn: use.conn.c.Conn, Reused: use.reused, WasIdle: use.reused && alone}, use.conn.give)
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

// wroteHead is WroteHeaders for a head as it is on the wire.
func (h Hooks) wroteHead(head []byte) {
	if h.trace == nil {
		return
	}
	var fields http.Header
	if h.trace.WroteHeaderField != nil {
		_, lines := cutLine(string(head))
		fields, _ = parseFields(lines, nil) // they are our own
	}
	h.WroteHeaders(fields)
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

// Resent tells that the attempt has failed because of err, and that the same
// backend is tried again.
func (h Hooks) Resent(err error) { h.record.Resent(err) }

// errNotKept is what PutIdleConn is told of a connection that could be used
// again, but is not wanted.
var errNotKept = errors.New("proxy: connection is one too many, or no longer of use")

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
	if p, ok := ctx.(*passage); ok && p.embedder == nil {
		return nil // which is known without an allocation
	}
	trace := httptrace.ContextClientTrace(ctx)
	if p, _ := ctx.Value(hooksKey{}).(*passage); p != nil && trace == &p.trace && p.embedder == nil {
		return nil
	}
	return trace
}

// hooksKey is that of the innermost passage, also of [Detached] work.
type hooksKey struct{}

// passageHooks are a passage's part in the hooks of its request.
type passageHooks struct {
	embedder *httptrace.ClientTrace // those of others; nil without
	trace    httptrace.ClientTrace  // the same, and the passage's own; made when asked for
	ready    bool                   // the outgoing request is complete, and has the passage's own as well
	inner    atomic.Int32           // interim answers that are told by passages within this one
}

// traceKey is the key under which httptrace keeps its hooks in a context.
var traceKey = func() any {
	var probe keyProbe
	httptrace.ContextClientTrace(&probe)
	return probe.key
}()

// keyProbe remembers the key that it is asked for.
type keyProbe struct {
	context.Context
	key any
}

func (p *keyProbe) Value(key any) any {
	p.key = key
	return nil
}

// hooks returns the hooks of the outgoing request. Until that is complete,
// they are those of others alone: httptrace adds those that Rewrite sets, and
// they are not told twice, nor is their error lost behind the passage's own.
// They are a copy, since httptrace does not bear one trace that is set twice.
func (p *passage) hooks() *httptrace.ClientTrace {
	if !p.ready {
		if p.embedder == nil {
			return nil
		}
		embedder := *p.embedder
		return &embedder
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trace.Got1xxResponse == nil {
		if p.embedder != nil {
			p.trace = *p.embedder
		}
		p.trace.Got1xxResponse = p.got1xx
	}
	return &p.trace
}

// got1xx tells others of an interim answer, and passes it on. It is no interim
// answer to a request that another Handler around this one has sent, though that
// one's hooks are among those of others.
func (p *passage) got1xx(code int, header textproto.MIMEHeader) error {
	if p.embedder != nil && p.embedder.Got1xxResponse != nil {
		if outer := passageOf(p.Context); outer != nil {
			outer.inner.Add(1)
			defer outer.inner.Add(-1)
		}
		if err := p.embedder.Got1xxResponse(code, header); err != nil {
			return err
		}
	}
	return p.interim(code, header)
}

// adopt has the outgoing request keep what the passage knows, where Rewrite has
// given it another context.
func (p *passage) adopt(ctx context.Context) {
	if ctx == context.Context(p) {
		return
	}
	trace := embedderTrace(ctx)
	if passageOf(ctx) == p && trace == nil {
		return
	}
	p.embedder = trace
	p.out = p.out.WithContext(rewritten{ctx, p})
}

// rewritten is the context of an outgoing request that Rewrite has made.
type rewritten struct {
	context.Context
	p *passage
}

func (c rewritten) Value(key any) any { return c.p.value(key, c.Context) }
