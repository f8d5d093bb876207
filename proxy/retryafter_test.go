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
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/wstunnel"
)

// TestRetryAfter: whoever is told 503, and when it ends is known, is told that.
func TestRetryAfter(t *testing.T) {
	const retry = 30 * time.Second
	everybody := &access.Clients{Access: &access.Access{}}
	down := func(at string) *backend.Backend {
		u, err := url.Parse(at)
		require.NoError(t, err)
		return &backend.Backend{URL: u, Retry: retry, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("refused")
		}}
	}
	behind := func(at string, make func(b *backend.Backend) http.RoundTripper) http.Handler {
		b := down(at)
		return &proxy.Handler{Target: b.URL, Transport: make(b)}
	}
	http1 := func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} }
	for name, make := range map[string]func(t *testing.T) http.Handler{
		"http":   func(*testing.T) http.Handler { return behind("http://b.test", http1) },
		"h2c":    func(*testing.T) http.Handler { return behind("h2c://b.test", http1) },
		"upload": func(*testing.T) http.Handler { return behind("http://b.test", http1) },
		"fcgi": func(*testing.T) http.Handler {
			return behind("fcgi://b.test/a.php", func(b *backend.Backend) http.RoundTripper { return &fcgi.Transport{Backend: b} })
		},
		"ajp": func(*testing.T) http.Handler {
			return behind("ajp://b.test", func(b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b} })
		},
		"ftp": func(*testing.T) http.Handler {
			return behind("ftp://b.test", func(b *backend.Backend) http.RoundTripper { return &ftpproxy.Transport{Backend: b} })
		},
		"WebSocket": func(*testing.T) http.Handler {
			return &wstunnel.Handler{Proxy: behind("ws://b.test", http1).(*proxy.Handler)}
		},
		"authorizer": func(*testing.T) http.Handler {
			b := down("fcgi://b.test/a.php")
			return (&fcgi.Authorizer{URL: b.URL, Transport: &fcgi.Transport{Backend: b}}).Wrap(http.NotFoundHandler())
		},
		"balancer": func(t *testing.T) http.Handler {
			b, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: "http://b.test", Retry: retry, RoundTripper: &proxy.Transport{Backend: down("http://b.test")}})
			require.NoError(t, err)
			t.Cleanup(func() { _ = b.Close() })
			return &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "b"}, Transport: b}
		},
		"forward": func(*testing.T) http.Handler {
			return &proxy.Forward{Clients: everybody, Destinations: &access.Destinations{AllowPrivate: true}, Transports: map[string]http.RoundTripper{"http": &proxy.Transport{Backend: down("http://a.test")}}}
		},
		"forward, refused": func(*testing.T) http.Handler {
			return &proxy.Forward{Clients: &access.Clients{Allow: func(*http.Request) error {
				return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusServiceUnavailable, RetryAfter: retry, Err: errors.New("busy")}
			}}}
		},
		"CONNECT": func(*testing.T) http.Handler {
			return &connect.Handler{Clients: everybody, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, &exchange.Error{Op: exchange.OpDial, RetryAfter: retry, Err: errors.New("refused")}
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := make(t)
				for range 2 { // the first puts the backend into the error state
					r := httptest.NewRequest("GET", "http://a.test/", nil)
					switch name {
					case "upload":
						r = httptest.NewRequest("POST", "http://a.test/", http.NoBody)
					case "CONNECT":
						r.Method, r.RequestURI, r.Host, r.URL = "CONNECT", "a.test:443", "a.test:443", &url.URL{Host: "a.test:443"}
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r.WithContext(t.Context()))
					require.Equal(t, http.StatusServiceUnavailable, w.Code)
					require.Equal(t, "30", w.Header().Get("Retry-After"), "%s", w.Body)
				}
			})
		})
	}
}
