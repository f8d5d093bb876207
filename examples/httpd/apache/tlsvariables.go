package apache

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/modssl"
)

// clientOf returns the connection of a request, if it came in by a listener of this
// package with TLS.
func clientOf(r *http.Request) *clientConn {
	c, _ := r.Context().Value(connKey{}).(*clientConn)
	return c
}

// connectionOf is what is known of the TLS of a request, which has some.
func connectionOf(r *http.Request) *modssl.Connection {
	c := &modssl.Connection{State: r.TLS}
	if v := visitOf(r); v != nil && v.served != nil {
		c.LegacyNames = v.served.ssl.options.has(legacyNames)
	}
	if client := clientOf(r); client != nil {
		c.Client, c.Server = client.client, client.cert
		if h := client.host; c.Server == nil && h != nil && h.tls != nil { // a session that goes on shows none
			c.Server = h.tls.pairs[0].Certificate().Leaf
		}
		return c
	}
	if len(r.TLS.PeerCertificates) > 0 { // the embedder's server has looked at it
		c.Client = modssl.Verdict{Shown: true, Chains: r.TLS.VerifiedChains}
		if len(r.TLS.VerifiedChains) == 0 {
			c.Client.Err = errors.New("not verified")
		}
	}
	return c
}

// sslVariable returns a variable of mod_ssl about the client's connection: HTTPS,
// or one of SSL_…. It is not found for a name that mod_ssl does not know, and empty
// for one that says nothing of this connection.
func sslVariable(r *http.Request, name string) (string, bool) {
	if name == "HTTPS" {
		return onOffWord(r.TLS != nil), true
	}
	rest, ok := strings.CutPrefix(name, "SSL_")
	if !ok || r.TLS == nil {
		return "", ok
	}
	return connectionOf(r).Variable(rest)
}

// misdirected returns the status that answers a request for which the handshake of
// its connection was not meant, 0 for none.
func (h *host) misdirected(r *http.Request) int {
	c := clientOf(r)
	if c == nil || c.host == nil || r.TLS == nil || h.forwards(r) {
		return 0
	}
	switch {
	case r.TLS.ServerName != "" && r.Host == "":
		return http.StatusBadRequest
	case r.TLS.ServerName == "" && (said(h.settings.ssl.strictSNI, false) || said(c.host.settings.ssl.strictSNI, false)):
		return http.StatusForbidden
	case !h.shares(c.host):
		return http.StatusMisdirectedRequest
	}
	return 0
}

// checkTLS returns why the sections of a request do not let it pass by what its
// connection is.
func (s *served) checkTLS(r *http.Request) error {
	if r.TLS == nil {
		if said(s.ssl.requireTLS, false) {
			return errors.New("TLS is required (SSLRequireSSL)")
		}
		return nil
	}
	client := clientOf(r)
	if s.ssl.verify == nil || client == nil {
		return nil
	}
	verdict := client.client
	if err := verdict.Passes(*s.ssl.verify); err != nil {
		return err
	}
	if *s.ssl.verify != modssl.VerifyNone && verdict.Depth() > said(s.ssl.depth, 1) {
		return errors.New("certificate chain too long")
	}
	return nil
}

// identify makes the client's certificate the user, as FakeBasicAuth and SSLUserName
// say.
func (s *served) identify(v *visit, r *http.Request) (*http.Request, error) {
	if r.TLS == nil {
		return r, nil
	}
	if s.ssl.options.has(fakeBasicAuth) {
		name := ""
		if c := connectionOf(r); c.Client.Shown && c.Client.Err == nil {
			c.LegacyNames = true
			name, _ = c.Variable("CLIENT_S_DN")
		}
		if user, _, ok := r.BasicAuth(); ok && strings.HasPrefix(user, "/") {
			return r, errors.New("a client says itself what FakeBasicAuth says")
		}
		if name != "" && r.Header.Get("Authorization") == "" {
			copied := *r
			copied.Header = r.Header.Clone()
			copied.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(name+":password")))
			r = &copied
		}
	}
	if s.ssl.userName != "" {
		if name, _ := sslVariable(r, s.ssl.userName); name != "" {
			v.user = name
		}
	}
	return r, nil
}

// setTLS sets the variables that mod_ssl sets for applications.
func (s *served) setTLS(v *visit, r *http.Request) {
	if r.TLS == nil || v.host.tls == nil && clientOf(r) != nil { // without SSLEngine a host sets none, whatever another one spoke
		return
	}
	v.set("HTTPS", "on")
	if name := r.TLS.ServerName; name != "" {
		v.set("SSL_TLS_SNI", name)
	}
	o := s.ssl.options
	if !o.has(stdEnvVars) && !o.has(exportCertData) {
		return
	}
	c := connectionOf(r)
	if o.has(stdEnvVars) {
		c.Standard(v.set)
	}
	if o.has(exportCertData) {
		c.Certificates(v.set)
	}
}

// tlsAdmits answers requests whose connection is not what their sections demand, and
// makes the client's certificate a user.
func (h *host) tlsAdmits(w http.ResponseWriter, r *http.Request, s *served) (*http.Request, bool) {
	err := s.checkTLS(r)
	if err == nil {
		r, err = s.identify(visitOf(r), r)
	}
	if err == nil {
		return r, true
	}
	h.logger.Info("client denied by configuration", "client", r.RemoteAddr, "path", r.URL.Path, "error", err)
	h.refuse(w, r, s, http.StatusForbidden)
	return r, false
}

// verifiedState is the state of a connection as net/http has it, with the chains
// that this package has verified: others than this package look there.
func verifiedState(r *http.Request) {
	c := clientOf(r)
	if c == nil || r.TLS == nil || len(c.client.Chains) == 0 {
		return
	}
	state := *r.TLS
	state.VerifiedChains = c.client.Chains
	r.TLS = &state
}
