package apache

import (
	"net"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// surprises warns of what is accepted, as by httpd, and can have no effect.
func (b *builder) surprises() {
	for _, s := range append([]*scope{b.main}, b.vhosts...) {
		b.hiddenRules(s)
		for _, c := range s.clusters {
			if m, ok := c.method().(*balancer.Weighted); ok && m.String() == "heartbeat" {
				b.warn(c.at.Errorf("lbmethod=heartbeat has no announcements here: all members count as equally idle"))
			}
		}
	}
	b.hiddenHosts()
	for _, v := range b.vhosts {
		for _, a := range v.addresses {
			if !slices.ContainsFunc(b.main.listen, func(l string) bool { return coversListen(a, l) }) {
				b.warn(conf.WithHint(v.at.Errorf("nothing listens on %s of this <VirtualHost>", a), "add Listen "+a))
			}
		}
	}
}

// hiddenRules warns of rules that no request gets to, since an earlier one takes
// all of their paths; of those in <Location>, a later one.
func (b *builder) hiddenRules(s *scope) {
	warn := func(r, by *rule) {
		if r.at != by.at {
			b.warn(r.at.Errorf("%s %s is never used: %s in %s, line %d, takes all of it", r.at.Name, r.path, by.at.Name, by.at.File, by.at.Line))
		}
	}
	first := make(map[string]*rule)
	rules := inherit(b.main.rules, s.rules)
	if s == b.main {
		rules = inherit(nil, s.rules)
	}
	for _, r := range rules {
		if r.pattern != nil || r.params.mapped || r.at == nil {
			continue
		}
		if by := taker(first, r.path); by == nil {
			first[r.path] = r
		} else if slices.Contains(s.rules, r) {
			warn(r, by)
		}
	}
	last := make(map[string]*rule)
	for _, l := range slices.Backward(s.locations) {
		if len(l.rules) == 0 || l.pattern != nil {
			continue
		}
		r := l.rules[len(l.rules)-1]
		if r.fallback || r.params.mapped || r.at == nil {
			continue
		}
		if by := taker(last, l.path); by != nil {
			warn(r, by)
		} else {
			last[l.path] = r
		}
	}
}

// taker returns the rule whose path takes all that is below another one.
func taker(rules map[string]*rule, path string) *rule {
	for end := len(path); end > 0; end-- {
		whole := end == len(path) || path[end] == '/' || path[end-1] == '/'
		if r := rules[path[:end]]; r != nil && whole {
			return r
		}
	}
	return nil
}

// hiddenHosts warns of names of virtual hosts that lead to an earlier one on the
// same address.
func (b *builder) hiddenHosts() {
	type door struct{ address, name string }
	first := make(map[door]*scope)
	for _, v := range b.vhosts {
		names := behind(v.called, v.names)
		if len(names) == 0 {
			names = []string{""}
		}
		for _, a := range v.addresses {
			host, port := splitAddress(a)
			for _, name := range names {
				at := door{net.JoinHostPort(host, port), strings.ToLower(name)}
				earlier := first[at]
				switch {
				case earlier == nil:
					first[at] = v
				case earlier == v:
				case name == "":
					b.warn(v.at.Errorf("this <VirtualHost> is never used: it has no ServerName, as that on the same address in %s, line %d", earlier.at.File, earlier.at.Line))
				default:
					b.warn(v.at.Errorf("%s leads to the <VirtualHost> on the same address in %s, line %d", name, earlier.at.File, earlier.at.Line))
				}
			}
		}
	}
}
