// Package proxy is for everybody who puts a proxy together: the reverse proxy, an
// http.Handler that maps requests to backends; the rules by path in front of it;
// the forward proxy; and the http.RoundTripper for HTTP/1.1 and HTTP/2. It does what Apache's
// mod_proxy and mod_proxy_http do. Who may come in is said by package access,
// lines in a log are written by accesslog, upgraded connections are joined by
// tunnel.
//
//	client ─► [accesslog.Handler] ─► [access.RemoteIP] ─► [access.Access] ─► [Mux] ─► Handler ─► Transport ─► backend
//	                                                               │           │
//	              URL mapped, hop-by-hop fields dropped, ◄─────────┘           │
//	              forwarding fields added                                      │
//	client ◄─ Location and Set-Cookie mapped back, 1xx, body, trailer ◄────────┘
//	client ◄═════════ Tunnels: after a 101, bytes both ways ═════════► backend
//
// A [Forward] stands where the Mux does, for clients that were told to use a
// proxy:
//
//	client ─► Forward ─► Clients: may it? ─► Destinations: may it go there? ─► Remote, or Transport ─► origin
//	                └──── CONNECT ─► connect.Handler ═════════════════════════════════════════════════► host:port
//
// All parts meet at interfaces of the standard library: a Handler takes any
// http.RoundTripper, a Transport serves any http.Client or
// httputil.ReverseProxy, and everything that faces a client is an http.Handler
// or wraps one. What is in brackets is optional.
//
// A whole program:
//
//	func main() {
//		app, err := proxy.NewHandler("/app/", "http://127.0.0.1:9000/")
//		if err != nil {
//			log.Fatal(err)
//		}
//		app.Reverse = []proxy.ReverseRule{{Path: "/app/", URL: "http://127.0.0.1:9000/"}}
//		server := &http.Server{Addr: ":8080", Handler: app, ReadHeaderTimeout: 10 * time.Second}
//		log.Fatal(server.ListenAndServe())
//	}
//
// # Numbers
//
// In all packages the zero of a field is its default, which its comment names.
// A negative time or size is no limit, unless the comment says that it switches
// something off or is as zero. Sizes are in bytes. No number is too large: a time of
// many years is never over, a size beyond all memory is no limit, and buffers are
// of 1 MiB at most. What is done again and again is done every 100 ms at most.
// Shares that are none, and what else can have no meaning, are errors of the
// constructor where there is one, as in package balancer, and switch off what they
// are for elsewhere.
//
// # Concurrency
//
// Every type may be used by any number of goroutines once its fields are set. The
// rules of a [Mux] may be added and replaced while it serves. A request without a body is sent and
// answered on the goroutine of its handler alone; one with a body has a second
// that sends it. A tunnel has two, which begin when the handler has returned.
//
// # Timeouts
//
// The limits on a backend are those of its [backend.Backend]: ConnectTimeout,
// AcquireTimeout, and Timeout for each wait: for the backend to take a piece of
// the request, for a head whole, and for more of a body, so that a long answer
// that keeps coming is never cut, and one that comes drop by drop never has a
// head. An interim answer begins the wait for the final head anew, as often as
// MaxInterim allows. The limit on a request as a whole is its context's.
//
// A client that neither sends its body nor reads the answer is waited for as
// long as [ClientLimits] say, 60 s by default: it holds no backend for longer.
// The heads of requests and idle connections are the http.Server's: set
// ReadHeaderTimeout and IdleTimeout, since net/http has none by default.
//
// # Failures
//
// Each failure is a [*exchange.Error] with its phase, the backend, and whether the
// request may be sent again; package exchange has the one table of what the
// client is told. When an answer breaks off after its head was sent, the client's
// connection is cut, so that it cannot take a part for the whole, by
// panic(http.ErrAbortHandler): see Handler.Abort. A client
// that leaves is no failure of the backend. A [exchange.Record] of each request tells
// what happened to it.
//
// # Security
//
// Answers of backends are untrusted: whatever could be read in two ways is
// refused with 502, and nothing of it (names, values, reason phrase) is written
// to the client unchecked. The path is brought into one form for rules and
// wire; it is never decoded twice, and captures are never decoded at all.
// Forwarding fields of clients are replaced unless the peer is trusted.
// Upgrades pass only by an allow-list, and only after an answer that fits.
// Requests to a Handler have no access control of their own: [access.Access],
// [access.BasicAuth] or the embedder's middleware goes in front. A Forward serves nobody
// until [access.Clients] says whom, and reaches no private address until [access.Destinations]
// says which.
//
// # Transports for other protocols
//
// Any http.RoundTripper will do. What those of this library have in common is
// package exchange.
//
// # Differences from Apache
//
// Path and query reach the backend as the client wrote them, but for dot segments
// ([MappingRaw]; [MappingDecoded] is Apache's way). A timeout is 504, a name that does not
// resolve 503. A reused connection that turns out closed is replaced by a fresh
// one when that is safe. Uploads stream at once, an early answer ends them.
// Trailers pass both ways. Cookie fields stay apart. ProxyPassReverse compares
// whole path segments. An answer that does not begin with HTTP/1 is refused
// rather than taken for HTTP/0.9. The fields' comments name the directives.
package proxy
