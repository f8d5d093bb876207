package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// rewrite lets the user's function change the outgoing request. It is told of
// the client's as in.
func (p *passage) rewrite(in *http.Request) error {
	if p.h.Rewrite == nil {
		return nil
	}
	body, again, length := p.out.Body, p.out.GetBody, p.out.ContentLength
	p.out.GetBody = nil
	pr := &httputil.ProxyRequest{In: in, Out: p.out}
	guarded := false
	defer func() {
		if !guarded && pr.Out != nil && pr.Out.Body != body { // it has panicked
			exchange.CloseBody(pr.Out)
		}
	}()
	p.h.Rewrite(pr)
	p.out = pr.Out
	if p.out.Header == nil {
		p.out.Header = make(http.Header)
	}
	p.adopt(p.out.Context())
	if p.out.GetBody == nil && again != nil && p.out.Body == body {
		p.out.GetBody = again // it returns the client's body, not one that was put in its place
	}
	err := p.guardBody(body, length)
	guarded = true
	if err != nil {
		return err
	}
	if u := p.out.URL; u != nil && !p.h.verbatim && holdsDots(u, p.h.Mapping) {
		return exchange.BadRequest("path after Rewrite: holds a dot segment")
	}
	return nil
}

// guardBody sees to it that what Rewrite has put in place of the client's body, or
// of its length, is sent as a whole or not at all, and closed once.
func (p *passage) guardBody(body io.ReadCloser, length int64) error {
	out := p.out
	switch {
	case out.Body == http.NoBody:
		out.ContentLength = 0
		return nil
	case out.Body == nil && out.ContentLength > 0:
		return wrongBody("left a ContentLength without a body")
	case out.Body == nil, out.Body == body && out.ContentLength == length:
		return nil
	}
	put := &putBodies{length: out.ContentLength}
	put.first.is(out.Body, put)
	out.Body, p.put = &put.first, put
	if again := out.GetBody; again != nil {
		out.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			if err != nil {
				return nil, err
			}
			next := new(putBody)
			next.is(body, put)
			return next, nil
		}
	}
	return nil
}

// wrongBody is the error of a request that contradicts itself since Rewrite has
// changed it.
func wrongBody(what string) *exchange.Error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: errors.New("Rewrite " + what)}
}

// putBodies are the body that Rewrite has put in, and those from its GetBody.
type putBodies struct {
	first   putBody
	length  int64                          // not positive if it is not known
	failure atomic.Pointer[exchange.Error] // what was wrong with one of them
}

// putBody is one of them. Its last byte is not passed on before it is known to be
// the last, so that no backend takes a part for the whole.
type putBody struct {
	closeOnce
	of   *putBodies
	left int64
	err  error
	one  [1]byte
}

func (b *putBody) is(body io.ReadCloser, of *putBodies) {
	b.ReadCloser, b.of, b.left = body, of, of.length
}

func (b *putBody) Read(dst []byte) (int, error) {
	switch {
	case b.of.length <= 0 || len(dst) == 0:
		return b.ReadCloser.Read(dst)
	case b.err != nil:
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(dst)
	b.left -= int64(n)
	if b.left == 0 && err == nil {
		err = b.end()
	}
	if b.left < 0 {
		n, err = 0, b.wrong("put in a body that is longer than its ContentLength")
	} else if err == io.EOF && b.left > 0 {
		_ = b.wrong("put in a body that is shorter than its ContentLength") // which transports see, and word as the client's fault
	}
	b.err = err
	return n, err
}

// end looks whether there is more than the length says.
func (b *putBody) end() error {
	const tries = 100
	for range tries {
		n, err := b.ReadCloser.Read(b.one[:])
		b.left -= int64(n)
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func (b *putBody) wrong(what string) error {
	err := wrongBody(what)
	b.of.failure.CompareAndSwap(nil, err)
	return err
}
