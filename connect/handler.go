package connect

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// Defaults of the fields of a [Handler].
const (
	DefaultDialTimeout = 30 * time.Second
	DefaultIdleTimeout = 10 * time.Minute
)

// Handler serves CONNECT requests (RFC 9110 section 9.3.6) by a tunnel to the
// host and port that they name. It serves nobody until Clients says whom,
// unless a [proxy.Forward] has let the request through already, and goes
// nowhere that Ports or Destinations refuse.
//
// Set the fields before the first request and leave them alone afterwards.
// Apache: mod_proxy_connect.
type Handler struct {
	// Clients says who may use the proxy. If nil, nobody but those whom a
	// proxy.Forward in front of the handler admits.
	Clients *access.Clients

	// Ports are those that may be reached. If nil, 443 and 563 (HTTPS, and
	// NNTP over TLS). Apache: AllowCONNECT.
	Ports []access.PortRange

	// Destinations says where clients may go. If nil, everywhere but to private
	// addresses; behind a proxy.Forward, where that has let them go.
	Destinations *access.Destinations

	// DialContext opens the connection to "host:port". If nil, that of
	// Destinations, which resolves a name once and dials what it has checked.
	// For one of your own, of Destinations only ports, names, and addresses
	// that are written in the request count: use [proxy.Forward.DialContext], or
	// a [Dialer] to leave addresses to another proxy.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// DialTimeout bounds opening the connection. Zero means 30 s; negative
	// means none.
	DialTimeout time.Duration

	// IdleTimeout ends a tunnel on which nothing moved in either direction for
	// that long. Zero means 10 minutes; negative means never. Apache: Timeout.
	IdleTimeout time.Duration

	// MaxLife ends each tunnel that long after its start. Zero means never.
	MaxLife time.Duration

	// MaxTunnels limits the tunnels at a time, with those being opened. More
	// are answered with 503. Zero means no limit.
	MaxTunnels int

	// MaxTunnelsPerClient limits those of one client address. More are answered
	// with 429. Zero means no limit.
	MaxTunnelsPerClient int

	// Tunnels counts the tunnels and ends them at shutdown. If nil, one of the
	// handler's own: see [Handler.Shutdown].
	Tunnels *tunnel.Registry

	// ServerName is the name of this proxy in Via, which a [Dialer] sends to
	// the next proxy. A request that has passed here before is refused with
	// 508. Empty means a pseudonym.
	ServerName string

	// OnEnd, if not nil, is called when a tunnel has ended, with what moved
	// through it. It must not block.
	OnEnd func(Account)

	// ErrorHandler answers requests that get no tunnel. The fields of a
	// challenge are set already. If nil, the answer of another proxy is passed
	// on as it is ([RefusedError]), and others are the status of [StatusOf] with
	// a plain sentence. It must answer: without one, net/http says 200, which
	// would be a tunnel.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// Logger gets the end of each tunnel at level Info, with the bytes of each
	// direction, its time and its cause; requests that are refused as well; and
	// failures to connect at Error. If nil, nothing is logged.
	Logger *slog.Logger

	once   sync.Once
	name   string
	own    tunnel.Registry
	limits limits
}

// Account is what a tunnel has done.
type Account struct {
	tunnel.Stats
	User string // who has authenticated; see access.User
}

// StatusOf returns the status with which a failure is answered: 504 when the
// destination did not answer in time, else as [exchange.StatusOf] says: 503 when
// it cannot be reached or resolved, 403 when it is not allowed.
func StatusOf(err error) int {
	status := exchange.StatusOf(err)
	if status != http.StatusServiceUnavailable {
		return status
	}
	var network net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return http.StatusGatewayTimeout
	}
	return status
}

// setup makes what the fields leave open, once.
func (h *Handler) setup() {
	h.once.Do(func() {
		if h.name = h.ServerName; h.name == "" {
			var b [6]byte
			_, _ = rand.Read(b[:]) // never fails
			h.name = "modproxy-" + hex.EncodeToString(b[:])
		}
		h.limits.all, h.limits.each = h.MaxTunnels, h.MaxTunnelsPerClient
	})
}

// tunnels returns the registry.
func (h *Handler) tunnels() *tunnel.Registry {
	if h.Tunnels != nil {
		return h.Tunnels
	}
	return &h.own
}

// Shutdown refuses new tunnels and waits for the running ones, which
// http.Server.Shutdown knows nothing of. When ctx ends before they do, it
// closes them and returns the context's error.
func (h *Handler) Shutdown(ctx context.Context) error { return h.tunnels().Shutdown(ctx) }

// ServeHTTP opens a tunnel. Requests other than CONNECT are answered with 405.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.setup()
	t := &opening{h: h, w: w, r: r}
	if err := t.serve(); err != nil {
		t.fail(err)
	}
}

// opening is a request on its way to become a tunnel.
type opening struct {
	h     *Handler
	w     http.ResponseWriter
	r     *http.Request
	host  string
	port  uint16
	back  net.Conn
	place *place // among the limits
}

// serve takes the steps of the request in the order in which it meets them.
func (t *opening) serve() (err error) {
	if err := t.check(); err != nil {
		return err
	}
	if t.h.tunnels().Closing() { // or the client would be told of a tunnel that is none
		return &exchange.Error{Op: exchange.OpUpgrade, Status: http.StatusServiceUnavailable, Err: http.ErrServerClosed}
	}
	if t.place, err = t.h.limits.take(t.r.RemoteAddr); err != nil {
		return err
	}
	if err := t.dial(); err != nil {
		t.place.free()
		return err
	}
	if t.r.ProtoMajor == 1 {
		return t.joinConn()
	}
	return t.joinStream()
}

// check finds out who wants to go where, and whether that is allowed.
func (t *opening) check() (err error) {
	h := t.h
	if t.r.Method != http.MethodConnect {
		return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"CONNECT"}}, Err: errors.New("not a CONNECT request")}
	}
	behind := access.Admitted(t.r.Context())
	if h.Clients != nil || !behind {
		admitted, err := h.Clients.Admit(t.r)
		if err != nil {
			return err
		}
		t.r = admitted
	}
	if err := exchange.CheckHost(t.r); err != nil {
		return err
	}
	if t.host, t.port, err = access.ParseAuthority(t.r.RequestURI); err != nil {
		return err
	}
	ports := h.Ports
	if ports == nil {
		ports = []access.PortRange{{First: 443, Last: 443}, {First: 563, Last: 563}}
	}
	if !slices.ContainsFunc(ports, func(r access.PortRange) bool { return r.Contains(t.port) }) {
		return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusForbidden, Err: fmt.Errorf("%w: port %d is not one for tunnels", exchange.ErrForbidden, t.port)}
	}
	if h.Destinations != nil || !behind {
		if err := h.Destinations.Check(t.host, t.port); err != nil {
			return err
		}
	}
	if exchange.Passed(t.r.Header, h.name) {
		return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusLoopDetected, Err: exchange.ErrLoop}
	}
	return nil
}

// address is the destination as it is dialled.
func (t *opening) address() string { return net.JoinHostPort(t.host, fmt.Sprint(t.port)) }

// dial opens the connection to the destination.
func (t *opening) dial() (err error) {
	h := t.h
	dial := h.DialContext
	if dial == nil {
		dial = h.Destinations.DialContext
	}
	ctx, cancel := t.patience()
	defer cancel()
	t.back, err = dialWithin(context.WithValue(ctx, viaKey{}, t.via()), func(ctx context.Context) (net.Conn, error) {
		return dial(ctx, "tcp", t.address())
	})
	if err == nil {
		return nil
	}
	if t.r.ProtoMajor != 1 && errors.Is(t.r.Context().Err(), context.Canceled) {
		return &exchange.Error{Op: exchange.OpClient, Backend: t.address(), Status: exchange.StatusClientClosedRequest, Err: errors.Join(exchange.ErrClientGone, err)}
	}
	var e *exchange.Error
	if errors.As(err, &e) {
		return err
	}
	return &exchange.Error{Op: exchange.OpDial, Backend: t.address(), Err: err}
}

// patience is the context of the dial. Over HTTP/1 it does not end with the
// request's: net/http takes a client that has sent all it wants to send, and
// half-closed its connection, for one that has left.
func (t *opening) patience() (context.Context, context.CancelFunc) {
	ctx, cancel := t.r.Context(), context.CancelFunc(func() {})
	if t.r.ProtoMajor == 1 {
		deadline, limited := ctx.Deadline()
		ctx = context.WithoutCancel(ctx)
		if limited {
			ctx, cancel = context.WithDeadline(ctx, deadline)
		}
	}
	if timeout := cmp.Or(t.h.DialTimeout, DefaultDialTimeout); timeout > 0 {
		outer := cancel
		inner, stop := context.WithTimeout(ctx, timeout)
		return inner, func() { stop(); outer() }
	}
	return ctx, cancel
}

// via is what a Dialer tells the next proxy of those before it.
func (t *opening) via() string {
	own := fmt.Sprintf("%d.%d %s", t.r.ProtoMajor, t.r.ProtoMinor, t.h.name)
	if prior := t.r.Header["Via"]; len(prior) > 0 {
		return strings.Join(prior, ", ") + ", " + own
	}
	return own
}

// fail answers a request that gets no tunnel.
func (t *opening) fail(err error) {
	status := StatusOf(err)
	t.logRefusal(status, err)
	if status == exchange.StatusClientClosedRequest {
		panic(http.ErrAbortHandler) // or net/http would answer 200, which would be a tunnel
	}
	exchange.CloseRefusedConnect(t.w, t.r)
	exchange.AddErrorFields(t.w.Header(), err)
	var refused *RefusedError
	switch {
	case t.h.ErrorHandler != nil:
		t.h.ErrorHandler(t.w, t.r, err)
	case errors.As(err, &refused):
		refused.Answer(t.w)
	default:
		exchange.WriteErrorPage(t.w, t.r, status)
	}
}

func (t *opening) logRefusal(status int, err error) {
	l := t.h.Logger
	if l == nil {
		return
	}
	level := exchange.LevelOf(status)
	target := t.r.RequestURI[strings.LastIndexByte(t.r.RequestURI, '@')+1:] // no log has credentials
	l.Log(t.r.Context(), level, "connect: no tunnel", "client", t.r.RemoteAddr, "target", target, "status", status, "error", err)
}
