package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// speaksH2 reports whether HTTP/2 is to be spoken to the backend, or offered
// to it.
func speaksH2(scheme string, b *backend.Backend) bool {
	switch strings.ToLower(scheme) {
	case "h2", "h2c":
		return true
	case "https":
		return b.TLS != nil && slices.Contains(b.TLS.NextProtos, http2.NextProtoTLS)
	}
	return false
}

// roundTripH2 is RoundTrip over HTTP/2, or over HTTP/1.1 if the backend
// chooses it.
func (t *Transport) roundTripH2(b *backend.Backend, r *http.Request) (*http.Response, error) {
	p := t.h2PoolOf(b)
	if check := b.For(r.Context()); check != b {
		b, p = check, &h2Pool{b: check, t2: p.t2}
	}
	hooks := exchange.HooksOf(r)
	for again := false; ; again = true {
		hooks.GetConn(b)
		use, c, err := p.reserve(namedContext(r.Context(), b, r), strings.ToLower(r.URL.Scheme), again)
		if err != nil {
			hooks.Failed(err)
			exchange.CloseBody(r)
			return nil, exchange.AcquireError(r.Context(), b, err)
		}
		var resp *http.Response
		var xerr *exchange.Error
		if c != nil {
			hooks.GotConn(c)
			resp, xerr = t.attempt(c, r, hooks)
		} else {
			info := httptrace.GotConnInfo{Conn: use.conn.c.Conn, Reused: use.reused, WasIdle: use.reused && use.conn.taken.Load() == 1}
			hooks.GotStream(b, info, use.acquire, use.connect, use.conn.give)
			resp, xerr = t.exchangeH2(b, use, r)
		}
		if xerr == nil {
			hooks.Answered()
			return resp, nil
		}
		next := exchange.ResendRequest(r, xerr)
		if next == nil || again {
			hooks.Failed(xerr)
			return nil, xerr
		}
		hooks.Resent(xerr)
		r = next
	}
}

// exchangeH2 is one request and the head of its answer over a stream, which it
// gives back.
func (t *Transport) exchangeH2(b *backend.Backend, use h2Use, r *http.Request) (*http.Response, *exchange.Error) {
	w := watchH2(b, use, r)
	w.interim.most = cmp.Or(t.MaxInterim, DefaultMaxInterim)
	w.expect = cmp.Or(t.ExpectTimeout, DefaultExpectTimeout)
	resp, err := use.conn.cc.RoundTrip(w.request(r))
	if refused := w.interim.finish(); refused != nil && err == nil { // the final answer came meanwhile
		w.end()
		_ = resp.Body.Close()
		err = refused
	}
	if err != nil {
		return nil, w.fail(err)
	}
	w.interim.settle()
	b.MarkOKFor(r.Context())
	if err := h2Length(resp); err != nil {
		w.end()
		_ = resp.Body.Close()
		return nil, &exchange.Error{Op: exchange.OpHeader, Backend: b.String(), Err: err}
	}
	w.answered.Store(true)
	w.heard()
	resp.Request = r
	dropForbidden(resp.Trailer)
	if http1.NoContent(r.Method, resp.StatusCode) {
		w.end()
		dropContent(r.Method, resp)
		return resp, nil
	}
	resp.Body = w.responseBody(resp)
	return resp, nil
}

// dropForbidden drops what must not stand in a trailer.
func dropForbidden(trailer http.Header) {
	for name := range trailer {
		if exchange.ForbiddenTrailer(name) {
			delete(trailer, name)
		}
	}
}

// dropContent makes the body of an answer that has no content an empty one: the
// HTTP/2 client's would miss what the length promises.
func dropContent(method string, resp *http.Response) {
	_ = resp.Body.Close()
	resp.Body = http.NoBody
	switch {
	case resp.StatusCode == http.StatusNoContent: // RFC 9110 section 8.6
		delete(resp.Header, "Content-Length")
		resp.ContentLength = 0
	case method != http.MethodHead:
		resp.ContentLength = max(resp.ContentLength, 0)
	}
}

// h2Length refuses lengths that contradict each other. They do not frame the
// body here, but would toward an HTTP/1 client.
func h2Length(resp *http.Response) error {
	values := resp.Header["Content-Length"]
	if len(values) == 0 {
		return nil
	}
	length, err := exchange.ParseContentLength(values)
	if err == nil {
		resp.Header["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	return err
}

// Why an exchange over HTTP/2 is broken off.
var (
	errH2Timeout    = fmt.Errorf("backend made no progress in time: %w", os.ErrDeadlineExceeded)
	errHookPanicked = errors.New("a hook panicked")
)

// h2Watch applies the backend's time limit to one HTTP/2 exchange: streams of
// one connection cannot share its deadline. What counts is what comes on the
// stream; frames that say nothing to it do not.
type h2Watch struct {
	b       *backend.Backend
	conn    *h2Conn
	parent  context.Context
	method  *http.Request
	reused  bool // the connection was open before
	ctx     context.Context
	cancel  context.CancelCauseFunc
	limits  backend.Limits
	expect  time.Duration // how long a body waits for a 100
	interim h2Interim

	waits    atomic.Bool  // the body's next part is still with the client
	unread   atomic.Bool  // the body was not read to its end
	reading  atomic.Bool  // somebody waits for the answer's body
	answered atomic.Bool  // the head of the answer is in
	ended    atomic.Bool  // the stream was given back
	silent   atomic.Int64 // what conn.heard was when the limit began

	mu    sync.Mutex    // guards what follows
	timer *time.Timer   // nil until there is a limit
	begun time.Time     // when the limit began
	limit time.Duration // of the phase that it is of
	cause error         // why the client's body could not be read
}

func watchH2(b *backend.Backend, use h2Use, r *http.Request) *h2Watch {
	w := &h2Watch{b: b, conn: use.conn, parent: r.Context(), method: r, reused: use.reused, limits: b.Limits()}
	w.interim.w = w
	w.ctx, w.cancel = context.WithCancelCause(w.parent)
	w.silent.Store(w.conn.heard.Load())
	w.unread.Store(r.Body != nil && r.Body != http.NoBody)
	w.progress()
	return w
}

// expire ends the exchange, unless it is not the backend that is slow. A
// connection on which no stream has got anything meanwhile serves no other.
func (w *h2Watch) expire() {
	switch {
	case w.answered.Load() && !w.reading.Load():
		return // the next Read begins the limit anew
	case w.waits.Load() && (!w.answered.Load() && w.method.Method != http.MethodConnect || w.method.ContentLength > 0):
		w.progress()
		return
	case w.isYoung():
		return // it fires again
	}
	if w.conn.heard.Load() == w.silent.Load() {
		w.conn.cc.SetDoNotReuse()
	}
	w.cancel(errH2Timeout)
}

// progress begins the time limit anew: that of the phase in which the exchange is.
func (w *h2Watch) progress() {
	w.silent.Store(w.conn.heard.Load())
	limit := w.limits.Header
	switch {
	case w.answered.Load():
		limit = w.limits.Read
	case w.unread.Load():
		limit = w.limits.Write
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ctx.Err() != nil:
	case limit > 0:
		w.begun, w.limit = time.Now(), limit
		if w.timer == nil {
			w.timer = time.AfterFunc(limit, w.expire)
		} else {
			w.timer.Reset(limit)
		}
	case w.timer != nil:
		w.limit = 0
		w.timer.Stop()
	}
}

// isYoung reports whether the limit has begun anew meanwhile.
func (w *h2Watch) isYoung() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.limit == 0 || time.Since(w.begun) < w.limit
}

// heard notes that the stream got something that it waits for.
func (w *h2Watch) heard() { w.conn.heard.Add(1) }

// end gives the stream back.
func (w *h2Watch) end() {
	w.cancel(nil)
	if !w.ended.Swap(true) {
		w.conn.give()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// request returns r as HTTP/2 needs it: a scheme that HTTP knows and no field
// of HTTP/1's connection.
func (w *h2Watch) request(r *http.Request) *http.Request {
	out := r.WithContext(w.interim.context(w.ctx))
	out.Host, _ = exchange.OutgoingHost(r)
	if s := strings.ToLower(r.URL.Scheme); s == "h2" || s == "h2c" {
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
		switch name {
		case "Connection", "Upgrade", "Transfer-Encoding", "Content-Length", "Trailer", "Host", "Keep-Alive", "Proxy-Connection":
			continue // of HTTP/1, or ours to say
		case "Te":
			if !httpguts.HeaderValuesContainsToken(values, "trailers") {
				continue // RFC 9113 section 8.2.2
			}
			values = []string{"trailers"}
		}
		out.Header[name] = values
	}
	if v := http1.URLCredentials(r); v != "" {
		out.Header["Authorization"] = []string{v}
	}
	if r.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // none, rather than one made up
	}
	if r.Body != nil && r.Body != http.NoBody {
		w.unread.Store(true)
		body := &h2RequestBody{ReadCloser: r.Body, w: w, left: r.ContentLength, closed: make(chan struct{})}
		if httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue") {
			body.asked = make(chan struct{})
			w.interim.asks = body.asked
		}
		out.Body = body
	}
	return out
}

// h2RequestBody is the body of a request, which is read as fast as the backend
// takes it.
type h2RequestBody struct {
	io.ReadCloser
	w      *h2Watch
	left   int64         // negative or zero at first: not known
	asked  chan struct{} // closed when the backend asks for the body; nil if that is not waited for
	once   sync.Once
	closed chan struct{}
}

// hold holds the body back until the backend has asked for it, or for as long as
// it may stay silent.
func (b *h2RequestBody) hold() error {
	asked := b.asked
	b.asked = nil
	if trace := b.w.interim.trace; trace != nil && trace.Wait100Continue != nil {
		trace.Wait100Continue()
	}
	b.w.waits.Store(true) // the wait has a limit of its own
	defer func() {
		b.w.waits.Store(false)
		b.w.progress()
	}()
	late := time.NewTimer(b.w.expect)
	defer late.Stop()
	select {
	case <-asked:
	case <-late.C:
	case <-b.closed:
		return errViewClosed // for the answer is here
	case <-b.w.ctx.Done():
		return context.Cause(b.w.ctx)
	}
	return nil
}

func (b *h2RequestBody) Read(p []byte) (int, error) {
	if b.asked != nil {
		if err := b.hold(); err != nil {
			return 0, err
		}
	}
	b.w.conn.awaitRoom(b.w.ctx, b.closed)
	b.w.waits.Store(true)
	n, err := b.ReadCloser.Read(p[:min(len(p), h2Backlog/2)])
	if b.left > 0 {
		if b.left -= int64(n); err == io.EOF && b.left > 0 {
			err = exchange.ShortBody(b.left)
		}
	}
	if err == io.EOF {
		b.w.unread.Store(false)
	} else if err != nil {
		b.broken(err)
	}
	b.w.progress() // before it is the backend's turn
	b.w.waits.Store(false)
	return n, err
}

// broken notes that it is the client who has ended the exchange, unless the body
// was closed before.
func (b *h2RequestBody) broken(err error) {
	select {
	case <-b.closed:
	default:
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		b.w.cause = err
	}
}

func (b *h2RequestBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.ReadCloser.Close()
}

// fail words the failure of an exchange that has no answer.
func (w *h2Watch) fail(err error) *exchange.Error {
	defer w.end()
	e := &exchange.Error{Op: exchange.OpHeader, Backend: w.b.String(), Err: err}
	var own *exchange.Error
	w.mu.Lock()
	client := w.cause
	w.mu.Unlock()
	switch cause := context.Cause(w.ctx); {
	case errors.As(cause, &own) && w.parent.Err() == nil:
		e.Op, e.Err = own.Op, own.Err
	case cause == errH2Timeout:
		e.Status, e.Err = http.StatusGatewayTimeout, errH2Timeout
	case errors.Is(w.parent.Err(), context.DeadlineExceeded):
		e = exchange.EndError(w.parent, e, true, nil)
	case w.parent.Err() != nil:
		e.Op, e.Status, e.Err = exchange.OpClient, exchange.StatusClientClosedRequest, errors.Join(exchange.ErrClientGone, err)
	case client != nil:
		return exchange.ClientBodyError(e.Backend, client)
	case exchange.IsTimeout(err):
	default:
		e = w.headError(err)
		e.Op, e.Backend = exchange.OpHeader, w.b.String()
	}
	return e
}

// headError words what the backend did.
func (w *h2Watch) headError(err error) *exchange.Error {
	var stream http2.StreamError
	ofStream := errors.As(err, &stream)
	switch {
	case unreadable(err):
		err = fmt.Errorf("%w: %w", exchange.ErrMalformed, err)
	case ofStream && stream.Code == http2.ErrCodeRefusedStream || unprocessed(err):
		return exchange.WriteError(nil, w.method, errors.Join(exchange.ErrStaleConn, err), false)
	case !ofStream && w.reused && exchange.IsIdempotent(w.method):
		err = errors.Join(exchange.ErrStaleConn, err)
	}
	return exchange.HeadError(nil, w.method, err, false)
}

// unreadable reports whether err says that what the backend sent is no HTTP/2.
func unreadable(err error) bool {
	var conn http2.ConnectionError
	return errors.Is(err, http2.ErrFrameTooLarge) || errors.As(err, &conn)
}

// unprocessed reports whether err says that the backend has not looked at the
// request: it was closing the connection (RFC 9113 section 6.8). The HTTP/2
// client has no other sign of that than the words.
func unprocessed(err error) bool {
	text := err.Error()
	return text == "http2: client conn not usable" || strings.HasPrefix(text, "http2: Transport received") && strings.Contains(text, "GOAWAY")
}

// responseBody watches the body of the answer.
func (w *h2Watch) responseBody(resp *http.Response) io.ReadCloser {
	if resp.Body == http.NoBody {
		w.end()
		return resp.Body
	}
	w.progress()
	return &h2ResponseBody{resp.Body, w, resp}
}

type h2ResponseBody struct {
	body io.ReadCloser
	w    *h2Watch
	resp *http.Response
}

func (b *h2ResponseBody) Read(p []byte) (int, error) {
	b.w.progress()
	b.w.reading.Store(true)
	n, err := b.body.Read(p)
	b.w.reading.Store(false)
	if n > 0 {
		b.w.heard()
	}
	if err != nil && err != io.EOF {
		e := b.w.fail(err)
		if e.Op == exchange.OpHeader {
			e.Op = exchange.OpBody
		}
		e.Resend = false
		return n, e
	}
	if err != nil {
		dropForbidden(b.resp.Trailer)
		b.w.end()
	}
	return n, err
}

// Close does not wait for the backend: the stream has ended before.
func (b *h2ResponseBody) Close() error {
	b.w.end()
	return b.body.Close()
}
