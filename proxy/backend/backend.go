package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of the fields of a [Backend].
const (
	DefaultTimeout    = 60 * time.Second
	DefaultIdleTTL    = 90 * time.Second
	DefaultAddressTTL = 30 * time.Second
	DefaultKeepAlive  = 15 * time.Second
	DefaultMaxIdle    = 256
)

// ErrBusy is returned by Get when MaxConns connections are in use and none
// became free within AcquireTimeout. It is no error of the backend, but a timeout:
// it wraps os.ErrDeadlineExceeded.
var ErrBusy = fmt.Errorf("backend: all connections are in use: %w", os.ErrDeadlineExceeded)

// ErrUnusable is what an [*UnusableError] is: Get returns one when the backend is
// in the error state and Retry has not elapsed, when another request is probing
// it, or when it is Disabled or Stopped.
var ErrUnusable = errors.New("backend: not usable now")

// ErrClosed is returned by Get after Close.
var ErrClosed = errors.New("backend: closed")

// Backend is one origin server and the pool of connections to it. Set the
// fields before the first use; the zero value of each but URL is useful.
type Backend struct {
	// URL says where the backend is. The scheme decides whether TLS is spoken
	// (https, wss, h2) and which port is meant when none is named. Userinfo,
	// path and query mean nothing here.
	URL *url.URL

	// Socket is the path of a unix-domain socket to dial in place of the URL's
	// host, as in Apache's "unix:/run/app.sock|http://app/". [Parse] sets it.
	Socket string

	// DialContext opens connections. If nil, a net.Dialer with SourceAddr,
	// KeepAlive and Resolver does; with a custom one these three and
	// AddressTTL have no effect. One that does not look at its context is left
	// alone when that ends; what it opens later is closed. Its connections must
	// obey their deadlines.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// SourceAddr is the local address to connect from; the zero value lets the
	// system choose. Apache: ProxySourceAddress.
	SourceAddr netip.Addr

	// Resolver looks up the URL's host; nil means net.DefaultResolver.
	Resolver *net.Resolver

	// TLS configures TLS for the schemes that speak it: RootCAs for an own CA,
	// Certificates for a client certificate, ServerName for the name sent as
	// SNI and verified (default: the URL's host). If nil, a configuration that
	// verifies against the system's roots. Without NextProtos, "h2" is
	// offered by ALPN for the scheme h2, and "http/1.1" for the others.
	TLS *tls.Config

	// ServerNameFromHost sends the name to which each request is sent, its Host,
	// as SNI, and checks the certificate against it, in place of the name in TLS
	// or the URL: for backends that have a certificate for each site, to which
	// the client's Host is passed on. A connection made for one name carries no
	// request for another, and sessions are resumed for the same name alone. A
	// name for which the backend has no certificate is a [*ServerNameError], which
	// says nothing about the backend. TLS.VerifyConnection finds the name in
	// ServerName, also if it is an address. A request without a Host has the name in
	// TLS or the URL. Apache: what ProxyPreserveHost does to https.
	ServerNameFromHost bool

	// ProxyProtocol, if not zero, announces each client to the backend by a
	// PROXY protocol header of that version when a connection is opened. Of a
	// client whose address is of another family than the one that it has
	// connected to, both are told as of IPv6; of one that has connected to a
	// unix-domain socket, that address is told as unspecified. Without a client,
	// as in health checks, the header is that of nobody (UNKNOWN, LOCAL).
	// Connections are reused only for a client of the same header (see
	// [WithClient]).
	ProxyProtocol ProxyProtocol

	// ProxyProtocolTLVs are further facts that a header of ProxyProtocolV2 tells
	// of the client's TLS, in this order: [proxyprotocol.TypeALPN],
	// [proxyprotocol.TypeAuthority] and [proxyprotocol.TypeSSL]; of the last, the
	// version, the cipher suite by its IANA name, and the common name of a
	// verified certificate. They are those of the connection that came here, also
	// where another proxy has named the client. None by default. HAProxy:
	// proxy-v2-options.
	ProxyProtocolTLVs []byte

	// UniqueID, if not nil, returns the id that a header of ProxyProtocolV2 tells,
	// of up to 128 bytes; none if it is empty. It is asked for each request, and a
	// connection is reused for the same id alone: an id of the client's
	// connection, such as ConnContext of an http.Server may put into its context,
	// leaves the client its connections, one of the request does not.
	UniqueID func(ctx context.Context) string

	// MaxConns limits the connections, open or being opened, of this process.
	// Zero or less means no limit. Apache: max.
	MaxConns int

	// MaxIdle limits the connections kept open while unused. Zero means 256, a
	// negative value keeps none. Apache: smax.
	MaxIdle int

	// MinIdle is the number of unused connections to keep ready: from the
	// first use on they are opened in the background, and replaced when they
	// have become too old. Without effect under ProxyProtocol. Apache: min.
	MinIdle int

	// DisableReuse closes each connection after one use. Apache: disablereuse.
	DisableReuse bool

	// IdleTTL is how long a connection may stay unused before it is closed.
	// Zero means 90 s; negative means for ever; of HTTP/2, 100 ms is the least. A
	// shorter time that the backend
	// tells ([Conn.LimitIdle]) is obeyed. Apache: ttl.
	IdleTTL time.Duration

	// AcquireTimeout is how long Get waits for one of MaxConns connections.
	// Zero or less waits as long as the context allows. Apache: acquire.
	AcquireTimeout time.Duration

	// ConnectTimeout bounds resolving, connecting and the TLS handshake.
	// Zero means Timeout. Apache: connectiontimeout.
	ConnectTimeout time.Duration

	// WriteTimeout bounds each wait for the backend to take what it is sent,
	// piece by piece. Zero means Timeout.
	WriteTimeout time.Duration

	// HeaderTimeout bounds the wait for a head, be it of an interim answer or the
	// final one, or for a reply, whole. It begins when the request is sent, and
	// anew after each interim answer. Zero means Timeout.
	HeaderTimeout time.Duration

	// ReadTimeout bounds each wait for more of a body. Only bytes of the body
	// are more of it: frames, records, packets and lines without any, such as
	// error output, do not begin the wait anew. Zero means Timeout.
	ReadTimeout time.Duration

	// RequestTimeout bounds an exchange as a whole: from the wait for a
	// connection to the last byte of the answer's body, which is cut, not ended,
	// when it is over. It does not bound what follows a 101. It is the request's
	// own time, as if its context had that deadline, and says nothing about the
	// backend. Zero or less means none, as in Apache.
	RequestTimeout time.Duration

	// Timeout is what the four limits above RequestTimeout are where they are
	// zero. While it is the client that is waited for, none of them runs. To save
	// timers a wait may last an eighth longer. Zero means 60 s; negative means
	// none, and so do times that nobody waits for, from 73 years on, here and in
	// the fields above. What they end is an error whose Timeout method returns
	// true, and is answered with 504, or 503 while connecting. Apache: timeout,
	// ProxyTimeout, which bound the wait for each byte.
	Timeout time.Duration

	// KeepAlive is the interval of TCP keep-alive probes. Zero means 15 s;
	// negative disables them. Apache: keepalive.
	KeepAlive time.Duration

	// ReceiveBufferSize is the size in bytes of the receive buffer that the
	// system is asked for (SO_RCVBUF), 16384 at least. Zero or less leaves it to
	// the system. Apache: receivebuffersize, ProxyReceiveBufferSize.
	ReceiveBufferSize int

	// AddressTTL is how often the host is looked up while connections are
	// open: those to addresses that are gone from the answer are not used
	// again. New connections always resolve the name. Zero means 30 s; negative
	// means never; less than 100 ms means 100 ms. Apache: addressttl.
	AddressTTL time.Duration

	// Retry is how long a backend in the error state is left alone before one
	// request probes it. Zero or less means it is never left alone. Apache: retry.
	Retry time.Duration

	// ReadBufferSize and WriteBufferSize are the sizes in bytes of each
	// connection's buffers. Zero or less means 8192 and 4096; they are from 16 to
	// 1048576, whatever is asked for. Apache: iobuffersize.
	ReadBufferSize, WriteBufferSize int

	// Logger gets the beginning of an error state at level Warn, its end with
	// the sums of what has failed at Info, trials and new connections at Debug
	// and reused ones two levels below it (Apache: trace2). If nil, nothing is
	// logged.
	Logger *slog.Logger

	// OnStateChange, if not nil, is called after each change of state, with
	// the cause of an error. It must not block.
	OnStateChange func(b *Backend, from, to State, cause error)

	once     sync.Once
	setupErr error
	pool     pool
	health   Health
	outage   Outage // of its state, for the log
	counters counters
	limits   Limits
	flags    atomic.Uint32
	resolved addressBook
	tls      *tls.Config
	network  string // "tcp" or "unix"
	address  string // what is dialled
	text     string // what String returns
	epoch    time.Time
	stop     context.CancelFunc // ends background work
	life     context.Context
	work     sync.WaitGroup
}

// Parse makes a Backend from Apache's notation: "http://host:port/…", or
// "unix:/path|http://host/…" for a unix-domain socket.
func Parse(s string) (*Backend, error) {
	socket := ""
	if len(s) > 5 && strings.EqualFold(s[:5], "unix:") {
		path, rest, ok := strings.Cut(s[5:], "|")
		if !ok || path == "" {
			return nil, fmt.Errorf("backend: %q: want unix:/path|scheme://host/", RedactURL(s))
		}
		socket, s = path, rest
		if strings.HasSuffix(s, ":") { // "unix:/path|http:" means localhost
			s += "//localhost"
		}
	}
	u, err := ParseURL(s)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	b := &Backend{URL: u, Socket: socket}
	if _, _, err := b.where(); err != nil {
		return nil, err
	}
	return b, nil
}

// String returns scheme, host and port of the backend, with the path of its
// socket if it has one. It holds no credentials.
func (b *Backend) String() string {
	if b.setup() == nil || b.text != "" {
		return b.text
	}
	return "invalid backend"
}

// Memo returns what its protocol remembers of the backend: what make returns
// when it is first called.
func (b *Backend) Memo(make func() any) any {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	if b.pool.memo == nil {
		b.pool.memo = make()
	}
	return b.pool.memo
}

// Unused reports whether nothing would be lost with the backend but its
// figures: it has no connection, nobody waits for one, it is not in the error
// state and has no flags.
func (b *Backend) Unused() bool {
	b.pool.mu.Lock()
	empty := b.pool.open == 0 && b.pool.line.n == 0
	b.pool.mu.Unlock()
	return empty && b.Flags() == 0 && b.Usable(time.Now())
}

// Address returns what is dialled: host:port, or the path of a socket.
func (b *Backend) Address() string {
	_ = b.setup()
	return b.address
}

// Retire closes the idle connections and keeps none from now on: those in use
// are closed when they are released. Unlike after Close, requests that still
// come are served, each over a connection of its own.
func (b *Backend) Retire() {
	_ = b.setup()
	b.pool.retire()
}

// Close closes the idle connections and ends background work; connections in
// use are closed when they are released. Get fails from now on.
func (b *Backend) Close() error {
	_ = b.setup() // so that background work has a context to end
	b.pool.close()
	b.stop()
	b.work.Wait()
	return nil
}

// setup prepares what the fields imply, once.
func (b *Backend) setup() error {
	b.once.Do(func() {
		b.epoch = time.Now()
		b.limits = b.Limits()
		b.life, b.stop = context.WithCancel(context.Background())
		b.network, b.address, b.setupErr = b.where()
		if b.setupErr != nil {
			return
		}
		if b.setupErr = b.checkProxyProtocol(); b.setupErr != nil {
			return
		}
		b.text = b.URL.Scheme + "://" + b.URL.Host
		if b.Socket != "" {
			b.text = "unix:" + b.Socket + "|" + b.text
		}
		if speaksTLS(b.URL.Scheme) {
			b.tls = b.tlsConfig()
		}
	})
	return b.setupErr
}

// where returns the network and address that the URL and Socket name.
func (b *Backend) where() (network, address string, err error) {
	if b.URL == nil {
		return "", "", errors.New("backend: no URL")
	}
	if b.Socket != "" {
		return "unix", b.Socket, nil
	}
	host, port := b.URL.Hostname(), b.URL.Port()
	if host == "" {
		return "", "", fmt.Errorf("backend: %q names no host", RedactURL(b.URL.String()))
	}
	if port == "" {
		if port = DefaultPort(b.URL.Scheme); port == "" {
			return "", "", fmt.Errorf("backend: no default port is known for scheme %q", b.URL.Scheme)
		}
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

// DefaultPort returns the port that a URL of this scheme means when it names
// none, or "" for an unknown scheme.
func DefaultPort(scheme string) string {
	switch strings.ToLower(scheme) {
	case "http", "ws", "h2c":
		return "80"
	case "https", "wss", "h2":
		return "443"
	case "ftp", "ftpes":
		return "21"
	case "ftps":
		return "990"
	case "fcgi":
		return "8000"
	case "ajp":
		return "8009"
	case "scgi":
		return "4000"
	case "uwsgi":
		return "3031"
	}
	return ""
}

// speaksTLS reports whether connections of this scheme begin with a handshake.
func speaksTLS(scheme string) bool {
	switch strings.ToLower(scheme) {
	case "https", "wss", "h2":
		return true
	}
	return false
}

// or returns v, or def if v is zero.
func or[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
