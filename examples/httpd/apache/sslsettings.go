package apache

import (
	"crypto/tls"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/modssl"
)

// sslSettings are what mod_ssl's and mod_http2's directives say of TLS and HTTP/2
// toward clients.
type sslSettings struct {
	engine      *named // SSLEngine: "on" or "off"
	certs, keys []named
	chain       *named
	protocols   *modssl.Protocols
	ciphers     *modssl.Ciphers
	curves      []tls.CurveID
	tickets     *bool
	ticketKey   *named
	strictSNI   *bool
	passphrase  string // SSLPassPhraseDialog exec:, of the main server
	staple      *bool
	stapling    modssl.Stapling

	verify          *modssl.Mode // in sections, too
	depth           *int
	caFile, caPath  *named
	dnFile, dnPath  *named
	crlFile         *named
	crlPath         *named
	revocationCheck *modssl.RevocationCheck

	spoken     []string // Protocols
	serversWay *bool    // ProtocolsHonorOrder
	http2      http2Settings

	// of sections
	requireTLS *bool
	options    sslOptions
	userName   string // SSLUserName
}

// named is an argument, and where it was said.
type named struct {
	text string
	at   *conf.Directive
}

func (s sslSettings) merge(inner sslSettings) sslSettings {
	over(&s.engine, inner.engine)
	s.certs, s.keys = overEach(s.certs, inner.certs), overEach(s.keys, inner.keys)
	over(&s.chain, inner.chain)
	over(&s.protocols, inner.protocols)
	over(&s.ciphers, inner.ciphers)
	if inner.curves != nil {
		s.curves = inner.curves
	}
	over(&s.tickets, inner.tickets)
	over(&s.ticketKey, inner.ticketKey)
	over(&s.strictSNI, inner.strictSNI)
	if inner.passphrase != "" {
		s.passphrase = inner.passphrase
	}
	over(&s.staple, inner.staple)
	s.stapling = s.stapling.Merge(inner.stapling)
	over(&s.verify, inner.verify)
	over(&s.depth, inner.depth)
	over(&s.caFile, inner.caFile)
	over(&s.caPath, inner.caPath)
	over(&s.dnFile, inner.dnFile)
	over(&s.dnPath, inner.dnPath)
	over(&s.crlFile, inner.crlFile)
	over(&s.crlPath, inner.crlPath)
	over(&s.revocationCheck, inner.revocationCheck)
	if inner.spoken != nil {
		s.spoken = inner.spoken
	}
	over(&s.serversWay, inner.serversWay)
	s.http2 = s.http2.merge(inner.http2)
	over(&s.requireTLS, inner.requireTLS)
	s.options = s.options.merge(inner.options)
	if inner.userName != "" {
		s.userName = inner.userName
	}
	return s
}

// overEach puts the files of a virtual host in the place of the main server's, one
// by one, as httpd does.
func overEach(outer, inner []named) []named {
	if len(inner) >= len(outer) {
		return inner
	}
	return append(inner[:len(inner):len(inner)], outer[len(inner):]...)
}

// sslOption is a word of SSLOptions.
type sslOption uint8

const (
	stdEnvVars sslOption = 1 << iota
	exportCertData
	fakeBasicAuth
	strictRequire
	legacyNames
	otherOption // OptRenegotiate, which means nothing here
)

var sslOptionWords = map[string]sslOption{
	"stdenvvars": stdEnvVars, "exportcertdata": exportCertData, "fakebasicauth": fakeBasicAuth, "strictrequire": strictRequire, "legacydnstringformat": legacyNames, "optrenegotiate": otherOption,
}

// sslOptions are those that are on: of a section whose words all have a sign, those
// that it changes.
type sslOptions struct {
	said, relative bool
	on, off        sslOption
}

func (o sslOptions) merge(inner sslOptions) sslOptions {
	if !inner.said {
		return o
	}
	if !inner.relative {
		return inner
	}
	return sslOptions{said: true, relative: o.relative || !o.said, on: o.on&^inner.off | inner.on, off: o.off&^inner.on | inner.off}
}

func (o sslOptions) has(one sslOption) bool { return o.on&one != 0 }

// http2Settings are what has a meaning for net/http.
type http2Settings struct {
	streams, window, frame *int
}

func (s http2Settings) merge(inner http2Settings) http2Settings {
	over(&s.streams, inner.streams)
	over(&s.window, inner.window)
	over(&s.frame, inner.frame)
	return s
}
