package programs

import (
	"context"
	"sync"
	"testing"
)

// Run calls a function of the test's own that serves at addresses until its
// context ends, and waits until it accepts connections there. The end of the
// test, or stop before that, ends the context and waits for the function, which
// must return no error.
func Run(t testing.TB, serve func(ctx context.Context) error, addrs ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = serve(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	for _, addr := range addrs {
		need(t, accepts(ctx, "tcp", addr, ended))
	}
	return stop
}
