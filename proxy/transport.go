package proxy

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// Defaults of the fields of a [Transport].
const (
	DefaultMaxLineBytes  = 16 << 10
	DefaultMaxHeadBytes  = 256 << 10
	DefaultMaxInterim    = 9
	DefaultExpectTimeout = time.Second
)

// Transport speaks HTTP to a backend. It is an http.RoundTripper written for
// proxying: an exchange without a request body runs on the caller's goroutine
// alone, and the body of an answer can be spliced to the client's socket.
//
// It speaks HTTP/1.1 to URLs of the schemes http and https, and HTTP/2 to h2
// (TLS), h2c (clear text) and to https backends whose TLS configuration offers
// "h2" in NextProtos and that choose it.
//
// Each failure is a [*exchange.Error]. A request is sent again by itself once, on a
// fresh connection, when a reused connection turned out to be closed before a
// byte of the answer came, if it has no body, or one that GetBody returns anew,
// and is idempotent, or nothing of it was written.
//
// A 101 answer has a Body that is an io.ReadWriteCloser. The hooks of an
// httptrace.ClientTrace are told what they are told by net/http, interim answers
// among it. The zero value is ready for use.
//
// What differs from http.Transport:
//
//   - It uses no proxy from the environment, asks for no compression and decodes
//     none, and adds no User-Agent. Credentials in a URL are sent as
//     Authorization.
//   - The first request over a connection says "Connection: keep-alive", so that
//     servers tell how long they keep it (Keep-Alive), which is obeyed.
//   - A Backend has a Timeout of 60 s for each wait, unless it says otherwise.
//     "Expect: 100-continue" waits for 1 s, unless ExpectTimeout says otherwise.
//   - No request is sent again twice. One for which a connection is being opened
//     does not take another that becomes free meanwhile.
//   - A body that waits for a 100 is not sent behind a final answer; the
//     connection is closed then. One that is longer than its length is cut to it.
//   - A body whose length is not known is sent in chunks, whatever the method,
//     even if it turns out to be empty. A length without a body is none, and a
//     request may be without a Header. Request.Cancel is not looked at.
//   - A field whose name means Host, Content-Length, Transfer-Encoding or
//     Connection, but is not in canonical form, is refused. Trailer fields that
//     must not stand in a trailer are dropped, of requests and answers; of a
//     request, those that frame are refused.
//   - Answers are refused that could be read in two ways (such as unequal
//     lengths, a length beside chunks, other transfer codings), that
//     have too long a head, more than MaxInterim interim answers, or a 101 that
//     nobody asked for.
//   - Closing the body of an answer takes a short rest off the connection, for
//     200 ms at most, to keep it.
//   - That a connection was closed by the backend is found out by a look at the
//     socket before each use, every five seconds, and by Stats.
type Transport struct {
	// Backend is where all requests go, whatever host their URL names. If nil,
	// each scheme and host gets a Backend of its own on first use.
	Backend *backend.Backend

	// NewBackend makes the Backend of a scheme and host when Backend is nil.
	// If nil, a Backend with default fields. All that it makes share a
	// [backend.IdleLimit] of 512 unused connections, unless it adds them to
	// another.
	NewBackend func(u *url.URL) *backend.Backend

	// MaxLineBytes limits one line of an answer's head. Zero means 16384;
	// negative means no limit. Apache: responsefieldsize.
	MaxLineBytes int

	// MaxHeadBytes limits the head of an answer, and its trailer. Zero means
	// 262144; negative means no limit.
	MaxHeadBytes int

	// MaxInterim limits the interim (1xx) answers before the final one. Zero
	// means 9, as in Apache; negative allows none.
	MaxInterim int

	// ExpectTimeout is how long the body of a request with "Expect:
	// 100-continue" is held back for a backend that does not answer. Zero means
	// 1 s.
	ExpectTimeout time.Duration

	// Ping, if positive, asks the backend with "Expect: 100-continue" before
	// each request body, and fails with status 503, safe to send again, when
	// it says nothing for that long. Apache: ping.
	Ping time.Duration

	// Spool, if not nil, reads request bodies of unknown length to their end
	// first, for backends that cannot read the chunked coding. Apache:
	// proxy-sendcl.
	Spool *exchange.Spool

	backends exchange.Backends
	watcher  exchange.Watcher

	mu sync.Mutex // guards h2
	h2 map[*backend.Backend]*h2Pool
}

// RoundTrip sends a request and returns the answer when its head is in.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := t.backendFor(r.URL)
	if err == nil {
		err = exchange.CheckRequest(r)
	}
	if err != nil {
		exchange.CloseBody(r)
		return nil, err
	}
	if t.Spool != nil && r.Method != http.MethodConnect {
		spooled, done, err := t.Spool.Request(r)
		if err != nil {
			return nil, err
		}
		defer done()
		r = spooled
	}
	if b.RequestTimeout > 0 {
		return exchange.WithinRequestTimeout(b, r, t.send)
	}
	return t.send(b, r)
}

// send is RoundTrip to b.
func (t *Transport) send(b *backend.Backend, r *http.Request) (*http.Response, error) {
	if speaksH2(r.URL.Scheme, b) {
		return t.roundTripH2(b, r)
	}
	return t.roundTrip1(b, r)
}

// roundTrip1 is RoundTrip over HTTP/1.1.
func (t *Transport) roundTrip1(b *backend.Backend, r *http.Request) (*http.Response, error) {
	hooks := exchange.HooksOf(r)
	get := b.Get
	if http1.RequestFraming(r) == http1.FramingNone && hooks.Trace() == nil {
		get = b.GetTurn
	}
	c, err := hooks.Acquire(b, getNamed(b, r, get))
	for {
		if err != nil {
			exchange.CloseBody(r)
			return nil, exchange.AcquireError(r.Context(), b, err)
		}
		resp, xerr := t.attempt(c, r, hooks)
		if xerr == nil {
			hooks.Answered()
			return resp, nil
		}
		again := exchange.ResendRequest(r, xerr)
		if again == nil {
			hooks.Failed(xerr)
			return nil, xerr
		}
		hooks.Resent(xerr)
		r = again
		c, err = hooks.Acquire(b, getNamed(b, r, b.GetFresh))
	}
}

// getNamed is get for a connection to the name to which r is sent, where that
// matters.
func getNamed(b *backend.Backend, r *http.Request, get func(context.Context) (*backend.Conn, error)) func(context.Context) (*backend.Conn, error) {
	if !b.ServerNameFromHost {
		return get
	}
	return func(ctx context.Context) (*backend.Conn, error) { return get(namedContext(ctx, b, r)) }
}

// namedContext is ctx for a connection to the name to which r is sent.
func namedContext(ctx context.Context, b *backend.Backend, r *http.Request) context.Context {
	if !b.ServerNameFromHost {
		return ctx
	}
	host, _ := exchange.OutgoingHost(r)
	name, _, _ := exchange.ParseHost(host)
	return backend.WithServerName(ctx, name)
}

// backendFor returns the backend that serves u.
func (t *Transport) backendFor(u *url.URL) (*backend.Backend, error) {
	b, gone, err := t.backends.For(u, t.Backend, t.NewBackend, "http", "https", "h2", "h2c", "ws", "wss")
	if len(gone) > 0 {
		t.mu.Lock()
		for _, b := range gone {
			delete(t.h2, b)
		}
		t.mu.Unlock()
	}
	return b, err
}

// CloseIdleConnections closes the connections that the transport opened and
// that are not in use. Backends given to it are left as they are.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	pools := t.h2
	t.h2 = nil
	t.mu.Unlock()
	for _, p := range pools {
		p.closeIdle()
	}
	t.backends.Retire()
}

// Stats returns the figures of the transport's backends, by their names: those
// it has made that are not forgotten yet, or the one that it was given.
func (t *Transport) Stats() []backend.Stats {
	return t.backends.Stats(t.Backend)
}
