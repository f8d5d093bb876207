package apache

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// tlsSettings are what SSLProxy directives say of the TLS toward backends.
// Unlike httpd, where it must be asked for, a backend's certificate is verified
// unless SSLProxyVerify says otherwise.
type tlsSettings struct {
	engine      *bool
	verify      *bool
	checkName   *bool
	checkCN     *bool
	checkExpire *bool
	roots       *x509.CertPool // nil: the system's
	certs       []tls.Certificate
	minVersion  *uint16
	maxVersion  *uint16
}

func (s tlsSettings) merge(inner tlsSettings) tlsSettings {
	over(&s.engine, inner.engine)
	over(&s.verify, inner.verify)
	over(&s.checkName, inner.checkName)
	over(&s.checkCN, inner.checkCN)
	over(&s.checkExpire, inner.checkExpire)
	over(&s.roots, inner.roots)
	over(&s.minVersion, inner.minVersion)
	over(&s.maxVersion, inner.maxVersion)
	if inner.certs != nil {
		s.certs = inner.certs
	}
	return s
}

// sslProxyDirectives are those of mod_ssl that concern backends.
func sslProxyDirectives() []directive {
	const in = anyServer | inProxy
	flag := func(name, note string, field func(s *tlsSettings) **bool) directive {
		return directive{name: name, in: in, min: 1, max: 1, note: note, apply: applySwitch(func(s *settings) **bool { return field(&s.tls) })}
	}
	file := func(name, note string, read func(s *tlsSettings, name string) error) directive {
		return directive{name: name, in: in, min: 1, max: 1, note: note, apply: func(b *builder, s *scope, d *conf.Directive) error {
			return read(&s.settings.tls, b.file(d.Args[0]))
		}}
	}
	return []directive{
		flag("SSLProxyEngine", "", func(s *tlsSettings) **bool { return &s.engine }),
		{name: "SSLProxyVerify", in: in, min: 1, max: 1, note: "verified unless it says none or optional_no_ca; httpd's default is none", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			on := true
			switch strings.ToLower(d.Args[0]) {
			case "require", "optional":
			case "none", "optional_no_ca":
				on = false
			default:
				return errors.New("want none, optional, require or optional_no_ca")
			}
			s.settings.tls.verify = &on
			return nil
		}},
		flag("SSLProxyCheckPeerName", "", func(s *tlsSettings) **bool { return &s.checkName }),
		flag("SSLProxyCheckPeerCN", "On counts with SSLProxyCheckPeerName Off, which covers it otherwise", func(s *tlsSettings) **bool { return &s.checkCN }),
		flag("SSLProxyCheckPeerExpire", "Off has no effect with SSLProxyVerify require, as in httpd", func(s *tlsSettings) **bool { return &s.checkExpire }),
		file("SSLProxyCACertificateFile", "without it and its …Path, the system's roots", func(s *tlsSettings, name string) error { return s.addRoots(name) }),
		file("SSLProxyCACertificatePath", "all files of the folder; hashed names are not needed", func(s *tlsSettings, name string) error {
			return inFolder(name, s.addRoots)
		}),
		file("SSLProxyMachineCertificateFile", "PEM: certificates, each with its key", func(s *tlsSettings, name string) error { return s.addCertificates(name) }),
		file("SSLProxyMachineCertificatePath", "", func(s *tlsSettings, name string) error { return inFolder(name, s.addCertificates) }),
		{name: "SSLProxyProtocol", in: in, min: 1, max: -1, note: "TLSv1.2 and TLSv1.3; older ones only if named with + or alone", apply: applySSLProxyProtocol},
	}
}

// inFolder reads each file of a folder.
func inFolder(name string, read func(string) error) error {
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(name, e.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := read(path); err != nil {
			return err
		}
	}
	return nil
}

func (s *tlsSettings) addRoots(name string) error {
	b, err := readFile(name)
	if err != nil {
		return err
	}
	if s.roots == nil {
		s.roots = x509.NewCertPool()
	}
	if !s.roots.AppendCertsFromPEM(b) {
		return fmt.Errorf("%s holds no certificate", name)
	}
	return nil
}

// addCertificates reads pairs of certificate and key. In httpd's files each
// key may stand before or behind its certificate.
func (s *tlsSettings) addCertificates(name string) error {
	rest, err := readFile(name)
	if err != nil {
		return err
	}
	var certs, keys [][]byte
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			certs = append(certs, pem.EncodeToMemory(block))
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			keys = append(keys, pem.EncodeToMemory(block))
		}
	}
	found := 0
	for i, c := range certs {
		for _, k := range keys {
			pair, err := tls.X509KeyPair(c, k)
			if err != nil {
				continue
			}
			for _, chained := range certs[i+1:] { // intermediates that follow
				block, _ := pem.Decode(chained)
				if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.IsCA {
					pair.Certificate = append(pair.Certificate, block.Bytes)
				}
			}
			s.certs = append(s.certs, pair)
			found++
			break
		}
	}
	if found == 0 {
		return fmt.Errorf("%s holds no certificate with its unencrypted key", name)
	}
	return nil
}

// applySSLProxyProtocol reads "[+-]protocol …" from left to right.
func applySSLProxyProtocol(_ *builder, s *scope, d *conf.Directive) error {
	versions := []struct {
		name   string
		number uint16
	}{{"tlsv1", tls.VersionTLS10}, {"tlsv1.1", tls.VersionTLS11}, {"tlsv1.2", tls.VersionTLS12}, {"tlsv1.3", tls.VersionTLS13}}
	on := make(map[uint16]bool)
	for i, w := range d.Args {
		sign := byte(0)
		if w != "" && (w[0] == '+' || w[0] == '-') {
			sign, w = w[0], w[1:]
		}
		if i == 0 && sign == '-' || sign == 0 && i > 0 {
			return fmt.Errorf("%q: begin with a protocol or all, then + or -", d.Args[i])
		}
		known := strings.EqualFold(w, "sslv3") && sign == '-'
		if sign == 0 {
			clear(on)
		}
		for _, v := range versions {
			switch {
			case strings.EqualFold(w, v.name):
				known = true
				on[v.number] = sign != '-'
			case strings.EqualFold(w, "all"):
				known = true
				on[v.number] = sign != '-' && v.number >= tls.VersionTLS12
			}
		}
		if !known {
			return fmt.Errorf("protocol %q is not known or not safe", w)
		}
	}
	var low, high uint16
	for _, v := range versions {
		switch {
		case !on[v.number]:
		case low == 0:
			low, high = v.number, v.number
		case high+1 == v.number:
			high = v.number
		default:
			return errors.New("the protocols must follow each other")
		}
	}
	if low == 0 {
		return errors.New("no protocol is left")
	}
	s.settings.tls.minVersion, s.settings.tls.maxVersion = &low, &high
	return nil
}

// config returns the TLS configuration for a backend, whose host is name. With
// ProxyPreserveHost On a connection is to another one, that of the request.
func (s tlsSettings) config(name string) *tls.Config {
	c := &tls.Config{
		RootCAs: s.roots, Certificates: s.certs,
		MinVersion: said(s.minVersion, tls.VersionTLS12), MaxVersion: said(s.maxVersion, 0),
	}
	verify, checkName, checkExpire := said(s.verify, true), said(s.checkName, true), said(s.checkExpire, true)
	if said(s.verify, false) {
		checkExpire = true // asked to verify, httpd takes nothing that has expired
	}
	if verify && checkName && checkExpire {
		return c
	}
	checkCN := !checkName && said(s.checkCN, false)
	// What crypto/tls checks in one piece is taken apart.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		name := cmp.Or(cs.ServerName, name)
		leaf := cs.PeerCertificates[0]
		now := time.Now()
		if checkExpire && (now.Before(leaf.NotBefore) || now.After(leaf.NotAfter)) {
			return x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}
		}
		if checkName {
			if err := leaf.VerifyHostname(name); err != nil {
				return err
			}
		}
		if checkCN && !strings.EqualFold(leaf.Subject.CommonName, name) {
			return x509.HostnameError{Certificate: leaf, Host: name}
		}
		if !verify {
			return nil
		}
		opts := x509.VerifyOptions{Roots: s.roots, Intermediates: x509.NewCertPool()}
		if !checkExpire {
			opts.CurrentTime = leaf.NotBefore
		}
		for _, cert := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		_, err := leaf.Verify(opts)
		return err
	}
	return c
}
