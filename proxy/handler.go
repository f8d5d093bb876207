package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/observation"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// Handler is a reverse proxy: an http.Handler that sends each request to a
// backend and its answer back to the client. Set the fields before the first
// request and leave them alone afterwards; each is optional, but Target or
// Rewrite must say where requests go.
//
// # Moving over from httputil.ReverseProxy
//
// Rewrite, Transport, FlushInterval, ModifyResponse and ErrorHandler mean what
// they mean there, so that a proxy with a Rewrite function moves over by a
// change of the type's name. Of a request:
//
//   - There are no Director, BufferPool and ErrorLog: Rewrite has taken the place of
//     the first, buffers are lent in any case, and Logger is the last.
//   - The query is passed on byte for byte, and never cut; see StrictQuery.
//   - Dot segments of the path are resolved before Rewrite sees it; a path that
//     climbs above the root is refused with 400, and CONNECT with 405.
//   - A request whose Host is none, by [exchange.ParseHost], is refused with 400, and so
//     is one for which Rewrite has set such a Host.
//   - X-Forwarded-For, -Host and -Proto are set unless Rewrite has set one of
//     them, or Forwarded. With [ForwardedNone] they are not.
//   - Other fields of that kind (X-Forwarded-*, X-Real-IP) pass only from peers
//     that are trusted; see PassForwarded.
//   - Transport is one of this library's by default: it takes no proxy from the
//     environment, does not ask for gzip by itself, and says "Connection:
//     keep-alive" in the first request of a connection. Any gets http.NoBody, and
//     not nil, with a request that has no body.
//   - A body that Rewrite has put in, or a ContentLength that it has set, must fit
//     each other: the failure is a [*exchange.Error] with status 500, and the backend
//     does not get a part for the whole.
//
// Of an answer:
//
//   - Flushing needs no FlushInterval: whenever the backend pauses, the client
//     gets what is there.
//   - Interim answers and trailers pass the same filter as final heads, and
//     leave alone what an outer handler has put into the header. A trailer of
//     more than 1000 fields is refused.
//   - An Upgrade that asks or offers (426, or any other status) is kept, as far as
//     Upgrades allows what it lists.
//   - ModifyResponse must leave ContentLength, the Content-Length field and the body
//     as they fit each other: what is seen before the head is sent goes to
//     ErrorHandler, what is seen later cuts the client's connection. A field that is
//     changed along with the body needs no ContentLength. The body that it has
//     replaced is closed.
//   - No type is guessed for an answer without Content-Type.
//
// Of failures:
//
//   - The answer to a failure follows [exchange.StatusOf] (503, 504, 502 …), and each
//     failure is a [*exchange.Error].
//   - A client that left, or whose context ended, is not reported as a failure of
//     the backend, and ErrorHandler is not asked to answer it.
//   - An answer that breaks off is a panic with http.ErrAbortHandler under every
//     server, and in tests; see Abort.
//   - A client that neither sends nor reads is not waited for for ever; see
//     Client.
//
// Of upgrades:
//
//   - They pass only if Upgrades allows the protocol, which by default is websocket
//     alone; "h2c" never does. Of a list, the client asks for those that pass.
//   - ServeHTTP returns when the 101 is sent, and not at the end of the tunnel, so
//     that a tunnel without traffic holds no memory of the server. The header of the
//     ResponseWriter then has the fields of the 101, as after any other answer.
//   - So the request's context, which the server ends then, does not end the tunnel.
//     It ends when both sides have sent their last byte, when one fails, after
//     TunnelTimeout, and by the Shutdown of Tunnels. OnTunnel can have its end told.
//
// A client that closes its side of the connection behind the request, as nc -N does,
// has left for both: net/http's server ends the request's context at that moment.
// Behind a [github.com/modproxy/modproxy/proxy/halfclose.Listener] it is answered.
type Handler struct {
	// Target is the URL that requests are sent to: its path takes the place of
	// Prefix. If nil, Rewrite must set the outgoing URL. Apache: ProxyPass.
	Target *url.URL

	// Prefix is the path that is replaced by Target's. Requests for other
	// paths are answered with 404. Empty means "/". Both Prefix and Target's
	// path, or neither, should end in a slash.
	Prefix string

	// Mapping is how the path of the request becomes that of the backend. Zero
	// means [MappingRaw]: byte for byte, but for dot segments. Without Target
	// and expression it says what a dot segment is, and no more.
	Mapping Mapping

	// Rewrite, if not nil, changes the outgoing request after everything else
	// is set. The paths that it sees have no dot segments, and a path with one
	// that it makes ("/api" cut off "/api../x") is refused with 400. The type
	// and rules are those of httputil.ReverseProxy, but for one: if it sets none
	// of Forwarded, X-Forwarded-For, -Host and -Proto, the handler sets them
	// after it; see [ForwardedAuto].
	Rewrite func(*httputil.ProxyRequest)

	// Transport speaks to the backend. If nil, a [Transport] of the handler's
	// own. A request without a body comes to it with http.NoBody, never nil.
	Transport http.RoundTripper

	// PreserveHost sends the client's Host to the backend in place of the
	// target's. TLS asks for the target's name all the same, and checks that one:
	// for backends with a certificate for each site, set ServerNameFromHost of the
	// Transport's Backend, as httpd does by itself. Apache: ProxyPreserveHost.
	PreserveHost bool

	// ServerName is the name of this proxy in Via and X-Forwarded-Server. Empty
	// means "modproxy". With a name of its own, a request that has passed here
	// before is refused with 508; proxies with one name, in one process or two,
	// are one in this. So that a request can be known, it carries the name: in
	// Via if that is on, else in CDN-Loop (RFC 8586), the field for those that
	// do not send Via. Apache: ServerName.
	ServerName string

	// Via says what becomes of the Via field. Apache: ProxyVia.
	Via ViaMode

	// Forwarded says which X-Forwarded fields the backend gets. Apache:
	// ProxyAddHeaders.
	Forwarded ForwardedMode

	// ForwardedField also sends the Forwarded field of RFC 7239.
	ForwardedField bool

	// TrustedProxies are the peers whose forwarding fields are kept and added
	// to, and which say by which scheme and Host the client has come
	// ([exchange.Facts]). Peers that a door such as [access.RemoteIP] trusts are
	// among them.
	TrustedProxies []netip.Prefix

	// PassForwarded are forwarding fields that pass although their sender is not
	// trusted, such as "X-Forwarded-Prefix": for those that middleware in front
	// has set, or judged, whatever the client has in Connection. Forwarded and
	// X-Forwarded-For, -Host and -Proto are set all the same. A name with an
	// underscore, such as "X_FORWARDED_PROTO", passes by being here, too, and is not
	// taken for a client's other spelling of a field.
	PassForwarded []string

	// CanonicalURL, if not nil, is how clients know this server, whatever a
	// request says: "https://" for one behind a proxy that ends TLS and does not
	// say so; with a host, that of all URLs that point here. Apache: ServerName
	// https://…, UseCanonicalName On.
	CanonicalURL *url.URL

	// Reverse maps the URLs in Location, Content-Location, URI and Destination
	// of answers back. Apache: ProxyPassReverse.
	Reverse []ReverseRule

	// CookieDomains and CookiePaths map attributes of Set-Cookie back. Apache:
	// ProxyPassReverseCookieDomain, ProxyPassReverseCookiePath.
	CookieDomains, CookiePaths []CookieRule

	// ErrorOverride, if not nil, answers with pages of its own in place of the
	// backend's for errors. Apache: ProxyErrorOverride.
	ErrorOverride *ErrorOverride

	// MaxForwards is given to requests without Max-Forwards. Zero adds none.
	// Apache: ProxyMaxForwards.
	MaxForwards int

	// StrictQuery answers 400 to a query that not all parsers read alike: one
	// with ';' or with a malformed escape.
	StrictQuery bool

	// AllowEncodedSlashes passes paths with "%2F" on as they came. If false,
	// they are answered with 404: a backend that takes it for a slash sees a
	// path that no rule in front of it has seen ("/%2fadmin/"). Without Target
	// and expression they pass in any case: Rewrite decides. Apache:
	// AllowEncodedSlashes NoDecode.
	AllowEncodedSlashes bool

	// Upgrades lists the protocols that an upgrade may switch to, such as
	// "websocket"; "*" stands for all. If nil, "websocket" only; an empty list
	// allows none. "h2c" is never passed on. Apache: upgrade.
	Upgrades []string

	// TunnelTimeout ends an upgraded connection on which nothing moved for that
	// long. Zero means never.
	TunnelTimeout time.Duration

	// Tunnels counts the upgraded connections and ends them at shutdown. If
	// nil, one of the Handler's own, which [Handler.Shutdown] ends as well.
	Tunnels *tunnel.Registry

	// OnTunnel, if not nil, is called with a 101 that fits, before it is passed
	// on, and may change its header and the tunnel, whose Client is not known
	// yet. Its error refuses the switch: a [*exchange.Error] as it is, any other with 502.
	OnTunnel func(resp *http.Response, tn *tunnel.Tunnel) error

	// Client says how long clients may keep a request waiting. If nil, what the
	// zero [ClientLimits] say: 60 s for each wait.
	Client *ClientLimits

	// FlushInterval is how long bytes of an answer wait for more before they
	// are flushed to the client. Zero flushes when the backend pauses; negative
	// after each write. Streams (unknown length, text/event-stream) are never
	// held back. Apache: flushwait.
	FlushInterval time.Duration

	// ReplayLimit is how many bytes of a request body are kept for sending the
	// request again. Zero means 32768; negative keeps none.
	ReplayLimit int

	// ModifyResponse may change the answer before it is passed on. Its error
	// goes to ErrorHandler. In place of the body of a 101 it may put another
	// io.ReadWriteCloser, through which the tunnel goes.
	ModifyResponse func(*http.Response) error

	// ErrorHandler answers a request that failed before a head was sent to the
	// client. err is a [*exchange.Error], or wraps one, unless it came from
	// ModifyResponse or a foreign Transport. If nil, the answer is the
	// status of [exchange.StatusOf] with a plain sentence.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// Abort cuts the client's connection when an answer broke off after its
	// head was sent; it need not return. It is called after the cause was
	// logged and recorded. If nil, it panics with http.ErrAbortHandler, under
	// whatever server: that of net/http cuts the connection, or the stream of
	// HTTP/2, and logs nothing, and so do those of HTTP/3. A test that calls
	// ServeHTTP by itself has to expect the panic.
	//
	// Middleware that recovers from panics must let this one pass, or the
	// client takes a part for the whole. What happened is known already, from
	// Logger, OnRecord and the err of this function:
	//
	//	defer func() {
	//		switch v := recover(); v {
	//		case nil:
	//		case http.ErrAbortHandler:
	//			panic(v) // neither logged nor answered
	//		default:
	//			log.Error("panic", "value", v)
	//			http.Error(w, "internal error", http.StatusInternalServerError)
	//		}
	//	}()
	Abort func(w http.ResponseWriter, r *http.Request, err error)

	// OnRecord, if not nil, is called when a request is done, with what
	// happened to it. The Record must not be kept.
	OnRecord func(r *http.Request, rec *exchange.Record)

	// Logger gets failures at level Error, requests that are refused (4xx) at
	// Info, clients that left at Debug, each request at [exchange.LevelTrace1], interim
	// answers at [exchange.LevelTrace2], and what the backend answered at [exchange.LevelTrace3]
	// and [exchange.LevelTrace4]. If nil, nothing is logged.
	Logger *slog.Logger

	once     sync.Once
	rule     *rule // how paths are mapped; nil without a target
	reverse  []reverseRule
	setupErr error
	own      Transport // used when Transport is nil
	verbatim bool      // paths are the origin's affair: for a Forward

	ownTunnels tunnel.Registry // used when Tunnels is nil
	ownClient  ClientLimits    // used when Client is nil
}

// NewHandler returns a Handler that maps paths under prefix to target, as
// "ProxyPass prefix target" does. It fails if target is no URL, or if only one
// of the two ends in a slash, which would join paths wrongly. The target may
// have Apache's form "unix:/path|http://host/".
func NewHandler(prefix, target string) (*Handler, error) {
	b, text, err := cutSocket(target)
	if err != nil {
		return nil, err
	}
	u, err := backend.ParseURL(text)
	if err != nil {
		return nil, fmt.Errorf("proxy: target: %w", err)
	}
	ru, err := newPrefixRule(prefix, u, MappingRaw)
	if err != nil {
		return nil, err
	}
	h := &Handler{Prefix: prefix, Target: u, rule: ru}
	h.own.Backend = b
	return h, nil
}

// NewMatchHandler returns a Handler for paths that match the regular
// expression pattern, as "ProxyPassMatch pattern target" does: $0 to $9 in
// target stand for what was matched, and a target without them gets the whole
// path appended. A dot in pattern matches every character, as in Apache.
func NewMatchHandler(pattern, target string) (*Handler, error) {
	re, err := regexp.Compile("(?s)" + pattern)
	if err != nil {
		return nil, err
	}
	b, text, err := cutSocket(target)
	if err != nil {
		return nil, err
	}
	ru, err := newMatchRule(re, text, MappingRaw)
	if err != nil {
		return nil, err
	}
	h := &Handler{rule: ru}
	h.own.Backend = b
	return h, nil
}

// cutSocket takes the socket off a target in Apache's form
// "unix:/path|http://host/…", and returns the backend behind it and the URL.
// Other targets come back as they are, with a nil backend.
func cutSocket(target string) (*backend.Backend, string, error) {
	if len(target) < 5 || !strings.EqualFold(target[:5], "unix:") {
		return nil, target, nil
	}
	socket, text, ok := strings.Cut(target, "|")
	if !ok {
		return nil, "", fmt.Errorf("proxy: target %q: want unix:/path|scheme://host/", backend.RedactURL(target))
	}
	if strings.HasSuffix(text, ":") {
		text += "//localhost"
	}
	scheme, rest, _ := strings.Cut(text, "://")
	host := rest
	if i := strings.IndexAny(rest, "/?#$"); i >= 0 {
		host = rest[:i]
	}
	b, err := backend.Parse(socket + "|" + scheme + "://" + host)
	return b, text, err
}

// setup compiles the fields, once.
func (h *Handler) setup() error {
	h.once.Do(func() {
		if h.reverse, h.setupErr = compileReverse(h.Reverse); h.setupErr != nil {
			return
		}
		if h.setupErr = checkCanonical(h.CanonicalURL); h.setupErr != nil {
			return
		}
		switch {
		case h.rule != nil:
			h.rule.mode = h.Mapping
		case h.Target != nil:
			prefix := h.Prefix
			if prefix == "" && strings.HasSuffix(h.Target.Path, "/") {
				prefix = "/"
			}
			h.rule, h.setupErr = newPrefixRuleLenient(prefix, h.Target, h.Mapping)
		case h.Rewrite == nil:
			h.setupErr = errors.New("handler has neither Target nor Rewrite")
		}
		if h.rule != nil {
			h.rule.noSlashes = !h.AllowEncodedSlashes
		}
	})
	if h.setupErr != nil {
		return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: h.setupErr}
	}
	return nil
}

// checkCanonical judges a CanonicalURL.
func checkCanonical(u *url.URL) error {
	if u == nil {
		return nil
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return errors.New("CanonicalURL is neither http:// nor https:// with a host or without")
	}
	_, _, err := exchange.ParseHost(u.Host)
	return err
}

// limits are those of clients.
func (h *Handler) limits() *ClientLimits {
	if h.Client != nil {
		return h.Client
	}
	return &h.ownClient
}

// CloseIdleConnections closes the connections to backends that are not in use,
// if the handler's transport can do that, as http.Client's does. Call it when
// the handler is taken out of service.
func (h *Handler) CloseIdleConnections() {
	if h.Transport == nil {
		h.own.CloseIdleConnections()
		if h.own.Backend != nil {
			h.own.Backend.Retire()
		}
		return
	}
	if c, ok := h.Transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Takes reports whether a request for u is one that the handler forwards, by
// Prefix or by its expression: whether ServeHTTP would not answer 404 to it.
// It takes no malformed URL.
func (h *Handler) Takes(u *url.URL) bool {
	if h.setup() != nil || u == nil {
		return false
	}
	if h.rule == nil {
		_, err := withoutDots(u, h.Mapping)
		return err == nil
	}
	return h.rule.matches(u)
}

// MapURL returns where a request for u is sent, before Rewrite has seen it,
// and whether it is sent at all. An error is a [*exchange.Error] for a URL that must not
// be forwarded. It is for rules that go by the backend's URL, as Apache's
// <Proxy> sections do.
func (h *Handler) MapURL(u *url.URL) (*url.URL, bool, error) {
	if err := h.setup(); err != nil {
		return nil, false, err
	}
	if u == nil {
		return nil, false, exchange.BadRequest("request has no URL")
	}
	if h.rule == nil {
		resolved, err := withoutDots(u, h.Mapping)
		if err != nil {
			return nil, false, err
		}
		out := *resolved
		return &out, true, nil
	}
	var out url.URL
	ok, err := h.rule.apply(u, &out)
	if !ok || err != nil {
		return nil, false, err
	}
	return &out, true, nil
}

// ServeHTTP sends the request to the backend and its answer to w. It panics
// with http.ErrAbortHandler when the answer breaks off (see Abort).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := &passage{Context: r.Context(), h: h, w: w, in: r}
	p.to = clientWriter{ResponseWriter: w, limits: h.limits()}
	if p.outer = observation.Of(p.Context); p.outer != nil {
		p.record.Start = p.outer.Record.Start
	} else {
		p.record.Start = time.Now()
	}
	defer p.leave(false) // a function of the user has panicked
	err := p.serve()
	p.finish(err)
}

// Stats returns the figures of the backends of the handler's transport, if that
// can tell them by a Stats method as [Transport] has; else nil. A balancer has
// figures of its own kind.
func (h *Handler) Stats() []backend.Stats {
	if h.Transport == nil {
		return h.own.Stats()
	}
	if t, ok := h.Transport.(interface{ Stats() []backend.Stats }); ok {
		return t.Stats()
	}
	return nil
}
