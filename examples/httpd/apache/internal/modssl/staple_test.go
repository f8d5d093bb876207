package modssl

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/modproxy/modproxy/examples/programs"
)

// authority is one with a certificate that it has issued, chain included.
func authority(t *testing.T, responder string) (ca *x509.Certificate, key crypto.Signer, issued *tls.Certificate) {
	make := func(template, parent *x509.Certificate, signer crypto.Signer) (*x509.Certificate, *ecdsa.PrivateKey) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if parent == nil {
			parent, signer = template, own
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), signer)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert, own
	}
	ca, caKey := make(&x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "Root"}}, nil, nil)
	leaf, leafKey := make(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, OCSPServer: []string{responder}}, ca, caKey)
	return ca, caKey, &tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: leafKey, Leaf: leaf}
}

// TestStapler: an answer is fetched in the background, and what is none is not
// stapled.
func TestStapler(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		fresh   time.Duration
		body    string
		code    int
		stapled bool
	}{
		"good":    {ocsp.Good, time.Hour, "", 200, true},
		"revoked": {ocsp.Revoked, time.Hour, "", 200, true},
		"unknown": {ocsp.Unknown, time.Hour, "", 200, false},
		"late":    {ocsp.Good, -time.Hour, "", 200, false},
		"none":    {0, 0, "hello", 200, false},
		"500":     {0, 0, "", 500, false},
	} {
		var key crypto.Signer
		var ca *x509.Certificate
		asked := make(chan bool, 10)
		responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { asked <- true }()
			question, _ := io.ReadAll(r.Body)
			q, err := ocsp.ParseRequest(question)
			if err != nil || tc.code != 200 {
				w.WriteHeader(500)
				return
			}
			if tc.body != "" {
				_, _ = io.WriteString(w, tc.body)
				return
			}
			answer, _ := ocsp.CreateResponse(ca, ca, ocsp.Response{Status: tc.status, SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(tc.fresh)}, key)
			_, _ = w.Write(answer)
		}))
		var cert *tls.Certificate
		ca, key, cert = authority(t, responder.URL)
		s := NewStapler(&http.Transport{DisableKeepAlives: true}, slog.New(slog.DiscardHandler))
		require.Empty(t, s.Staple(cert, Stapling{}).OCSPStaple, "a handshake does not wait")
		<-asked
		s.wg.Wait()
		got := s.Staple(cert, Stapling{}).OCSPStaple
		require.Equal(t, tc.stapled, len(got) > 0, name)
		require.Empty(t, cert.OCSPStaple, "the certificate itself is as before")
		if tc.stapled {
			again := NewStapler(nil, nil)
			again.Adopt(s)
			require.Equal(t, got, again.Staple(cert, Stapling{}).OCSPStaple)
		}
		require.Empty(t, asked, "it is asked once")
		s.Close()
		responder.Close()
	}
}

// TestEncryptedKeys: keys that openssl encrypts are read with their passphrase.
func TestEncryptedKeys(t *testing.T) {
	program := programs.Find(t, "openssl", "openssl")
	dir := t.TempDir()
	_, _, cert := authority(t, "")
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	plain, certFile := filepath.Join(dir, "plain.key"), filepath.Join(dir, "cert.pem")
	require.NoError(t, os.WriteFile(plain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600))
	log := slog.New(slog.DiscardHandler)
	for name, args := range map[string][]string{
		"PKCS #8":        {"pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:secret"},
		"PKCS #8, SHA-1": {"pkcs8", "-topk8", "-v2", "aes128", "-v2prf", "hmacWithSHA1", "-passout", "pass:secret"},
		"the older form": {"ec", "-aes256", "-passout", "pass:secret"},
		"the older, 128": {"ec", "-aes128", "-passout", "pass:secret"},
	} {
		key := filepath.Join(dir, "x.key")
		out, err := exec.Command(program, append(args, "-in", plain, "-out", key)...).CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		files := Files{Certificate: certFile, Key: key}
		_, err = Open(files, log)
		require.ErrorContains(t, err, "the key is encrypted", name)
		files.Passphrase = func() ([]byte, error) { return []byte("secret"), nil }
		pair, err := Open(files, log)
		require.NoError(t, err, name)
		require.Equal(t, cert.Leaf.Raw, pair.Certificate().Leaf.Raw)
		files.Passphrase = func() ([]byte, error) { return []byte("wrong"), nil }
		_, err = Open(files, log)
		require.Error(t, err, name)
	}
}
