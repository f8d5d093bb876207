package modssl

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Mode is what SSLVerifyClient says.
type Mode uint8

// The words of SSLVerifyClient, the strictest last.
const (
	VerifyNone         Mode = iota // none: a client is not asked
	VerifyOptionalNoCA             // optional_no_ca: asked, and an unknown authority is told alone
	VerifyOptional                 // optional: asked, and what it shows must be in order
	VerifyRequire                  // require
)

// Verdict is what came of looking at a client's certificate. The zero value is that
// there is none.
type Verdict struct {
	Shown  bool
	Chains [][]*x509.Certificate // that lead to an authority
	Err    error                 // why there are none

	generous bool // Err is one that optional_no_ca bears
}

// String is the value of SSL_CLIENT_VERIFY.
func (v Verdict) String() string {
	switch {
	case !v.Shown:
		return "NONE"
	case v.Err == nil:
		return "SUCCESS"
	}
	return "FAILED:" + v.Err.Error()
}

// Depth is the number of authorities above the client's certificate, in the
// shortest of the chains.
func (v Verdict) Depth() int {
	depth := 0
	for i, chain := range v.Chains {
		if n := len(chain) - 1; i == 0 || n < depth {
			depth = n
		}
	}
	return depth
}

// Passes returns why a verdict does not pass under a mode, nil if it does.
func (v Verdict) Passes(m Mode) error {
	switch {
	case m == VerifyRequire && !v.Shown:
		return errors.New("the client has shown no certificate")
	case m == VerifyNone, !v.Shown, v.Err == nil, m == VerifyOptionalNoCA && v.generous:
		return nil
	}
	return v.Err
}

// Verifier looks at certificates of clients.
type Verifier struct {
	Roots   *x509.CertPool  // SSLCACertificateFile and …Path
	Depth   int             // SSLVerifyDepth: 1 is a certificate that an authority has signed itself
	Revoked []*CRL          // SSLCARevocationFile and …Path
	Check   RevocationCheck // SSLCARevocationCheck
}

// RevocationCheck is what SSLCARevocationCheck says.
type RevocationCheck struct {
	Leaf, Chain bool
	NoCRLOK     bool // no_crl_for_cert_ok
}

// CRL is a list of revoked certificates.
type CRL struct {
	list    *x509.RevocationList
	serials map[string]bool
}

// ParseCRLs reads lists in PEM.
func ParseCRLs(text []byte) (lists []*CRL, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		crl := &CRL{list, make(map[string]bool, len(list.RevokedCertificateEntries))}
		for _, entry := range list.RevokedCertificateEntries {
			crl.serials[entry.SerialNumber.String()] = true
		}
		lists = append(lists, crl)
	}
	if len(lists) == 0 {
		return nil, errors.New("no list of revoked certificates is in it")
	}
	return lists, nil
}

// Judge looks at the certificates that a client has shown.
func (v *Verifier) Judge(shown []*x509.Certificate) Verdict {
	if len(shown) == 0 {
		return Verdict{}
	}
	o := x509.VerifyOptions{Roots: v.Roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if o.Roots == nil {
		o.Roots = x509.NewCertPool() // and not the system's
	}
	for _, c := range shown[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := shown[0].Verify(o)
	if err != nil {
		reason, generous := verifyError(shown, err)
		return Verdict{Shown: true, Err: reason, generous: generous}
	}
	chains = slices.DeleteFunc(chains, func(chain []*x509.Certificate) bool {
		if len(chain)-1 > v.Depth {
			err = errors.New("certificate chain too long")
			return true
		}
		if reason := v.revoked(chain); reason != nil {
			err = reason
			return true
		}
		return false
	})
	if len(chains) == 0 {
		return Verdict{Shown: true, Err: err}
	}
	return Verdict{Shown: true, Chains: chains}
}

// revoked returns why a chain does not count by the lists of revoked certificates.
func (v *Verifier) revoked(chain []*x509.Certificate) error {
	if !v.Check.Leaf && !v.Check.Chain {
		return nil
	}
	for i, cert := range chain[:len(chain)-1] {
		if i > 0 && !v.Check.Chain {
			return nil
		}
		listed := false
		for _, crl := range v.Revoked {
			list := crl.list
			if string(list.RawIssuer) != string(cert.RawIssuer) || list.CheckSignatureFrom(chain[i+1]) != nil {
				continue
			}
			if now := time.Now(); !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
				return errors.New("CRL has expired")
			}
			listed = true
			if crl.serials[cert.SerialNumber.String()] {
				return errors.New("certificate revoked")
			}
		}
		if !listed && !v.Check.NoCRLOK {
			return errors.New("unable to get certificate CRL")
		}
	}
	return nil
}

// verifyError puts an error in OpenSSL's words, and says whether it is one of those
// of an authority that is not known.
func verifyError(shown []*x509.Certificate, err error) (reason error, generous bool) {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	leaf := shown[0]
	selfSigned := func(c *x509.Certificate) bool { return string(c.RawIssuer) == string(c.RawSubject) }
	switch {
	case errors.As(err, &unknown) && selfSigned(leaf):
		return errors.New("self-signed certificate"), true
	case errors.As(err, &unknown) && slices.ContainsFunc(shown, selfSigned):
		return errors.New("self-signed certificate in certificate chain"), true
	case errors.As(err, &unknown) && len(shown) == 1:
		return errors.New("unable to verify the first certificate"), true
	case errors.As(err, &unknown):
		return errors.New("unable to get local issuer certificate"), true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(leaf.NotBefore):
		return errors.New("certificate is not yet valid"), false
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("certificate has expired"), false
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return errors.New("unsuitable certificate purpose"), false
	}
	return fmt.Errorf("certificate does not count: %w", err), false
}
