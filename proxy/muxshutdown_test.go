package proxy

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// stopping is a handler that can be stopped.
type stopping struct {
	http.Handler
	err           error
	ctx           context.Context
	stopped, idle int
}

func (s *stopping) Shutdown(ctx context.Context) error {
	s.stopped++
	s.ctx = ctx
	return s.err
}

func (s *stopping) CloseIdleConnections() { s.idle++ }

// TestMuxStopsItsHandlers: each once, however many rules lead to it.
func TestMuxStopsItsHandlers(t *testing.T) {
	require.NoError(t, new(Mux).Shutdown(t.Context()))
	new(Mux).CloseIdleConnections()
	bad := errors.New("does not end")
	a, b, next := &stopping{}, &stopping{err: bad}, &stopping{}
	m := &Mux{Next: next}
	m.Handle("/a", a)
	m.Handle("/also", a)
	m.Except("/x")
	m.Handle("/b", b)
	m.Handle("/func", http.HandlerFunc(http.NotFound))
	m.Handle("/odd", struct {
		http.Handler
		f any
	}{f: []int{}}) // cannot be compared
	require.ErrorIs(t, m.Shutdown(t.Context()), bad)
	m.CloseIdleConnections()
	for _, s := range []*stopping{a, b, next} {
		require.Equal(t, [2]int{1, 1}, [2]int{s.stopped, s.idle})
		require.Equal(t, t.Context(), s.ctx)
	}
}
