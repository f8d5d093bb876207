package proxy_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// TestRetryAfter: a lone backend in the error state tells clients when it is
// worth coming again, over every protocol.
func TestRetryAfter(t *testing.T) {
	for scheme, transport := range map[string]func(*backend.Backend) http.RoundTripper{
		"http": func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
		"h2c":  func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
		"fcgi": func(b *backend.Backend) http.RoundTripper { return &fcgi.Transport{Backend: b} },
		"ajp":  func(b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b} },
		"ftp":  func(b *backend.Backend) http.RoundTripper { return &ftpproxy.Transport{Backend: b} },
	} {
		t.Run(scheme, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				target := &url.URL{Scheme: scheme, Host: "down.test", Path: "/"}
				b := &backend.Backend{URL: target, Retry: time.Minute}
				dials := 0
				b.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					if dials++; dials > 1 {
						<-ctx.Done() // the trial lasts
						return nil, ctx.Err()
					}
					return nil, errors.New("refused")
				}
				defer b.Close()
				h := &proxy.Handler{Target: target, Transport: transport(b)}
				ask := func(ctx context.Context) (retryAfter string) {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "http://front.test/", nil))
					require.Equal(t, http.StatusServiceUnavailable, w.Code)
					return w.Header().Get("Retry-After")
				}
				require.Equal(t, "60", ask(t.Context()), "it has failed just now")
				time.Sleep(20*time.Second + time.Millisecond)
				require.Equal(t, "40", ask(t.Context()))
				require.Equal(t, 1, dials)
				time.Sleep(40 * time.Second)
				ctx, leave := context.WithCancel(t.Context())
				go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "http://front.test/", nil))
				synctest.Wait()
				require.Equal(t, "1", ask(t.Context()), "another request probes it")
				leave()
				synctest.Wait()
				b.SetFlags(backend.Disabled, 0)
				require.Empty(t, ask(t.Context()), "nobody knows for how long")
			})
		})
	}
}
