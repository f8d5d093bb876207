package fcgi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Defaults of the fields of a [Transport], and of the backends it makes.
const (
	DefaultMaxLineBytes   = 16 << 10
	DefaultMaxHeadBytes   = 256 << 10
	DefaultMaxStderrBytes = 64 << 10
	DefaultIdleTTL        = 5 * time.Second
)

// BackendType says how an application wants its script named. Apache:
// ProxyFCGIBackendType.
type BackendType int

const (
	// BackendGeneric names the script by its path: SCRIPT_FILENAME=/srv/a.php. All
	// applications understand that, php-fpm among them. Apache: GENERIC.
	BackendGeneric BackendType = iota
	// BackendFPM names it by its URL, as Apache does by default, and as php-fpm reads
	// it too: SCRIPT_FILENAME=proxy:fcgi://host:port/srv/a.php. Apache: FPM.
	BackendFPM
)

// Transport sends requests to FastCGI applications. It is an
// http.RoundTripper: the URL "fcgi://127.0.0.1:9000/srv/www/a.php/x?q=1" runs
// /srv/www/a.php with PATH_INFO=/x and QUERY_STRING=q=1 at the application that
// listens at 127.0.0.1:9000. Behind a [proxy.Handler] the application is told
// of the client's request; elsewhere of the one that is sent.
//
// Each failure is a [*exchange.Error], and requests are sent again by the rules of
// [proxy.Transport]. The zero value is ready for use.
type Transport struct {
	// Backend is where all requests go, whatever host their URL names: for a
	// unix-domain socket, what backend.Parse makes of
	// "unix:/run/php/php-fpm.sock|fcgi://localhost". If nil, each host gets a
	// Backend of its own on first use. Each child of php-fpm serves one
	// connection, be it idle, so MaxConns should not exceed pm.max_children.
	Backend *backend.Backend

	// NewBackend makes the Backend of a host when Backend is nil. If nil, one
	// with an IdleTTL of 5 s and a read buffer of 32 KiB. All that it makes
	// share a [backend.IdleLimit] of 512 unused connections, unless it adds them
	// to another.
	NewBackend func(u *url.URL) *backend.Backend

	// Type says how scripts are named. Zero means [BackendGeneric]. Apache:
	// ProxyFCGIBackendType.
	Type BackendType

	// Root is DOCUMENT_ROOT, and what SCRIPT_NAME is relative to. Empty means
	// the part of the script's path before the client's path, if the two end
	// alike.
	Root string

	// SplitPath lists the suffixes of scripts: what follows the first path
	// segment that ends in one is PATH_INFO. If nil, ".php"; an empty list
	// splits nothing.
	SplitPath []string

	// ServerName is SERVER_NAME. Empty means the client's Host.
	ServerName string

	// ServerSoftware is SERVER_SOFTWARE. Empty means "modproxy".
	ServerSoftware string

	// HideAuthorization keeps the client's Authorization field from the
	// application, as Apache does unless CGIPassAuth is on.
	HideAuthorization bool

	// Env, if not nil, may change the variables of each request before they
	// are sent. Apache: ProxyFCGISetEnvIf.
	Env func(r *http.Request, env *Params)

	// Spool says how a request body of unknown length, which FastCGI
	// applications cannot read, is read first; with All set, how every body
	// is. Until then no connection is taken.
	Spool exchange.Spool

	// MaxLineBytes limits one line of an answer's header. Zero means 16384;
	// negative means no limit.
	MaxLineBytes int

	// MaxHeadBytes limits the header of an answer. Zero means 262144; negative
	// means no limit.
	MaxHeadBytes int

	// MaxStderrBytes limits what is logged of a request's error output. Zero
	// means 65536; negative logs nothing.
	MaxStderrBytes int

	// Logger gets the error output of applications, line by line: at the level
	// that PHP names in it, or else at level Warn. If nil, it is dropped.
	Logger *slog.Logger

	backends exchange.Backends
	watcher  exchange.Watcher
}

// RoundTrip sends a request and returns the answer when its header is in.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.roundTrip(r, roleResponder)
}

func (t *Transport) roundTrip(r *http.Request, role role) (*http.Response, error) {
	client := exchange.ClientRequest(r.Context())
	o, s, err := t.target(r, client)
	if err != nil {
		exchange.CloseBody(r)
		return nil, err
	}
	body, err := cgi.ReadBody(r, &t.Spool)
	if err != nil {
		return nil, err
	}
	defer body.Done()
	q := question{client: client, role: role, script: s, content: body.Content, length: body.Length}
	resp, err := exchange.WithinRequestTimeout(o.b, body.Request, func(_ *backend.Backend, sent *http.Request) (*http.Response, error) {
		return t.send(o, sent, q)
	})
	if err != nil {
		return nil, err
	}
	resp.Request = r
	return resp, nil
}

// send sends a request to o.
func (t *Transport) send(o *origin, sent *http.Request, q question) (*http.Response, error) {
	hooks := exchange.HooksOf(sent)
	streams := q.content == nil && q.length > 0 // the body, by a goroutine
	get := o.b.Get
	if !streams && hooks.Trace() == nil {
		get = o.b.GetTurn
	}
	c, err := hooks.Acquire(o.b, get)
	for {
		if err != nil {
			exchange.CloseBody(sent)
			return nil, exchange.AcquireError(sent.Context(), o.b, err)
		}
		x := &attempt{t: t, o: o, c: c, r: sent, hooks: hooks, question: q}
		resp, xerr := x.run()
		if xerr == nil {
			hooks.Answered()
			return resp, nil
		}
		again := exchange.ResendRequest(sent, xerr)
		if again == nil {
			hooks.Failed(xerr)
			return nil, xerr
		}
		hooks.Resent(xerr)
		sent = again
		c, err = hooks.Acquire(o.b, o.b.GetFresh)
	}
}

// target returns where r goes, and what is run there.
func (t *Transport) target(r, client *http.Request) (*origin, script, error) {
	b, _, err := t.backends.For(r.URL, t.Backend, t.newBackend, "fcgi")
	if err != nil {
		return nil, script{}, err
	}
	if err := cgi.CheckRequest(r, client); err != nil {
		return nil, script{}, err
	}
	s, err := t.script(r, client)
	return originOf(b), s, err
}

func (t *Transport) splitPath() []string {
	if t.SplitPath == nil {
		return phpSuffix
	}
	return t.SplitPath
}

var phpSuffix = []string{".php"}

func (t *Transport) newBackend(u *url.URL) *backend.Backend {
	if t.NewBackend != nil {
		return t.NewBackend(u)
	}
	return &backend.Backend{URL: u, IdleTTL: DefaultIdleTTL, ReadBufferSize: readBufferSize}
}

// readBufferSize holds several of the records of 8 KiB that php-fpm writes.
const readBufferSize = 32 << 10

// CloseIdleConnections closes the connections that the transport opened and
// that are not in use. A Backend given to it is left as it is.
func (t *Transport) CloseIdleConnections() { t.backends.Retire() }

// Stats returns the figures of the transport's backends, as
// [proxy.Transport.Stats] does.
func (t *Transport) Stats() []backend.Stats { return t.backends.Stats(t.Backend) }

// logsStderr reports whether error output is wanted.
func (t *Transport) logsStderr(ctx context.Context) bool {
	return t.Logger != nil && t.MaxStderrBytes >= 0 && t.Logger.Enabled(ctx, slog.LevelError)
}
