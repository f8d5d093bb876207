package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// sites is a backend with a certificate for each of its sites.
type sites struct {
	*httptest.Server
	roots *x509.CertPool

	mu      sync.Mutex
	wrong   []string // requests that came over a connection for another name
	resumed map[string]int
}

func startSites(t *testing.T, h2 bool, names ...string) *sites {
	s := &sites{roots: x509.NewCertPool(), resumed: make(map[string]int)}
	certs := make(map[string]*tls.Certificate)
	for _, name := range names {
		cert := certificateFor(t, name)
		s.roots.AddCert(cert.Leaf)
		certs[name] = cert
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(strings.TrimSuffix(strings.ToLower(r.Host), "."), ":")
		s.mu.Lock()
		defer s.mu.Unlock()
		if host = strings.TrimSuffix(host, "."); r.TLS.ServerName != host {
			s.wrong = append(s.wrong, r.TLS.ServerName+" for "+r.Host)
		}
		if r.TLS.DidResume {
			s.resumed[r.TLS.ServerName]++
		}
		_, _ = io.WriteString(w, r.TLS.ServerName)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = h2
	s.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name := hello.ServerName
		if certs[name] == nil {
			if _, parent, ok := strings.Cut(name, "."); ok {
				name = "*." + parent
			}
		}
		if cert := certs[name]; cert != nil {
			return cert, nil
		}
		return nil, errors.New("no such site")
	}}
	s.StartTLS()
	s.TLS.Certificates = nil
	t.Cleanup(s.Close)
	return s
}

func certificateFor(t *testing.T, name string) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestServerNameFromHost: with PreserveHost, or a Host that Rewrite has set, each
// request goes over a connection to that name.
func TestServerNameFromHost(t *testing.T) {
	for name, tc := range map[string]struct {
		scheme string
		h2     bool
	}{"HTTP/1.1": {"https", false}, "HTTP/2": {"h2", true}, "HTTP/2 by ALPN": {"https", true}, "HTTP/1.1 by ALPN": {"https", false}} {
		t.Run(name, func(t *testing.T) {
			s := startSites(t, tc.h2, "a.example", "b.example", "backend.example", "*.many.example")
			u, err := url.Parse(s.URL)
			require.NoError(t, err)
			u.Scheme = tc.scheme
			b := &backend.Backend{URL: u, ServerNameFromHost: true, MaxIdle: 3, TLS: &tls.Config{RootCAs: s.roots, ServerName: "backend.example"}}
			if strings.HasSuffix(name, "ALPN") {
				b.TLS.NextProtos = []string{"h2", "http/1.1"}
			}
			rt := &proxy.Transport{Backend: b}
			defer b.Close()
			defer rt.CloseIdleConnections()
			h, err := proxy.NewHandler("/", u.String())
			require.NoError(t, err)
			h.Transport, h.PreserveHost = rt, true
			get := func(host string) (int, string) {
				r := httptest.NewRequest("GET", "/", nil)
				r.Host = host
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w.Code, w.Body.String()
			}
			for range 2 {
				for _, host := range []string{"a.example", "b.example", "A.EXAMPLE.:8443", "a.example:443", "backend.example"} {
					code, body := get(host)
					require.Equal(t, http.StatusOK, code, host)
					require.Equal(t, strings.TrimSuffix(strings.ToLower(strings.Split(host, ":")[0]), "."), body)
				}
			}
			require.EqualValues(t, 3, b.Stats().Created, "one connection for each name")

			// A name that the client makes up is its own fault.
			b.Retry = time.Hour
			code, _ := get("unknown.example")
			require.Equal(t, http.StatusBadGateway, code)
			require.Equal(t, backend.StateUsable, b.State())
			r, err := http.NewRequest("GET", u.String(), nil)
			require.NoError(t, err)
			r.Host = "unknown.example"
			_, err = rt.RoundTrip(r)
			var named *backend.ServerNameError
			require.ErrorAs(t, err, &named)
			require.Equal(t, "unknown.example", named.Name)
			require.Equal(t, exchange.Blameless, exchange.FailureOf(err).Blame)

			// Nor may it fill the table of sockets.
			for i := range 20 {
				code, _ := get(fmt.Sprintf("n%d.many.example", i))
				require.Equal(t, http.StatusOK, code)
			}
			require.Eventually(t, func() bool { return b.Stats().Open <= 3 }, 10*time.Second, time.Millisecond)

			// A session is resumed for its own name.
			rt.CloseIdleConnections()
			b.CloseIdle(100)
			code, _ = get("a.example")
			require.Equal(t, http.StatusOK, code)
			s.mu.Lock()
			defer s.mu.Unlock()
			require.Empty(t, s.wrong)
			require.Equal(t, map[string]int{"a.example": 1}, s.resumed)
		})
	}
}

// TestServerNameOfChecks: what has no Host is sent to the backend's own name.
func TestServerNameOfChecks(t *testing.T) {
	s := startSites(t, false, "backend.example")
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	b := &backend.Backend{URL: u, ServerNameFromHost: true, TLS: &tls.Config{RootCAs: s.roots, ServerName: "backend.example"}}
	defer b.Close()
	require.NoError(t, b.Probe(t.Context()))
	c, err := b.Get(backend.WithCheck(t.Context()))
	require.NoError(t, err)
	c.Release(false)
}
