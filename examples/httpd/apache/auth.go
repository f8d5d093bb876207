package apache

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// authSettings say how clients prove who they are.
type authSettings struct {
	scheme *string // AuthType: basic, digest or none
	realm  *phrase
	users  *accounts
	groups *groupFile
	fake   *fakeUser // AuthBasicFake
	digest digestSettings
}

// typeName is what AUTH_TYPE says.
func (s *authSettings) typeName() string {
	if said(s.scheme, "") == "digest" {
		return "Digest"
	}
	return "Basic"
}

// configured reports whether there is an AuthType.
func (s *authSettings) configured() bool { return said(s.scheme, "none") != "none" }

// fakeUser is what a backend is told instead of the client's credentials.
type fakeUser struct{ name, password *phrase } // a name of nil is AuthBasicFake Off

func (s authSettings) merge(inner authSettings) authSettings {
	over(&s.scheme, inner.scheme)
	over(&s.realm, inner.realm)
	over(&s.users, inner.users)
	over(&s.groups, inner.groups)
	over(&s.fake, inner.fake)
	s.digest = s.digest.merge(inner.digest)
	return s
}

// authDirectives are those of mod_authn_core, mod_auth_basic and mod_authn_file.
func authDirectives() []directive {
	const in = inSection
	return []directive{
		{name: "AuthType", in: in, min: 1, max: 1, note: "Basic, Digest or None", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			scheme := strings.ToLower(d.Args[0])
			if scheme != "basic" && scheme != "digest" && scheme != "none" {
				if module := foreignAuthTypes[scheme]; module != "" {
					return fmt.Errorf("%s is not supported: it belongs to %s; Basic, Digest and None are", d.Args[0], module)
				}
				return fmt.Errorf("%s is not supported: Basic, Digest and None are", d.Args[0])
			}
			s.settings.auth.scheme = &scheme
			return nil
		}},
		{name: "AuthName", in: in, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) (err error) {
			s.settings.auth.realm, err = parsePhrase(d.Args[0])
			return err
		}},
		{name: "AuthBasicProvider", in: in, min: 1, max: -1, note: "file alone", apply: applyProvider},
		{name: "AuthUserFile", in: in, min: 1, max: 1, note: "bcrypt, MD5 and {SHA} as htpasswd writes them; a change counts after a second", apply: func(b *builder, s *scope, d *conf.Directive) (err error) {
			s.settings.auth.users, err = b.accounts(d, b.file(d.Args[0]))
			return err
		}},
		{name: "AuthBasicFake", in: in, min: 1, max: 2, apply: func(_ *builder, s *scope, d *conf.Directive) (err error) {
			s.settings.auth.fake = &fakeUser{}
			if len(d.Args) == 1 && strings.EqualFold(d.Args[0], "off") {
				return nil
			}
			words := append(d.Args[:len(d.Args):len(d.Args)], "password")
			if s.settings.auth.fake.name, err = parsePhrase(words[0]); err != nil {
				return err
			}
			s.settings.auth.fake.password, err = parsePhrase(words[1])
			return err
		}},
	}
}

// applyProvider reads AuthBasicProvider and AuthDigestProvider.
func applyProvider(_ *builder, _ *scope, d *conf.Directive) error {
	for _, name := range d.Args {
		if module := foreignProviders[strings.ToLower(name)]; module != "" {
			return fmt.Errorf("provider %s is not supported: it belongs to %s; file is", name, module)
		}
		if !strings.EqualFold(name, "file") {
			return fmt.Errorf("provider %s is not supported: file is", name)
		}
	}
	return nil
}

// foreignAuthTypes are those of modules that there are not.
var foreignAuthTypes = map[string]string{
	"form": "mod_auth_form", "kerberos": "mod_auth_kerb", "gssapi": "mod_auth_gssapi", "negotiate": "mod_auth_gssapi", "openid-connect": "mod_auth_openidc", "oauth20": "mod_auth_openidc",
	"oauth2": "mod_oauth2", "auth-openidc": "mod_auth_openidc", "shibboleth": "mod_shib", "mellon": "mod_auth_mellon", "cas": "mod_auth_cas", "ntlm": "mod_authnz_sspi", "sspi": "mod_authnz_sspi", "jwt-bearer": "mod_authnz_jwt",
}

// foreignProviders are the providers of modules that there are not.
var foreignProviders = map[string]string{
	"ldap": "mod_authnz_ldap", "dbd": "mod_authn_dbd", "dbm": "mod_authn_dbm", "anon": "mod_authn_anon", "socache": "mod_authn_socache", "pam": "mod_authnz_pam",
	"external": "mod_authnz_external", "fcgi": "mod_authnz_fcgi", "radius": "mod_auth_radius", "mysql": "mod_auth_mysql",
}

// asker asks for credentials. An error of its methods is an *exchange.Error with a
// challenge, or says why they cannot be judged.
type asker interface {
	CheckOrigin(r *http.Request) (user string, err error)
	CheckProxy(r *http.Request) (user string, err error)
}

// asker returns what asks for credentials in some sections, or nil if nothing was
// set up.
func (h *host) asker(s *settings) asker {
	users := s.auth.users
	switch scheme := said(s.auth.scheme, "none"); {
	case users == nil || scheme == "none":
		return nil
	case scheme == "digest":
		return newDigestAsker(&s.auth)
	}
	return h.basicAuth(users)
}

// basicAuth returns what asks for credentials by the Basic scheme: one for all
// sections with the same users.
func (h *host) basicAuth(users *accounts) *access.BasicAuth {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.askers[users]
	if a == nil {
		a = &access.BasicAuth{Verify: users.verify, Stamp: users.stamp}
		if h.askers == nil {
			h.askers = make(map[*accounts]*access.BasicAuth)
		}
		h.askers[users] = a
	}
	return a
}

func (v *visit) credentials(r *http.Request) (string, error) {
	if v.target != "" {
		return v.served.asks.CheckProxy(r)
	}
	return v.served.asks.CheckOrigin(r)
}

// admits answers requests of clients that may not make them.
func (h *host) admits(w http.ResponseWriter, r *http.Request, s *served) bool {
	v := visitOf(r)
	switch judged := h.judge(r, s); {
	case judged == granted:
		return true
	case judged == undecidable:
		h.refuse(w, r, s, http.StatusInternalServerError)
	case judged == noUser:
		h.logger.Info("client has no credentials that count", "client", r.RemoteAddr, "path", r.URL.Path, "error", v.authErr)
		h.challenge(w, r, s)
	default:
		h.logger.Info("client denied by configuration", "client", r.RemoteAddr, "path", r.URL.Path)
		h.refuse(w, r, s, http.StatusForbidden)
	}
	return false
}

// judge decides about a request in httpd's order: by its address, which may
// suffice, by what needs no user, and then by its user. noUser is the verdict when
// other credentials could help.
func (h *host) judge(r *http.Request, s *served) verdict {
	v := visitOf(r)
	any := s.access.compat.any(r.Method)
	switch allowed := s.access.compat.allows(v, r); {
	case !allowed && !any:
		return denied
	case allowed && any:
		return granted
	case s.access.require == nil && s.auth.configured():
		h.logger.Error("there is an AuthType, but nothing is required", "path", r.URL.Path)
		return undecidable
	case s.access.require == nil:
		// A forward request needs something that lets it through.
		return grants(v.target == "" || s.access.compat != nil)
	}
	judged := s.access.require.judge(v, r, logicAll)
	if judged != noUser {
		return max(judged, denied)
	}
	if s.asks == nil {
		h.logger.Error("a user is required, but AuthType or AuthUserFile is missing", "path", r.URL.Path)
		return undecidable
	}
	if v.user, v.authErr = v.credentials(r); v.user == "" {
		return noUser
	}
	access.WithUser(r, v.user, s.auth.typeName()) // for the log, though a requirement may refuse it
	switch judged = s.access.require.judge(v, r, logicAll); judged {
	case denied, neutral:
		if said(s.access.forbidden, false) {
			return denied
		}
		return noUser // another may be asked for, as httpd does
	}
	return judged
}

// challenge asks for credentials, or says why those that came cannot be judged.
func (h *host) challenge(w http.ResponseWriter, r *http.Request, s *served) {
	v := visitOf(r)
	err := v.authErr
	if err == nil { // of somebody else than is required
		without := *r
		without.Header = nil
		_, err = v.credentials(&without)
	}
	if exchange.StatusOf(err) == exchange.StatusClientClosedRequest {
		panic(http.ErrAbortHandler)
	}
	var e *exchange.Error
	if errors.As(err, &e) {
		for name, values := range e.Header {
			if strings.HasSuffix(name, "-Authenticate") && s.auth.realm != nil && *s.auth.scheme == "basic" {
				realm := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.auth.realm.of(v, r))
				values = []string{`Basic realm="` + fieldValue(realm) + `"`}
			}
			w.Header()[name] = values
		}
	}
	h.refuse(w, r, s, exchange.StatusOf(err))
}

// refuse is fail for requests whose content nobody will read.
func (h *host) refuse(w http.ResponseWriter, r *http.Request, s *served, code int) {
	if r.Method == http.MethodConnect {
		exchange.CloseRefusedConnect(w, r)
	}
	h.fail(w, r, s, code)
}

// withFakeUser obeys AuthBasicFake: the backend is told another user than the
// client's.
func (s *served) withFakeUser(r *http.Request) *http.Request {
	f, v := s.auth.fake, visitOf(r)
	if f == nil || f.name == nil {
		return r
	}
	name, password := f.name.of(v, r), f.password.of(v, r)
	out := *r
	out.Header = r.Header.Clone()
	delete(out.Header, "Authorization")
	if name != "" {
		out.Header["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))}
	}
	return &out
}
