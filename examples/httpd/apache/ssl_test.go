package apache

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTLSConfigurations: directives of TLS and HTTP/2 that are accepted, with what
// is said of them, and those that are refused.
func TestTLSConfigurations(t *testing.T) {
	p := newPKI(t)
	p.revoke("b")
	require.NoError(t, os.WriteFile(p.file("tickets"), []byte(strings.Repeat("x", 48)), 0o600))
	require.NoError(t, os.WriteFile(p.file("broken.pem"), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n"), 0o600))
	const certificate = "SSLCertificateFile a.pem\nSSLCertificateKeyFile a.key\n"
	const on = "SSLEngine on\n" + certificate
	for text, want := range map[string]string{
		on + "SSLProtocol all -SSLv2 -SSLv3\nSSLCipherSuite HIGH:!aNULL:!MD5\nSSLHonorCipherOrder on\nSSLSessionCache shmcb:/x(512000)\nSSLSessionCacheTimeout 300": "",
		on + "SSLCipherSuite ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256":                                                                                 "x.conf:6: warning: SSLCipherSuite: Go does not have DHE-RSA-AES128-GCM-SHA256",
		on + "SSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256":                                                                                                        "x.conf:6: warning: SSLCipherSuite TLSv1.3 has no effect",
		on + "SSLCipherSuite SSL HIGH":     "",
		on + "SSLCipherSuite RC4-SHA":      "x.conf:6: SSLCipherSuite: none of the suites is one that Go has",
		on + "SSLProtocol TLSv1.2 TLSv1.3": "x.conf:6: warning: SSLProtocol: TLSv1.3 takes the place of all before it",
		on + "SSLProtocol all +TLSv1":      "warning: SSLProtocol: TLSv1 is spoken only with @SECLEVEL=0",
		on + "SSLProtocol +SSLv3":          "x.conf:6: SSLProtocol: SSLv3 is not safe",
		on + "SSLProtocol TLSv1":           "SSLProtocol: no protocol is left",
		on + "SSLProtocol TLSv1.4":         `x.conf:6: SSLProtocol: protocol "TLSv1.4" is not known`,
		on + "SSLCompression off\nSSLInsecureRenegotiation off\nSSLFIPS off\nSSLSessionTickets off\nSSLSessionTicketKeyFile tickets": "",
		on + "SSLCertificateChainFile ca.pem": "",
		on + "SSLCompression on":              "x.conf:6: SSLCompression: it cannot be on",
		on + "SSLUseStapling on\nSSLStaplingCache shmcb:/x(128000)\nSSLStaplingForceURL http://ocsp.test/\nSSLStaplingResponderTimeout 5\nSSLStaplingStandardCacheTimeout 60\nSSLStaplingErrorCacheTimeout 60\nSSLStaplingResponseTimeSkew 300\nSSLStaplingReturnResponderErrors off": "",
		on + "SSLOpenSSLConfCmd Curves X25519:secp384r1\nSSLStrictSNIVHostCheck on\nSSLVHostSNIPolicy authonly": "",
		on + "SSLOpenSSLConfCmd DHParameters dh.pem":                                                            "warning: SSLOpenSSLConfCmd DHParameters has no effect",
		on + "SSLOpenSSLConfCmd Curves brainpoolP256r1":                                                         "none of the curves is one that Go has",
		on + "SSLVerifyClient require":                                                                          "SSLVerifyClient: no authority is known",
		on + "SSLVerifyClient optional\nSSLVerifyDepth 2\nSSLCACertificatePath .\nSSLCADNRequestFile ca.pem\nSSLCADNRequestPath .\nSSLCARevocationPath .\nSSLCARevocationFile crl.pem\nSSLCARevocationCheck chain": "",
		on + "SSLCACertificateFile broken.pem\nSSLVerifyClient require":                                                 "no certificate is in it",
		on + "SSLPassPhraseDialog exec:/bin/true\nSSLUserName SSL_CLIENT_S_DN_CN\nSSLOptions StdEnvVars +StrictRequire": "",
		on + "SSLOptions +Nothing":                     `x.conf:6: SSLOptions: option "Nothing" is not known`,
		on + "SSLRequire %{SSL_CIPHER_USEKEYSIZE} > 1": "use Require expr",
		"SSLEngine optional\n" + certificate:           "TLS inside of HTTP/1.1 (RFC 2817) is not spoken",
		"SSLEngine on":                                 "x.conf:3: TLS is on, but there is no SSLCertificateFile",
		"SSLEngine on\nSSLCertificateFile /etc/letsencrypt/live/nowhere/fullchain.pem": "x.conf:4: SSLCertificateFile: stat /etc/letsencrypt/live/nowhere/fullchain.pem: no such file",
		"SSLEngine on\nSSLCertificateFile a.pem\nSSLCertificateKeyFile b.key":          "x.conf:4: SSLCertificateFile: ",
		"SSLEngine on\nSSLCertificateFile a.pem":                                       "no private key is in it",
		"SSLEngine on\nSSLCertificateFile broken.pem":                                  "a block of PEM is cut",
		on + "Protocols h2 h2c http/1.1\nProtocolsHonorOrder on\nH2MaxSessionStreams 50\nH2WindowSize 100000\nH2MaxDataFrameLen 16384\nH2Push on\nH2Direct on\nH2ModernTLSOnly on": "",
		on + "Protocols h3 http/1.1": `x.conf:6: warning: protocol "h3" is not known`,
		on + "H2WebSockets on":       "x.conf:6: warning: H2WebSockets has no effect",
		on + "H2EarlyHint Link x":    "warning: H2EarlyHint has no effect",
		on + "H2MaxSessionStreams 0": "want a number",
	} {
		site, err := Parse("Listen 443\nErrorLog /dev/null\n"+text+"\n", "x.conf", Options{Root: p.dir})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = site.Warnings().Error()
			require.NoError(t, site.Close())
		}
		if want == "" {
			require.Empty(t, got, text)
		}
		require.Contains(t, got, want, text)
		require.False(t, strings.Contains(got, "no such file") && strings.Contains(got, "\n"), "told twice: %s", got)
		if want != "" && !strings.Contains(want, "warning") {
			require.Error(t, err, text)
		}
	}
}

// get asks an address for / and returns the name in the certificate and the text.
func tlsGet(t *testing.T, addr, name string) (certificate, text string) {
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
	resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.TLS.PeerCertificates[0].Subject.CommonName, string(b)
}

// TestCertificateChanges: a certificate that is written anew is shown to clients
// without a reload, once it is whole; a reload reads it at once, or keeps the site.
func TestCertificateChanges(t *testing.T) {
	p := newPKI(t)
	copyPair := func(name string, parts ...string) {
		for _, part := range parts {
			b, err := os.ReadFile(p.file(name + part))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(p.file("live"+part), b, 0o644))
		}
	}
	copyPair("a", ".pem", ".key")
	text := "Listen 443\nSSLEngine on\nSSLCertificateFile " + p.file("live.pem") + "\nSSLCertificateKeyFile " + p.file("live.key") + "\nProxyPass / http://backend.test/\n"
	s := start(t, text, echo, "-listen", "443=127.0.0.1:0")
	addr := s.server.addresses()["443"]
	shown := func() string { name, _ := tlsGet(t, addr, "a.test"); return name }
	require.Equal(t, "a.test", shown())
	copyPair("b", ".pem") // half of it
	require.Error(t, s.server.Reload())
	require.Equal(t, "a.test", shown())
	copyPair("b", ".key")
	require.Eventually(t, func() bool { return shown() == "b.test" }, 20*time.Second, 50*time.Millisecond)
	copyPair("a", ".pem", ".key")
	require.NoError(t, s.server.Reload())
	require.Equal(t, "a.test", shown())
	require.True(t, s.server.Listeners()[0].TLS)
}

// TestListenHTTPS: without SSLEngine it is Listen that says so, as in httpd.
func TestListenHTTPS(t *testing.T) {
	p := newPKI(t)
	s := start(t, "Listen 443 https\n<VirtualHost *:443>\nServerName a.test\nSSLCertificateFile "+p.file("a.pem")+"\nSSLCertificateKeyFile "+p.file("a.key")+"\nProxyPass / http://backend.test/\n</VirtualHost>\n", echo, "-listen", "443=127.0.0.1:0")
	name, text := tlsGet(t, s.server.addresses()["443"], "a.test")
	require.Equal(t, "a.test", name)
	require.Contains(t, text, "backend.test /")
}

// TestSectionsThatAskForCertificates: a client is asked in the handshake for what a
// section demands; elsewhere what it shows does not matter.
func TestSectionsThatAskForCertificates(t *testing.T) {
	p := newPKI(t)
	require.NoError(t, os.WriteFile(p.file("users"), []byte("/CN=deep:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"), 0o644)) // password
	s := start(t, `
Listen 443
SSLEngine on
SSLCertificateFile `+p.file("a.pem")+`
SSLCertificateKeyFile `+p.file("a.key")+`
SSLCACertificateFile `+p.file("ca.pem")+`
SSLVerifyDepth 2
ProxyPass / http://backend.test/
<Location /must>
SSLVerifyClient require
</Location>
<Location /shallow>
SSLVerifyClient require
SSLVerifyDepth 1
</Location>
<Location /either>
SSLVerifyClient optional
</Location>
<Location /basic>
SSLVerifyClient require
SSLOptions +FakeBasicAuth
AuthType Basic
AuthName certificates
AuthUserFile `+p.file("users")+`
Require valid-user
</Location>
`, echo, "-listen", "443=127.0.0.1:0")
	for path, want := range map[string]map[string]int{ // by certificate
		"/":        {"": 200, "client": 200, "self": 200, "expired": 200},
		"/must":    {"": 403, "client": 200, "self": 403, "expired": 403, "deep": 200},
		"/shallow": {"": 403, "client": 200, "deep": 403},
		"/either":  {"": 200, "client": 200, "self": 403},
		"/basic":   {"": 403, "client": 401, "deep": 200, "self": 403},
	} {
		for cert, status := range want {
			for _, protocol := range []string{"http/1.1", "h2"} {
				c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
				if cert != "" {
					pair := p.load(cert)
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
				}
				tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: c, ForceAttemptHTTP2: protocol == "h2"}
				resp, err := (&http.Client{Transport: tr}).Get("https://" + s.server.addresses()["443"] + path)
				if protocol == "h2" && err != nil {
					continue // it is not spoken here
				}
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, status, resp.StatusCode, "%s with %q", path, cert)
			}
		}
	}
}

// TestHTTP2InTheClear: Protocols h2c, by prior knowledge.
func TestHTTP2InTheClear(t *testing.T) {
	for words, want := range map[string]int{"Protocols h2c http/1.1": 2, "": 0} {
		s := start(t, "Listen 80\n"+words+"\nProxyPass / http://backend.test/", echo)
		tr := &http.Transport{Protocols: new(http.Protocols), DisableKeepAlives: true}
		tr.Protocols.SetUnencryptedHTTP2(true)
		resp, err := (&http.Client{Transport: tr}).Get("http://" + s.server.addresses()["80"] + "/x")
		got := 0
		if err == nil {
			got = resp.ProtoMajor
			require.NoError(t, resp.Body.Close())
		}
		tr.CloseIdleConnections()
		require.Equal(t, want, got, words)
		s.stop()
	}
}
