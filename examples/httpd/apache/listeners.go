package apache

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/modproxy/modproxy/proxy/halfclose"
)

// Listener is an address that a Site listens on.
type Listener struct {
	// Configured is the address as the configuration has it, "80" or
	// "127.0.0.1:80".
	Configured string

	// Addr is where it is listened on; nil before Start.
	Addr net.Addr

	// TLS is whether the first of its virtual hosts speaks TLS, which decides for
	// all of them (SSLEngine).
	TLS bool
}

// Listeners are the addresses that the configuration listens on, in order.
func (s *Site) Listeners() (all []Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.current.Load()
	if g == nil {
		return nil
	}
	for _, name := range g.listen {
		one := Listener{Configured: name, TLS: g.first(name, "").tls != nil}
		if l := s.listeners[name]; l != nil {
			one.Addr = l.Addr()
		}
		all = append(all, one)
	}
	return all
}

// listener is one address that is listened on.
type listener struct {
	configured string // as in the configuration
	*tlsListener
	http *http.Server
}

// listen opens what a generation listens on and no other has.
func (s *Site) listen(g *generation) (map[string]*listener, error) {
	fresh := make(map[string]*listener)
	for _, l := range g.listen {
		if s.listeners[l] != nil || fresh[l] != nil {
			continue
		}
		ln, err := s.options.ListenFunc("tcp", g.opt.realAddress(l))
		if err != nil {
			for _, f := range fresh {
				_ = f.Close()
			}
			return nil, err
		}
		// httpd answers clients that half-close, and waits for its backends alone.
		ln = &halfclose.Listener{Listener: ln, Timeout: -1}
		fresh[l] = &listener{configured: l, tlsListener: s.speakTLS(s.announced(ln, l, g), l)}
	}
	return fresh, nil
}

// put serves what is fresh, ends what a generation does not listen on, and tells
// what else changes.
func (s *Site) put(fresh map[string]*listener, old, g *generation) {
	for name, l := range s.listeners {
		if !slices.Contains(g.listen, name) {
			delete(s.listeners, name)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				l.stop(ctx)
			}()
		}
	}
	g.staple()
	if s.listeners == nil {
		s.listeners = make(map[string]*listener)
	}
	for name, l := range fresh {
		s.listeners[name] = l
		s.serve(l, g)
	}
	if old == nil {
		return
	}
	for name := range s.listeners {
		if fresh[name] == nil && (old.headTimeout(name) != g.headTimeout(name) || old.idleTimeout(name) != g.idleTimeout(name)) {
			s.options.Logger.Warn("RequestReadTimeout header and KeepAliveTimeout change with a restart alone", "address", name)
		}
	}
}

func (s *Site) serve(l *listener, g *generation) {
	log := s.options.Logger
	l.http = &http.Server{
		// Against clients that never finish what they begin.
		ReadHeaderTimeout: g.headTimeout(l.configured),
		IdleTimeout:       g.idleTimeout(l.configured),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return countRequests(noteConn(ctx, c))
		},
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelInfo),
		ConnState: s.count,
		Handler:   s.parting(s.Handler(l.configured)),
		Protocols: g.protocols(l.configured),
		HTTP2:     g.first(l.configured, l.Addr().String()).settings.ssl.http2.config(),
	}
	go func() { _ = l.http.Serve(l.clear) }()
	go func() {
		if err := l.http.Serve(l.tlsListener); err != nil && !errors.Is(err, http.ErrServerClosed) && !s.drained.Load() {
			log.Error("listener failed", "address", l.configured, "error", err)
		}
	}()
}

// count keeps the number of connections that are the HTTP server's.
func (s *Site) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.clients.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.clients.Add(-1)
	}
}

// parting says to clients of a site that is drained that an answer is the last one
// on its connection. A server that shuts down drops requests that it has just
// read; this one does not.
func (s *Site) parting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.drained.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (l *listener) stop(ctx context.Context) {
	if l.http.Shutdown(ctx) != nil {
		_ = l.http.Close()
	}
}
