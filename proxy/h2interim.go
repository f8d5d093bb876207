package proxy

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// h2Interim passes interim answers on. The HTTP/2 client tells of them where it
// reads for all streams of a connection. Whoever is slow to take one must not
// hold up the others, so that is done on a goroutine of the request's own.
type h2Interim struct {
	w     *h2Watch
	trace *httptrace.ClientTrace // of those who want to know; may be nil
	most  int
	wrote chan struct{} // closed when WroteRequest was told; nil if nobody asks

	mu       sync.Mutex // guards what follows, but for refused and panicked
	count    int
	asks     chan struct{}      // closed at a 100; nil if nobody waits for one
	queue    chan interimAnswer // nil before the first
	over     bool
	done     chan struct{} // closed when all were passed on
	refused  error         // of a hook, and
	panicked any           // what a hook panicked with; read them after done
}

type interimAnswer struct {
	code   int
	header http.Header
}

// tracedContext is a context that shows hooks of its own.
type tracedContext struct {
	context.Context
	trace *httptrace.ClientTrace
}

// Value hides the hooks of the context within: those that are added by
// [httptrace.WithClientTrace] are called beside them.
func (c tracedContext) Value(key any) any {
	v := c.Context.Value(key)
	if _, ok := v.(*httptrace.ClientTrace); ok {
		return c.trace
	}
	return v
}

// context returns ctx with hooks for the HTTP/2 client.
func (i *h2Interim) context(ctx context.Context) context.Context {
	i.trace = httptrace.ContextClientTrace(ctx)
	if i.trace == nil {
		return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: i.got})
	}
	own := *i.trace
	own.Got1xxResponse, own.Got100Continue = i.got, nil
	if f := own.WroteRequest; f != nil {
		i.wrote = make(chan struct{})
		own.WroteRequest = func(info httptrace.WroteRequestInfo) {
			f(info)
			close(i.wrote)
		}
	}
	return tracedContext{ctx, &own}
}

// got takes an interim answer.
func (i *h2Interim) got(code int, h textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over {
		return nil
	}
	if i.count++; i.count > i.most {
		err := &exchange.Error{Op: exchange.OpHeader, Err: exchange.Malformed("more than %d interim answers", max(i.most, 0))}
		i.w.cancel(err)
		return err
	}
	i.w.progress()
	if code == http.StatusContinue && i.asks != nil {
		close(i.asks)
		i.asks = nil
	}
	if i.trace == nil {
		return nil
	}
	if i.queue == nil {
		i.queue, i.done = make(chan interimAnswer, i.most), make(chan struct{})
		go i.pass()
	}
	i.queue <- interimAnswer{code, http.Header(h)}
	return nil
}

// pass passes on what comes.
func (i *h2Interim) pass() {
	defer close(i.done)
	defer func() {
		if i.panicked = recover(); i.panicked != nil {
			i.w.cancel(errHookPanicked)
		}
	}()
	for a := range i.queue {
		if a.code == http.StatusContinue && i.trace.Got100Continue != nil {
			i.trace.Got100Continue()
		}
		if i.trace.Got1xxResponse == nil {
			continue
		}
		if err := i.trace.Got1xxResponse(a.code, textproto.MIMEHeader(a.header)); err != nil {
			i.refused = &exchange.Error{Op: exchange.OpClient, Err: err}
			i.w.cancel(i.refused)
			return
		}
	}
}

// settleTime is how long an answer waits for that.
const settleTime = 50 * time.Millisecond

// settle has the end of a request that is written told before its answer is, as
// over HTTP/1: the HTTP/2 client writes on a goroutine of its own.
func (i *h2Interim) settle() {
	if i.wrote == nil || i.w.unread.Load() {
		return
	}
	late := time.NewTimer(settleTime)
	defer late.Stop()
	select {
	case <-i.wrote:
	case <-late.C:
	}
}

// finish waits until all were passed on: the final answer comes after them. It
// returns the error of a hook, whose panic goes on here.
func (i *h2Interim) finish() error {
	i.mu.Lock()
	i.over = true
	queue := i.queue
	i.mu.Unlock()
	if queue == nil {
		return nil
	}
	close(queue)
	<-i.done
	if i.panicked != nil {
		i.w.end()
		panic(i.panicked)
	}
	return i.refused
}
