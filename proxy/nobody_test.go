package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/proxy"
)

// foreign is another library's transport.
type foreign func(*http.Request) (*http.Response, error)

func (f foreign) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestNoBody: a request without a body comes to any transport with http.NoBody,
// and no length, whatever it was before.
func TestNoBody(t *testing.T) {
	target := &url.URL{Scheme: "http", Host: "b.test"}
	balanced := func(rt http.RoundTripper) http.RoundTripper {
		b, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: "http://b.test", RoundTripper: rt})
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	served := func(h *proxy.Handler) http.RoundTripper {
		return foreign(func(r *http.Request) (*http.Response, error) {
			in := httptest.NewRequest(r.Method, "http://front.test/", nil)
			in.Body = r.Body
			w := httptest.NewRecorder()
			h.ServeHTTP(w, in)
			return w.Result(), nil
		})
	}
	for name, front := range map[string]func(rt http.RoundTripper) http.RoundTripper{
		"Handler": func(rt http.RoundTripper) http.RoundTripper {
			return served(&proxy.Handler{Target: target, Transport: rt})
		},
		"Handler with Rewrite": func(rt http.RoundTripper) http.RoundTripper {
			return served(&proxy.Handler{Transport: rt, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
		},
		"balancer": balanced,
		"cache before a balancer": func(rt http.RoundTripper) http.RoundTripper {
			return new(cache.Cache).Transport(balanced(rt))
		},
		"Handler, balancer": func(rt http.RoundTripper) http.RoundTripper {
			return served(&proxy.Handler{Target: target, Transport: balanced(rt)})
		},
	} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			for _, body := range []io.ReadCloser{nil, http.NoBody} {
				t.Run(name+"/"+method, func(t *testing.T) {
					seen := false
					rt := front(foreign(func(r *http.Request) (*http.Response, error) {
						seen = true
						require.Equal(t, http.NoBody, r.Body)
						require.Zero(t, r.ContentLength)
						return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), ContentLength: 0}, nil
					}))
					r, err := http.NewRequest(method, "http://b.test/", nil)
					require.NoError(t, err)
					r.Body = body
					resp, err := rt.RoundTrip(r)
					require.NoError(t, err)
					_ = resp.Body.Close()
					require.True(t, seen)
				})
			}
		}
	}
}
