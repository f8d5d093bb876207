package breaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// statusError is why an answer that FailOn chose is a failure.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("answered with status %d", int(e)) }

// body is the body of an answer, and sees it break off.
type body struct {
	io.ReadCloser
	t     *Transport
	ctx   context.Context
	probe uint64
	done  atomic.Bool // closed, or broken off
}

func newBody(t *Transport, probe uint64, r *http.Request, b io.ReadCloser) io.ReadCloser {
	if _, ok := b.(io.WriterTo); ok {
		return &writingBody{body{ReadCloser: b, t: t, ctx: r.Context(), probe: probe}}
	}
	return &body{ReadCloser: b, t: t, ctx: r.Context(), probe: probe}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broke(err)
	}
	return n, err
}

// Close ends the body: what a Read that is under way fails with is not the
// backend's doing.
func (b *body) Close() error {
	b.done.Store(true)
	return b.ReadCloser.Close()
}

func (b *body) broke(err error) {
	if b.done.CompareAndSwap(false, true) && exchange.BlameOf(b.ctx, err) != exchange.Blameless {
		b.t.brokeOff(b.ctx, b.probe, time.Now(), err)
	}
}

// writingBody is the body of an answer that knows how to write itself.
type writingBody struct{ body }

// WriteTo has the body write itself. An error that is none of this library's is
// taken for one of w.
func (b *writingBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.ReadCloser.(io.WriterTo).WriteTo(w)
	var e *exchange.Error
	if errors.As(err, &e) {
		b.broke(err)
	}
	return n, err
}
