package graceful

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// DefaultGrace is how long [Service.Run] gives to what is running.
const DefaultGrace = 20 * time.Second

// lastMoment is how long all of what is still to be closed may take when the
// time is up already: closing is a matter of moments, and a store that is not
// closed has more to do when it is opened again.
const lastMoment = time.Second

// Service is what a program serves with, to be stopped as one. A Service must
// not be copied after its first use; its methods may be called from any
// goroutine.
type Service struct {
	// Parts are what is to be stopped, in the order in which a request meets
	// them: a cache before its store, a balancer before the backends of its
	// members. What a part can do is told by its methods:
	//
	//	Shutdown(context.Context) error    first, and all at once: an http.Server or an ajp.Server
	//	                                   accepts nobody any more and finishes what it has; a
	//	                                   proxy.Handler or proxy.Mux, connect.Handler, wstunnel.Handler or
	//	                                   tunnel.Registry ends its tunnels, of which an
	//	                                   http.Server knows nothing; a mirror ends its copies
	//	Close() error or Close()           then, one after the other; of a part that has Shutdown
	//	                                   at once, if that failed, to cut what is left
	//	CloseIdleConnections()             last, one after the other
	//
	// A part that is nil, or a nil pointer, is passed over. One that has none of these methods is
	// an error.
	Parts []any

	// Grace is how long Run lets what is running finish, before it is cut. Zero
	// means 20 s, negative no limit (Apache: GracefulShutdownTimeout).
	Grace time.Duration

	once    sync.Once
	stopped chan struct{} // made and closed by the first Shutdown
	err     error         // once stopped is closed
}

type (
	shutdowner interface{ Shutdown(context.Context) error }
	idler      interface{ CloseIdleConnections() }
	closer     interface{ Close() error }
	plain      interface{ Close() }
)

// Run calls each of serve at once, such as the ListenAndServe of an http.Server
// among the Parts. When ctx ends, or one of them has returned, it calls Shutdown
// with a context that lasts for Grace. It returns when all have returned: their
// errors but for http.ErrServerClosed, and that of Shutdown. Signals are yours:
// see signal.NotifyContext.
func (s *Service) Run(ctx context.Context, serve ...func() error) error {
	var errs []error
	valid := s.validate() == nil
	if !valid {
		serve = nil // what cannot be stopped is not begun
	}
	ended := make(chan error, len(serve))
	for _, f := range serve {
		go func() { ended <- guard(f) }()
	}
	left := len(serve)
	if valid {
		select {
		case err := <-ended:
			errs, left = append(errs, served(err)), left-1
		case <-ctx.Done():
		}
	}
	limit := context.WithoutCancel(ctx)
	if s.Grace >= 0 {
		var cancel context.CancelFunc
		limit, cancel = context.WithTimeout(limit, cmp.Or(s.Grace, DefaultGrace))
		defer cancel()
	}
	errs = append(errs, s.Shutdown(limit))
	last := newPatience(limit)
	defer last.stop()
	for ; left > 0; left-- {
		select {
		case err := <-ended:
			errs = append(errs, served(err))
		case <-last.over():
			return errors.Join(append(errs, errors.New("graceful: a server does not return"))...)
		}
	}
	return errors.Join(errs...)
}

// served is what a server's return says.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops all parts, as [Service.Parts] says, and returns their errors.
// When ctx ends, what is still running is cut; what is then still to be closed
// is closed, and waited for no longer than a moment, be there a part that does
// not return. A second call waits for the first, or for its own ctx, and returns
// the same.
func (s *Service) Shutdown(ctx context.Context) error {
	first := false
	s.once.Do(func() {
		first = true
		s.stopped = make(chan struct{})
	})
	if first {
		defer close(s.stopped)
		s.err = s.stop(ctx)
		return s.err
	}
	select {
	case <-s.stopped:
		return s.err
	default:
	}
	select {
	case <-s.stopped:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// parts are those that are not nil, nor hold a nil pointer.
func (s *Service) parts() []any {
	return slices.DeleteFunc(slices.Clone(s.Parts), func(part any) bool {
		v := reflect.ValueOf(part)
		return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
	})
}

// validate finds parts that nothing could stop.
func (s *Service) validate() error {
	var errs []error
	for _, part := range s.parts() {
		switch part.(type) {
		case shutdowner, idler, closer, plain:
		default:
			errs = append(errs, fmt.Errorf("graceful: a %T cannot be stopped: it has none of Shutdown, CloseIdleConnections and Close", part))
		}
	}
	return errors.Join(errs...)
}

// stop is Shutdown, the first time.
func (s *Service) stop(ctx context.Context) error {
	errs := []error{s.validate()}
	errs = append(errs, s.drain(ctx)...)
	last := newPatience(ctx)
	defer last.stop()
	for _, part := range s.parts() {
		if _, ok := part.(shutdowner); ok {
			continue
		}
		switch p := part.(type) {
		case closer:
			errs = append(errs, last.wait(part, p.Close))
		case plain:
			errs = append(errs, last.wait(part, func() error { p.Close(); return nil }))
		}
	}
	for _, part := range s.parts() {
		if p, ok := part.(idler); ok {
			errs = append(errs, last.wait(part, func() error { p.CloseIdleConnections(); return nil }))
		}
	}
	return errors.Join(errs...)
}

// drain shuts down all parts that know how to, at once: a server waits for the
// tunnels over HTTP/2, which another part has to end. One that fails to is closed.
func (s *Service) drain(ctx context.Context) []error {
	parts := s.parts()
	errs := make([]error, len(parts))
	var draining sync.WaitGroup
	for i, part := range parts {
		p, ok := part.(shutdowner)
		if !ok {
			continue
		}
		draining.Go(func() {
			last := newPatience(ctx)
			defer last.stop()
			errs[i] = last.wait(part, func() error { return p.Shutdown(ctx) })
			if c, ok := part.(closer); ok && errs[i] != nil {
				errs[i] = errors.Join(errs[i], last.wait(part, c.Close))
			}
		})
	}
	draining.Wait()
	return errs
}

// patience is how long is waited for what may not return: until a moment after
// the end of a context.
type patience struct {
	ctx   context.Context
	ended chan struct{}
	unask func() bool
	mu    sync.Mutex // guards timer
	timer *time.Timer
}

func newPatience(ctx context.Context) *patience {
	p := &patience{ctx: ctx, ended: make(chan struct{})}
	p.unask = context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer = time.AfterFunc(lastMoment, func() { close(p.ended) })
	})
	return p
}

func (p *patience) over() <-chan struct{} { return p.ended }

func (p *patience) stop() {
	p.unask()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// wait calls f, and does not wait for it for ever.
func (p *patience) wait(part any, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- guard(f) }()
	select {
	case err := <-done:
		return err
	case <-p.ended:
		return fmt.Errorf("graceful: a %T has not stopped in time", part)
	}
}

// guard calls f, and returns its panic as an error: one part must not keep the
// others from being stopped.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("graceful: panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
