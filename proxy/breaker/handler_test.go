package breaker_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/breaker"
)

// TestBehindAHandler: answers that break off open it, the next client is told
// when to come again, a probe whose client leaves does not keep it half-open, and
// then it closes. A balancer goes to another member meanwhile.
func TestBehindAHandler(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		var breaks, holds atomic.Bool
		reached := make(chan struct{}, 10)
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if holds.Load() {
				reached <- struct{}{}
				<-r.Context().Done()
				return
			}
			if breaks.Load() {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, "part")
				return
			}
			_, _ = io.WriteString(w, "whole")
		}))
		h, err := proxy.NewHandler("/", origin.URL+"/")
		require.NoError(t, err)
		b := &breaker.Transport{MinRequests: 5, OpenTime: time.Second, Probes: 1}
		h.Transport = b
		front := httptest.NewUnstartedServer(h)
		front.EnableHTTP2 = h2
		front.StartTLS()
		get := func(ctx context.Context) (int, string) {
			r, err := http.NewRequestWithContext(ctx, "GET", front.URL, nil)
			require.NoError(t, err)
			resp, err := front.Client().Do(r)
			if err != nil {
				return 0, ""
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode, resp.Header.Get("Retry-After")
		}
		breaks.Store(true)
		for range 5 {
			_, _ = get(t.Context())
		}
		status, again := get(t.Context())
		require.Equal(t, []any{503, "1"}, []any{status, again})
		require.Equal(t, breaker.Open, b.Stats().State)

		both, err := balancer.New(balancer.Config{Name: "both", Method: balancer.First{}},
			balancer.MemberConfig{URL: origin.URL, RoundTripper: b}, balancer.MemberConfig{URL: "http://other", RoundTripper: well{}})
		require.NoError(t, err)
		resp, err := both.RoundTrip(httptest.NewRequest("POST", "balancer://both/", nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		require.True(t, both.Members()[0].Usable(), "it was not even asked")
		require.NoError(t, both.Close())

		breaks.Store(false)
		holds.Store(true)
		require.Eventually(t, func() bool { return time.Now().After(b.Stats().Until) }, 10*time.Second, time.Millisecond)
		ctx, leave := context.WithCancel(t.Context())
		go func() { <-reached; holds.Store(false); leave() }()
		_, _ = get(ctx)
		require.Eventually(t, func() bool { status, _ := get(t.Context()); return status == 200 }, 10*time.Second, time.Millisecond)
		require.Equal(t, breaker.Closed, b.Stats().State)
		require.Equal(t, int64(1), b.Stats().Opened)
		front.Close()
		h.CloseIdleConnections()
		origin.Close()
	}
}

type well struct{}

func (well) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{}, Body: http.NoBody}, nil
}
