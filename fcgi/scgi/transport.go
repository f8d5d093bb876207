package scgi

import (
	"net/http"
	"net/url"

	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/fcgi/internal/single"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Transport sends requests to applications that speak SCGI. It is an
// http.RoundTripper: the path of the URL "scgi://127.0.0.1:4000/a?q=1" is what
// the application is asked for. Behind a [proxy.Handler] it is told of the client's
// request too, and where it is mounted; elsewhere of the one that is sent.
//
// Each failure is a [*exchange.Error], and requests are sent again by the rules of
// [proxy.Transport]. The zero value is ready for use.
type Transport struct {
	// Backend is where all requests go, whatever host their URL names: for a
	// unix-domain socket, what backend.Parse makes of
	// "unix:/run/app.sock|scgi://localhost". If nil, each host gets a Backend of
	// its own on first use. No connection is used twice.
	Backend *backend.Backend

	// NewBackend makes the Backend of a host when Backend is nil. If nil, one with
	// a read buffer of 32 KiB.
	NewBackend func(u *url.URL) *backend.Backend

	// ServerName is SERVER_NAME. Empty means the client's Host.
	ServerName string

	// ServerSoftware is SERVER_SOFTWARE. Empty means "modproxy".
	ServerSoftware string

	// HideAuthorization keeps the client's Authorization field from the
	// application.
	HideAuthorization bool

	// Env, if not nil, may change the variables of each request before they are
	// sent.
	Env func(r *http.Request, env *fcgi.Params)

	// Spool says how a request body of unknown length, which the protocol does
	// not have, is read first; with All set, how every body is. Until then no
	// connection is taken.
	Spool exchange.Spool

	// KeepStatus leaves the status of an answer that has a Location and no Status
	// at 200, as Apache does, for who serves local redirections (RFC 3875 section
	// 6.2.2) itself. Otherwise it is 302.
	KeepStatus bool

	// MaxLineBytes limits one line of an answer's head. Zero means 16384; negative
	// means no limit.
	MaxLineBytes int

	// MaxHeadBytes limits the head of an answer. Zero
	// means 262144; negative means no limit.
	MaxHeadBytes int

	engine single.Engine
}

var (
	protocol   = single.Protocol{Scheme: "scgi", Append: appendRequest, Parse: cgi.ParseHead}
	keepStatus = single.Protocol{Scheme: "scgi", Append: appendRequest, Parse: cgi.ParsePlainHead}
)

// RoundTrip sends a request and returns the answer when its head is in.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	p := &protocol
	if t.KeepStatus {
		p = &keepStatus
	}
	return t.engine.RoundTrip(r, &single.Settings{
		Backend: t.Backend, NewBackend: t.NewBackend, Spool: &t.Spool,
		MaxLineBytes: t.MaxLineBytes, MaxHeadBytes: t.MaxHeadBytes, Variables: t.variables,
	}, p)
}

// variables adds what the application is told of a request.
func (t *Transport) variables(p *cgi.Params, r, client *http.Request, length int64) {
	p.AddMounted(r, client)
	p.Add("SCGI", "1")
	g := cgi.Gateway{ServerName: t.ServerName, ServerSoftware: t.ServerSoftware, HideAuthorization: t.HideAuthorization}
	g.AddTo(p, r, client, length)
	p.SetAll(cgi.Variables(r.Context()))
	if t.Env != nil {
		t.Env(r, (*fcgi.Params)(p))
	}
}

// CloseIdleConnections closes the connections that the transport opened and that
// are not in use. A Backend given to it is left as it is.
func (t *Transport) CloseIdleConnections() { t.engine.Retire() }

// Stats returns the figures of the transport's backends, as [proxy.Transport.Stats]
// does.
func (t *Transport) Stats() []backend.Stats { return t.engine.Stats(t.Backend) }
