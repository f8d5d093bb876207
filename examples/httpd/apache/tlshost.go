package apache

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/modssl"
)

// hostTLS is the TLS of a virtual host toward clients.
type hostTLS struct {
	config   *tls.Config
	verifier *modssl.Verifier
	asks     modssl.Mode // what any request may need
	demands  modssl.Mode // what the handshake itself does
	pairs    []*modssl.Pair
	stapling *modssl.Stapling // nil without SSLUseStapling
	staples  *modssl.Stapler
	settings *sslSettings

	all, auth string // what must be the same for another host's requests on a connection
}

// hasTLS reports whether a host has TLS: it says so, or says nothing and has a
// certificate, and one of its addresses is that of a Listen with https.
func (b *builder) hasTLS(s *scope, settings *sslSettings) bool {
	if settings.engine != nil {
		return settings.engine.text == "on"
	}
	addresses := s.addresses
	if s == b.main && len(settings.certs) > 0 {
		addresses = b.main.listen
	}
	for _, a := range addresses {
		ip, port := splitAddress(a)
		for _, l := range b.main.listen {
			lip, lport := splitAddress(l)
			if lip == ip && lport == port && (slices.Contains(b.main.https, l) || port == "443" && len(settings.certs) > 0) {
				return true
			}
		}
	}
	return false
}

// startTLS makes what a host needs for TLS.
func (b *builder) startTLS(h *host, s *scope, staples *modssl.Stapler) error {
	settings := &h.settings.ssl
	if !b.hasTLS(s, settings) {
		return nil
	}
	var all conf.Errors
	at := s.at
	if settings.engine != nil {
		at = settings.engine.at
	}
	t := &hostTLS{settings: settings, staples: staples, config: &tls.Config{MinVersion: tls.VersionTLS12, CurvePreferences: settings.curves, SessionTicketsDisabled: !said(settings.tickets, true)}}
	if settings.protocols != nil {
		all.Add(t.readProtocols(settings, b, at))
	}
	if settings.ciphers != nil {
		t.config.CipherSuites = settings.ciphers.IDs
	}
	if len(settings.certs) == 0 {
		err := errors.New("TLS is on, but there is no SSLCertificateFile")
		if at != nil {
			err = at.Errorf("%w", err)
		}
		all.Add(err)
	}
	for i, cert := range settings.certs {
		if cert.isMissing() {
			continue
		}
		files := modssl.Files{Certificate: cert.text}
		if i < len(settings.keys) {
			files.Key = settings.keys[i].text
		}
		if settings.chain != nil {
			files.Chain = settings.chain.text
		}
		if program := b.main.settings.ssl.passphrase; program != "" {
			name := h.name
			files.Passphrase = func() ([]byte, error) {
				out, err := exec.Command(program, net.JoinHostPort(name, "443"), "RSA").Output()
				return bytes.TrimRight(out, "\r\n"), err
			}
		}
		pair, err := modssl.Open(files, h.logger)
		if err != nil {
			all.Add(locate(cert.at, err))
			continue
		}
		t.pairs = append(t.pairs, pair)
	}
	if settings.ticketKey != nil && !settings.ticketKey.isMissing() {
		key, err := readFile(settings.ticketKey.text)
		if err == nil && len(key) != 48 {
			err = fmt.Errorf("%s does not have 48 bytes", settings.ticketKey.text)
		}
		if err != nil {
			all.Add(locate(settings.ticketKey.at, err))
		}
		t.config.SetSessionTicketKeys([][32]byte{sha256.Sum256(key)})
	}
	if said(settings.staple, false) {
		t.stapling = &settings.stapling
	}
	all.Add(t.readVerifier(b, s, at))
	if len(all) > 0 {
		return all
	}
	t.config.GetCertificate = t.certificate
	t.config.NextProtos = []string{}
	for _, word := range settings.spoken {
		if word != "h2c" && (word != "h2" || modssl.ForHTTP2(t.config.CipherSuites) || t.config.MaxVersion == 0 || t.config.MaxVersion >= tls.VersionTLS13) {
			t.config.NextProtos = append(t.config.NextProtos, word)
		}
	}
	if settings.spoken == nil {
		t.config.NextProtos = []string{"http/1.1"}
	}
	t.auth = fmt.Sprint(settings.verify == nil, said(settings.verify, 0), settings.depth == nil, said(settings.depth, 0), said(settings.caFile, named{}).text, said(settings.caPath, named{}).text,
		said(settings.dnFile, named{}).text, said(settings.dnPath, named{}).text, said(settings.crlFile, named{}).text, said(settings.crlPath, named{}).text, said(settings.revocationCheck, modssl.RevocationCheck{}))
	t.all = fmt.Sprint(t.auth, settings.files(), settings.protocols, said(settings.ciphers, modssl.Ciphers{}).IDs, settings.ciphers == nil)
	h.tls = t
	return nil
}

// isMissing reports whether there is no such file, which its directive has told.
func (n named) isMissing() bool {
	_, err := os.Stat(n.text)
	return err != nil
}

// files are the names of the files of certificates and keys.
func (s *sslSettings) files() (names []string) {
	for _, list := range [][]named{s.certs, s.keys} {
		for _, n := range list {
			names = append(names, n.text)
		}
		names = append(names, "")
	}
	return names
}

// readProtocols sets the versions. As with OpenSSL 3, those before TLS 1.2 are
// spoken at security level 0 alone.
func (t *hostTLS) readProtocols(settings *sslSettings, b *builder, at *conf.Directive) (err error) {
	p := *settings.protocols
	if settings.ciphers == nil || settings.ciphers.Level != 0 {
		modern, old := p.Without()
		if len(old) > 0 && at != nil {
			b.warn(at.Errorf("SSLProtocol: %s is spoken only with @SECLEVEL=0 in SSLCipherSuite, as with OpenSSL 3", strings.Join(old, " and ")))
		}
		p = modern
	}
	t.config.MinVersion, t.config.MaxVersion, err = p.Range()
	if err != nil && at != nil {
		err = at.Errorf("SSLProtocol: %w", err)
	}
	return err
}

// readVerifier sets what is asked of clients.
func (t *hostTLS) readVerifier(b *builder, s *scope, at *conf.Directive) error {
	settings := t.settings
	t.demands = said(settings.verify, modssl.VerifyNone)
	t.asks = max(t.demands, s.asksFor, b.main.asksFor)
	if t.asks == modssl.VerifyNone {
		return nil
	}
	var all conf.Errors
	t.verifier = &modssl.Verifier{Depth: said(settings.depth, 1), Check: said(settings.revocationCheck, modssl.RevocationCheck{})}
	read := func(n *named, folder bool, use func(text []byte) error) {
		if n == nil || n.isMissing() {
			return
		}
		one := func(name string) error {
			text, err := readFile(name)
			if err == nil {
				err = use(text)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
		err := error(nil)
		if folder {
			err = inFolder(n.text, func(name string) error { _ = one(name); return nil }) // other files may lie there, too
		} else {
			err = one(n.text)
		}
		if err != nil {
			all.Add(locate(n.at, err))
		}
	}
	pool := func(into **x509.CertPool) func(text []byte) error {
		return func(text []byte) error {
			if *into == nil {
				*into = x509.NewCertPool()
			}
			if !(*into).AppendCertsFromPEM(text) {
				return errors.New("no certificate is in it")
			}
			return nil
		}
	}
	read(settings.caFile, false, pool(&t.verifier.Roots))
	read(settings.caPath, true, pool(&t.verifier.Roots))
	names := t.verifier.Roots
	if settings.dnFile != nil || settings.dnPath != nil {
		names = nil
		read(settings.dnFile, false, pool(&names))
		read(settings.dnPath, true, pool(&names))
	}
	lists := func(text []byte) error {
		crls, err := modssl.ParseCRLs(text)
		t.verifier.Revoked = append(t.verifier.Revoked, crls...)
		return err
	}
	read(settings.crlFile, false, lists)
	read(settings.crlPath, true, lists)
	if t.verifier.Roots == nil && t.asks != modssl.VerifyOptionalNoCA && at != nil {
		all.Add(conf.WithHint(at.Errorf("SSLVerifyClient: no authority is known that clients' certificates could come from"), "SSLCACertificateFile"))
	}
	t.config.ClientCAs = names
	return all.Err()
}

// forClient returns the configuration for a client.
func (t *hostTLS) forClient(hello *tls.ClientHelloInfo, c *clientConn) *tls.Config {
	config := t.config
	protos := config.NextProtos
	if !said(t.settings.serversWay, true) {
		offered := slices.DeleteFunc(slices.Clone(hello.SupportedProtos), func(p string) bool { return !slices.Contains(protos, p) })
		if len(offered) > 0 {
			protos = offered
		}
	}
	if t.verifier == nil && slices.Equal(protos, config.NextProtos) {
		return config
	}
	config = config.Clone()
	config.NextProtos = protos
	if t.verifier == nil {
		return config
	}
	config.ClientAuth = tls.RequestClientCert
	if t.demands == modssl.VerifyRequire {
		config.ClientAuth = tls.RequireAnyClientCert
	}
	config.VerifyConnection = func(s tls.ConnectionState) error {
		c.client = t.verifier.Judge(s.PeerCertificates)
		return c.client.Passes(t.demands)
	}
	return config
}

// certificate chooses among the certificates of a host: the first that the client
// can do something with, those with a key of ECDSA before.
func (t *hostTLS) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	chosen := t.pairs[0].Certificate()
	if len(t.pairs) > 1 {
		nameless := *hello
		nameless.ServerName = "" // httpd does not look at the names in certificates
		found := false
		for _, p := range t.pairs {
			cert := p.Certificate()
			_, ec := cert.PrivateKey.(*ecdsa.PrivateKey)
			if (!found || ec) && nameless.SupportsCertificate(cert) == nil {
				chosen, found = cert, true
			}
		}
	}
	if c, ok := hello.Conn.(*clientConn); ok {
		c.cert = chosen.Leaf
	}
	if t.stapling != nil {
		chosen = t.staples.Staple(chosen, *t.stapling)
	}
	return chosen, nil
}

// staple asks for what will be stapled, before the first client comes.
func (st *generation) staple() {
	for _, h := range st.hosts {
		if h.tls == nil || h.tls.stapling == nil {
			continue
		}
		for _, p := range h.tls.pairs {
			h.tls.staples.Staple(p.Certificate(), *h.tls.stapling)
		}
	}
}

// shares reports whether requests for host h may come on a connection whose
// handshake was for another one, by SSLVHostSNIPolicy.
func (h *host) shares(other *host) bool {
	if h == other || h.opt.sniPolicy == "insecure" {
		return true
	}
	if h.opt.sniPolicy == "strict" || h.tls == nil || other.tls == nil {
		return h.sameAs(other)
	}
	if h.opt.sniPolicy == "authonly" {
		return h.tls.auth == other.tls.auth
	}
	return h.tls.all == other.tls.all
}

// sameAs reports whether two hosts are one, of which a reload lies between.
func (h *host) sameAs(other *host) bool {
	a, b := h.scope.at, other.scope.at
	if a == nil || b == nil || a.File != b.File || a.Line != b.Line || (h.tls == nil) != (other.tls == nil) {
		return false
	}
	return h.tls == nil || h.tls.all == other.tls.all
}
