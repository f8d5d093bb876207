package apache

import (
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
	basic *bool // AuthType Basic, or None
	realm *string
	users *access.Htpasswd
}

func (s authSettings) merge(inner authSettings) authSettings {
	over(&s.basic, inner.basic)
	over(&s.realm, inner.realm)
	over(&s.users, inner.users)
	return s
}

// authDirectives are those of mod_authn_core, mod_auth_basic and mod_authn_file.
func authDirectives() []directive {
	const in = inSection
	return []directive{
		{name: "AuthType", in: in, min: 1, max: 1, note: "Basic or None", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			basic := strings.EqualFold(d.Args[0], "Basic")
			if !basic && !strings.EqualFold(d.Args[0], "None") {
				return fmt.Errorf("%s is not supported: Basic and None are", d.Args[0])
			}
			s.settings.auth.basic = &basic
			return nil
		}},
		{name: "AuthName", in: in, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.auth.realm = &d.Args[0]
			return nil
		}},
		{name: "AuthBasicProvider", in: in, min: 1, max: 1, note: "file alone", apply: func(_ *builder, _ *scope, d *conf.Directive) error {
			if !strings.EqualFold(d.Args[0], "file") {
				return fmt.Errorf("provider %s is not supported: file is", d.Args[0])
			}
			return nil
		}},
		{name: "AuthUserFile", in: in, min: 1, max: 1, note: "bcrypt and MD5 as htpasswd writes them; a change counts after a second", apply: func(b *builder, s *scope, d *conf.Directive) (err error) {
			s.settings.auth.users, err = b.readUsers(b.file(d.Args[0]))
			return err
		}},
	}
}

// readUsers reads a file of htpasswd, once.
func (b *builder) readUsers(name string) (*access.Htpasswd, error) {
	if users := b.users[name]; users != nil {
		return users, nil
	}
	users, err := access.OpenHtpasswd(name)
	if err != nil {
		return nil, err
	}
	if b.users == nil {
		b.users = make(map[string]*access.Htpasswd)
	}
	b.users[name] = users
	return users, nil
}

// asker is what asks for credentials: one for all sections with the same words.
type asker struct {
	realm string
	users *access.Htpasswd
}

// basicAuth returns what asks for credentials, or nil if nothing was set up.
func (h *host) basicAuth(s *settings) *access.BasicAuth {
	if !said(s.auth.basic, false) || s.auth.users == nil {
		return nil
	}
	key := asker{said(s.auth.realm, ""), s.auth.users}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.askers[key]
	if a == nil {
		a = &access.BasicAuth{Realm: key.realm, Verify: key.users.Verify, Stamp: key.users.Stamp}
		if h.askers == nil {
			h.askers = make(map[asker]*access.BasicAuth)
		}
		h.askers[key] = a
	}
	return a
}

// authenticate returns the user whose credentials the request has. They are
// looked at when a requirement first asks for them.
func (v *visit) authenticate(r *http.Request) (user string, ok bool) {
	if !v.asked && v.served.auth != nil {
		if v.user, v.authErr = v.credentials(r); v.user != "" {
			access.WithUser(r, v.user, "Basic") // for the log, though a requirement may refuse it
		}
	}
	v.asked = true
	return v.user, v.user != ""
}

func (v *visit) credentials(r *http.Request) (string, error) {
	if v.target != "" {
		return v.served.auth.CheckProxy(r)
	}
	return v.served.auth.CheckOrigin(r)
}

// admits answers requests of clients that may not make them. A forward request
// needs a requirement that lets it through.
func (h *host) admits(w http.ResponseWriter, r *http.Request, s *served) bool {
	v := visitOf(r)
	judged := denied
	switch {
	case s.require != nil:
		judged = s.require.judge(r)
	case v.target == "":
		judged = granted
	}
	switch {
	case judged == granted:
		return true
	case judged == noUser && s.auth == nil:
		h.logger.Error("a user is required, but AuthType Basic or AuthUserFile is missing", "path", r.URL.Path)
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

// challenge asks for credentials, or says why those that came cannot be judged.
func (h *host) challenge(w http.ResponseWriter, r *http.Request, s *served) {
	v := visitOf(r)
	err := v.authErr
	if err == nil { // of somebody else than is required
		_, err = v.credentials(&http.Request{Header: http.Header{}})
	}
	if exchange.StatusOf(err) == exchange.StatusClientClosedRequest {
		panic(http.ErrAbortHandler)
	}
	var e *exchange.Error
	if errors.As(err, &e) {
		for name, values := range e.Header {
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
