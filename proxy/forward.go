package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// Forward is a forward proxy: an http.Handler for the requests of clients that
// were told to use a proxy. It takes absolute-form requests (RFC 9112 section
// 3.2.2) by their scheme, and hands CONNECT to a handler for tunnels:
//
//	f := &proxy.Forward{Clients: &access.Clients{Access: &access.Access{Allow: office}}}
//	f.Connect = &connect.Handler{DialContext: f.DialContext}
//	if err := f.Validate(); err != nil {
//		log.Fatal(err)
//	}
//
// It serves nobody until Clients says whom, and goes nowhere that Destinations
// refuses: by default to no private address. Credentials for this proxy go no
// further, and no field tells the origin who the client is.
//
// Over HTTP/2 net/http tells neither the scheme of a request, nor one for an
// origin from one for this server. Without Next, all but CONNECT are taken for
// requests of http origins: for others, clients use CONNECT.
//
// Set the fields before the first request and leave them alone afterwards.
// Apache: ProxyRequests On.
type Forward struct {
	// Clients says who may use the proxy. If nil, nobody. Apache: Require in
	// <Proxy *>.
	Clients *access.Clients

	// Destinations says where they may go. If nil, everywhere but to private
	// addresses. Apache: ProxyBlock, <Proxy http://…>.
	Destinations *access.Destinations

	// Transports speak the schemes of URLs, in lower case. If nil, http and
	// https are spoken by a [Transport] that dials by Destinations, so that
	// addresses are checked after names are resolved; one of your own must dial
	// by them, or by DialContext, as well. For http and https a nil entry stands
	// for that Transport. Other schemes than those named are answered with 400.
	// User and password in a URL of a scheme that has such, as ftp, reach its
	// transport as Authorization, unless the request has one.
	Transports map[string]http.RoundTripper

	// Connect serves CONNECT requests whose client and destination are allowed.
	// If nil, they are answered with 405. It should dial by DialContext.
	Connect http.Handler

	// Next serves requests that are for this server itself. If nil, the answer
	// is 400.
	Next http.Handler

	// Remotes are proxies that requests are sent on to; the first that matches
	// counts. Apache: ProxyRemote, ProxyRemoteMatch.
	Remotes []access.Remote

	// IdleLimit limits the unused connections to all origins together, through
	// Remotes that have no Transport of their own as well. If nil, one of 512.
	// Set it to share it with transports in Transports, too.
	IdleLimit *backend.IdleLimit

	// NoProxy are hosts for which Remotes do not count: ".example.com" for the
	// names below it; an address, or a network such as 10.0.0.0/8 or 192.168.,
	// which names that resolve into it belong to; a name. Apache: NoProxy.
	NoProxy []string

	// Domain, such as ".example.com", is appended to hosts without a dot: a GET
	// for one is redirected with 301. Empty redirects none. Apache: ProxyDomain.
	Domain string

	// ServerName is the name of this proxy in Via. It must not be that of
	// another: a request that has passed here before is refused with 508. Empty
	// means a pseudonym that is made when it is first needed. Apache: ServerName.
	ServerName string

	// Via says what becomes of the Via field. Zero means [ViaOn]. If it is off,
	// loops are found by ServerName in CDN-Loop, as by a [Handler]. Apache:
	// ProxyVia.
	Via ViaMode

	// Forwarded says which X-Forwarded fields origins get. Zero means
	// [ForwardedOff]: clients of forward proxies have a right to be nobody.
	Forwarded ForwardedMode

	// MaxForwards is given to requests without Max-Forwards. Zero adds none.
	// Apache: ProxyMaxForwards.
	MaxForwards int

	// Upgrades, TunnelTimeout and Tunnels are those of a [Handler]: for plain
	// requests that upgrade.
	Upgrades      []string
	TunnelTimeout time.Duration
	Tunnels       *tunnel.Registry

	// Client says how long clients may keep a request waiting. If nil, what the
	// zero [ClientLimits] say: 60 s for each wait.
	Client *ClientLimits

	// Rewrite, if not nil, changes the outgoing request last.
	Rewrite func(*httputil.ProxyRequest)

	// ModifyResponse may change an answer before it is passed on. Its error
	// goes to ErrorHandler.
	ModifyResponse func(*http.Response) error

	// ErrorHandler answers requests that are refused or have failed. The fields
	// of a challenge are set already. If nil, the answer is the status of
	// [exchange.StatusOf] with a plain sentence.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// OnRecord, if not nil, is called when a request other than CONNECT is
	// done, with what happened to it. The Record must not be kept.
	OnRecord func(r *http.Request, rec *exchange.Record)

	// Logger gets what a [Handler] logs. If nil, nothing is logged.
	Logger *slog.Logger

	once     sync.Once
	setupErr error
	handler  Handler
	direct   *Transport
	choice   access.Remotes
	remotes  []remote // of choice.List
}

// Validate returns an error if the proxy could serve nobody, since Clients has
// no rule (see [access.ErrNoClients]), or if a field cannot be understood. Call it
// before serving: a Forward that is not valid refuses all requests.
func (f *Forward) Validate() error {
	f.once.Do(func() { f.setupErr = f.setup() })
	return f.setupErr
}

func (f *Forward) setup() error {
	if f.ServerName == "" {
		f.ServerName = pseudonym()
	}
	if err := f.Clients.Validate(); err != nil {
		return fmt.Errorf("proxy: forward: %w", err)
	}
	if f.IdleLimit == nil {
		f.IdleLimit = new(backend.IdleLimit)
	}
	// Not by DialContext: what comes here is for no Remote by its whole URL.
	f.direct = &Transport{NewBackend: f.backend(f.Destinations.DialContext)}
	for i := range f.Remotes {
		r, err := f.newRemote(&f.Remotes[i])
		if err != nil {
			return err
		}
		f.remotes = append(f.remotes, r)
	}
	f.choice.List, f.choice.NoProxy = f.Remotes, f.NoProxy
	if f.Destinations != nil {
		f.choice.Lookup = f.Destinations.Lookup
	}
	f.handler = Handler{
		Rewrite: f.rewrite, Transport: forwardTransport{f}, verbatim: true, ServerName: f.ServerName, Via: f.Via, Forwarded: f.Forwarded,
		MaxForwards: f.MaxForwards, Upgrades: f.Upgrades, TunnelTimeout: f.TunnelTimeout, Tunnels: f.Tunnels, Client: f.Client,
		ModifyResponse: f.ModifyResponse, ErrorHandler: f.ErrorHandler, OnRecord: f.OnRecord, Logger: f.Logger,
	}
	if f.Via == ViaAuto {
		f.handler.Via = ViaOn
	}
	if f.Forwarded == ForwardedAuto {
		f.handler.Forwarded = ForwardedOff
	}
	return nil
}

// backend makes backends that dial in one way.
func (f *Forward) backend(dial func(context.Context, string, string) (net.Conn, error)) func(u *url.URL) *backend.Backend {
	return func(u *url.URL) *backend.Backend {
		b := &backend.Backend{URL: u, DialContext: dial, Logger: f.Logger}
		f.IdleLimit.Add(b)
		return b
	}
}

// pseudonym is a name that no other proxy has.
func pseudonym() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return "modproxy-" + hex.EncodeToString(b[:])
}

func (f *Forward) rewrite(pr *httputil.ProxyRequest) {
	u := pr.Out.URL
	if pr.Out.Method == http.MethodOptions && u.Path == "" && u.RawQuery == "" {
		u.Path = "*" // RFC 9112 section 3.2.4
	}
	if f.Rewrite != nil {
		f.Rewrite(pr)
	}
}

// ServeHTTP serves a request that is for somewhere else, if it is allowed.
func (f *Forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f.Validate(); err != nil {
		f.refuse(w, r, exchange.Forbidden("%w", err))
		return
	}
	err := exchange.CheckHost(r)
	switch {
	case err != nil && r.Method == http.MethodConnect:
		exchange.CloseRefusedConnect(w, r)
		fallthrough
	case err != nil:
		f.refuse(w, r, err)
	case r.Method == http.MethodConnect && r.URL.Path == "":
		f.serveConnect(w, r)
	default:
		f.servePlain(w, r)
	}
}

func (f *Forward) serveConnect(w http.ResponseWriter, r *http.Request) {
	r, err := f.admit(r)
	if err == nil && f.Connect == nil {
		err = &exchange.Error{Op: exchange.OpRequest, Status: http.StatusMethodNotAllowed, Err: errors.New("no handler for CONNECT")}
	}
	if err == nil {
		var host string
		var port uint16
		if host, port, err = access.ParseAuthority(r.RequestURI); err == nil {
			err = f.Destinations.Check(host, port)
		}
	}
	if err != nil {
		exchange.CloseRefusedConnect(w, r)
		f.refuse(w, r, err)
		return
	}
	f.Connect.ServeHTTP(w, r)
}

// admit is Clients.Admit that returns a request in any case.
func (f *Forward) admit(r *http.Request) (*http.Request, error) {
	admitted, err := f.Clients.Admit(r)
	if err != nil {
		return r, err
	}
	return admitted, nil
}

func (f *Forward) servePlain(w http.ResponseWriter, r *http.Request) {
	out, err := f.forwarded(r)
	if out == nil && err == nil {
		if f.Next != nil {
			f.Next.ServeHTTP(w, r)
			return
		}
		err = exchange.BadRequest("request is for this server, and not for an origin")
	}
	// Who may not use the proxy learns nothing of its rules.
	if admitted, aerr := f.Clients.Admit(r); aerr != nil {
		err = aerr
	} else if err == nil {
		out = out.WithContext(admitted.Context())
	}
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	host, port, _ := access.URLAuthority(out.URL)
	if err := f.Destinations.Check(host, port); err != nil {
		f.refuse(w, out, err)
		return
	}
	if f.redirectsToDomain(w, out, host) {
		return
	}
	f.handler.ServeHTTP(w, out)
}

// refuse answers a request that is not forwarded.
func (f *Forward) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := exchange.StatusOf(err)
	if f.Logger != nil {
		level := min(exchange.LevelOf(status), slog.LevelInfo) // also that too many guess passwords is of the clients' making
		f.Logger.Log(r.Context(), level, "proxy: request refused", "client", r.RemoteAddr, "method", r.Method, "host", r.Host, "status", status, "error", err)
	}
	if f.OnRecord != nil && r.Method != http.MethodConnect {
		f.OnRecord(r, &exchange.Record{Start: time.Now(), Status: status, Err: err})
	}
	if status == exchange.StatusClientClosedRequest {
		panic(http.ErrAbortHandler) // or net/http would take it for served
	}
	if f.ErrorHandler != nil {
		exchange.AddErrorFields(w.Header(), err)
		f.ErrorHandler(w, r, err)
		return
	}
	exchange.WriteRefusal(w, r, err)
}

// CloseIdleConnections closes the connections that the Forward and its Remotes
// opened and that are not in use.
func (f *Forward) CloseIdleConnections() {
	if f.Validate() != nil {
		return
	}
	f.direct.CloseIdleConnections()
	for i := range f.remotes {
		f.remotes[i].own.CloseIdleConnections()
		if c, ok := f.remotes[i].Transport.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// Shutdown ends the tunnels of upgrades, and those of Connect if it has a
// Shutdown, as [Handler.Shutdown] does.
func (f *Forward) Shutdown(ctx context.Context) error {
	_ = f.Validate() // sets f.handler; a Forward that is not valid has no tunnels
	var connect error
	var both sync.WaitGroup
	if c, ok := f.Connect.(interface{ Shutdown(context.Context) error }); ok {
		both.Go(func() { connect = c.Shutdown(ctx) })
	}
	err := f.handler.Shutdown(ctx)
	both.Wait()
	return errors.Join(err, connect)
}
