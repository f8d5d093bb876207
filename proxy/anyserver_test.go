package proxy_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// cutTransport answers with a part of a body.
type cutTransport struct{ length int64 }

func (c cutTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Cache-Control": {"max-age=60"}, "Content-Type": {"text/plain"}}
	if c.length > 0 {
		h.Set("Content-Length", "99")
	}
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: h, ContentLength: c.length, Request: r,
		Body: io.NopCloser(io.MultiReader(strings.NewReader("a part"), iotest.ErrReader(io.ErrUnexpectedEOF))),
	}, nil
}

// TestNoCleanEndUnderAnyServer: a server ends an answer whose handler returns,
// and it need not be one of net/http's. So a handler whose answer broke off does
// not return, through whatever lies around it, and it is logged all the same.
func TestNoCleanEndUnderAnyServer(t *testing.T) {
	type wrap func(t *testing.T, tr http.RoundTripper) http.Handler
	handler := func(tr http.RoundTripper) *proxy.Handler {
		return &proxy.Handler{Target: &url.URL{Scheme: "http", Host: "back.test", Path: "/"}, Transport: tr}
	}
	caching := func(t *testing.T) *cache.Cache {
		c := new(cache.Cache)
		t.Cleanup(c.Close)
		return c
	}
	var log bytes.Buffer
	for name, around := range map[string]wrap{
		"alone": func(t *testing.T, tr http.RoundTripper) http.Handler { return handler(tr) },
		"logging": func(t *testing.T, tr http.RoundTripper) http.Handler {
			h := handler(tr)
			h.Logger = slog.New(slog.NewTextHandler(&log, nil))
			return h
		},
		"access log": func(t *testing.T, tr http.RoundTripper) http.Handler {
			return (&accesslog.Handler{Output: &log}).Wrap(handler(tr))
		},
		"observer": func(t *testing.T, tr http.RoundTripper) http.Handler {
			return (&proxy.Observer{Done: func(_ *http.Request, rec *exchange.Record) { log.WriteString(rec.Err.Error()) }}).Wrap(handler(tr))
		},
		"client limits": func(t *testing.T, tr http.RoundTripper) http.Handler {
			return new(proxy.ClientLimits).Wrap(handler(tr))
		},
		"cache in front": func(t *testing.T, tr http.RoundTripper) http.Handler { return caching(t).Wrap(handler(tr)) },
		"cache behind":   func(t *testing.T, tr http.RoundTripper) http.Handler { return handler(caching(t).Transport(tr)) },
		"forward proxy": func(t *testing.T, tr http.RoundTripper) http.Handler {
			all := &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}
			return &proxy.Forward{Clients: &access.Clients{Access: all}, Transports: map[string]http.RoundTripper{"http": tr}}
		},
	} {
		for size, length := range map[string]int64{"known length": 99, "unknown length": -1} {
			t.Run(name+"/"+size, func(t *testing.T) {
				log.Reset()
				w := httptest.NewRecorder()
				r := httptest.NewRequest("GET", "http://93.184.216.34/", nil)
				require.True(t, proxy.Aborts(around(t, cutTransport{length}), w, r))
				require.Equal(t, "a part", w.Body.String())
				if name == "logging" || name == "access log" || name == "observer" {
					require.NotEmpty(t, log.String())
				}
			})
		}
	}
}
