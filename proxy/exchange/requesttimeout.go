package exchange

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/modproxy/modproxy/proxy/backend"
)

// WithinRequestTimeout is send(b, r) with the deadline that b's RequestTimeout
// gives the exchange, its answer's body among it.
func WithinRequestTimeout(b *backend.Backend, r *http.Request, send func(*backend.Backend, *http.Request) (*http.Response, error)) (*http.Response, error) {
	limit := b.Limits().Request
	if limit < 0 {
		return send(b, r)
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), limit, errRequestTimeout)
	resp, err := send(b, r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Request = r
	if _, ok := resp.Body.(io.Writer); ok || resp.Body == http.NoBody { // what follows a 101 has no limit
		cancel()
		return resp, nil
	}
	limited := limitedBody{resp.Body, cancel}
	if wt, ok := resp.Body.(io.WriterTo); ok {
		resp.Body = &limitedWriterTo{limited, wt}
	} else {
		resp.Body = &limited
	}
	return resp, nil
}

// errRequestTimeout is why an exchange has ended that took longer than
// RequestTimeout.
var errRequestTimeout = errors.Join(errors.New("exchange took longer than RequestTimeout"), context.DeadlineExceeded)

// limitedBody is the body of an answer whose context is of no use once it has
// ended.
type limitedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.cancel()
	}
	return n, err
}

func (b *limitedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// limitedWriterTo is one that can write itself.
type limitedWriterTo struct {
	limitedBody
	w io.WriterTo
}

func (b *limitedWriterTo) WriteTo(w io.Writer) (int64, error) { return b.w.WriteTo(w) }
