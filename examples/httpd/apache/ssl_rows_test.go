package apache

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/examples/programs"
)

// tlsRow is a client of both servers.
type tlsRow struct {
	name    string
	sni     string // "" for none
	host    string // of the request; "" for that of sni, "-" for none
	path    string
	cert    string   // of the client, by its file
	version uint16   // the only one that the client speaks
	suites  []uint16 // up to TLS 1.2
	alpn    string   // protocols offered, separated by blanks
	differs string   // what is ours, and meant: no certificate is asked for twice
}

var tlsRows = []tlsRow{
	{name: "the first", sni: "a.test"},
	{name: "TLS 1.2", sni: "a.test", version: tls.VersionTLS12},
	{name: "TLS 1.1", sni: "a.test", version: tls.VersionTLS11},
	{name: "no SNI", host: "a.test"},
	{name: "no SNI, another host", host: "b.test"},
	{name: "unknown SNI", sni: "zzz.test", host: "a.test"},
	{name: "unknown SNI and host", sni: "zzz.test"},
	{name: "host in capital letters", sni: "a.test", host: "A.TEST"},
	{name: "another certificate", sni: "b.test"},
	{name: "misdirected", sni: "a.test", host: "b.test"},
	{name: "misdirected, unknown host", sni: "b.test", host: "zzz.test"},
	{name: "same TLS", sni: "a.test", host: "same.test"},
	{name: "other authentication", sni: "a.test", host: "require.test"},
	{name: "without SSLEngine", sni: "plain.test"},
	{name: "without SSLEngine, misdirected", sni: "a.test", host: "plain.test"},
	{name: "no Host", sni: "a.test", host: "-"},
	{name: "variables", sni: "a.test", path: "/env"},
	{name: "SSLRequireSSL", sni: "a.test", path: "/tls"},
	{name: "Location of the backend", sni: "a.test", path: "/moved/x"},
	{name: "Location of the backend, h2", sni: "b.test", path: "/moved/x", alpn: "h2"},
	{name: "Location of the backend, UseCanonicalName", sni: "same.test", path: "/moved/x"},
	{name: "redirect", sni: "a.test", path: "/away"},
	{name: "rewritten redirect", sni: "b.test", path: "/away"},

	{name: "h2", sni: "b.test", alpn: "h2 http/1.1"},
	{name: "h2, asked last", sni: "b.test", alpn: "http/1.1 h2"},
	{name: "h2, in the client's order", sni: "same.test", alpn: "http/1.1 h2"},
	{name: "h2 not spoken", sni: "a.test", alpn: "h2 http/1.1"},
	{name: "h2 alone, not spoken", sni: "a.test", alpn: "h2"},
	{name: "h2 misdirected", sni: "b.test", host: "a.test", alpn: "h2"},

	{name: "a suite of RSA", sni: "rsa.test", suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
	{name: "a suite of ECDSA", sni: "rsa.test", suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}},
	{name: "a suite without ECDHE", sni: "rsa.test", suites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
	{name: "a suite that is not offered", sni: "rsa.test", suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}},
	{name: "TLS 1.3 that is off", sni: "rsa.test", version: tls.VersionTLS13},
	{name: "TLS 1.3 alone", sni: "new.test"},
	{name: "TLS 1.3 alone, by 1.2", sni: "new.test", version: tls.VersionTLS12},

	{name: "require, none", sni: "require.test"},
	{name: "require, none, TLS 1.2", sni: "require.test", version: tls.VersionTLS12},
	{name: "require, one", sni: "require.test", cert: "client"},
	{name: "require, expired", sni: "require.test", cert: "expired"},
	{name: "require, unknown", sni: "require.test", cert: "self"},
	{name: "require, too deep", sni: "require.test", cert: "deep"},
	{name: "optional, none", sni: "optional.test"},
	{name: "optional, one", sni: "optional.test", cert: "client"},
	{name: "optional, deep", sni: "optional.test", cert: "deep"},
	{name: "optional, unknown", sni: "optional.test", cert: "self"},
	{name: "optional, revoked", sni: "optional.test", cert: "b"},
	{name: "section, one", sni: "optional.test", cert: "client", path: "/must", differs: "200 "},
	{name: "expression, another", sni: "optional.test", cert: "client", path: "/expr"},
	{name: "expression", sni: "optional.test", cert: "deep", path: "/expr"},
	{name: "SSLUserName", sni: "optional.test", cert: "deep", path: "/user"},
	{name: "no CA, none", sni: "noca.test"},
	{name: "no CA, one", sni: "noca.test", cert: "client"},
	{name: "no CA, unknown", sni: "noca.test", cert: "self"},
	{name: "no CA, another authority", sni: "noca.test", cert: "stranger"},
	{name: "no CA, another authority that is not shown", sni: "noca.test", cert: "unknown"},
	{name: "no CA, expired", sni: "noca.test", cert: "expired"},
}

// outcome is what a client gets, in lines.
func (r tlsRow) outcome(t *testing.T, p *pki, addr string) string {
	c := &tls.Config{ServerName: r.sni, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, CipherSuites: r.suites, NextProtos: strings.Fields(r.alpn)}
	if r.version != 0 {
		c.MinVersion, c.MaxVersion = r.version, r.version
	}
	if r.cert != "" {
		pair := p.load(r.cert)
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	raw, err := net.DialTimeout("tcp", addr, 10*time.Second)
	require.NoError(t, err)
	defer raw.Close()
	require.NoError(t, raw.SetDeadline(time.Now().Add(20*time.Second)))
	conn := tls.Client(raw, c)
	if conn.Handshake() != nil {
		return "no answer"
	}
	host, path := r.host, r.path
	if host == "" {
		host = r.sni
	}
	if path == "" {
		path = "/x"
	}
	var resp *http.Response
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		cc, err := (&http2.Transport{}).NewClientConn(conn)
		require.NoError(t, err)
		defer cc.Close()
		req, err := http.NewRequest("GET", "https://"+host+path, nil)
		require.NoError(t, err)
		resp, err = cc.RoundTrip(req)
		if err != nil {
			return "no answer"
		}
	} else {
		request := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
		if host == "-" {
			request = "GET " + path + " HTTP/1.0\r\n\r\n"
		}
		_, _ = io.WriteString(conn, request)
		if resp, err = http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			return "no answer"
		}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	s := conn.ConnectionState()
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s", resp.StatusCode, tls.VersionName(s.Version), s.NegotiatedProtocol, s.PeerCertificates[0].Subject.CommonName)
	for _, name := range []string{"Location", "X-Host", "X-TLS", "X-Server", "X-Client", "X-Cipher", "X-Got", "X-Got-User"} {
		if v := resp.Header.Get(name); v != "" {
			b.WriteString("\n" + name + ": " + v)
		}
	}
	return b.String()
}

// seen is an origin that says what it got.
func seen(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Got", r.Header.Get("X-Env"))
		w.Header().Set("X-Got-User", r.Header.Get("X-User"))
		if path, ok := strings.CutPrefix(r.URL.Path, "/moved"); ok {
			w.Header().Set("Location", "http://"+r.Host+path)
			w.WriteHeader(http.StatusFound)
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestTLSDifferential: what clients of TLS get here is what they get of the real
// httpd with the same file.
func TestTLSDifferential(t *testing.T) {
	p := newPKI(t)
	p.revoke("b")
	origin := seen(t)
	config, err := os.ReadFile("testdata/ssl.conf")
	require.NoError(t, err)
	httpd := programs.HTTPD(t, "ssl http2 env setenvif headers alias rewrite proxy proxy_http", "Define ORIGIN "+origin+"\nDefine CERTS "+p.dir+"\n"+string(config))
	ours := startFile(t, "testdata/ssl.conf", "-D", "PORT=443", "-D", "CERTS="+p.dir, "-D", "ORIGIN="+origin, "-listen", "443=127.0.0.1:0").addr()
	for _, r := range tlsRows {
		t.Run(r.name, func(t *testing.T) {
			theirs, mine := r.outcome(t, p, httpd.Addr), r.outcome(t, p, ours)
			if r.differs != "" {
				require.Contains(t, mine, r.differs)
				require.NotContains(t, theirs, r.differs, "no longer a difference")
				return
			}
			require.Equal(t, theirs, mine)
		})
	}
	t.Run("HTTP in the clear", func(t *testing.T) {
		for _, request := range []string{"GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n", "POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 3\r\n\r\nabc"} {
			theirs, mine := ask(t, httpd.Addr, request), ask(t, ours, request)
			for _, lines := range [][]string{theirs, mine} {
				require.Equal(t, "< 400", lines[0], request)
				require.Contains(t, lines, "< x-host: a", request)
				require.Equal(t, `< "plain"`, lines[len(lines)-1], request)
			}
		}
	})
}
