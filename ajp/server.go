package ajp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ErrServerClosed is returned by Serve after Shutdown or Close. It is that of
// net/http.
var ErrServerClosed = http.ErrServerClosed

// ErrNoSecret is returned by Serve for a listener that others than this machine
// can reach, when the server has no Secret and OpenToAll is not set.
var ErrNoSecret = errors.New("ajp: listener is not on a loopback address and there is no secret")

// DefaultTimeout bounds the waits of a [Server] for its proxy.
const DefaultTimeout = 60 * time.Second

// Server is the other end of AJP13: it serves an http.Handler behind httpd's
// mod_proxy_ajp, mod_jk, or a [Transport], as a servlet container does. Its
// fields must not be changed once it serves.
//
// Handlers see the client's view: Host, RemoteAddr, TLS and URL are those that
// the proxy has told; [access.User] is the user that it has authenticated. All of
// that is believed, which is why a Secret is wanted.
//
// A handler has what one under net/http has: http.Flusher, the methods of an
// http.ResponseController but for hijacking, a context that ends when the proxy
// gives up the request, and panic(http.ErrAbortHandler). There are no trailers.
type Server struct {
	// Handler serves the requests; nil means http.DefaultServeMux.
	Handler http.Handler

	// Secret is what each request must carry; others are refused with 403.
	// Empty asks for none. Apache: secret. Tomcat: secret.
	Secret string

	// OpenToAll allows to serve without a Secret on an address that is not of
	// the loopback interface. Whoever can connect can then be any user.
	OpenToAll bool

	// AllowAttribute tells which named attributes may come with a request,
	// beside those that httpd and mod_jk send by themselves. Requests with
	// others are refused with 403, a panic of it too. Nil allows none. Tomcat:
	// allowedRequestAttributesPattern.
	AllowAttribute func(name string) bool

	// PacketSize is the most that a packet may have, either way, in bytes with
	// its head. It must be what the proxy has. Zero means 8192; the limits are
	// 8192 and 65536. Apache: ProxyIOBufferSize. Tomcat: packetSize.
	PacketSize int

	// IdleTimeout is how long a connection may be unused. Zero or less means
	// for ever, as in Tomcat: the proxy closes its own. Tomcat:
	// keepAliveTimeout.
	IdleTimeout time.Duration

	// ReadTimeout bounds each wait for a packet of a request's body. Zero means
	// 60 s; negative means none. A handler may set deadlines of its own.
	ReadTimeout time.Duration

	// WriteTimeout bounds each wait for the proxy to take a part of the answer.
	// Zero means 60 s; negative means none.
	WriteTimeout time.Duration

	// SendInterim passes interim answers (1xx) of handlers on. Only set it for
	// proxies that can read them: mod_proxy_ajp cannot.
	SendInterim bool

	// BaseContext, if not nil, returns the context that those of all requests
	// of a listener descend from.
	BaseContext func(net.Listener) context.Context

	// Logger gets panics of handlers at level Error, and what was refused or
	// malformed at level Info. If nil, nothing is logged.
	Logger *slog.Logger

	closing atomic.Bool
	facade  http.Server // what handlers find under http.ServerContextKey
	suites  sync.Once
	ciphers map[string]uint16

	mu        sync.Mutex // guards all below
	listeners map[net.Listener]struct{}
	conns     map[*serverConn]struct{}
	empty     chan struct{} // closed when the last connection has ended; nil unless somebody waits
}

// Serve serves h to the proxies that connect to l, without a secret: l must be
// on a loopback address or a unix-domain socket. It always returns an error.
func Serve(l net.Listener, h http.Handler) error {
	s := &Server{Handler: h}
	return s.Serve(l)
}

// Serve accepts connections of proxies until Shutdown or Close, and closes l.
// It always returns an error: after these, ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if s.Secret == "" && !s.OpenToAll && !isLocal(l.Addr()) {
		return ErrNoSecret
	}
	if !s.track(l) {
		return ErrServerClosed
	}
	defer s.untrack(l)
	base := context.Background()
	if s.BaseContext != nil {
		base = s.BaseContext(l)
	}
	base = context.WithValue(base, http.ServerContextKey, &s.facade)
	var delay time.Duration
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.closing.Load() {
				return ErrServerClosed
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || isTemporary(err) {
				delay = min(max(2*delay, 5*time.Millisecond), time.Second)
				time.Sleep(delay)
				continue
			}
			return err
		}
		delay = 0
		c := newServerConn(s, nc, base)
		if !s.enter(c) {
			_ = nc.Close()
			return ErrServerClosed
		}
		go c.serve()
	}
}

// isTemporary reports whether accepting may work again in a moment, as when the
// process has too many open files.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// isLocal reports whether only this machine can reach an address.
func isLocal(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return a.Network() == "pipe"
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[net.Listener]struct{})
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) enter(c *serverConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[*serverConn]struct{})
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) leave(c *serverConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// stop closes the listeners and returns a channel that is closed when the last
// connection has ended.
func (s *Server) stop(end func(*serverConn)) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		end(c)
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	if len(s.conns) == 0 {
		close(empty)
		s.empty = nil
	}
	return empty
}

// Shutdown ends the server gracefully: it accepts no more, closes idle
// connections, and waits until requests under way are answered or ctx ends. The
// proxy is told that those connections will not be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	empty := s.stop((*serverConn).closeIdle)
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the server at once. Answers under way are cut, their handlers'
// contexts end; it does not wait for handlers.
func (s *Server) Close() error {
	s.stop((*serverConn).abort)
	return nil
}

func (s *Server) handler() http.Handler {
	if s.Handler != nil {
		return s.Handler
	}
	return http.DefaultServeMux
}

// refused logs what a proxy has sent that is not served.
func (c *serverConn) refused(text string, args ...any) {
	if c.s.Logger != nil {
		c.s.Logger.InfoContext(c.base, text, append([]any{"peer", c.nc.RemoteAddr().String()}, args...)...)
	}
}

// timeout returns a configured timeout, with 0 for none.
func timeout(d time.Duration) time.Duration {
	if d == 0 {
		return DefaultTimeout
	}
	return max(d, 0)
}
