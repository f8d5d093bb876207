package modssl

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Connection is a client's TLS connection at work.
type Connection struct {
	State  *tls.ConnectionState
	Server *x509.Certificate // that the client was shown; nil if not known
	Client Verdict           // on the certificate of the client

	LegacyNames bool // SSLOptions LegacyDNStringFormat
}

// Variable returns the variable SSL_name, whose name is without that prefix. It is
// not found for a name that mod_ssl does not know, and empty for what the connection
// does not have. The identifier of a session is always empty: crypto/tls keeps it to
// itself.
func (c *Connection) Variable(name string) (value string, found bool) {
	s := c.State
	switch name {
	case "VERSION_INTERFACE":
		return "mod_ssl/modproxy", true
	case "VERSION_LIBRARY":
		return "crypto/tls", true
	case "PROTOCOL":
		return exchange.TLSProtocol(s.Version), true
	case "CIPHER":
		value, _ = CipherName(s.CipherSuite)
		return value, true
	case "CIPHER_EXPORT":
		return "false", true
	case "CIPHER_USEKEYSIZE", "CIPHER_ALGKEYSIZE":
		_, bits := CipherName(s.CipherSuite)
		return strconv.Itoa(bits), true
	case "SECURE_RENEG":
		return strconv.FormatBool(s.Version < tls.VersionTLS13), true
	case "COMPRESS_METHOD":
		return "NULL", true
	case "TLS_SNI":
		return s.ServerName, true
	case "SESSION_ID", "SRP_USER", "SRP_USERINFO":
		return "", true
	case "SESSION_RESUMED":
		if s.DidResume {
			return "Resumed", true
		}
		return "Initial", true
	case "CLIENT_VERIFY":
		return c.Client.String(), true
	}
	if rest, ok := strings.CutPrefix(name, "CLIENT_CERT_CHAIN_"); ok {
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "", false
		}
		if n >= len(s.PeerCertificates) {
			return "", true
		}
		return certificateText(s.PeerCertificates[n]), true
	}
	if rest, ok := strings.CutPrefix(name, "CLIENT_"); ok {
		return c.certificate(c.clientCertificate(), rest)
	}
	if rest, ok := strings.CutPrefix(name, "SERVER_"); ok {
		return c.certificate(c.Server, rest)
	}
	return "", false
}

func (c *Connection) clientCertificate() *x509.Certificate {
	if len(c.State.PeerCertificates) == 0 {
		return nil
	}
	return c.State.PeerCertificates[0]
}

func certificateText(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// certificate returns a variable of one of the two certificates.
func (c *Connection) certificate(cert *x509.Certificate, name string) (string, bool) {
	switch name {
	case "M_VERSION", "M_SERIAL", "V_START", "V_END", "V_REMAIN", "S_DN", "I_DN", "A_SIG", "A_KEY", "CERT", "CERT_RFC4523_CEA":
	default:
		if !strings.HasPrefix(name, "S_DN_") && !strings.HasPrefix(name, "I_DN_") && !strings.HasPrefix(name, "SAN_") {
			return "", false
		}
	}
	if cert == nil {
		return "", true
	}
	switch name {
	case "M_VERSION":
		return strconv.Itoa(cert.Version), true
	case "M_SERIAL":
		return serial(cert.SerialNumber), true
	case "V_START":
		return asn1Time(cert.NotBefore), true
	case "V_END":
		return asn1Time(cert.NotAfter), true
	case "V_REMAIN":
		return strconv.Itoa(max(0, int(time.Until(cert.NotAfter)/(24*time.Hour)))), true
	case "S_DN":
		return nameText(cert.RawSubject, c.LegacyNames), true
	case "I_DN":
		return nameText(cert.RawIssuer, c.LegacyNames), true
	case "A_SIG":
		return signatureName(cert.SignatureAlgorithm), true
	case "A_KEY":
		return keyName(cert.PublicKeyAlgorithm), true
	case "CERT":
		return certificateText(cert), true
	case "CERT_RFC4523_CEA":
		return fmt.Sprintf("{ serialNumber %s, issuer rdnSequence:%q }", cert.SerialNumber, nameText(cert.RawIssuer, false)), true
	}
	if part, ok := strings.CutPrefix(name, "S_DN_"); ok {
		return component(cert.RawSubject, part), true
	}
	if part, ok := strings.CutPrefix(name, "I_DN_"); ok {
		return component(cert.RawIssuer, part), true
	}
	kind, number, ok := cutLast(strings.TrimPrefix(name, "SAN_"), "_")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 {
		return "", true
	}
	if names := alternativeNames(cert, kind); n < len(names) {
		return names[n], true
	}
	return "", true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// alternativeNames are the names of a kind in the certificate's SAN.
func alternativeNames(cert *x509.Certificate, kind string) []string {
	switch kind {
	case "Email":
		return cert.EmailAddresses
	case "DNS":
		return cert.DNSNames
	case "OTHER_msUPN":
		return otherNames(cert, "1.3.6.1.4.1.311.20.2.3")
	case "OTHER_dnsSRV":
		return otherNames(cert, "1.3.6.1.5.5.7.8.7")
	}
	return nil
}

// otherNames reads what crypto/x509 leaves in the SAN: names of kinds of their own.
func otherNames(cert *x509.Certificate, oid string) (names []string) {
	for _, e := range cert.Extensions {
		if e.Id.String() != "2.5.29.17" {
			continue
		}
		var all []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &all); err != nil {
			return nil
		}
		for _, one := range all {
			var other struct {
				ID    asn1.ObjectIdentifier
				Value asn1.RawValue `asn1:"explicit,tag:0"`
			}
			if one.Tag != 0 {
				continue
			}
			if _, err := asn1.UnmarshalWithParams(one.FullBytes, &other, "tag:0"); err != nil || other.ID.String() != oid {
				continue
			}
			if s, plain := text(other.Value); plain {
				names = append(names, s)
			}
		}
	}
	return names
}

// serial is a number as OpenSSL prints it: whole bytes.
func serial(n *big.Int) string {
	b := n.Bytes()
	if len(b) == 0 {
		b = []byte{0}
	}
	s := strings.ToUpper(hex.EncodeToString(b))
	if n.Sign() < 0 {
		s = "-" + s
	}
	return s
}

func asn1Time(t time.Time) string { return t.UTC().Format("Jan _2 15:04:05 2006 GMT") }

func signatureName(a x509.SignatureAlgorithm) string {
	switch a {
	case x509.SHA1WithRSA:
		return "sha1WithRSAEncryption"
	case x509.SHA256WithRSA:
		return "sha256WithRSAEncryption"
	case x509.SHA384WithRSA:
		return "sha384WithRSAEncryption"
	case x509.SHA512WithRSA:
		return "sha512WithRSAEncryption"
	case x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		return "rsassaPss"
	case x509.ECDSAWithSHA1:
		return "ecdsa-with-SHA1"
	case x509.ECDSAWithSHA256:
		return "ecdsa-with-SHA256"
	case x509.ECDSAWithSHA384:
		return "ecdsa-with-SHA384"
	case x509.ECDSAWithSHA512:
		return "ecdsa-with-SHA512"
	case x509.PureEd25519:
		return "ED25519"
	}
	return a.String()
}

func keyName(a x509.PublicKeyAlgorithm) string {
	switch a {
	case x509.RSA:
		return "rsaEncryption"
	case x509.ECDSA:
		return "id-ecPublicKey"
	case x509.Ed25519:
		return "ED25519"
	}
	return a.String()
}

// standard are the variables of SSLOptions +StdEnvVars, beside those of names.
var standard = []string{
	"VERSION_INTERFACE", "VERSION_LIBRARY", "PROTOCOL", "SECURE_RENEG", "COMPRESS_METHOD", "CIPHER", "CIPHER_EXPORT", "CIPHER_USEKEYSIZE", "CIPHER_ALGKEYSIZE",
	"CLIENT_VERIFY", "CLIENT_M_VERSION", "CLIENT_M_SERIAL", "CLIENT_V_START", "CLIENT_V_END", "CLIENT_V_REMAIN", "CLIENT_S_DN", "CLIENT_I_DN", "CLIENT_A_KEY", "CLIENT_A_SIG", "CLIENT_CERT_RFC4523_CEA",
	"SERVER_M_VERSION", "SERVER_M_SERIAL", "SERVER_V_START", "SERVER_V_END", "SERVER_S_DN", "SERVER_I_DN", "SERVER_A_KEY", "SERVER_A_SIG", "SESSION_ID", "SESSION_RESUMED",
}

// Standard gives the variables of SSLOptions +StdEnvVars that have a value, with
// their whole names.
func (c *Connection) Standard(give func(name, value string)) {
	for _, name := range standard {
		if value, _ := c.Variable(name); value != "" {
			give("SSL_"+name, value)
		}
	}
	for prefix, cert := range map[string]*x509.Certificate{"SSL_SERVER_": c.Server, "SSL_CLIENT_": c.clientCertificate()} {
		if cert == nil {
			continue
		}
		eachComponent(cert.RawSubject, func(word, value string) { give(prefix+"S_DN_"+word, value) })
		eachComponent(cert.RawIssuer, func(word, value string) { give(prefix+"I_DN_"+word, value) })
		for _, kind := range []string{"Email", "DNS", "OTHER_msUPN", "OTHER_dnsSRV"} {
			for i, value := range alternativeNames(cert, kind) {
				give(prefix+"SAN_"+kind+"_"+strconv.Itoa(i), value)
			}
		}
	}
}

// Certificates gives the variables of SSLOptions +ExportCertData.
func (c *Connection) Certificates(give func(name, value string)) {
	if c.Server != nil {
		give("SSL_SERVER_CERT", certificateText(c.Server))
	}
	for i, cert := range c.State.PeerCertificates {
		if i == 0 {
			give("SSL_CLIENT_CERT", certificateText(cert))
		}
		give("SSL_CLIENT_CERT_CHAIN_"+strconv.Itoa(i), certificateText(cert))
	}
}
