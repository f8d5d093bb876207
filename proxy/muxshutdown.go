package proxy

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
)

// Shutdown calls that of each handler of today's rules that has one, once and
// all at the same time, and that of Next: those of a [Handler] end its tunnels.
// It does not see what stands behind middleware. Errors are joined. Package
// graceful calls it.
func (m *Mux) Shutdown(ctx context.Context) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, h := range m.handlers() {
		if s, ok := h.(interface{ Shutdown(context.Context) error }); ok {
			all.Go(func() {
				err := s.Shutdown(ctx)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// CloseIdleConnections calls that of each handler of today's rules that has one,
// and that of Next.
func (m *Mux) CloseIdleConnections() {
	for _, h := range m.handlers() {
		if c, ok := h.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// handlers are those of the rules and Next, each once.
func (m *Mux) handlers() []http.Handler {
	list := m.list.Load()
	if list == nil {
		list = &ruleList{}
	}
	var handlers []http.Handler
	seen := make(map[http.Handler]bool, len(list.rules)+1)
	add := func(h http.Handler) {
		if h == nil {
			return
		}
		if reflect.ValueOf(h).Comparable() {
			if seen[h] {
				return
			}
			seen[h] = true
		}
		handlers = append(handlers, h)
	}
	for i := range list.rules {
		add(list.rules[i].Handler)
	}
	add(m.Next)
	return handlers
}
