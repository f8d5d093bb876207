package cache

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// transport is a Cache in front of an http.RoundTripper.
type transport struct {
	c    *Cache
	next http.RoundTripper
}

// CloseIdleConnections closes those of the RoundTripper behind the cache.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip answers from the store or else lets next answer.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == "" {
		clone := *r
		clone.Method = http.MethodGet
		r = &clone
	}
	r = rfc9111.NamedCanonically(r)
	var err error
	if r.URL == nil {
		err = exchange.CheckRequest(r)
	} else {
		_, err = exchange.OutgoingHost(r)
	}
	if err != nil { // the rest is for next to check
		exchange.CloseBody(r)
		return nil, err
	}
	if passesBy(r) {
		t.c.counters.bypassed.Add(1)
		return t.next.RoundTrip(r)
	}
	a := &trip{t: t}
	a.visit = visit{c: t.c, front: a, leaves: true}
	returned := false
	defer func() {
		if !returned && a.resp != nil { // a hook has panicked
			_ = a.resp.Body.Close()
		}
	}()
	a.visit.serve(r, r.Body != nil && r.Body != http.NoBody)
	returned = true
	if a.resp == nil && a.err == nil { // the client has left
		return nil, exchange.EndError(r.Context(), &exchange.Error{Op: exchange.OpClient}, false, nil)
	}
	return a.resp, a.err
}

// trip is a visit by RoundTrip, with what that returns.
type trip struct {
	visit visit
	t     *transport
	resp  *http.Response
	err   error
}

func (a *trip) place(v *visit, r *http.Request) { v.departs(r) }

func (a *trip) pass(v *visit, r *http.Request, head func(int, http.Header)) {
	if a.resp, a.err = a.t.next.RoundTrip(r); a.err != nil {
		a.resp = nil
		return
	}
	if a.resp.Request == r {
		a.resp.Request = v.r
	}
	head(a.resp.StatusCode, a.resp.Header)
}

func (a *trip) fetch(_ *visit, f *flight) {
	resp, err := a.t.next.RoundTrip(f.out)
	if err != nil {
		f.err = err
		if f.mayAnswer(time.Now()) {
			f.decide(outcomeStale)
			return
		}
		f.decide(outcomeFailed)
		return
	}
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	f.response = resp
	length := resp.ContentLength
	if resp.Uncompressed {
		length = -1
	}
	if length >= 0 && resp.StatusCode == http.StatusOK {
		resp.Header["Content-Length"] = lengthField(length)
	}
	switch f.head(resp.StatusCode, resp.Header, length) {
	case modeStore:
		f.take(resp, length)
	case modeDirect:
		f.lend(resp)
	default:
		_ = resp.Body.Close()
	}
}

func (a *trip) own(v *visit, f *flight) {
	if f.outcome != outcomeDirect {
		if a.err = f.err; a.err == nil {
			a.err = errAborted
		}
		return
	}
	v.countOwn(f)
	a.resp = f.borrow()
	v.mark(a.resp.Header, nil)
	a.resp.Request = v.r
}

// take reads the body of a response into the store.
func (f *flight) take(resp *http.Response, length int64) {
	defer resp.Body.Close()
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	n, err := io.CopyBuffer(struct{ io.Writer }{f.body}, struct{ io.Reader }{resp.Body}, lent[:])
	if err == nil && length >= 0 && n != length && bodyAllowed(resp.StatusCode) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		f.fail(err)
		return
	}
	f.finish(resp.Trailer.Clone())
}

// lend leaves the response to the leader, or closes it if there is none any
// more.
func (f *flight) lend(resp *http.Response) {
	f.mu.Lock()
	f.lent = f.hasClient
	f.mu.Unlock()
	if !f.lent {
		_ = resp.Body.Close()
	}
}

// borrow returns the response itself, for the leader. Its request lives on
// until the body is closed, or the leader's context ends.
func (f *flight) borrow() *http.Response {
	resp := f.response
	stop := context.AfterFunc(f.leader, f.cancel)
	done := func() { stop(); f.cancel() }
	if rw, ok := resp.Body.(io.ReadWriteCloser); ok {
		resp.Body = &lentConn{rw, done}
	} else {
		resp.Body = &lentBody{resp.Body, done}
	}
	return resp
}

// cancelUnlessLent frees a flight's context, unless its response is still being
// read.
func (f *flight) cancelUnlessLent() {
	f.mu.Lock()
	lent := f.lent
	f.mu.Unlock()
	if !lent {
		f.cancel()
	}
}

// lentBody ends its request when it is closed.
type lentBody struct {
	io.ReadCloser
	done func()
}

func (b *lentBody) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}

// WriteTo keeps what the body can do by itself.
func (b *lentBody) WriteTo(w io.Writer) (int64, error) {
	if wt, ok := b.ReadCloser.(io.WriterTo); ok {
		return wt.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{b.ReadCloser})
}

// lentConn is the body of a 101.
type lentConn struct {
	io.ReadWriteCloser
	done func()
}

func (b *lentConn) Close() error {
	err := b.ReadWriteCloser.Close()
	b.done()
	return err
}

func (a *trip) header(_ *visit, n int) http.Header { return make(http.Header, n) }

func (a *trip) respond(v *visit, h http.Header, p plan, from source) {
	a.resp = v.response(p, h)
	if p.empty {
		_ = from.close()
		return
	}
	body := &planReader{p: p, from: from}
	if from.stream == nil {
		a.resp.Trailer = from.trailer.Clone()
	} else if p.whole {
		trailer := make(http.Header)
		a.resp.Trailer = trailer
		body.atEnd = func() { maps.Copy(trailer, body.from.trailers()) }
	}
	a.resp.Body = body
}

// response is one without a body yet.
func (v *visit) response(p plan, h http.Header) *http.Response {
	resp := &http.Response{
		Status: strconv.Itoa(p.status) + " " + http.StatusText(p.status), StatusCode: p.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: http.NoBody, Request: v.r, ContentLength: declaredLength(h),
	}
	if ct, ok := h["Content-Type"]; ok && ct == nil {
		delete(h, "Content-Type")
	}
	if p.empty && v.r.Method != http.MethodHead {
		resp.ContentLength = 0
	}
	return resp
}

func (a *trip) refuse(v *visit) {
	h := make(http.Header)
	a.resp = v.response(plan{status: http.StatusGatewayTimeout, empty: true}, h)
	v.mark(h, nil)
}
