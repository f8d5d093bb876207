package proxy_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestDeafDial: RoundTrip returns when its context ends although a DialContext does
// not. The connection that comes late is closed, the body is closed once, and the
// request is as it was.
func TestDeafDial(t *testing.T) {
	for name, p := range roundTrippers {
		for _, upload := range []bool{false, true} {
			for _, leaves := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						u, err := url.Parse(p.url)
						require.NoError(t, err)
						var late atomic.Int32
						b := &backend.Backend{URL: &url.URL{Scheme: u.Scheme, Host: u.Host}, DialContext: func(context.Context, string, string) (net.Conn, error) {
							time.Sleep(limit)
							near, far := net.Pipe()
							late.Add(1)
							go func() {
								defer far.Close()
								_, _ = far.Read(make([]byte, 1)) // until it is closed
								late.Add(-1)
							}()
							return near, nil
						}}
						rt := p.of(t, b)
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						if leaves {
							ctx, cancel = context.WithCancel(t.Context())
							time.AfterFunc(time.Second, cancel)
						}
						defer cancel()
						r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
						require.NoError(t, err)
						body := &onceClosedBody{Reader: strings.NewReader("body")}
						if upload {
							r.Method, r.Body, r.ContentLength = http.MethodPut, body, 4
						}
						before, at, fields := *r, *r.URL, r.Header.Clone()
						begun := time.Now()
						_, err = rt.RoundTrip(r)
						require.Error(t, err)
						require.Less(t, time.Since(begun), 1500*time.Millisecond)
						var e *exchange.Error
						require.ErrorAs(t, err, &e)
						require.Equal(t, !leaves, e.Timeout(), "%v", err)
						require.True(t, reflect.DeepEqual(before, *r) && at == *r.URL && reflect.DeepEqual(fields, r.Header), "the request was changed")
						time.Sleep(3 * limit)
						synctest.Wait()
						require.Zero(t, late.Load(), "connections that came late")
						if upload {
							require.EqualValues(t, 1, body.closed.Load(), "closed")
						}
						_ = b.Close()
						if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
							c.CloseIdleConnections()
						}
						if c, ok := rt.(interface{ Close() error }); ok {
							_ = c.Close()
						}
						time.Sleep(10 * limit)
					})
				})
			}
		}
	}
}

// TestDialOfNothing: a DialContext that returns neither a connection nor an error
// is one that has failed.
func TestDialOfNothing(t *testing.T) {
	nothing := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	for name, p := range roundTrippers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u, err := url.Parse(p.url)
				require.NoError(t, err)
				b := &backend.Backend{URL: &url.URL{Scheme: u.Scheme, Host: u.Host}, DialContext: nothing}
				rt := p.of(t, b)
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url, nil)
				require.NoError(t, err)
				_, err = rt.RoundTrip(r)
				require.ErrorContains(t, err, "no connection and no error")
				require.Equal(t, http.StatusServiceUnavailable, exchange.StatusOf(err), "%v", err)
				_ = b.Close()
				if c, ok := rt.(interface{ Close() error }); ok {
					_ = c.Close()
				}
			})
		})
	}
	w := httptest.NewRecorder()
	(&connect.Handler{Clients: &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}, DialContext: nothing}).
		ServeHTTP(w, httptest.NewRequest(http.MethodConnect, "a.test:443", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}
