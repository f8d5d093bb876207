package wstunnel

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// Handler passes WebSockets and other upgrades on to a backend, and requests
// that are none as plain HTTP. Set the fields before the first request and leave
// them alone afterwards; only Proxy must be set.
type Handler struct {
	// Proxy maps URLs and sends the handshake. Its Upgrades and OnTunnel are set
	// by the Handler, which calls the OnTunnel that was there after its own
	// work; the rest is the embedder's: a balancer as Transport, for example.
	Proxy *proxy.Handler

	// Protocols lists those that may be switched to; "*" stands for all. If nil,
	// "websocket" only. "h2c" is never passed on. A request for another is one
	// without an upgrade. Apache: upgrade.
	Protocols []string

	// NoFallback answers 426 to requests without an upgrade, in place of passing
	// them on as plain HTTP. Apache: ProxyWebsocketFallbackToProxyHttp Off.
	NoFallback bool

	// Origins lists the origins of pages that may open a connection, such as
	// "https://app.example", "https://*.example" for all domains below, "self"
	// for that of the request's own host, or "null"; all others get 403. If nil,
	// origins are the backend's to check. Requests without Origin, which do not
	// come from pages, always pass.
	Origins []string

	// Subprotocols lists those that clients may offer; others are not passed on.
	// If nil, all are.
	Subprotocols []string

	// Routes serve the handshakes that offer a subprotocol it has: the first that
	// the client names is the only one that is passed on. Most often each is
	// another Handler.
	Routes map[string]http.Handler

	// IdleTimeout ends a tunnel on which nothing moved in either direction for
	// that long. Zero means the TunnelTimeout of Proxy. Apache:
	// ProxyWebsocketIdleTimeout.
	IdleTimeout time.Duration

	// MaxLife ends a tunnel that long after its start, whatever moves. Zero
	// means never.
	MaxLife time.Duration

	// CloseDelay is how long a WebSocket may take to close once Shutdown or
	// MaxLife has had the client told that it has to (close code 1001). Zero
	// leaves it to the context of Shutdown, and is 5 s at the end of MaxLife.
	CloseDelay time.Duration

	// Messages, if not nil, has each WebSocket read as messages. Otherwise bytes
	// pass as they are.
	Messages *Messages

	once     sync.Once
	setupErr error
	prior    func(*http.Response, *tunnel.Tunnel) error
}

// NewHandler returns a Handler that maps paths under prefix to target, such as
// "ws://127.0.0.1:8080/chat/", "wss://…", or http and https, which mean the
// same. See [proxy.NewHandler] for what the two must look like.
func NewHandler(prefix, target string) (*Handler, error) {
	p, err := proxy.NewHandler(prefix, target)
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(p.Target.Scheme) {
	case "ws", "wss", "http", "https":
	default:
		return nil, fmt.Errorf("wstunnel: target %q: want a URL of the scheme ws or wss", backend.RedactURL(target))
	}
	return &Handler{Proxy: p}, nil
}

func (h *Handler) setup() error {
	h.once.Do(func() {
		if h.Proxy == nil {
			h.setupErr = &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: errors.New("wstunnel: handler has no Proxy")}
			return
		}
		h.Proxy.Upgrades = h.Protocols
		if h.Proxy.Tunnels == nil {
			h.Proxy.Tunnels = new(tunnel.Registry)
		}
		h.prior = h.Proxy.OnTunnel
		h.Proxy.OnTunnel = h.onTunnel
	})
	return h.setupErr
}

// Shutdown refuses new tunnels, has the clients of the running ones told to go
// away, and waits until they have: see [tunnel.Registry]. http.Server.Shutdown
// neither closes tunnels nor waits for them.
func (h *Handler) Shutdown(ctx context.Context) error {
	if err := h.setup(); err != nil {
		return err
	}
	return h.Proxy.Tunnels.Shutdown(ctx)
}

// CloseIdleConnections closes those of Proxy, as [proxy.Handler] does.
func (h *Handler) CloseIdleConnections() {
	if h.Proxy != nil {
		h.Proxy.CloseIdleConnections()
	}
}

// allows reports whether clients may switch to protocol. The proxy has the last
// word.
func (h *Handler) allows(protocol string) bool {
	if protocol == "" || strings.EqualFold(protocol, "h2c") {
		return false
	}
	if h.Protocols == nil {
		return isWebSocket(protocol)
	}
	return slices.ContainsFunc(h.Protocols, func(p string) bool { return p == "*" || strings.EqualFold(p, protocol) })
}

// ServeHTTP passes a handshake on, or a plain request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h.setup()
	if err == nil {
		err = exchange.CheckHost(r)
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if protocol := extendedConnect(r); protocol != "" {
		if !h.allows(protocol) { // RFC 8441 has no answer for it; RFC 9220 section 3 has
			h.refuse(w, r, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusNotImplemented, Err: errors.New("protocol is not spoken here")})
			return
		}
		sw := &streamWriter{ResponseWriter: w, r: r}
		defer sw.wait()
		h.upgrade(sw, asUpgrade(r, protocol), protocol)
		return
	}
	protocol := upgradeOf(r.Header)
	if !h.allows(protocol) || r.ProtoMajor != 1 || r.ProtoMinor == 0 {
		h.plain(w, r)
		return
	}
	h.upgrade(w, r, protocol)
}

// plain serves a request without an upgrade.
func (h *Handler) plain(w http.ResponseWriter, r *http.Request) {
	if !h.NoFallback {
		h.Proxy.ServeHTTP(w, r)
		return
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Upgrade", h.wanted())
		w.Header().Set("Connection", "Upgrade")
	}
	h.refuse(w, r, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusUpgradeRequired, Err: errors.New("request is no upgrade")})
}

// wanted names the protocol that a client is asked for.
func (h *Handler) wanted() string {
	if len(h.Protocols) > 0 && h.Protocols[0] != "*" {
		return h.Protocols[0]
	}
	return "websocket"
}

// upgrade serves a request for a protocol that is allowed.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, protocol string) {
	hs, err := readHandshake(r, protocol)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if !h.allowsOrigin(r) {
		h.refuse(w, r, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusForbidden, Err: errors.New("origin is not allowed")})
		return
	}
	next := http.Handler(h.Proxy)
	if isWebSocket(protocol) {
		if name, routed := h.route(hs); routed != nil {
			narrowed := withFields(r)
			narrowed.Header[fieldProtocol] = []string{name}
			routed.ServeHTTP(w, narrowed)
			return
		}
		r = h.prepare(r, hs)
	}
	next.ServeHTTP(w, r)
}

// route returns the handler of the first subprotocol that the client offers and
// that has one.
func (h *Handler) route(hs *handshake) (string, http.Handler) {
	for _, name := range hs.subprotocols {
		if next := h.Routes[name]; next != nil {
			return name, next
		}
	}
	return "", nil
}

// withFields returns a copy of r with a header of its own.
func withFields(r *http.Request) *http.Request {
	out := r.WithContext(r.Context())
	out.Header = r.Header.Clone()
	return out
}

type handshakeKey struct{}

// prepare returns the handshake as the proxy gets it.
func (h *Handler) prepare(r *http.Request, hs *handshake) *http.Request {
	in := r
	if h.Subprotocols != nil && len(hs.subprotocols) > 0 {
		in = withFields(in)
		allowed := slices.DeleteFunc(slices.Clone(hs.subprotocols), func(name string) bool { return !slices.Contains(h.Subprotocols, name) })
		delete(in.Header, fieldProtocol)
		if len(allowed) > 0 {
			in.Header[fieldProtocol] = []string{strings.Join(allowed, ", ")}
		}
	}
	if h.Messages != nil {
		in = in.WithContext(context.WithValue(r.Context(), handshakeKey{}, hs))
		in.Header = in.Header.Clone()
		h.Messages.offer(in.Header, hs)
	}
	return in
}

// onTunnel checks the answer to a handshake and sets the tunnel up.
func (h *Handler) onTunnel(resp *http.Response, tn *tunnel.Tunnel) error {
	if h.IdleTimeout != 0 {
		tn.IdleTimeout = h.IdleTimeout
	}
	tn.MaxLife, tn.CloseDelay = h.MaxLife, h.CloseDelay
	if isWebSocket(tn.Protocol) {
		tn.HalfCloseTimeout = closeWait
		if err := checkAnswer(resp.Request.Header, resp.Header); err != nil {
			return err
		}
		if h.Messages == nil {
			follow(tn)
		} else if err := h.Messages.join(resp, tn); err != nil {
			return err
		}
	}
	if h.prior != nil {
		return h.prior(resp, tn)
	}
	return nil
}

// follow has a tunnel follow the frames of a WebSocket, so that both sides are
// told when it has to leave: close code 1001, "going away". Their content is not
// looked at. Who goes on after the other side has closed is given 5 s.
func follow(tn *tunnel.Tunnel) {
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	tn.ToClient = tunnel.Farewell{Bytes: goingAway, Framing: &framing{}}
	tn.ToBackend = tunnel.Farewell{Bytes: closeFrame(websocket.CloseGoingAway, mask[:]), Framing: &framing{masked: true}}
}

var goingAway = closeFrame(websocket.CloseGoingAway, nil)

// refuse answers a request that is not passed on.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if h.Proxy != nil && h.Proxy.ErrorHandler != nil {
		exchange.AddErrorFields(w.Header(), err)
		h.Proxy.ErrorHandler(w, r, err)
		return
	}
	exchange.WriteRefusal(w, r, err)
}
