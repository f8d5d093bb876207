package cache

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestErrorOfOneWhoLeaves: who leaves, or has no time left, while an answer is
// fetched, is told so by an error with a type.
func TestErrorOfOneWhoLeaves(t *testing.T) {
	for name, late := range map[string]bool{"leaves": false, "time is over": true} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				release := make(chan struct{})
				c := &Cache{}
				tr := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
					<-release
					return nil, errors.New("refused")
				}))
				ctx, cancel := context.WithCancel(t.Context())
				if late {
					ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, errors.New("over"))
				} else {
					time.AfterFunc(time.Second, cancel)
				}
				defer cancel()
				_, err := tr.RoundTrip(httptest.NewRequest("GET", page, nil).WithContext(ctx))
				var e *exchange.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, late, e.Timeout())
				require.Equal(t, !late, errors.Is(err, exchange.ErrClientGone))
				close(release)
				synctest.Wait()
			})
		})
	}
}
