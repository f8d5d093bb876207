package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// roundTrippers are all that the library has, each over connections of b.
var roundTrippers = map[string]struct {
	url string
	of  func(t *testing.T, b *backend.Backend) http.RoundTripper
}{
	"http":  {"http://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} }},
	"https": {"https://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} }},
	"https that offers h2": {"https://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper {
		b.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
		return &proxy.Transport{Backend: b}
	}},
	"h2":   {"h2://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} }},
	"h2c":  {"h2c://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} }},
	"fcgi": {"fcgi://b.test/x.php", func(_ *testing.T, b *backend.Backend) http.RoundTripper { return &fcgi.Transport{Backend: b} }},
	"ajp":  {"ajp://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b} }},
	"ftp": {"ftp://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper {
		return &ftpproxy.Transport{Backend: b, AllowPut: true}
	}},
	"connect": {"http://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper {
		return &connect.Transport{Dialer: &connect.Dialer{Proxy: &url.URL{Scheme: "http", Host: "parent.test"}, DialParent: b.DialContext}}
	}},
	"connect, by a tunnel": {"https://b.test/x", func(_ *testing.T, b *backend.Backend) http.RoundTripper {
		return &connect.Transport{Dialer: &connect.Dialer{Proxy: &url.URL{Scheme: "http", Host: "parent.test"}, DialParent: b.DialContext}}
	}},
	"balancer": {"http://b.test/x", func(t *testing.T, b *backend.Backend) http.RoundTripper {
		lb, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: "http://b.test", RoundTripper: &proxy.Transport{Backend: b}})
		require.NoError(t, err)
		t.Cleanup(func() { _ = lb.Close() })
		return lb
	}},
	"cache": {"http://b.test/x", func(t *testing.T, b *backend.Backend) http.RoundTripper {
		c := new(cache.Cache)
		t.Cleanup(c.Close)
		return c.Transport(&proxy.Transport{Backend: b})
	}},
}

// onceClosedBody counts how often it is closed.
type onceClosedBody struct {
	*strings.Reader
	closed atomic.Int32
}

func (b *onceClosedBody) Close() error { b.closed.Add(1); return nil }

// TestInvalidRequests: what cannot be sent is refused before a connection is
// dialled, with a typed error and 400, its body closed once.
func TestInvalidRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(r *http.Request)
		not   []string // protocols to which it is no fault
	}{
		"method with a blank":           {spoil: func(r *http.Request) { r.Method = "GET /evil" }},
		"method with a line end":        {spoil: func(r *http.Request) { r.Method = "GET\r\nA: b" }},
		"no URL":                        {spoil: func(r *http.Request) { r.URL = nil }},
		"no host":                       {spoil: func(r *http.Request) { r.URL.Host, r.Host = "", "a b" }},
		"host with a line end":          {spoil: func(r *http.Request) { r.Host = "b.test\r\nA: b" }},
		"host with a path":              {spoil: func(r *http.Request) { r.Host = "b.test/x" }},
		"unknown scheme":                {spoil: func(r *http.Request) { r.URL.Scheme = "gopher" }, not: []string{"balancer", "connect", "connect, by a tunnel"}},
		"no scheme":                     {spoil: func(r *http.Request) { r.URL.Scheme = "" }, not: []string{"balancer"}},
		"query with a line end":         {spoil: func(r *http.Request) { r.URL.RawQuery = "a=b\r\nc" }},
		"field name with a blank":       {spoil: func(r *http.Request) { r.Header["A b"] = []string{"c"} }},
		"field name with a colon":       {spoil: func(r *http.Request) { r.Header["A:b"] = []string{"c"} }},
		"empty field name":              {spoil: func(r *http.Request) { r.Header[""] = []string{"c"} }},
		"field value with a line end":   {spoil: func(r *http.Request) { r.Header["A"] = []string{"b", "c\r\nd: e"} }},
		"field value with a NUL":        {spoil: func(r *http.Request) { r.Header["A"] = []string{"b\x00"} }},
		"field value with a DEL":        {spoil: func(r *http.Request) { r.Header["A"] = []string{"b\x7f"} }},
		"Connection with a line end":    {spoil: func(r *http.Request) { r.Header["Connection"] = []string{"a\r\nb: c"} }},
		"trailer name with a blank":     {spoil: func(r *http.Request) { r.Trailer = http.Header{"A b": nil} }},
		"trailer value with a line end": {spoil: func(r *http.Request) { r.Trailer = http.Header{"A": {"b\r\nc: d"}} }},
		"trailer Content-Length":        {spoil: func(r *http.Request) { r.Trailer = http.Header{"Content-Length": nil} }},
		"trailer transfer-encoding":     {spoil: func(r *http.Request) { r.Trailer = http.Header{"transfer-encoding": nil} }},
		"trailer Trailer":               {spoil: func(r *http.Request) { r.Trailer = http.Header{"Trailer": nil} }},
	} {
		for protocol, p := range roundTrippers {
			for _, known := range []bool{true, false} {
				t.Run(name+"/"+protocol, func(t *testing.T) {
					u, err := url.Parse(p.url)
					require.NoError(t, err)
					var dialled atomic.Int32
					b := &backend.Backend{URL: &url.URL{Scheme: u.Scheme, Host: u.Host}, DialContext: func(context.Context, string, string) (net.Conn, error) {
						dialled.Add(1)
						return nil, errors.New("dialled")
					}}
					rt := p.of(t, b)
					body := &onceClosedBody{Reader: strings.NewReader("body")}
					r := &http.Request{Method: "PUT", URL: u, Header: http.Header{}, Body: body, ContentLength: 4}
					if !known {
						r.ContentLength = -1
					}
					tc.spoil(r)
					resp, err := rt.RoundTrip(r)
					for _, n := range tc.not {
						if n == protocol {
							return
						}
					}
					require.Error(t, err, "%v", resp)
					require.Zero(t, dialled.Load(), "dialled: %v", err)
					require.EqualValues(t, 1, body.closed.Load(), "closed")
					var e *exchange.Error
					require.ErrorAs(t, err, &e)
					if u := r.URL; u == nil || u.Scheme == strings.SplitN(p.url, ":", 2)[0] {
						require.Equal(t, http.StatusBadRequest, exchange.StatusOf(err), "%v", err)
						require.False(t, exchange.MayResend(err))
					}
				})
			}
		}
	}
}
