package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// clientFronts serve a handler over each protocol and return its URL and a
// client that speaks it.
var clientFronts = map[string]func(t *testing.T, h http.Handler) (string, *http.Client){
	"http/1.1": func(t *testing.T, h http.Handler) (string, *http.Client) {
		return frontOf(t, h).URL, client(t)
	},
	"https": func(t *testing.T, h http.Handler) (string, *http.Client) { return tlsClient(t, h, false) },
	"h2":    func(t *testing.T, h http.Handler) (string, *http.Client) { return tlsClient(t, h, true) },
	"h2c": func(t *testing.T, h http.Handler) (string, *http.Client) {
		s := httptest.NewUnstartedServer(h)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		t.Cleanup(s.Close)
		cl := client(t)
		cl.Transport.(*http.Transport).Protocols = s.Config.Protocols
		return s.URL, cl
	},
}

func tlsClient(t *testing.T, h http.Handler, http2 bool) (string, *http.Client) {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	cl := client(t)
	tr := cl.Transport.(*http.Transport)
	tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	tr.ForceAttemptHTTP2 = http2
	return s.URL, cl
}

// onUnixSocket serves h there and returns the backend for it.
func onUnixSocket(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	b := testBackend(t, mustParse(t, "http://name"))
	b.Socket = path
	return b.URL, b
}

// TestEventsArriveOneByOne: each event is with the client before the next is
// sent, whatever is spoken on the two sides, and the end of the client is the
// end of the stream at the backend.
func TestEventsArriveOneByOne(t *testing.T) {
	backends := map[string]func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend){
		"http": protocols["http"], "https": protocols["https"], "h2c": protocols["h2c"], "unix": onUnixSocket,
	}
	for behind, startBackend := range backends {
		for front, startFront := range clientFronts {
			t.Run(front+" to "+behind, func(t *testing.T) {
				seen, left := make(chan struct{}), make(chan struct{})
				u, b := startBackend(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(left)
					w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
					w.Header().Set("Cache-Control", "no-store")
					for i := 0; ; i++ {
						fmt.Fprintf(w, "id: %d\ndata: x\n\n", i)
						_ = http.NewResponseController(w).Flush()
						select {
						case <-seen:
						case <-r.Context().Done():
							return
						}
					}
				}))
				b.Timeout = 20 * time.Second
				tr := &Transport{Backend: b}
				t.Cleanup(tr.CloseIdleConnections)
				rec := &recorder{}
				at, cl := startFront(t, &Handler{Target: u, Transport: tr, OnRecord: rec.add})
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				req, err := http.NewRequestWithContext(ctx, "GET", at, nil)
				require.NoError(t, err)
				resp, err := cl.Do(req)
				require.NoError(t, err)
				defer resp.Body.Close()
				require.Equal(t, "text/event-stream; charset=utf-8", resp.Header.Get("Content-Type"))
				for i := range 5 {
					event := fmt.Sprintf("id: %d\ndata: x\n\n", i)
					got := make([]byte, len(event))
					_, err = io.ReadFull(resp.Body, got)
					require.NoError(t, err)
					require.Equal(t, event, string(got))
					seen <- struct{}{}
				}
				leave()
				select {
				case <-left:
				case <-time.After(10 * time.Second):
					t.Fatal("the stream goes on behind the proxy")
				}
				require.Equal(t, exchange.StatusClientClosedRequest, rec.last(t).Status)
				require.Zero(t, b.Stats().Errors)
			})
		}
	}
}
