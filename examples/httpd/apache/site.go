package apache

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// Site serves a configuration, and replaces it on Reload. It is made by Load or
// Parse, and may be used by any number of goroutines.
type Site struct {
	options Options
	parse   func(conf.Options) ([]*conf.Directive, error)
	current atomic.Pointer[generation]
	tunnels tunnel.Registry
	clients atomic.Int64 // connections of clients that no tunnel has
	drained atomic.Bool  // Drain was called
	stores  cacheStores
	ending  ending // programs of logs

	mu        sync.Mutex // guards the rest, and changes of current
	warnings  Problems
	started   bool
	listeners map[string]*listener
}

// Load reads the configuration in a file. It opens its logs and what it needs
// beside them, but listens nowhere yet. What is wrong with the configuration is
// returned as [Problems], all at once.
func Load(file string, o Options) (*Site, error) {
	if o.Root == "" {
		o.Root = filepath.Dir(file)
	}
	return open(o, func(c conf.Options) ([]*conf.Directive, error) { return conf.File(file, c) })
}

// Parse is Load for a text; errors call it by its name.
func Parse(text, name string, o Options) (*Site, error) {
	return open(o, func(c conf.Options) ([]*conf.Directive, error) { return conf.Parse(strings.NewReader(text), name, c) })
}

func open(o Options, parse func(conf.Options) ([]*conf.Directive, error)) (*Site, error) {
	s := &Site{options: o.withDefaults(), parse: parse}
	if err := s.Reload(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// read reads the configuration and makes it ready to serve. Its error is Problems,
// unless nothing could be read.
func (s *Site) read() (*generation, Problems, error) {
	var all Problems
	ready := false
	warn := func(err error) {
		if ready { // by a request
			s.options.Logger.Warn(err.Error())
			return
		}
		all.add(err, SeverityWarning)
	}
	of := func() conf.Options { return readingOptions(s.options) }
	var now *reading
	if old := s.current.Load(); old == nil {
		now = s.readOnce(of())
	} else {
		now = s.readSettled(of, old.files)
	}
	for _, w := range now.warnings {
		warn(w)
	}
	if now.err != nil {
		if !errors.As(now.err, new(conf.Errors)) {
			return nil, nil, now.err
		}
		all.add(now.err, SeverityError)
	}
	b, err := build(now.list, options{Options: s.options}, warn)
	if err != nil {
		all.add(err, SeverityError)
	}
	g, err := newGeneration(b, &logFiles{root: b.opt.Root, stdout: s.options.Stdout, stderr: s.options.Stderr, told: s.options.Logger, ending: &s.ending}, &s.tunnels, &s.stores)
	if err != nil {
		all.add(err, SeverityError)
	}
	ready = true
	if all = all.sorted(); all.faulty() {
		if g != nil {
			g.close()
		}
		return nil, nil, all
	}
	g.files = now.filesSeen
	return g, all, nil
}

// readingOptions are those of the reading itself.
func readingOptions(o Options) conf.Options {
	known := newModules(table())
	return conf.Options{
		Defines: maps.Clone(o.Define), Root: o.Root, Before: o.Before, After: o.After, Version: Version, Getenv: lookupEnv(o.Root),
		HasModule:    known.has,
		HasDirective: func(name string) bool { _, ok := known.directives[strings.ToLower(name)]; return ok },
		Skipped:      known.skipped,
	}
}

// Warnings are what is accepted and may surprise.
func (s *Site) Warnings() Problems {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.warnings)
}

// Handler answers requests as if they had come in at an address that the
// configuration listens on, such as "80" or "127.0.0.1:80". After a Reload it
// is the new configuration that answers.
func (s *Site) Handler(addr string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := s.acquire()
		if g == nil {
			http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
			return
		}
		defer g.release()
		v := &visit{site: g, began: time.Now(), before: requestsBefore(r.Context()), came: r}
		v.refused = g.refuses(addr, r)
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
		verifiedState(r)
		g.host(addr, r).serve.ServeHTTP(w, r)
	})
}

// acquire returns the current generation, which stays open until it is released.
// It is nil after Close.
func (s *Site) acquire() *generation {
	for {
		g := s.current.Load()
		if g == nil {
			return nil
		}
		g.refs.Add(1)
		if s.current.Load() == g {
			return g
		}
		g.release()
	}
}

// Start listens where the configuration says, and serves. That it says nothing of the
// kind is an error here alone.
func (s *Site) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.current.Load()
	if g == nil {
		return http.ErrServerClosed
	}
	if len(g.listen) == 0 {
		return errNothingListens
	}
	fresh, err := s.listen(g)
	if err != nil {
		return err
	}
	s.started = true
	s.put(fresh, nil, g)
	return nil
}

// Reload reads the configuration again and serves it in place of the one before,
// of which requests that have begun end as they began. What is wrong changes
// nothing. It waits until the files have stayed as they are for a moment, since they
// may be just about to be written; a file that looks cut is wrong: one that is empty,
// or whose last line has no end, and was not so before, or a configuration that has
// lost its last Listen and <VirtualHost>.
func (s *Site) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, warnings, err := s.read()
	if err != nil {
		return err
	}
	s.warnings = warnings
	for _, w := range warnings {
		s.options.Logger.Warn(w.line(""))
	}
	var fresh map[string]*listener
	if s.started {
		if fresh, err = s.listen(g); err != nil {
			g.close()
			return err
		}
	}
	if old := s.current.Load(); old != nil {
		g.staples.Adopt(old.staples)
	}
	old := s.current.Swap(g)
	s.put(fresh, old, g)
	if old != nil {
		old.retire()
	}
	return nil
}

// Drain listens no more and waits until clients have left by themselves, or ctx
// has ended: whoever has a connection is told with an answer that it is the last
// one, and tunnels go on. It is for a process whose place another has taken; call
// Shutdown behind it. Its error is that of ctx.
func (s *Site) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.drained.Store(true)
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for s.clients.Load() > 0 || s.tunnels.Count() > 0 {
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Shutdown takes no more connections and waits until all requests and tunnels
// have ended, or ctx has; then it closes the site. Its error is that of ctx.
func (s *Site) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range s.listeners {
		wg.Go(func() { l.stop(ctx) })
	}
	wg.Go(func() { _ = s.tunnels.Shutdown(ctx) })
	wg.Wait()
	err := ctx.Err()
	s.listeners, s.started = nil, false
	if g := s.current.Swap(nil); g != nil {
		g.retire()
	}
	s.ending.wait()
	s.stores.close()
	return err
}

// Close ends the site at once.
func (s *Site) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
