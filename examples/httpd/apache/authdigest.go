package apache

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/digest"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// digestSettings say how AuthType Digest asks.
type digestSettings struct {
	lifetime *time.Duration
	noQOP    *bool
	domain   []string
}

func (s digestSettings) merge(inner digestSettings) digestSettings {
	over(&s.lifetime, inner.lifetime)
	over(&s.noQOP, inner.noQOP)
	if inner.domain != nil {
		s.domain = inner.domain
	}
	return s
}

// digestDirectives are those of mod_auth_digest.
func digestDirectives() []directive {
	const in = inSection
	return []directive{
		{name: "AuthDigestProvider", in: in, min: 1, max: -1, note: "file alone", apply: applyProvider},
		{name: "AuthDigestQop", in: in, min: 1, max: 2, note: "auth or none", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			none := strings.EqualFold(d.Args[0], "none")
			if !none && !strings.EqualFold(d.Args[0], "auth") || len(d.Args) > 1 {
				return errors.New("want auth or none: auth-int is not supported, by httpd neither")
			}
			s.settings.auth.digest.noQOP = &none
			return nil
		}},
		{name: "AuthDigestAlgorithm", in: in, min: 1, max: 1, note: "MD5 alone, as in httpd", apply: func(_ *builder, _ *scope, d *conf.Directive) error {
			if !strings.EqualFold(d.Args[0], "MD5") {
				return fmt.Errorf("%s is not supported: MD5 is", d.Args[0])
			}
			return nil
		}},
		{name: "AuthDigestNonceLifetime", in: in, min: 1, max: 1, note: "0 would let a nonce be used once, and is not supported", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.ParseInt(d.Args[0], 10, 32)
			if err != nil || n == 0 {
				return fmt.Errorf("%q is no number of seconds; below 0 means for ever", d.Args[0])
			}
			lifetime := time.Duration(n) * time.Second
			s.settings.auth.digest.lifetime = &lifetime
			return nil
		}},
		{name: "AuthDigestDomain", in: in, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.auth.digest.domain = append(s.settings.auth.digest.domain, d.Args...)
			return nil
		}},
	}
}

// digestAsker asks for credentials by the Digest scheme.
type digestAsker struct {
	digest *digest.Digest
	realm  *phrase
}

func newDigestAsker(s *authSettings) *digestAsker {
	d := digest.New()
	d.Lifetime, d.NoQOP, d.Domain = said(s.digest.lifetime, 0), said(s.digest.noQOP, false), s.digest.domain
	users := s.users
	d.Lookup = func(user, realm string) (string, error) {
		list, err := users.readDigests()
		return list[[2]string{user, realm}], err
	}
	return &digestAsker{d, s.realm}
}

// CheckOrigin returns the user whose credentials are in Authorization.
func (a *digestAsker) CheckOrigin(r *http.Request) (string, error) {
	return a.check(r, "Authorization", http.StatusUnauthorized, "Www-Authenticate")
}

// CheckProxy returns the user whose credentials are in Proxy-Authorization.
func (a *digestAsker) CheckProxy(r *http.Request) (string, error) {
	return a.check(r, "Proxy-Authorization", http.StatusProxyAuthRequired, "Proxy-Authenticate")
}

func (a *digestAsker) check(r *http.Request, field string, status int, challenge string) (string, error) {
	realm := ""
	v := visitOf(r)
	if a.realm != nil {
		realm = fieldValue(a.realm.of(v, r))
	}
	result := digest.Refused
	if values := r.Header[field]; len(values) == 1 {
		if c, ok := digest.Parse(values[0]); ok {
			came, err := v.original(r), error(nil)
			if result, err = a.digest.Check(c, realm, came.Method, came.RequestURI); err != nil {
				return "", &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: err}
			}
			if result == digest.Good {
				return c.Username, nil
			}
		}
	}
	return "", &exchange.Error{Op: exchange.OpRequest, Status: status, Err: exchange.ErrForbidden,
		Header: http.Header{challenge: {a.digest.Challenge(realm, result == digest.Stale)}}}
}
