package apache

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/access"
)

// accessDirectives are those of mod_authz_core, mod_authz_host, mod_authz_user and
// mod_authz_groupfile.
func accessDirectives() []directive {
	const in = inSection | inRequire
	list := []directive{
		{name: "Require", in: in, min: 1, max: -1, note: "all, ip, host, forward-dns, local, method, env, expr, valid-user, user, group, ssl, ssl-verify-client; not before it in <RequireAll>", apply: applyRequire},
		{name: "AuthMerging", in: inSection, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			l, ok := map[string]logic{"off": logicOff, "and": logicAll, "or": logicAny}[strings.ToLower(d.Args[0])]
			if !ok {
				return errors.New("want Off, And or Or")
			}
			s.settings.access.merging = &l
			return nil
		}},
		{name: "AuthzSendForbiddenOnFailure", in: inSection, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.access.forbidden })},
		{name: "AuthGroupFile", in: inSection, min: 1, max: 1, note: "a change counts after a second", apply: func(b *builder, s *scope, d *conf.Directive) error {
			s.settings.auth.groups = b.groupFile(d, b.file(d.Args[0]))
			return nil
		}},
	}
	for _, name := range []string{"RequireAny", "RequireAll", "RequireNone"} {
		list = append(list, directive{name: name, section: true, in: in, max: 0, apply: applyRequireSection})
	}
	return list
}

func applyRequireSection(b *builder, s *scope, d *conf.Directive) error {
	inner := &scope{context: inRequire, at: d, parent: s, limit: s.limit, needs: newSection(d.Name)}
	if err := b.apply(inner, d.Children); err != nil {
		return err
	}
	if len(inner.needs.children) == 0 {
		return errors.New("the section requires nothing")
	}
	if inner.needs.hopeless() {
		return errors.New("the section has only negative requirements")
	}
	return s.add(&inner.needs)
}

func applyRequire(b *builder, s *scope, d *conf.Directive) error {
	words, q := d.Args, &requirement{}
	if strings.EqualFold(words[0], "not") {
		q.not, words = true, words[1:]
	}
	if len(words) == 0 {
		return errors.New("nothing is required")
	}
	kind := strings.ToLower(words[0])
	read := requirements()[kind]
	if read == nil {
		if module := foreignRequirements[kind]; module != "" {
			return fmt.Errorf("%q is not supported: it belongs to %s", words[0], module)
		}
		return fmt.Errorf("%q is not known: all, ip, host, forward-dns, local, method, env, expr, valid-user, user and group are", words[0])
	}
	var err error
	if kind == "expr" { // its quotes are part of it, unless they are around all of it
		_, raw, _ := strings.Cut(d.Raw, words[0])
		words = []string{words[0], unquoted(strings.TrimSpace(raw))}
	}
	if q.check, err = read(words[1:]); err != nil {
		return err
	}
	return s.add(q)
}

// unquoted takes the quotes off that are around an expression.
func unquoted(s string) string {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// foreignRequirements are those of modules that there are not.
var foreignRequirements = map[string]string{
	"file-owner": "mod_authz_owner", "file-group": "mod_authz_owner",
	"dbm-group": "mod_authz_dbm", "dbm-file-group": "mod_authz_dbm", "dbd-group": "mod_authz_dbd", "dbd-login": "mod_authz_dbd", "dbd-logout": "mod_authz_dbd",
	"ldap-user": "mod_authnz_ldap", "ldap-group": "mod_authnz_ldap", "ldap-dn": "mod_authnz_ldap", "ldap-attribute": "mod_authnz_ldap", "ldap-filter": "mod_authnz_ldap", "ldap-search": "mod_authnz_ldap",
	"claim": "mod_auth_openidc", "claims_expr": "mod_auth_openidc", "shib-session": "mod_shib", "shibboleth": "mod_shib", "shib-attr": "mod_shib", "shib-user": "mod_shib",
	"unix-group": "mod_authz_unixgroup", "external-group": "mod_authnz_external", "pam-account": "mod_authnz_pam", "oauth2_claim": "mod_oauth2", "cas-attribute": "mod_auth_cas", "valid-session": "mod_session",
}

// reader reads what stands behind a kind of Require.
type reader func(words []string) (func(v *visit, r *http.Request) verdict, error)

// requirements are the kinds that there are.
func requirements() map[string]reader {
	return map[string]reader{
		"all": func(words []string) (func(*visit, *http.Request) verdict, error) {
			if len(words) != 1 || !strings.EqualFold(words[0], "granted") && !strings.EqualFold(words[0], "denied") {
				return nil, errors.New("want all granted or all denied")
			}
			result := grants(strings.EqualFold(words[0], "granted"))
			return func(*visit, *http.Request) verdict { return result }, nil
		},
		"ip": func(words []string) (func(*visit, *http.Request) verdict, error) {
			if len(words) == 0 {
				return nil, errors.New("ip takes addresses or networks")
			}
			return requireIP(words)
		},
		"local": func([]string) (func(*visit, *http.Request) verdict, error) {
			loopback, err := requireIP([]string{"127.0.0.0/8", "::1"})
			return func(v *visit, r *http.Request) verdict {
				if client := hostOf(r.RemoteAddr); client != "" && client == hostOf(localAddr(r)) {
					return granted
				}
				return loopback(v, r)
			}, err
		},
		"host":        requireHost,
		"forward-dns": requireForwardDNS,
		"method": func(words []string) (func(*visit, *http.Request) verdict, error) {
			if len(words) == 0 {
				return nil, errors.New("method takes names")
			}
			if strings.ToUpper(strings.Join(words, "")) != strings.Join(words, "") {
				return nil, fmt.Errorf("methods are in capital letters, not %q", words)
			}
			m := newMethodSet(words)
			return func(_ *visit, r *http.Request) verdict { return grants(m.covers(r.Method)) }, nil
		},
		"env": func(words []string) (func(*visit, *http.Request) verdict, error) {
			if len(words) == 0 {
				return nil, errors.New("env takes names")
			}
			return func(v *visit, _ *http.Request) verdict {
				return grants(slices.ContainsFunc(words, func(name string) bool { _, set := v.env[name]; return set }))
			}, nil
		},
		"expr": func(words []string) (func(*visit, *http.Request) verdict, error) {
			c, err := parseCondition(words[0])
			return func(v *visit, r *http.Request) verdict {
				switch {
				case c.holds(v, r):
					return granted
				case v.user == "" && c.Uses("REMOTE_USER"):
					return noUser
				}
				return denied
			}, err
		},
		"valid-user": func([]string) (func(*visit, *http.Request) verdict, error) {
			return func(v *visit, _ *http.Request) verdict {
				if v.user == "" {
					return noUser
				}
				return granted
			}, nil
		},
		"user": func(words []string) (func(*visit, *http.Request) verdict, error) {
			return requireNames(words, func(v *visit, name string) bool { return name == v.user })
		},
		"group": func(words []string) (func(*visit, *http.Request) verdict, error) {
			return requireNames(words, func(v *visit, name string) bool { return v.served.auth.groups.has(name, v.user) })
		},
		"ssl": func([]string) (func(*visit, *http.Request) verdict, error) {
			return func(_ *visit, r *http.Request) verdict { return grants(r.TLS != nil) }, nil
		},
		"ssl-verify-client": func([]string) (func(*visit, *http.Request) verdict, error) {
			return func(_ *visit, r *http.Request) verdict {
				return grants(r.TLS != nil && len(r.TLS.VerifiedChains) > 0)
			}, nil
		},
	}
}

func requireIP(words []string) (func(*visit, *http.Request) verdict, error) {
	prefixes, err := access.ParsePrefixes(words...)
	if err != nil {
		return nil, err
	}
	a := &access.Access{Allow: prefixes}
	return func(_ *visit, r *http.Request) verdict { return grants(a.Allows(r)) }, nil
}

// requireNames requires a user of whom any of the names holds. They may have
// variables in them.
func requireNames(words []string, holds func(v *visit, name string) bool) (func(*visit, *http.Request) verdict, error) {
	names, err := parsePhrases(words)
	return func(v *visit, r *http.Request) verdict {
		if v.user == "" {
			return noUser
		}
		return grants(slices.ContainsFunc(names, func(name *phrase) bool { return holds(v, name.of(v, r)) }))
	}, err
}

func parsePhrases(words []string) (list []*phrase, err error) {
	for _, w := range words {
		p, err := parsePhrase(w)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// requireHost requires the client's name to be one of the domains, or below one.
func requireHost(words []string) (func(*visit, *http.Request) verdict, error) {
	domains, err := parsePhrases(words)
	return func(v *visit, r *http.Request) verdict {
		name := v.remoteHost(r)
		return grants(name != "" && slices.ContainsFunc(domains, func(domain *phrase) bool { return inDomain(name, domain.of(v, r)) }))
	}, err
}

// requireForwardDNS requires the client's address to be one of the names'.
func requireForwardDNS(words []string) (func(*visit, *http.Request) verdict, error) {
	names, err := parsePhrases(words)
	return func(v *visit, r *http.Request) verdict {
		client := net.ParseIP(hostOf(r.RemoteAddr))
		return grants(client != nil && slices.ContainsFunc(names, func(name *phrase) bool { return resolvesTo(r, name.of(v, r), client) }))
	}, err
}
