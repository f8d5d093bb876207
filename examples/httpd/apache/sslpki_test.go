package apache

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pki is a folder of certificates, each as NAME.pem with NAME.key.
type pki struct {
	t      *testing.T
	dir    string
	serial int64
}

func newPKI(t *testing.T) *pki {
	dir, err := os.MkdirTemp("", "pki")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &pki{t: t, dir: dir, serial: 0x1000}
	p.make("ca", "", x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{Country: []string{"DE"}, Organization: []string{"Test, Inc."}, CommonName: "Test Root"}})
	p.make("a", "ca", x509.Certificate{DNSNames: []string{"a.test", "www.a.test"}, Subject: pkix.Name{Country: []string{"DE"}, OrganizationalUnit: []string{"One", "Two"}, CommonName: "a.test"}})
	p.make("b", "ca", x509.Certificate{DNSNames: []string{"b.test"}, Subject: pkix.Name{CommonName: "b.test"}})
	p.make("r", "ca", x509.Certificate{DNSNames: []string{"a.test"}, Subject: pkix.Name{CommonName: "a.test"}, PublicKeyAlgorithm: x509.RSA})
	email := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("j@c.test")}}
	p.make("client", "ca", x509.Certificate{EmailAddresses: []string{"j@c.test"}, Subject: pkix.Name{Country: []string{"DE"}, Organization: []string{`A "B", C`}, CommonName: "Jörg", ExtraNames: []pkix.AttributeTypeAndValue{email}}})
	p.make("expired", "ca", x509.Certificate{Subject: pkix.Name{CommonName: "late"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	p.make("middle", "ca", x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "Middle"}})
	p.make("deep", "middle", x509.Certificate{Subject: pkix.Name{CommonName: "deep"}})
	p.make("self", "", x509.Certificate{Subject: pkix.Name{CommonName: "self"}})
	p.make("other", "", x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "Other Root"}})
	p.make("stranger", "other", x509.Certificate{Subject: pkix.Name{CommonName: "stranger"}})
	p.make("unknown", "self", x509.Certificate{Subject: pkix.Name{CommonName: "unknown"}})
	return p
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

// make writes a certificate that another one signs, itself if by is empty. Those
// that an intermediate one signs have it with them.
func (p *pki) make(name, by string, c x509.Certificate) {
	var key crypto.Signer
	var err error
	if c.PublicKeyAlgorithm == x509.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	require.NoError(p.t, err)
	p.serial++
	c.SerialNumber = big.NewInt(p.serial)
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(100*24*time.Hour+12*time.Hour)
	}
	if c.IsCA {
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	parent, signer := &c, key
	var chain []byte
	if by != "" {
		pair := p.load(by)
		parent, signer = pair.Leaf, pair.PrivateKey.(crypto.Signer)
		if by == "middle" || by == "other" {
			chain, err = os.ReadFile(p.file(by + ".pem"))
			require.NoError(p.t, err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, parent, key.Public(), signer)
	require.NoError(p.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(p.t, err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), chain...)
	require.NoError(p.t, os.WriteFile(p.file(name+".pem"), text, 0o644))
	require.NoError(p.t, os.WriteFile(p.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o644))
}

func (p *pki) load(name string) tls.Certificate {
	pair, err := tls.LoadX509KeyPair(p.file(name+".pem"), p.file(name+".key"))
	require.NoError(p.t, err)
	return pair
}

// revoke writes a list of the authority's with one certificate in it.
func (p *pki) revoke(name string) {
	ca, cert := p.load("ca"), p.load(name)
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: cert.Leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)}},
	}, ca.Leaf, ca.PrivateKey.(crypto.Signer))
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(p.file("crl.pem"), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o644))
}
