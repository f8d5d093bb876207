package proxy

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
)

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

// Hooks tells those of others from the Handler's own.
func (p *passage) Hooks() (others, own *httptrace.ClientTrace) { return p.embedder, &p.trace }

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
	trace := exchange.HooksOf(p.out).Trace()
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

// interim passes an interim answer of the backend to the client.
func (p *passage) interim(code int, header textproto.MIMEHeader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	passes := !p.final && p.inner.Load() == 0 && code != http.StatusContinue && p.in.ProtoAtLeast(1, 1)
	if p.logs(exchange.LevelTrace2) {
		p.h.Logger.Log(p.Context, exchange.LevelTrace2, "proxy: interim answer", "status", code, "passed", passes)
	}
	if passes { // net/http sends the 100 when the body is read
		exchange.WriteInterim(&p.to, code, http.Header(header))
		if p.to.stalls() {
			return exchange.ErrClientStalled
		}
	}
	return nil
}
