package ftpproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// identity is a certificate for localhost, and who trusts it.
type identity struct {
	cert tls.Certificate
	pool *x509.CertPool
	file string // certificate and key
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	id := identity{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool: x509.NewCertPool()}
	id.pool.AddCert(leaf)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	dir, err := os.MkdirTemp("", "modproxy-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	id.file = filepath.Join(dir, "both.pem")
	require.NoError(t, os.WriteFile(id.file, both, 0o600))
	return id
}

// newSecureFront is newFront for a server at a loopback address that has a
// certificate for localhost.
func newSecureFront(t *testing.T, scheme, addr string, cfg *tls.Config) *front {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	f := newFront(t, scheme+"://localhost:"+port+"/")
	f.transport.Backend.TLS = cfg
	return f
}

// testSecure reads, lists and stores over TLS.
func testSecure(t *testing.T, f *front) {
	for range 2 {
		a := f.get("/ftp/hello.txt")
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, "hello, world\n", a.body)
		a = f.get("/ftp/big.bin")
		require.Equal(t, 200, a.status)
		require.True(t, a.body == string(bulk))
		require.Equal(t, 206, f.get("/ftp/big.bin", "Range: bytes=9-99").status)
		_, names := f.listing("/ftp/sub/")
		require.Equal(t, []string{"inner.txt"}, names)
	}
	f.transport.AllowPut = true
	a := f.do("PUT", "/ftp/upload/secure.bin", strings.NewReader(string(bulk)))
	require.Contains(t, []int{201, 204}, a.status, a.body)
	require.True(t, f.get("/ftp/upload/secure.bin").body == string(bulk))
	require.Contains(t, []int{201, 204}, f.do("PUT", "/ftp/upload/secure.txt", nil).status)
}

func TestTLS(t *testing.T) {
	id := newIdentity(t)
	root := plant(t)
	for scheme, requirement := range map[string]ftpserver.TLSRequirement{"ftps": ftpserver.ImplicitEncryption, "ftpes": ftpserver.MandatoryEncryption} {
		t.Run(scheme, func(t *testing.T) {
			var resumed, full atomic.Int32
			cfg := &tls.Config{Certificates: []tls.Certificate{id.cert}, VerifyConnection: func(cs tls.ConnectionState) error {
				if cs.DidResume {
					resumed.Add(1)
				} else {
					full.Add(1)
				}
				return nil
			}}
			d := &inProcess{root: root, tls: cfg}
			d.settings.TLSRequired = requirement
			addr := startInProcess(t, d)
			f := newSecureFront(t, scheme, addr, &tls.Config{RootCAs: id.pool})
			testSecure(t, f)
			require.EqualValues(t, 1, f.transport.Backend.Stats().Created)
			require.EqualValues(t, 1, full.Load(), "data connections resume the session of the control connection")
			require.GreaterOrEqual(t, resumed.Load(), int32(9))

			f = newSecureFront(t, scheme, addr, nil)
			require.Equal(t, 503, f.get("/ftp/hello.txt").status, "a certificate that nobody vouches for")
			f = newSecureFront(t, scheme, addr, &tls.Config{RootCAs: id.pool, ServerName: "elsewhere.test"})
			require.Equal(t, 503, f.get("/ftp/hello.txt").status, "a certificate for another name")
		})
	}
}

// TestBytesBeforeTLS: what comes in the clear behind the reply to AUTH TLS is
// not taken for what comes after the handshake.
func TestBytesBeforeTLS(t *testing.T) {
	s := startScripted(t)
	s.on["AUTH"] = func(c *scriptedConn, _ string) { c.say("234 go on\r\n230 injected") }
	rt := s.transport(patience)
	rt.Backend.URL.Scheme = "ftpes"
	_, _, err := ask(t.Context(), rt, "GET", "/f", nil)
	require.ErrorIs(t, err, exchange.ErrMalformed)

	s = startScripted(t)
	s.on["AUTH"] = func(c *scriptedConn, _ string) { c.say("502 no") }
	rt = s.transport(patience)
	rt.Backend.URL.Scheme = "ftpes"
	_, _, err = ask(t.Context(), rt, "GET", "/f", nil)
	require.Equal(t, 502, exchange.StatusOf(err), "%v", err)
	require.NotContains(t, strings.Join(s.heard(), "\n"), "USER", "nobody logs in in the clear")
}

// TestDataConnectionWithoutTLS: the error says what may be the matter.
func TestDataConnectionWithoutTLS(t *testing.T) {
	id := newIdentity(t)
	s := startScripted(t)
	s.on["AUTH"] = func(c *scriptedConn, _ string) {
		c.say("234 go on")
		c.Conn = tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{id.cert}})
		c.serveCommands()
	}
	s.on["RETR"] = func(c *scriptedConn, _ string) {
		c.say("150 coming")
		d := c.accept()
		_, _ = io.WriteString(d, "clear text")
		_ = d.Close()
		c.say("522 reuse your session")
	}
	rt := s.transport(patience)
	rt.Backend.URL.Scheme = "ftpes"
	rt.Backend.TLS = &tls.Config{RootCAs: id.pool, ServerName: "localhost"}
	_, _, err := ask(t.Context(), rt, "GET", "/f", nil)
	require.Equal(t, 502, exchange.StatusOf(err), "%v", err)
	require.ErrorContains(t, err, "522")
	require.ErrorContains(t, err, "tls.VersionTLS12")
	require.Equal(t, "ftpes://"+s.listener.Addr().String(), fmt.Sprint(rt.Backend))
}
