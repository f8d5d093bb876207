package proxy_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
)

// hintPanics is the writer of middleware that panics at an interim answer.
type hintPanics struct{ *httptest.ResponseRecorder }

func (w hintPanics) WriteHeader(code int) {
	if code < 200 {
		panic(http.ErrAbortHandler)
	}
	w.ResponseRecorder.WriteHeader(code)
}

// TestPanicsLeaveNothingBehind: when a hook, a dialler or the client's writer
// panics, which net/http's server survives, the one connection that a backend
// may have is free for the next request, and so is the one place of a member.
func TestPanicsLeaveNothingBehind(t *testing.T) {
	boom := func() { panic(http.ErrAbortHandler) }
	hooks := map[string]*httptrace.ClientTrace{
		"GetConn":           {GetConn: func(string) { boom() }},
		"GotConn":           {GotConn: func(httptrace.GotConnInfo) { boom() }},
		"PutIdleConn":       {PutIdleConn: func(error) { boom() }},
		"FirstByte":         {GotFirstResponseByte: boom},
		"Got1xxResponse":    {Got1xxResponse: func(int, textproto.MIMEHeader) error { boom(); return nil }},
		"WroteHeaders":      {WroteHeaders: boom},
		"WroteHeaderField":  {WroteHeaderField: func(string, []string) { boom() }},
		"WroteRequest":      {WroteRequest: func(httptrace.WroteRequestInfo) { boom() }},
		"ConnectStart":      {ConnectStart: func(_, _ string) { boom() }},
		"ConnectDone":       {ConnectDone: func(_, _ string, _ error) { boom() }},
		"TLSHandshakeStart": {TLSHandshakeStart: boom},
		"TLSHandshakeDone":  {TLSHandshakeDone: func(tls.ConnectionState, error) { boom() }},
		"writer":            nil,
		"dialler":           nil,
	}
	stands := map[string]func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper{
		"alone": between["nothing"],
		"member": func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper {
			b, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: u.String(), RoundTripper: rt, MaxInFlight: 1, WaitTimeout: 5 * time.Second})
			require.NoError(t, err)
			t.Cleanup(func() {
				for _, m := range b.Members() {
					require.Zero(t, m.Busy())
				}
				_ = b.Close()
			})
			return b
		},
	}
	for protocol, w := range wires {
		for name, trace := range hooks {
			switch name {
			case "FirstByte", "WroteHeaders", "WroteHeaderField", "WroteRequest":
				if w.streams {
					continue // told on goroutines of the HTTP/2 client
				}
			}
			for where, stand := range stands {
				t.Run(protocol+", "+name+", "+where, func(t *testing.T) {
					u, rt, b := w.open(t)
					b.MaxConns, b.AcquireTimeout = 1, 5*time.Second
					panics := true
					if name == "dialler" {
						b.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
							if panics {
								boom()
							}
							return new(net.Dialer).DialContext(ctx, network, address)
						}
					}
					h := &proxy.Handler{Target: u, Transport: stand(t, u, rt)}
					do := func() (code int) {
						defer func() {
							if recover() != nil {
								code = 0
							}
						}()
						r := httptest.NewRequest("GET", "/hint", nil)
						rec := httptest.NewRecorder()
						to := http.ResponseWriter(&finalOnly{rec})
						if panics && trace != nil {
							r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
						}
						if panics && name == "writer" {
							to = hintPanics{rec}
						}
						h.ServeHTTP(to, r)
						return rec.Code
					}
					do()
					do()
					if name == "ConnectDone" {
						runtime.GC() // the connection was net.Dialer's own yet: the collector closes it
					}
					panics = false
					require.Equal(t, 200, do())
				})
			}
		}
	}
}
