package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestTimeoutOfAttempts: of several attempts the last decides whether the failure
// is a time limit, as it decides the status.
func TestTimeoutOfAttempts(t *testing.T) {
	late := error(&exchange.Error{Op: exchange.OpHeader, Resend: true, Err: os.ErrDeadlineExceeded})
	cut := error(&exchange.Error{Op: exchange.OpHeader, Resend: true, Err: io.ErrUnexpectedEOF})
	for _, tc := range []struct {
		name     string
		attempts []error
		timeout  bool
	}{
		{"late", []error{late}, true},
		{"cut", []error{cut}, false},
		{"cut, late", []error{cut, late}, true},
		{"late, cut", []error{late, cut}, false},
		{"foreign and late", []error{os.ErrDeadlineExceeded}, true},
		{"no place in line in time", []error{ErrQueueTimeout}, true},
		{"line full", []error{ErrQueueFull}, false},
		{"no free connection in time", []error{exchange.ErrBusy}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs, list := fakes(len(tc.attempts))
			b := newTest(t, Config{Method: First{}}, list...)
			n := 0
			for _, f := range fs {
				f.do(func(*http.Request) (*http.Response, error) { n++; return nil, tc.attempts[n-1] })
			}
			_, err := b.RoundTrip(get(t, "balancer://x/"))
			require.Equal(t, len(tc.attempts), n)
			var ne net.Error
			require.ErrorAs(t, err, &ne)
			require.Equal(t, tc.timeout, ne.Timeout())
			require.Equal(t, tc.timeout, os.IsTimeout(err))
			require.Equal(t, tc.timeout, exchange.IsTimeout(errors.Join(io.EOF, err)))
		})
	}
}

// TestForeignTransportOfOneWhoLeft: the failure has a type though the transport's
// has none.
func TestForeignTransportOfOneWhoLeft(t *testing.T) {
	for name, tc := range map[string]struct {
		end     func(context.Context) (context.Context, context.CancelFunc)
		timeout bool
	}{
		"leaves": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, false},
		"time is over": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, time.Second, errors.New("over"))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs, list := fakes(1)
				b := newTest(t, Config{}, list...)
				fs[0].do(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				})
				ctx, cancel := tc.end(t.Context())
				defer cancel()
				_, err := b.RoundTrip(get(t, "balancer://x/").WithContext(ctx))
				var e *exchange.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, tc.timeout, e.Timeout())
				require.Equal(t, !tc.timeout, errors.Is(err, exchange.ErrClientGone))
			})
		})
	}
}
