package apache

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
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{t, cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(name string, until time.Time) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	k, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})...)
}

// secure starts a backend that tells what it knows of the connection.
func (a *authority) secure(pair []byte, clients tls.ClientAuthType) string {
	cert, err := tls.X509KeyPair(pair, pair)
	require.NoError(a.t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s %s %s", tls.VersionName(r.TLS.Version), r.TLS.ServerName, who)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: clients, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are meant
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestSSLProxy has a row for each SSLProxy directive, with and without it.
func TestSSLProxy(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	a := newAuthority(t)
	later := time.Now().Add(24 * time.Hour)
	ca := write("ca/ca.pem", a.pem)
	client := write("clients/client.pem", a.issue("the proxy", later))
	good, expired := a.issue("good.test", later), a.issue("old.test", time.Now().Add(-time.Hour))
	args := []string{
		"-resolve", "good.test:443=" + a.secure(good, tls.VerifyClientCertIfGiven),
		"-resolve", "wrong.test:443=" + a.secure(good, tls.NoClientCert),
		"-resolve", "old.test:443=" + a.secure(expired, tls.NoClientCert),
		"-resolve", "strict.test:443=" + a.secure(good, tls.RequireAndVerifyClientCert),
	}
	trust := "SSLProxyCACertificateFile " + ca + "\n"
	const ok = "TLS 1.3 good.test nobody"
	for name, tc := range map[string]struct{ config, host, want string }{
		"nothing said":          {"", "good.test", "503"},
		"CA":                    {trust, "good.test", ok},
		"CA, relative":          {"ServerRoot " + dir + "\nSSLProxyCACertificateFile ca/ca.pem\n", "good.test", ok},
		"folder of CAs":         {"SSLProxyCACertificatePath " + dir + "/ca\n", "good.test", ok},
		"engine on":             {"SSLProxyEngine On\n" + trust, "good.test", ok},
		"engine on, no CA":      {"SSLProxyEngine On\n", "good.test", "503"},
		"verify none":           {"SSLProxyVerify none\n", "good.test", ok},
		"verify require":        {"SSLProxyVerify require\n", "good.test", "503"},
		"none, wrong name":      {"SSLProxyVerify none\n", "wrong.test", "503"},
		"none, name off":        {"SSLProxyVerify none\nSSLProxyCheckPeerName Off\n", "wrong.test", "TLS 1.3 wrong.test nobody"},
		"CA, wrong name":        {trust, "wrong.test", "503"},
		"CA, name off":          {trust + "SSLProxyCheckPeerName Off\n", "wrong.test", "TLS 1.3 wrong.test nobody"},
		"name off, no CA":       {"SSLProxyCheckPeerName Off\n", "wrong.test", "503"},
		"expired":               {trust, "old.test", "503"},
		"expired, none":         {"SSLProxyVerify none\n", "old.test", "503"},
		"expired, allowed":      {trust + "SSLProxyCheckPeerExpire Off\n", "old.test", "TLS 1.3 old.test nobody"},
		"none, expired allowed": {"SSLProxyVerify none\nSSLProxyCheckPeerExpire Off\n", "old.test", "TLS 1.3 old.test nobody"},
		"client certificate":    {trust + "SSLProxyMachineCertificateFile " + client + "\n", "good.test", "TLS 1.3 good.test the proxy"},
		"client certificates":   {trust + "SSLProxyMachineCertificatePath " + dir + "/clients\n", "good.test", "TLS 1.3 good.test the proxy"},
		"none when asked":       {trust + "SSLProxyCheckPeerName Off\n", "strict.test", "502"},
		"protocol":              {trust + "SSLProxyProtocol TLSv1.2\n", "good.test", "TLS 1.2 good.test nobody"},
		"protocol, less":        {trust + "SSLProxyProtocol all -TLSv1.3\n", "good.test", "TLS 1.2 good.test nobody"},
		"in the section":        {"<Proxy https://good.test/>\n" + trust + "</Proxy>\n", "good.test", ok},
		"in another section":    {"<Proxy https://other.test/>\n" + trust + "</Proxy>\n", "good.test", "503"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "Listen 80\nErrorLog /dev/null\n"+tc.config+"ProxyPass / https://"+tc.host+"/\n", echo, args...)
			resp, text := p.get("80", "front.test/")
			if len(tc.want) == 3 {
				require.Equal(t, tc.want, fmt.Sprint(resp.StatusCode), text)
				return
			}
			require.Equal(t, tc.want, text)
		})
	}
}

func TestSSLProxyErrors(t *testing.T) {
	for text, want := range map[string]string{
		"SSLProxyVerify maybe":                        "want none, optional, require or optional_no_ca",
		"SSLProxyCACertificateFile /none.pem":         "no such file",
		"SSLProxyCACertificatePath /none":             "no such file",
		"SSLProxyMachineCertificateFile conf_test.go": "holds no certificate with its unencrypted key",
		"SSLProxyCACertificateFile conf_test.go":      "holds no certificate",
		"SSLProxyProtocol SSLv3":                      `protocol "SSLv3" is not known or not safe`,
		"SSLProxyProtocol TLSv1.1 +TLSv1.3":           "the protocols must follow each other",
		"SSLProxyProtocol all -TLSv1.2 -TLSv1.3":      "no protocol is left",
		"SSLProxyCARevocationFile x":                  "lists of revoked certificates are not read",
	} {
		_, _, err := read("Listen 80\n" + text)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "x.conf:2: ", text)
	}
	b, _, err := read("Listen 80\nSSLProxyEngine Off\nProxyPass / https://b.test/")
	require.NoError(t, err)
	_, err = newGeneration(b, &logFiles{stdout: io.Discard, stderr: io.Discard}, nil, nil)
	require.EqualError(t, err, "x.conf:3: ProxyPass: https://b.test/ needs SSLProxyEngine On")
}
