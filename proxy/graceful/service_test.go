package graceful

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errPart = errors.New("part")

// diary notes what is called, and when.
type diary struct {
	mu    sync.Mutex // guards the rest
	begun time.Time
	lines []string
}

func (d *diary) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, time.Since(d.begun).String()+" "+what)
}

// The parts below take some time for what they do, or as long as a context.
type (
	idle struct {
		*diary
		name string
	}
	closing struct {
		*diary
		name string
		f    func() error
	}
	draining struct {
		*diary
		name string
		f    func(context.Context) error
	}
	server struct {
		draining
		closing
	}
)

func (p idle) CloseIdleConnections() { p.note(p.name + " idle") }

func (p closing) Close() error {
	p.note(p.name + " close")
	if p.f != nil {
		return p.f()
	}
	return nil
}

type plainCloser struct{ of closing }

func (p plainCloser) Close() { _ = p.of.Close() }

func (p draining) Shutdown(ctx context.Context) error {
	p.note(p.name + " shutdown")
	defer p.note(p.name + " down")
	if p.f != nil {
		return p.f(ctx)
	}
	return nil
}

func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
}

// TestOrder: who drains does so at once, also where one waits for another; who
// closes, one after the other; and idle connections are closed last.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{begun: time.Now()}
		tunnels := make(chan struct{})
		var none *server
		s := &Service{Parts: []any{
			server{draining{d, "server", func(context.Context) error { <-tunnels; return nil }}, closing{d, "server", nil}},
			idle{d, "handler"}, none, nil,
			plainCloser{closing{d, "cache", func() error { time.Sleep(time.Second); return nil }}},
			closing{d, "store", nil},
			draining{d, "tunnels", func(ctx context.Context) error { defer close(tunnels); return takes(3 * time.Second)(ctx) }},
		}}
		require.NoError(t, s.Shutdown(t.Context()))
		require.ElementsMatch(t, []string{"0s server shutdown", "0s tunnels shutdown"}, d.lines[:2])
		require.ElementsMatch(t, []string{"3s server down", "3s tunnels down"}, d.lines[2:4])
		require.Equal(t, []string{"3s cache close", "4s store close", "4s handler idle"}, d.lines[4:])
		require.NoError(t, s.Shutdown(t.Context()), "again")
		require.Len(t, d.lines, 7)
	})
}

// TestWhatDoesNotEnd, fail or panic keeps nothing else from being stopped, and
// nobody waits for it for longer than ctx and a moment.
func TestWhatDoesNotEnd(t *testing.T) {
	forever := make(chan struct{})
	for name, tc := range map[string]struct {
		bad  func(d *diary) any
		is   error
		says string
		at   time.Duration
		also []string
	}{
		"server drains for ever": {func(d *diary) any {
			return server{draining{d, "bad", takes(time.Hour)}, closing{d, "bad", nil}}
		}, context.DeadlineExceeded, "", 5 * time.Second, []string{"5s bad close"}},
		"tunnels do": {func(d *diary) any {
			return draining{d, "bad", takes(time.Hour)}
		}, context.DeadlineExceeded, "", 5 * time.Second, nil},
		"server does not look at its context": {func(d *diary) any {
			return server{draining{d, "bad", func(context.Context) error { <-forever; return nil }}, closing{d, "bad", nil}}
		}, nil, "server has not stopped in time", 6 * time.Second, []string{"6s bad close"}},
		"close does not return": {func(d *diary) any {
			return closing{d, "bad", func() error { <-forever; return nil }}
		}, nil, "closing has not stopped in time", 6 * time.Second, nil},
		"close fails":       {func(d *diary) any { return closing{d, "bad", func() error { return errPart }} }, errPart, "", 0, nil},
		"shutdown fails":    {func(d *diary) any { return draining{d, "bad", func(context.Context) error { return errPart }} }, errPart, "", 0, nil},
		"close panics":      {func(d *diary) any { return closing{d, "bad", func() error { panic("ouch") }} }, nil, "ouch", 0, nil},
		"shutdown panics":   {func(d *diary) any { return draining{d, "bad", func(context.Context) error { panic("ouch") }} }, nil, "ouch", 0, nil},
		"cannot be stopped": {func(d *diary) any { return 7 }, nil, "a int cannot be stopped", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forever = make(chan struct{})
				defer close(forever)
				d := &diary{begun: time.Now()}
				s := &Service{Parts: []any{draining{d, "first", nil}, tc.bad(d), closing{d, "store", nil}, idle{d, "handler"}}}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := s.Shutdown(ctx)
				require.Equal(t, tc.at, time.Since(d.begun))
				require.Error(t, err)
				if tc.is != nil {
					require.ErrorIs(t, err, tc.is)
				}
				require.ErrorContains(t, err, tc.says)
				synctest.Wait()
				d.mu.Lock()
				defer d.mu.Unlock()
				require.Subset(t, d.lines, append(tc.also, tc.at.String()+" store close", tc.at.String()+" handler idle"))
				require.Equal(t, err, s.Shutdown(t.Context()), "a second call is told the same")
			})
		})
	}
}

// TestSecondCall waits for the first, or for its own context.
func TestSecondCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{begun: time.Now()}
		s := &Service{Parts: []any{draining{d, "server", func(context.Context) error { time.Sleep(time.Minute); return errPart }}}}
		go func() { _ = s.Shutdown(t.Context()) }()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Shutdown(short), context.DeadlineExceeded)
		require.ErrorIs(t, s.Shutdown(t.Context()), errPart)
		require.Equal(t, time.Minute, time.Since(d.begun))
		for range 50 {
			require.ErrorIs(t, s.Shutdown(short), errPart, "it has stopped, and the context has ended")
		}
	})
}

// fake is a server that serves until it is shut down.
type fake struct {
	draining
	down chan struct{}
	once sync.Once
}

func newFake(d *diary, f func(context.Context) error) *fake {
	return &fake{draining: draining{d, "server", f}, down: make(chan struct{})}
}

func (f *fake) serve() error { <-f.down; return http.ErrServerClosed }
func (f *fake) Shutdown(ctx context.Context) error {
	f.once.Do(func() { close(f.down) })
	return f.draining.Shutdown(ctx)
}

// TestRun: it ends with ctx or with a server, and says what went wrong.
func TestRun(t *testing.T) {
	for name, tc := range map[string]struct {
		grace time.Duration
		takes time.Duration
		fails error // of another server, after a second
		until time.Duration
		is    error
	}{
		"all is well":       {0, time.Second, nil, 11 * time.Second, nil},
		"the default grace": {0, time.Hour, nil, 30 * time.Second, context.DeadlineExceeded},
		"a grace":           {time.Minute, time.Hour, nil, 70 * time.Second, context.DeadlineExceeded},
		"no limit":          {-1, time.Hour, nil, time.Hour + 10*time.Second, nil},
		"the longest":       {1<<63 - 1, time.Hour, nil, time.Hour + 10*time.Second, nil},
		"a server fails":    {0, time.Second, errPart, 2 * time.Second, errPart},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &diary{begun: time.Now()}
				f := newFake(d, takes(tc.takes))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				serve := []func() error{f.serve}
				if tc.fails != nil {
					serve = append(serve, func() error { time.Sleep(time.Second); return tc.fails })
				}
				s := &Service{Parts: []any{f}, Grace: tc.grace}
				err := s.Run(ctx, serve...)
				require.Equal(t, tc.until, time.Since(d.begun))
				if tc.is == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, tc.is)
				}
			})
		})
	}
}

// TestRunBadly: what cannot be stopped is not begun; who does not return, or
// panics, is told of; and without a server it waits for ctx.
func TestRunBadly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorContains(t, (&Service{Parts: []any{"text"}}).Run(ctx, func() error { t.Error("begun"); return nil }), "a string cannot be stopped")
		synctest.Wait()
		require.ErrorContains(t, (&Service{}).Run(ctx, func() error { panic("ouch") }), "ouch")
		require.Zero(t, time.Since(begun))
		require.NoError(t, (&Service{}).Run(ctx))
		require.Equal(t, 10*time.Second, time.Since(begun))
		forever := make(chan struct{})
		defer close(forever)
		require.ErrorContains(t, (&Service{}).Run(ctx, func() error { <-forever; return nil }), "a server does not return")
		require.Equal(t, 31*time.Second, time.Since(begun))
	})
}
