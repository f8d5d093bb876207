package apache

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/access"
)

// requirement is a tree of Require directives.
type requirement struct {
	kind     string // "any", "all", "none", "granted", "denied", "ip", "method", "env", "valid-user", "user"
	not      bool
	access   *access.Access // of kind "ip"
	words    []string       // of kinds "method", "env" and "user"
	children []requirement
}

// accessDirectives are those of mod_authz_core and mod_authz_host.
func accessDirectives() []directive {
	const in = inSection | inRequire
	list := []directive{{name: "Require", in: in, min: 1, max: -1, note: "all granted, all denied, ip, local, method, env, valid-user, user; not before it in <RequireAll>", apply: applyRequire}}
	for _, name := range []string{"RequireAny", "RequireAll", "RequireNone"} {
		list = append(list, directive{name: name, section: true, in: in, max: 0, apply: applyRequireSection})
	}
	return list
}

func applyRequire(_ *builder, s *scope, d *conf.Directive) error {
	words := d.Args
	r := requirement{}
	if strings.EqualFold(words[0], "not") {
		r.not, words = true, words[1:]
	}
	if len(words) == 0 {
		return errors.New("nothing is required")
	}
	switch strings.ToLower(words[0]) {
	case "all":
		if len(words) != 2 || !strings.EqualFold(words[1], "granted") && !strings.EqualFold(words[1], "denied") {
			return errors.New("want all granted or all denied")
		}
		r.kind = strings.ToLower(words[1])
	case "ip":
		if len(words) == 1 {
			return errors.New("ip takes addresses or networks")
		}
		return s.require(&r, words[1:])
	case "local":
		return s.require(&r, []string{"127.0.0.0/8", "::1"})
	case "valid-user":
		r.kind = "valid-user"
	case "method", "env", "user":
		if len(words) == 1 {
			return fmt.Errorf("%s takes names", words[0])
		}
		r.kind, r.words = strings.ToLower(words[0]), words[1:]
		if r.kind == "method" && strings.ToUpper(strings.Join(r.words, "")) != strings.Join(r.words, "") {
			return fmt.Errorf("methods are in capital letters, not %q", r.words)
		}
	default:
		return fmt.Errorf("%q is not supported: all, ip, local, method, env, valid-user and user are", words[0])
	}
	return s.add(r)
}

// require adds a requirement of addresses.
func (s *scope) require(r *requirement, words []string) error {
	prefixes, err := access.ParsePrefixes(words...)
	if err != nil {
		return err
	}
	r.kind, r.access = "ip", &access.Access{Allow: prefixes}
	return s.add(*r)
}

// add adds to the <RequireAll> that is open, or to what the section requires,
// of which any suffices.
func (s *scope) add(r requirement) error {
	in := &s.needs
	if s.context != inRequire {
		if s.settings.require == nil {
			s.settings.require = &requirement{kind: "any"}
		}
		in = s.settings.require
	}
	if in.kind != "all" && (r.not || r.kind == "none") {
		what := "a negative Require"
		if !r.not {
			what = "<RequireNone>"
		}
		return fmt.Errorf("%s has no effect in <Require%s>: put it into <RequireAll>", what, strings.ToUpper(in.kind[:1])+in.kind[1:])
	}
	in.children = append(in.children, r)
	return nil
}

func applyRequireSection(b *builder, s *scope, d *conf.Directive) error {
	inner := &scope{context: inRequire, at: d, needs: requirement{kind: strings.ToLower(d.Name[len("Require"):])}}
	if err := b.apply(inner, d.Children); err != nil {
		return err
	}
	if err := inner.needs.check(); err != nil {
		return err
	}
	return s.add(inner.needs)
}

// check refuses what could never let anyone through.
func (r *requirement) check() error {
	if len(r.children) == 0 {
		return errors.New("the section requires nothing")
	}
	for _, c := range r.children {
		if !c.not && c.kind != "none" {
			return nil
		}
	}
	return errors.New("the section has only negative requirements")
}

// verdict is what a requirement says of a request.
type verdict int

const (
	denied verdict = iota
	noUser         // a user who has proved who it is could pass
	granted
)

// judge decides about a request. In <RequireAny> the best verdict counts, in
// <RequireAll> the worst.
func (r *requirement) judge(req *http.Request) verdict {
	v := denied
	switch r.kind {
	case "valid-user", "user":
		user, ok := visitOf(req).authenticate(req)
		switch {
		case !ok:
			return noUser // of "not user", too: somebody unknown is nobody else
		case r.kind == "valid-user" || slices.Contains(r.words, user):
			v = granted
		default:
			v = noUser // another may be asked for, as httpd does
		}
	case "any", "none":
		for i := range r.children {
			v = max(v, r.children[i].judge(req))
		}
		if r.kind == "none" {
			v = opposite(req, v)
		}
	case "all":
		v = granted
		for i := range r.children {
			v = min(v, r.children[i].judge(req))
		}
	default:
		if r.holds(req) {
			v = granted
		}
	}
	if r.not {
		v = opposite(req, v)
	}
	return v
}

func opposite(req *http.Request, v verdict) verdict {
	switch {
	case v == granted:
		return denied
	case v == denied || visitOf(req).user != "": // known, and not one of those
		return granted
	}
	return v
}

// holds decides what has nothing to do with users.
func (r *requirement) holds(req *http.Request) (ok bool) {
	switch r.kind {
	case "granted":
		ok = true
	case "ip":
		ok = r.access.Allows(req)
	case "method":
		// HEAD is GET without a body, as in httpd.
		ok = slices.Contains(r.words, req.Method) || req.Method == http.MethodHead && slices.Contains(r.words, http.MethodGet)
	case "env":
		for _, name := range r.words {
			_, set := visitOf(req).env[name]
			ok = ok || set
		}
	}
	return ok
}
