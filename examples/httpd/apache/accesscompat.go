package apache

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/access"
)

// compat are the words of Apache 2.2 in one section. As in httpd, an inner section
// with any of them replaces all of an outer one's.
type compat struct {
	orders      []forMethods[order]
	satisfies   []forMethods[bool] // true is Satisfy Any
	allow, deny []allowed
}

// forMethods is what is said for some methods.
type forMethods[T any] struct {
	limit *methodSet
	value T
}

// last returns what was said last for a method.
func last[T any](list []forMethods[T], method string) (value T) {
	for _, one := range list {
		if one.limit.covers(method) {
			value = one.value
		}
	}
	return value
}

// order is what Order says.
type order uint8

const (
	denyFirst     order = iota // deny,allow: what nobody denies is allowed
	allowFirst                 // allow,deny: what nobody allows is denied
	mutualFailure              // what is allowed and not denied
)

// allowed is an Allow or Deny.
type allowed struct {
	limit *methodSet
	fits  func(v *visit, r *http.Request) bool
}

// compatDirectives are those of mod_access_compat.
func compatDirectives() []directive {
	return []directive{
		{name: "Order", in: inSection, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			o, ok := map[string]order{"deny,allow": denyFirst, "allow,deny": allowFirst, "mutual-failure": mutualFailure}[strings.ToLower(d.Args[0])]
			if !ok {
				return errors.New("want deny,allow or allow,deny or mutual-failure, without a blank")
			}
			c := s.compat()
			c.orders = append(c.orders, forMethods[order]{s.limit, o})
			return nil
		}},
		{name: "Satisfy", in: inSection, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			any := strings.EqualFold(d.Args[0], "any")
			if !any && !strings.EqualFold(d.Args[0], "all") {
				return errors.New("want Any or All")
			}
			c := s.compat()
			c.satisfies = append(c.satisfies, forMethods[bool]{s.limit, any})
			return nil
		}},
		{name: "Allow", in: inSection, min: 2, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			c := s.compat()
			return c.add(&c.allow, s, d)
		}},
		{name: "Deny", in: inSection, min: 2, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			c := s.compat()
			return c.add(&c.deny, s, d)
		}},
	}
}

// compat returns what the section says in the words of Apache 2.2.
func (s *scope) compat() *compat {
	if s.settings.access.compat == nil {
		s.settings.access.compat = &compat{}
	}
	return s.settings.access.compat
}

// add reads "from who …".
func (c *compat) add(to *[]allowed, s *scope, d *conf.Directive) error {
	if !strings.EqualFold(d.Args[0], "from") {
		return errors.New(`want "from" first`)
	}
	for _, who := range d.Args[1:] {
		fits, err := readFrom(who)
		if err != nil {
			return err
		}
		*to = append(*to, allowed{s.limit, fits})
	}
	return nil
}

// readFrom reads who is meant: all, env=[!]name, an address, the beginning of one,
// a network, or a host or domain.
func readFrom(who string) (func(v *visit, r *http.Request) bool, error) {
	if len(who) > 4 && strings.EqualFold(who[:4], "env=") {
		set := variable(who[4:])
		return func(v *visit, _ *http.Request) bool { return set(v) }, nil
	}
	if strings.EqualFold(who, "all") {
		return func(*visit, *http.Request) bool { return true }, nil
	}
	prefixes, err := access.ParsePrefixes(who)
	if err == nil {
		a := &access.Access{Allow: prefixes}
		return func(_ *visit, r *http.Request) bool { return a.Allows(r) }, nil
	}
	if strings.ContainsAny(who, "/:") || strings.Trim(who, "0123456789.") == "" {
		return nil, fmt.Errorf("%q is no address, network or host", who)
	}
	return func(v *visit, r *http.Request) bool { return inDomain(v.remoteHost(r), who) }, nil
}

// allows decides about a request; nothing said allows it.
func (c *compat) allows(v *visit, r *http.Request) bool {
	if c == nil {
		return true
	}
	among := func(list []allowed) bool {
		for _, one := range list {
			if one.limit.covers(r.Method) && one.fits(v, r) {
				return true
			}
		}
		return false
	}
	switch last(c.orders, r.Method) {
	case allowFirst, mutualFailure:
		return among(c.allow) && !among(c.deny)
	}
	return !among(c.deny) || among(c.allow)
}

// any reports whether either of the address and the user suffices.
func (c *compat) any(method string) bool { return c != nil && last(c.satisfies, method) }
