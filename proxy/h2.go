package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
)

// speaksH2 reports whether HTTP/2 is to be spoken to the backend, or offered
// to it.
func speaksH2(scheme string, b *backend.Backend) bool {
	switch scheme {
	case "h2", "h2c":
		return true
	case "https":
		return b.TLS != nil && slices.Contains(b.TLS.NextProtos, http2.NextProtoTLS)
	}
	return false
}

// h2Pool holds the HTTP/2 connections to one backend. Each is opened through
// the backend's pool and counts there as one connection in use.
type h2Pool struct {
	b  *backend.Backend
	t2 *http2.Transport

	mu      sync.Mutex // guards the rest
	conns   []*http2.ClientConn
	opening chan struct{} // closed when the connection being opened is there, or failed
}

func (t *Transport) h2PoolOf(b *backend.Backend) *h2Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.h2[b]
	if p == nil {
		p = &h2Pool{b: b, t2: &http2.Transport{
			AllowHTTP:          true,
			DisableCompression: true,
			MaxHeaderListSize:  uint32(t.limits().total),
			IdleConnTimeout:    max(or(b.IdleTTL, backend.DefaultIdleTTL), 0),
			ReadIdleTimeout:    30 * time.Second,
			PingTimeout:        15 * time.Second,
		}}
		if t.h2 == nil {
			t.h2 = make(map[*backend.Backend]*h2Pool)
		}
		t.h2[b] = p
	}
	return p
}

// reserve returns a connection with a free stream, or the HTTP/1.1 connection
// that was opened instead because the backend chose that.
func (p *h2Pool) reserve(ctx context.Context, scheme string) (*http2.ClientConn, *backend.Conn, error) {
	for {
		p.mu.Lock()
		p.conns = slices.DeleteFunc(p.conns, func(cc *http2.ClientConn) bool {
			s := cc.State()
			return s.Closed || s.Closing
		})
		for _, cc := range p.conns {
			if cc.ReserveNewRequest() {
				p.mu.Unlock()
				return cc, nil, nil
			}
		}
		if wait := p.opening; wait != nil && scheme != "https" {
			p.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, nil, context.Cause(ctx)
			}
		}
		opening := make(chan struct{})
		p.opening = opening
		p.mu.Unlock()
		cc, c, err := p.open(ctx, scheme)
		p.mu.Lock()
		if cc != nil {
			p.conns = append(p.conns, cc)
		}
		if p.opening == opening {
			p.opening = nil
		}
		p.mu.Unlock()
		close(opening)
		return cc, c, err
	}
}

// open opens a connection and reserves a stream on it.
func (p *h2Pool) open(ctx context.Context, scheme string) (*http2.ClientConn, *backend.Conn, error) {
	c, err := p.b.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	if scheme == "https" && negotiated(c) != http2.NextProtoTLS {
		return nil, c, nil
	}
	_ = c.SetDeadline(time.Time{})
	cc, err := p.t2.NewClientConn(&h2Conn{upgradedConn{c: c, closed: c.Detach()}})
	if err != nil {
		return nil, nil, err
	}
	cc.ReserveNewRequest()
	return cc, nil, nil
}

// negotiated returns the protocol that ALPN chose.
func negotiated(c *backend.Conn) string {
	if tc, ok := c.Conn.(*tls.Conn); ok {
		return tc.ConnectionState().NegotiatedProtocol
	}
	return ""
}

func (p *h2Pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cc := range p.conns {
		cc.SetDoNotReuse()
		if s := cc.State(); s.StreamsActive+s.StreamsReserved == 0 {
			_ = cc.Close()
		}
	}
	p.conns = nil
}

// h2Conn is the connection under HTTP/2. Closing it frees its place in the
// backend's pool.
type h2Conn struct{ upgradedConn }

// ConnectionState lets the HTTP/2 client see that TLS is spoken.
func (h *h2Conn) ConnectionState() tls.ConnectionState {
	if tc, ok := h.c.Conn.(*tls.Conn); ok {
		return tc.ConnectionState()
	}
	return tls.ConnectionState{}
}

// roundTripH2 is RoundTrip over HTTP/2, or over HTTP/1.1 if the backend
// chooses it.
func (t *Transport) roundTripH2(b *backend.Backend, r *http.Request) (*http.Response, error) {
	p := t.h2PoolOf(b)
	for again := true; ; again = false {
		cc, c1, err := p.reserve(r.Context(), r.URL.Scheme)
		if err != nil {
			closeBody(r)
			return nil, getError(b, err)
		}
		if c1 != nil {
			resp, xerr := t.exchange(c1, r, httptrace.ContextClientTrace(r.Context()))
			if xerr != nil {
				return nil, xerr
			}
			return resp, nil
		}
		w := watchH2(b, r)
		resp, err := cc.RoundTrip(w.request(r))
		if err == nil {
			b.MarkOK()
			resp.Request = r
			resp.Body = w.responseBody(resp.Body)
			return resp, nil
		}
		xerr := w.fail(err)
		if next := resend(r, xerr); next != nil && again {
			r = next
			continue
		}
		return nil, xerr
	}
}

var errH2Timeout = errors.New("backend made no progress in time")

// h2Watch applies the backend's time limit to one HTTP/2 exchange: streams of
// one connection cannot share its deadline.
type h2Watch struct {
	b      *backend.Backend
	parent context.Context
	method *http.Request
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
}

func watchH2(b *backend.Backend, r *http.Request) *h2Watch {
	w := &h2Watch{b: b, parent: r.Context(), method: r, limit: or(b.Timeout, backend.DefaultTimeout)}
	w.ctx, w.cancel = context.WithCancelCause(w.parent)
	if w.limit > 0 {
		w.timer = time.AfterFunc(w.limit, func() { w.cancel(errH2Timeout) })
	}
	return w
}

// progress begins the time limit anew.
func (w *h2Watch) progress() {
	if w.timer != nil && w.ctx.Err() == nil {
		w.timer.Reset(w.limit)
	}
}

func (w *h2Watch) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(nil)
}

// request returns r as HTTP/2 needs it: a scheme that HTTP knows and no field
// of HTTP/1's connection.
func (w *h2Watch) request(r *http.Request) *http.Request {
	out := r.WithContext(w.ctx)
	if s := r.URL.Scheme; s == "h2" || s == "h2c" {
		u := new(url.URL)
		*u = *r.URL
		u.Scheme = "http"
		if s == "h2" {
			u.Scheme = "https"
		}
		out.URL = u
	}
	out.Header = make(http.Header, len(r.Header)+1)
	for name, values := range r.Header {
		if name != "Connection" && name != "Upgrade" {
			out.Header[name] = values
		}
	}
	if r.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // none, rather than one made up
	}
	if r.Body != nil && r.Body != http.NoBody {
		out.Body = &h2RequestBody{r.Body, w}
	}
	return out
}

type h2RequestBody struct {
	io.ReadCloser
	w *h2Watch
}

func (b *h2RequestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.w.progress()
	return n, err
}

// fail words the failure of an exchange that has no answer.
func (w *h2Watch) fail(err error) *Error {
	defer w.end()
	e := &Error{Op: OpHeader, Backend: w.b.String(), Err: err}
	var stream http2.StreamError
	switch {
	case context.Cause(w.ctx) == errH2Timeout:
		e.Status, e.Err = http.StatusGatewayTimeout, errH2Timeout
	case errors.Is(w.parent.Err(), context.DeadlineExceeded):
		e.Err = context.Cause(w.parent)
	case w.parent.Err() != nil:
		e.Op, e.Status, e.Err = OpClient, StatusClientClosedRequest, errors.Join(ErrClientGone, err)
	case errors.As(err, &stream) && stream.Code == http2.ErrCodeRefusedStream:
		e.Resend, e.Err = true, errors.Join(ErrStaleConn, err)
	case IsIdempotent(w.method):
		e.Resend, e.Err = true, errors.Join(ErrStaleConn, err)
	}
	return e
}

// responseBody watches the body of the answer.
func (w *h2Watch) responseBody(body io.ReadCloser) io.ReadCloser {
	if body == http.NoBody {
		w.end()
		return body
	}
	w.progress()
	return &h2ResponseBody{body, w}
}

type h2ResponseBody struct {
	body io.ReadCloser
	w    *h2Watch
}

func (b *h2ResponseBody) Read(p []byte) (int, error) {
	b.w.progress()
	n, err := b.body.Read(p)
	if err != nil && err != io.EOF {
		e := b.w.fail(err)
		if e.Op == OpHeader {
			e.Op = OpBody
		}
		e.Resend = false
		return n, e
	}
	if err != nil {
		b.w.end()
	}
	return n, err
}

func (b *h2ResponseBody) Close() error {
	err := b.body.Close()
	b.w.end()
	return err
}
