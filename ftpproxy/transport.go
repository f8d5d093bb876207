package ftpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Defaults of the backends that a [Transport] makes.
const (
	DefaultIdleTTL = 30 * time.Second
	DefaultMaxIdle = 8
)

// Transport makes files and directories of FTP servers available by HTTP. It
// is an http.RoundTripper for URLs of the schemes ftp, ftps (TLS from the
// start, port 990) and ftpes (TLS by AUTH TLS, RFC 4217). Data connections are
// passive ones alone.
//
//	ftp://user:password@host:port/dir/file;type=i
//
// GET and HEAD read: a file with ranges and conditions, a directory as a page
// of HTML, or as JSON for those who accept application/json. PUT and DELETE
// work where they are allowed. Answers with a status below 500 are answers;
// what failed is a [*exchange.Error], which wraps a [*ReplyError] if the server
// said so. The zero value is ready for use.
type Transport struct {
	// Backend is where all requests go, whatever host their URL names. If nil,
	// each scheme and host gets a Backend of its own on first use. Its TLS
	// field serves both connections. Connections are kept for the user who
	// logged in; MaxIdle, MaxConns and IdleTTL hold for all users together.
	// MinIdle must be zero.
	Backend *backend.Backend

	// NewBackend makes the Backend of a host when Backend is nil. If nil, one
	// with an IdleTTL of 30 s and a MaxIdle of 8. All that it makes share a
	// [backend.IdleLimit] of 512 unused connections, unless it adds them to
	// another.
	NewBackend func(u *url.URL) *backend.Backend

	// DialData opens data connections. The host of addr is the address of the
	// server as the control connection has it, the port what the server named.
	// If nil, and the Backend has a DialContext of its own, that is asked for
	// the URL's host and the port; else a plain connection is made. The
	// address in a reply to PASV is never used.
	DialData func(ctx context.Context, network, addr string) (net.Conn, error)

	// User logs in where the URL of a request names nobody. If nil, the
	// client's Authorization (Basic) does, or else "anonymous". Whose login is
	// refused is answered with 401, or with 403 if the credentials were those
	// of the URL or of this field.
	User *url.Userinfo

	// IgnoreAuthorization makes whoever is not named by URL or User anonymous:
	// for sites that ask for credentials of their own.
	IgnoreAuthorization bool

	// AnonymousPassword is sent for the user "anonymous". Empty means
	// [DefaultAnonymousPassword].
	AnonymousPassword string

	// Realm is what the client is told that the credentials are for. Empty
	// means the host.
	Realm string

	// AllowPut and AllowDelete let clients store and remove files.
	AllowPut, AllowDelete bool

	// Charset is the encoding of names, as told with listings. Empty means
	// UTF-8. Apache: ProxyFtpDirCharset, whose default is ISO-8859-1.
	Charset string

	// NoWildcards takes "*", "?", "[" and "{" in the last segment of a path for
	// what they are. Otherwise a path with one of them that names nothing is
	// answered by a listing of what it matches, if it has no more than 255
	// bytes there. Apache: ProxyFtpListOnWildcard Off.
	NoWildcards bool

	// EscapeWildcards tries a name with a wildcard in it once more with
	// backslashes before them, for servers that would expand it. Apache:
	// ProxyFtpEscapeWildcards, which sends that form alone.
	EscapeWildcards bool

	// Location is the time zone of the server, for listings in which it gives
	// local times. If nil, UTC.
	Location *time.Location

	// ContentType says what a file is, by its name. If it is nil, or returns
	// "", the system's table of extensions does, or else
	// application/octet-stream; text/plain for ";type=a".
	ContentType func(name string) string

	backends exchange.Backends
}

// RoundTrip makes of a request what FTP has for it. The answer to GET is
// returned when the transfer has begun, or, for what is short, ended.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := r
	if r.Body != nil && r.Body != http.NoBody {
		r = new(http.Request)
		*r = *asked
		r.Body = &onceClosed{ReadCloser: asked.Body}
		defer r.Body.Close()
	}
	resp, err := t.roundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Request = asked
	return resp, nil
}

// onceClosed is the body of a request, which is closed at the end, or when the
// client leaves.
type onceClosed struct {
	io.ReadCloser
	closed atomic.Bool
}

func (b *onceClosed) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.ReadCloser.Close()
}

func (t *Transport) roundTrip(r *http.Request) (*http.Response, *exchange.Error) {
	b, err := t.backendFor(r.URL)
	if err != nil {
		return nil, err
	}
	if bad := (*exchange.Error)(nil); errors.As(exchange.CheckRequest(r), &bad) {
		return nil, bad
	}
	at, err := parseTarget(r.URL)
	if err != nil {
		return nil, err
	}
	who, err := t.credentials(r)
	if err != nil {
		return nil, err
	}
	if !t.allows(r.Method, at) {
		return t.notAllowed(r, at), nil
	}
	resp, err2 := exchange.WithinRequestTimeout(b, r, func(b *backend.Backend, r *http.Request) (*http.Response, error) {
		resp, err := t.send(b, r, who, at)
		if err != nil {
			return nil, err
		}
		return resp, nil
	})
	var failed *exchange.Error
	_ = errors.As(err2, &failed)
	return resp, failed
}

// send asks a server for what is at a place.
func (t *Transport) send(b *backend.Backend, r *http.Request, who credentials, at target) (*http.Response, *exchange.Error) {
	hooks := exchange.HooksOf(r)
	for first := true; ; first = false {
		x, err := t.acquire(r, b, who, hooks, first)
		if err != nil {
			return nil, err
		}
		x.at = at
		resp, err := x.run()
		if err == nil {
			hooks.Answered()
			return resp, nil
		}
		if !x.stale || !first {
			hooks.Failed(err)
			return nil, err
		}
		hooks.Resent(err)
	}
}

// acquire takes a connection: the first time one that was used, if there is
// one.
func (t *Transport) acquire(r *http.Request, b *backend.Backend, who credentials, hooks exchange.Hooks, first bool) (*attempt, *exchange.Error) {
	get := b.GetFor
	if !first {
		get = b.GetFreshFor
	}
	c, err := hooks.Acquire(b, func(ctx context.Context) (*backend.Conn, error) { return get(ctx, who.owner()) })
	if err != nil {
		return nil, exchange.AcquireError(r.Context(), b, err)
	}
	return &attempt{t: t, c: c, r: r, hooks: hooks, ctx: r.Context(), who: who}, nil
}

// backendFor returns the backend that serves u.
func (t *Transport) backendFor(u *url.URL) (*backend.Backend, *exchange.Error) {
	b, _, err := t.backends.For(u, t.Backend, t.newBackend, "ftp", "ftps", "ftpes")
	if err != nil {
		var e *exchange.Error
		if !errors.As(err, &e) {
			e = &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: err}
		}
		return nil, e
	}
	if b.Socket != "" {
		return nil, &exchange.Error{Op: exchange.OpRequest, Backend: b.String(), Status: http.StatusInternalServerError, Err: errSocket}
	}
	return b, nil
}

func (t *Transport) newBackend(u *url.URL) *backend.Backend {
	if t.NewBackend != nil {
		return t.NewBackend(u)
	}
	return &backend.Backend{URL: u, IdleTTL: DefaultIdleTTL, MaxIdle: DefaultMaxIdle}
}

// CloseIdleConnections closes the connections that the transport opened and
// that are not in use. A Backend given to it is left as it is.
func (t *Transport) CloseIdleConnections() { t.backends.Retire() }

// Stats returns the figures of the transport's backends, as
// [proxy.Transport.Stats] does.
func (t *Transport) Stats() []backend.Stats { return t.backends.Stats(t.Backend) }
