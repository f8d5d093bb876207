package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/internal/conf"
	"github.com/modproxy/modproxy/proxy/halfclose"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// options are what the command line says, and what the configuration says of
// the server as a whole.
type options struct {
	listen      map[string]string // -listen: configured port or address → where it really is
	resolve     map[string]string // -resolve: host:port → where it really is
	defines     map[string]string // -D
	root        string            // folder of relative names
	source      netip.Addr        // ProxySourceAddress, of each host
	idleTimeout time.Duration
	noKeepAlive bool
	runtimeDir  string // DefaultRuntimeDir
	maxChecks   int    // health checks at a time, of each balancer
	noPrivate   bool   // -no-private
	parents     bool   // there is a ProxyRemote somewhere
}

// stateDir is where what outlives a restart is kept.
func (o *options) stateDir() string {
	if o.runtimeDir != "" {
		return o.runtimeDir
	}
	return o.root
}

// dialer returns a dialer that obeys -resolve and ProxySourceAddress.
func (o *options) dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{}
	if o.source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: o.source.AsSlice()}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if to, ok := o.resolve[addr]; ok {
			addr = to
		}
		return d.DialContext(ctx, network, addr)
	}
}

// modules are the names for which <IfModule> holds.
var modules = map[string]bool{
	"proxy_balancer": true, "proxy_hcheck": true, "lbmethod_byrequests": true, "lbmethod_bytraffic": true, "lbmethod_bybusyness": true, "lbmethod_heartbeat": true, "slotmem_shm": true, "watchdog": true,
	"core": true, "so": true, "reqtimeout": true, "proxy": true, "proxy_http": true, "authz_core": true, "authz_host": true, "log_config": true, "status": true,
	"headers": true, "setenvif": true, "env": true, "remoteip": true, "version": true, "proxy_wstunnel": true, "unixd": true, "mpm_event": true, "proxy_ajp": true, "cache": true, "cache_disk": true, "cache_socache": true, "socache_shmcb": true,
	"proxy_connect": true, "proxy_ftp": true, "auth_basic": true, "authn_core": true, "authn_file": true, "authz_user": true,
}

// version is that of the httpd whose configurations are read.
const version = "2.4.71"

// hasModule takes both of a module's names: mod_proxy.c and proxy_module.
func hasModule(name string) bool {
	if file, ok := strings.CutPrefix(name, "mod_"); ok {
		name, ok = strings.CutSuffix(file, ".c")
		return ok && modules[name]
	}
	name, ok := strings.CutSuffix(name, "_module")
	return ok && modules[name] || modules[strings.TrimSuffix(name, ".c")]
}

// load reads a configuration file.
func load(file string, opt options, log *slog.Logger) (*builder, error) {
	defines := make(map[string]string)
	for k, v := range opt.defines {
		defines[k] = v
	}
	list, err := conf.File(file, conf.Options{Defines: defines, HasModule: hasModule, Version: version, Warn: func(e *conf.Error) { log.Warn(e.Error()) }})
	if err != nil {
		return nil, err
	}
	return build(list, opt, func(err error) { log.Warn(err.Error()) })
}

// server serves a site, and replaces it on reload.
type server struct {
	log     *slog.Logger
	stdout  io.Writer
	stderr  io.Writer
	current atomic.Pointer[site]
	tunnels tunnel.Registry
	stores  cacheStores

	mu        sync.Mutex // guards listeners and changes of current
	listeners map[string]*listener
}

// listener is one address that is listened on.
type listener struct {
	configured string // as in the configuration
	net.Listener
	http *http.Server
}

// acquire returns the current site, which stays open until it is released.
func (s *server) acquire() *site {
	for {
		st := s.current.Load()
		st.refs.Add(1)
		if s.current.Load() == st {
			return st
		}
		st.release()
	}
}

// start serves a configuration, in place of the one before.
func (s *server) start(b *builder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := newSite(b, &logFiles{root: b.opt.root, stdout: s.stdout, stderr: s.stderr}, &s.tunnels, &s.stores)
	if err != nil {
		return err
	}
	fresh := make(map[string]*listener)
	for _, l := range st.listen {
		if s.listeners[l] != nil || fresh[l] != nil {
			continue
		}
		ln, err := net.Listen("tcp", st.opt.realAddress(l))
		if err != nil {
			for _, f := range fresh {
				_ = f.Close()
			}
			st.close()
			return err
		}
		// httpd answers clients that half-close, and waits for its backends alone.
		ln = &halfclose.Listener{Listener: ln, Timeout: -1}
		fresh[l] = &listener{configured: l, Listener: s.announced(ln, l, st)}
	}
	old := s.current.Swap(st)
	if s.listeners == nil {
		s.listeners = make(map[string]*listener)
	}
	for name, l := range s.listeners {
		if !contains(st.listen, name) {
			delete(s.listeners, name)
			go l.stop(30 * time.Second)
		}
	}
	for name, l := range fresh {
		s.listeners[name] = l
		s.serve(l, st)
	}
	if old != nil {
		for name := range s.listeners {
			if fresh[name] == nil && (old.headTimeout(name) != st.headTimeout(name) || old.opt.idleTimeout != st.opt.idleTimeout) {
				s.log.Warn("RequestReadTimeout header and KeepAliveTimeout change with a restart alone", "address", name)
			}
		}
		if old.opt.noKeepAlive != st.opt.noKeepAlive {
			for _, l := range s.listeners {
				l.http.SetKeepAlivesEnabled(!st.opt.noKeepAlive)
			}
		}
		old.retire()
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// realAddress says where a configured address really is.
func (o *options) realAddress(configured string) string {
	ip, port := splitAddress(configured)
	for _, key := range []string{configured, port} {
		if real, ok := o.listen[key]; ok {
			return real
		}
	}
	return net.JoinHostPort(ip, port)
}

// moved reports whether -listen puts a configured address somewhere else.
func (o *options) moved(configured string) bool {
	_, port := splitAddress(configured)
	return o.listen[configured] != "" || o.listen[port] != ""
}

func (s *server) serve(l *listener, st *site) {
	idle := st.opt.idleTimeout
	if idle == 0 {
		idle = time.Minute
	}
	l.http = &http.Server{
		// Against clients that never finish what they begin.
		ReadHeaderTimeout: st.headTimeout(l.configured),
		IdleTimeout:       idle,
		ConnContext:       noteAnnounced,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			st := s.acquire()
			defer st.release()
			st.host(l.configured, r).serve.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, &visit{site: st})))
		}),
	}
	l.http.SetKeepAlivesEnabled(!st.opt.noKeepAlive)
	go func() {
		if err := l.http.Serve(l.Listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("listener failed", "address", l.configured, "error", err)
		}
	}()
}

func (l *listener) stop(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if l.http.Shutdown(ctx) != nil {
		_ = l.http.Close()
	}
}

// addresses returns where each configured address is listened on.
func (s *server) addresses() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]string)
	for name, l := range s.listeners {
		m[name] = l.Addr().String()
	}
	return m
}

// stop ends gracefully: what is running may finish within the limit.
func (s *server) stop(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range s.listeners {
		wg.Go(func() { l.stop(limit) })
	}
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_ = s.tunnels.Shutdown(ctx)
	})
	wg.Wait()
	s.listeners = nil
	if st := s.current.Load(); st != nil {
		st.retire()
	}
	s.stores.close()
}
