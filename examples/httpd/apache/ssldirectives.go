package apache

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/modssl"
)

// sslDirectives are those of mod_ssl that concern clients.
func sslDirectives() []directive {
	file := func(name string, in place, note string, put func(s *sslSettings, n named)) directive {
		return directive{name: name, in: in, min: 1, max: 1, note: note, apply: func(b *builder, s *scope, d *conf.Directive) error {
			n := named{b.file(d.Args[0]), d}
			put(&s.settings.ssl, n)
			_, err := os.Stat(n.text)
			return err
		}}
	}
	flag := func(name string, in place, note string, field func(s *sslSettings) **bool) directive {
		return directive{name: name, in: in, min: 1, max: 1, note: note, apply: applySwitch(func(s *settings) **bool { return field(&s.ssl) })}
	}
	wait := func(name string, field func(s *modssl.Stapling) *time.Duration) directive {
		return directive{name: name, in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			t, err := positive(d.Args[0], time.Second)
			*field(&s.settings.ssl.stapling) = *t
			return err
		}}
	}
	return slices.Concat([]directive{
		{name: "SSLEngine", in: anyServer, min: 1, max: 1, note: "of virtual hosts at one address the first decides whether TLS is spoken there, as in httpd; optional is not possible", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			word := strings.ToLower(d.Args[0])
			if word == "optional" {
				return conf.WithHint(errors.New("TLS inside of HTTP/1.1 (RFC 2817) is not spoken"), "SSLEngine on, on a port of its own")
			}
			if word != "on" && word != "off" {
				return errors.New("want on or off")
			}
			s.settings.ssl.engine = &named{word, d}
			return nil
		}},
		file("SSLCertificateFile", anyServer, "PEM, with the chain; several for keys of several kinds; read again when it changes", func(s *sslSettings, n named) { s.certs = append(s.certs, n) }),
		file("SSLCertificateKeyFile", anyServer, "without it, the key is in SSLCertificateFile", func(s *sslSettings, n named) { s.keys = append(s.keys, n) }),
		file("SSLCertificateChainFile", anyServer, "for a certificate whose own file has no chain", func(s *sslSettings, n named) { s.chain = &n }),
		{name: "SSLProtocol", in: anyServer, min: 1, max: -1, note: "TLSv1.2 and TLSv1.3; older ones, as with OpenSSL 3, with @SECLEVEL=0 in SSLCipherSuite alone", apply: applySSLProtocol},
		{name: "SSLCipherSuite", in: anyServer, min: 1, max: 2, note: "OpenSSL's cipher strings; a warning for what Go does not have; Go itself puts suites in order, and chooses those of TLS 1.3", apply: applySSLCipherSuite},
		flag("SSLSessionTickets", anyServer, "Off: sessions are not resumed, for Go has no other way", func(s *sslSettings) **bool { return &s.tickets }),
		file("SSLSessionTicketKeyFile", anyServer, "for those of this program that share it", func(s *sslSettings, n named) { s.ticketKey = &n }),
		flag("SSLStrictSNIVHostCheck", anyServer, "", func(s *sslSettings) **bool { return &s.strictSNI }),
		{name: "SSLVHostSNIPolicy", in: inServer, min: 1, max: 1, note: "strict, secure, authonly, insecure", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			word := strings.ToLower(d.Args[0])
			if !slices.Contains([]string{"strict", "secure", "authonly", "insecure"}, word) {
				return errors.New("want strict, secure, authonly or insecure")
			}
			b.opt.sniPolicy = word
			return nil
		}},
		{name: "SSLPassPhraseDialog", in: inServer, min: 1, max: 1, note: "exec: runs the program; with builtin an encrypted key is an error", apply: func(b *builder, s *scope, d *conf.Directive) error {
			program, exec := strings.CutPrefix(d.Args[0], "exec:")
			if exec {
				s.settings.ssl.passphrase = b.file(program)
				return nil
			}
			if d.Args[0] != "builtin" {
				return conf.WithHint(errors.New("nobody can be asked"), "exec:program")
			}
			return nil
		}},
		{name: "SSLVerifyClient", in: anywhere, min: 1, max: 1, note: "in a section: clients of the whole virtual host are asked for a certificate in the handshake, and the section demands it", apply: func(b *builder, s *scope, d *conf.Directive) error {
			mode, ok := map[string]modssl.Mode{"none": modssl.VerifyNone, "optional": modssl.VerifyOptional, "require": modssl.VerifyRequire, "optional_no_ca": modssl.VerifyOptionalNoCA}[strings.ToLower(d.Args[0])]
			if !ok {
				return errors.New("want none, optional, require or optional_no_ca")
			}
			s.settings.ssl.verify = &mode
			if s.context&anyServer == 0 && mode != modssl.VerifyNone {
				server := s
				for server.parent != nil && server.context&anyServer == 0 {
					server = server.parent
				}
				if b.override {
					if max(server.asksFor, said(server.settings.ssl.verify, modssl.VerifyNone)) == modssl.VerifyNone {
						return errors.New("clients are asked in the handshake, before a .htaccess is read: say SSLVerifyClient optional in the virtual host, too")
					}
					return nil // the server is at work: nothing of it may change
				}
				server.asksFor = max(server.asksFor, mode)
			}
			return nil
		}},
		{name: "SSLVerifyDepth", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.Atoi(d.Args[0])
			if err != nil || n < 0 {
				return errors.New("want a number")
			}
			s.settings.ssl.depth = &n
			return nil
		}},
		file("SSLCACertificateFile", anyServer, "", func(s *sslSettings, n named) { s.caFile = &n }),
		file("SSLCACertificatePath", anyServer, "all files of the folder; hashed names are not needed", func(s *sslSettings, n named) { s.caPath = &n }),
		file("SSLCADNRequestFile", anyServer, "", func(s *sslSettings, n named) { s.dnFile = &n }),
		file("SSLCADNRequestPath", anyServer, "", func(s *sslSettings, n named) { s.dnPath = &n }),
		file("SSLCARevocationFile", anyServer, "", func(s *sslSettings, n named) { s.crlFile = &n }),
		file("SSLCARevocationPath", anyServer, "all files of the folder", func(s *sslSettings, n named) { s.crlPath = &n }),
		{name: "SSLCARevocationCheck", in: anyServer, min: 1, max: 2, note: "none, leaf, chain; no_crl_for_cert_ok", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			c := &modssl.RevocationCheck{}
			switch strings.ToLower(d.Args[0]) {
			case "none":
			case "leaf":
				c.Leaf = true
			case "chain":
				c.Leaf, c.Chain = true, true
			default:
				return errors.New("want none, leaf or chain")
			}
			if len(d.Args) == 2 {
				if c.NoCRLOK = strings.EqualFold(d.Args[1], "no_crl_for_cert_ok"); !c.NoCRLOK {
					return fmt.Errorf("%q is not known", d.Args[1])
				}
			}
			s.settings.ssl.revocationCheck = c
			return nil
		}},
		{name: "SSLRequireSSL", in: inSection, min: 0, max: 0, apply: func(_ *builder, s *scope, _ *conf.Directive) error {
			on := true
			s.settings.ssl.requireTLS = &on
			return nil
		}},
		{name: "SSLOptions", in: anywhere, min: 1, max: -1, note: "StdEnvVars, ExportCertData, FakeBasicAuth, LegacyDNStringFormat; StrictRequire and OptRenegotiate mean nothing here", apply: applySSLOptions},
		{name: "SSLUserName", in: inSection | anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.ssl.userName = d.Args[0]
			return nil
		}},
		{name: "SSLOpenSSLConfCmd", in: anyServer, min: 2, max: 2, note: "Curves, Groups and ECDHParameters; a warning for others", apply: applyOpenSSLConfCmd},
		flag("SSLUseStapling", anyServer, "answers are fetched in the background, and no handshake waits for one", func(s *sslSettings) **bool { return &s.staple }),
		{name: "SSLStaplingForceURL", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.ssl.stapling.Responder = d.Args[0]
			return nil
		}},
		wait("SSLStaplingResponderTimeout", func(s *modssl.Stapling) *time.Duration { return &s.Timeout }),
		wait("SSLStaplingStandardCacheTimeout", func(s *modssl.Stapling) *time.Duration { return &s.Standard }),
		wait("SSLStaplingErrorCacheTimeout", func(s *modssl.Stapling) *time.Duration { return &s.Retry }),
		wait("SSLStaplingResponseTimeSkew", func(s *modssl.Stapling) *time.Duration { return &s.Skew }),
		offAlone("SSLCompression", "it leaks secrets (CRIME)"),
		offAlone("SSLInsecureRenegotiation", "it lets others put words before a client's"),
		offAlone("SSLFIPS", "FIPS 140-3 is a mode of the Go program: GODEBUG=fips140=on"),
	}, http2Directives())
}

// offAlone is a switch that may only be off.
func offAlone(name, why string) directive {
	return directive{name: name, in: anyServer, min: 1, max: 1, note: "Off alone: " + why, apply: func(_ *builder, _ *scope, d *conf.Directive) error {
		on, err := onOff(d)
		if err == nil && on {
			err = conf.WithHint(fmt.Errorf("it cannot be on: %s", why), name+" off")
		}
		return err
	}}
}

func applySSLProtocol(b *builder, s *scope, d *conf.Directive) error {
	p, warnings, err := modssl.ParseProtocols(d.Args)
	for _, w := range warnings {
		b.warn(d.Errorf("SSLProtocol: %s", w))
	}
	s.settings.ssl.protocols = &p
	return err
}

// applySSLCipherSuite reads "[SSL|TLSv1.3] ciphers".
func applySSLCipherSuite(b *builder, s *scope, d *conf.Directive) error {
	if len(d.Args) == 2 {
		switch strings.ToUpper(d.Args[0]) {
		case "TLSV1.3":
			b.warn(d.Errorf("SSLCipherSuite TLSv1.3 has no effect: Go chooses the suites of TLS 1.3 itself"))
			return nil
		case "SSL":
		default:
			return fmt.Errorf("protocol %q is none of SSL and TLSv1.3", d.Args[0])
		}
	}
	c, err := modssl.ParseCiphers(d.Args[len(d.Args)-1])
	if err != nil {
		return conf.WithHint(err, "SSLCipherSuite HIGH:!aNULL")
	}
	if len(c.Missing) > 0 {
		b.warn(d.Errorf("SSLCipherSuite: Go does not have %s", strings.Join(c.Missing, ", ")))
	}
	s.settings.ssl.ciphers = &c
	return nil
}

func applySSLOptions(_ *builder, s *scope, d *conf.Directive) error {
	o := sslOptions{said: true, relative: true}
	for i, word := range d.Args {
		name := strings.TrimLeft(word, "+-")
		one, ok := sslOptionWords[strings.ToLower(name)]
		switch {
		case !ok:
			return fmt.Errorf("option %q is not known", name)
		case strings.HasPrefix(word, "-"):
			o.on, o.off = o.on&^one, o.off|one
		case strings.HasPrefix(word, "+"):
			o.on, o.off = o.on|one, o.off&^one
		default:
			if i == 0 || o.relative {
				o.on, o.off = 0, 0
			}
			o.relative = false
			o.on |= one
		}
	}
	s.settings.ssl.options = s.settings.ssl.options.merge(o)
	return nil
}

func applyOpenSSLConfCmd(b *builder, s *scope, d *conf.Directive) error {
	switch strings.ToLower(d.Args[0]) {
	case "curves", "groups", "ecdhparameters":
		if strings.EqualFold(d.Args[1], "auto") || strings.EqualFold(d.Args[1], "automatic") {
			return nil
		}
		ids, missing := modssl.Curves(d.Args[1])
		if len(missing) > 0 {
			b.warn(d.Errorf("SSLOpenSSLConfCmd: Go does not have %s", strings.Join(missing, ", ")))
		}
		if len(ids) == 0 {
			return errors.New("none of the curves is one that Go has")
		}
		s.settings.ssl.curves = ids
	default:
		b.warn(d.Errorf("SSLOpenSSLConfCmd %s has no effect: TLS is Go's", d.Args[0]))
	}
	return nil
}

// acceptedTLS are directives of TLS and HTTP/2 that change nothing here.
func acceptedTLS(accept func(note string, names ...string) []directive) []directive {
	return slices.Concat(
		accept("Go puts suites in order itself, by what both sides are fast at", "SSLHonorCipherOrder"),
		accept("sessions are in tickets that clients keep", "SSLSessionCache", "SSLSessionCacheTimeout"),
		accept("answers are kept in memory; one that says no is not stapled", "SSLStaplingCache", "SSLStaplingReturnResponderErrors", "SSLStaplingFakeTryLater", "SSLStaplingResponseMaxAge"),
		accept("randomness and speed are Go's affair", "SSLRandomSeed", "SSLCryptoDevice"),
		accept("there is no renegotiation, so no body waits for one", "SSLRenegBufferSize"),
		accept("HTTP/2 is net/http's, which sizes its buffers and workers itself", "H2MinWorkers", "H2MaxWorkers", "H2MaxWorkerIdleSeconds", "H2StreamMaxMemSize", "H2SerializeHeaders", "H2TLSWarmUpSize", "H2TLSCoolDownSecs", "H2CopyFiles", "H2OutputBuffering", "H2Padding", "H2MaxHeaderBlockLen", "H2StreamTimeout", "H2ModernTLSOnly", "H2EarlyHints"),
		accept("clients of HTTP/2 in the clear begin with it; those that ask for an upgrade are answered in HTTP/1.1", "H2Direct", "H2Upgrade"),
		accept("nothing is pushed: no browser takes it any more", "H2Push", "H2PushDiarySize", "H2PushPriority", "H2PushResource"),
	)
}

// refusedTLS are directives of TLS that would mislead if they were ignored.
func refusedTLS(refuse func(note string, names ...string) []directive) []directive {
	return slices.Concat(
		refuse("use Require expr, as in Require expr %{SSL_CIPHER_USEKEYSIZE} -ge 128", "SSLRequire"),
		refuse("clients are known by certificates or passwords, not by SRP", "SSLSRPVerifierFile", "SSLSRPUnknownUserSeed"),
		refuse("clients' certificates are looked at with lists alone (SSLCARevocationFile), not with OCSP", "SSLOCSPEnable", "SSLOCSPDefaultResponder", "SSLOCSPOverrideResponder", "SSLOCSPResponderCertificateFile", "SSLOCSPResponderTimeout", "SSLOCSPResponseMaxAge", "SSLOCSPResponseTimeSkew", "SSLOCSPUseRequestNonce", "SSLOCSPNoVerify", "SSLOCSPProxyURL"),
		refuse("a proxy of HTTP/2 is not this server toward clients", "H2ProxyRequests"),
	)
}
