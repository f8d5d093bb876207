package ajp

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// appendTLS appends the facts of the client's TLS connection.
func appendTLS(b []byte, s *tls.ConnectionState) []byte {
	if len(s.PeerCertificates) > 0 {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.PeerCertificates[0].Raw})
		if len(text) <= maxString {
			b = append(b, attrSSLCert)
			b = appendInt(b, len(text))
			b = append(append(b, text...), 0)
		}
	}
	if s.CipherSuite != 0 {
		name := cipherName(s.CipherSuite)
		b = appendAttribute(b, attrSSLCipher, name)
		if bits := keySize(name); bits != 0 {
			b = append(b, attrSSLKeySize)
			b = appendInt(b, bits)
		}
	}
	return appendNamed(b, nameSSLProtocol, exchange.TLSProtocol(s.Version))
}

// cipherName is tls.CipherSuiteName, which makes a list of all ciphers, for
// those in use.
func cipherName(id uint16) string {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return "TLS_AES_128_GCM_SHA256"
	case tls.TLS_AES_256_GCM_SHA384:
		return "TLS_AES_256_GCM_SHA384"
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return "TLS_CHACHA20_POLY1305_SHA256"
	case tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
		return "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
	case tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
		return "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:
		return "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
	case tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:
		return "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
	}
	return tls.CipherSuiteName(id)
}

// keySize returns the bits of the key of a cipher, as httpd's
// SSL_CIPHER_USEKEYSIZE; 0 if the name does not tell.
func keySize(cipher string) int {
	switch {
	case strings.Contains(cipher, "AES_256"), strings.Contains(cipher, "CHACHA20"), strings.Contains(cipher, "AES256"):
		return 256
	case strings.Contains(cipher, "AES_128"), strings.Contains(cipher, "RC4_128"), strings.Contains(cipher, "AES128"):
		return 128
	case strings.Contains(cipher, "3DES"):
		return 168
	}
	return 0
}

// protocolVersion is the inverse of exchange.TLSProtocol; 0 for a name it does not
// know.
func protocolVersion(name string) uint16 {
	for v := uint16(tls.VersionTLS10); v <= tls.VersionTLS13; v++ {
		if exchange.TLSProtocol(v) == name {
			return v
		}
	}
	return 0
}

// tlsState makes the state of the client's TLS connection from what the proxy
// tells of it.
func (c *serverConn) tlsState(fr *forwardRequest) *tls.ConnectionState {
	a := &fr.attributes
	s := &tls.ConnectionState{
		HandshakeComplete: true, ServerName: strings.Trim(fr.serverName, "[]"),
		Version: protocolVersion(a.SSLProtocol), CipherSuite: c.s.cipherSuite(a.SSLCipher),
	}
	if fr.sslCert != "" {
		if fr.sslCert != c.certText {
			c.certText, c.cert = fr.sslCert, nil
			if block, _ := pem.Decode([]byte(fr.sslCert)); block != nil {
				c.cert, _ = x509.ParseCertificate(block.Bytes)
			}
		}
		if c.cert != nil {
			s.PeerCertificates = []*x509.Certificate{c.cert}
		}
	}
	return s
}

// cipherSuite finds a cipher by its name, that of the RFCs or that of OpenSSL;
// 0 for one that it does not know.
func (s *Server) cipherSuite(name string) uint16 {
	s.suites.Do(func() {
		s.ciphers = make(map[string]uint16)
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			s.ciphers[suite.Name] = suite.ID
			s.ciphers[openSSLName(suite.Name)] = suite.ID
		}
	})
	return s.ciphers[name]
}

// openSSLName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into
// ECDHE-RSA-AES128-GCM-SHA256.
func openSSLName(name string) string {
	exchange, cipher, ok := strings.Cut(strings.TrimPrefix(name, "TLS_"), "_WITH_")
	if !ok {
		return name // of TLS 1.3, which OpenSSL names alike
	}
	cipher = strings.TrimSuffix(strings.Replace(cipher, "AES_", "AES", 1), "_CBC_SHA")
	if strings.HasPrefix(cipher, "AES") && !strings.Contains(cipher, "_") {
		cipher += "_SHA"
	}
	cipher = strings.Replace(strings.Replace(cipher, "_CBC_", "_", 1), "CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305", 1)
	if exchange != "RSA" {
		cipher = exchange + "_" + cipher
	}
	return strings.ReplaceAll(cipher, "_", "-")
}
