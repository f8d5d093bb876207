package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	fcgiproxy "github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// answers is the application behind every protocol.
var answers = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/hint") {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	}
	plain(w, r)
})

// plain has no interim answers.
var plain = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	n := int64(0)
	if r.ContentLength != 0 { // net/http/fcgi has one empty body for all
		n, _ = io.Copy(io.Discard, r.Body)
	}
	_, _ = fmt.Fprintf(w, "%d bytes", n)
})

// wire is a way to reach an application.
type wire struct {
	secure, streams, interim bool // TLS is spoken, HTTP/2 is, interim answers are known
	start                    func(t *testing.T) (*url.URL, func(*backend.Backend) http.RoundTripper)
}

var wires = map[string]wire{
	"http":  {interim: true, start: startHTTP("http", false)},
	"https": {secure: true, interim: true, start: startHTTP("https", false)},
	"h2":    {secure: true, streams: true, interim: true, start: startHTTP("h2", true)},
	"h2c":   {streams: true, interim: true, start: startHTTP("h2c", true)},
	"ajp":   {interim: true, start: startAJP},
	"fcgi":  {start: startFCGI},
}

func startHTTP(scheme string, h2 bool) func(t *testing.T) (*url.URL, func(*backend.Backend) http.RoundTripper) {
	return func(t *testing.T) (*url.URL, func(*backend.Backend) http.RoundTripper) {
		s := httptest.NewUnstartedServer(answers)
		s.EnableHTTP2 = h2
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(!h2)
		s.Config.Protocols.SetHTTP2(h2)
		s.Config.Protocols.SetUnencryptedHTTP2(h2)
		secure := scheme == "https" || scheme == "h2"
		if secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		u, err := url.Parse(s.URL)
		require.NoError(t, err)
		u.Scheme = scheme
		return u, func(b *backend.Backend) http.RoundTripper {
			if secure {
				roots := x509.NewCertPool()
				roots.AddCert(s.Certificate())
				b.TLS = &tls.Config{RootCAs: roots, ServerName: "example.com"}
			}
			return &proxy.Transport{Backend: b}
		}
	}
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func startAJP(t *testing.T) (*url.URL, func(*backend.Backend) http.RoundTripper) {
	l := listen(t)
	s := &ajp.Server{Handler: answers, SendInterim: true}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return &url.URL{Scheme: "ajp", Host: l.Addr().String()}, func(b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b} }
}

func startFCGI(t *testing.T) (*url.URL, func(*backend.Backend) http.RoundTripper) {
	l := listen(t)
	done := make(chan struct{})
	go func() { defer close(done); _ = fcgi.Serve(l, plain) }()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return &url.URL{Scheme: "fcgi", Host: l.Addr().String()}, func(b *backend.Backend) http.RoundTripper { return &fcgiproxy.Transport{Backend: b} }
}

// open starts an application, and returns its URL and what speaks to it.
func (w wire) open(t *testing.T) (*url.URL, http.RoundTripper, *backend.Backend) {
	u, transport := w.start(t)
	b := &backend.Backend{URL: u}
	rt := transport(b)
	t.Cleanup(func() {
		if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
		_ = b.Close()
	})
	return u, rt, b
}

// expected is what hooks are told of one request over a wire.
func (w wire) expected(reused, body, hint bool) map[string]int {
	m := events("GetConn", fmt.Sprintf("GotConn reused=%v idle=%v", reused, reused), "Field", "WroteHeaders", "WroteRequest", "FirstByte")
	if !w.streams {
		m["PutIdleConn"]++
	}
	if !reused {
		m["ConnectStart"]++
		m["ConnectDone"]++
		if w.secure {
			m["TLSStart"]++
			m["TLSDone"]++
		}
	}
	if hint && w.interim {
		m["Got 103"]++
	}
	return m
}
