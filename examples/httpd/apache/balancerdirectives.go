package apache

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/backend"
)

// balancerDirectives are those of mod_proxy_balancer.
func balancerDirectives() []directive {
	return []directive{
		{name: "BalancerMember", in: anyServer | inProxy, min: 1, max: -1, apply: applyMember},
		{name: "BalancerGrowth", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.Atoi(d.Args[0])
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no number", d.Args[0])
			}
			if n == 0 {
				n = -1 // none, where zero means the default
			}
			s.settings.growth = &n
			return nil
		}},
		{name: "BalancerPersist", in: anyServer, min: 1, max: 1, note: "kept as balancer-NAME.json in DefaultRuntimeDir, or beside the configuration", apply: applySwitch(func(s *settings) **bool { return &s.balancerPersist })},
		{name: "DefaultRuntimeDir", in: inServer, min: 1, max: 1, note: "where BalancerPersist keeps its files", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			b.opt.runtimeDir = b.file(d.Args[0])
			return nil
		}},
		{name: "BalancerInherit", in: anyServer, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.balancerInherit })},
		{name: "ProxyStatus", in: anyServer, min: 1, max: 1, note: "Full is On", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			on := !strings.EqualFold(d.Args[0], "off")
			if on && !strings.EqualFold(d.Args[0], "on") && !strings.EqualFold(d.Args[0], "full") {
				return fmt.Errorf("want On, Off or Full")
			}
			s.settings.proxyStatus = &on
			return nil
		}},
	}
}

// applyMember reads "[balancer://name] url [k=v …]".
func applyMember(b *builder, s *scope, d *conf.Directive) error {
	words, of := d.Args, s.path
	if s.context != inProxy || isBalancer(words[0]) {
		of, words = words[0], words[1:]
	}
	if !isBalancer(of) {
		return fmt.Errorf("want balancer://name before the member, outside of <Proxy balancer://name>")
	}
	if len(words) == 0 {
		return fmt.Errorf("want the URL of a member")
	}
	c, err := s.cluster(of, d)
	if err != nil {
		return err
	}
	before := len(c.members)
	m, err := c.member(words[0], d)
	if err == nil && len(c.members) == before {
		b.warn(d.Errorf("BalancerMember %s is that of %s, line %d: its parameters are added to those", backend.RedactURL(words[0]), m.at.File, m.at.Line))
	}
	if err != nil {
		c.faulty = true
		return err
	}
	var all conf.Errors
	for _, w := range words[1:] {
		all.Add(m.set(w))
	}
	return all.Err()
}

// member returns the member of that URL, and makes it if there is none yet.
func (c *cluster) member(target string, d *conf.Directive) (*member, error) {
	_, text := cutUnix(target)
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || rest == "" || rest[0] == '/' {
		return nil, fmt.Errorf("%q is no URL", backend.RedactURL(target))
	}
	if err := cmp.Or(checkScheme(scheme), checkPort(rest)); err != nil {
		return nil, err
	}
	if user, _ := cutUser(rest); isFTP(text) && user != "" {
		return nil, errors.New("a member is known by its URL: it may hold no password")
	}
	for _, m := range c.members {
		if m.config.URL == target {
			return m, nil
		}
	}
	m := &member{at: d, config: balancer.MemberConfig{Name: target, URL: target}}
	if plain := plainHost(text); plain != text {
		_, plain, _ = strings.Cut(plain, "://")
		m.config.Host, _, _ = strings.Cut(plain, "/")
	}
	if _, err := balancer.NewMember(m.config); err != nil {
		return nil, err
	}
	c.members = append(c.members, m)
	return m, nil
}

// set reads one parameter of a member.
func (m *member) set(word string) error {
	key, value, ok := strings.Cut(word, "=")
	key = strings.ToLower(key)
	if !ok {
		return fmt.Errorf("parameter %q has no value", backend.RedactURL(word))
	}
	if known, err := m.check.set(key, value); known {
		return err
	}
	c := &m.config
	switch key {
	case "loadfactor":
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || !(f >= 1 && f <= 100) {
			return fmt.Errorf("loadfactor=%s: want a number from 1 to 100", value)
		}
		c.LoadFactor = f
	case "lbset":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 99 {
			return fmt.Errorf("lbset=%s: want a number from 0 to 99", value)
		}
		c.LBSet = n
	case "route":
		c.Route = value
	case "redirect":
		c.Redirect = value
	case "status":
		flags, err := backend.ParseFlags(value, c.Flags)
		c.Flags = flags
		return err
	case "retry":
		d, err := duration(value, time.Second)
		if err != nil || d < 0 {
			return fmt.Errorf("retry=%s: want a duration", value)
		}
		if c.Retry = d; d == 0 {
			c.Retry = -1 // at once, where zero means the default
		}
	default:
		m.params.beside = memberParameters
		return m.params.set(word)
	}
	return nil
}

// methods are the words of lbmethod: Apache's and those of the library.
var methods = []string{"byrequests", "bytraffic", "bybusyness", "heartbeat", "random2", "first", "leasttime", "hash"}

// balancerParameters are the words that set takes.
var balancerParameters = []string{"lbmethod", "maxattempts", "nofailover", "scolonpathdelim", "failontimeout", "forcerecovery", "stickysession", "stickysessionsep", "timeout", "failonstatus", "growth", "nonce"}

// memberParameters are those that a member has beside those of its transport.
var memberParameters = []string{"loadfactor", "lbset", "route", "redirect", "status", "retry", "hcmethod", "hcpasses", "hcfails", "hcinterval", "hcuri", "hctemplate", "hcexpr"}

// set reads one parameter of a balancer. known is false for a word that is
// none.
func (c *cluster) set(word string) (known bool, err error) {
	key, value, _ := strings.Cut(word, "=")
	k := &c.config
	onOff := func(to *bool, when bool) error {
		switch strings.ToLower(value) {
		case "on":
			*to = when
		case "off":
			*to = !when
		default:
			return fmt.Errorf("%s is On or Off", key)
		}
		return nil
	}
	switch strings.ToLower(key) {
	case "lbmethod":
		if !slices.Contains(methods, strings.ToLower(value)) {
			return true, fmt.Errorf("lbmethod=%s is not known: %s are", value, strings.Join(methods, ", "))
		}
		c.method = func() balancer.Method {
			m, _ := balancer.MethodByName(value)
			return m
		}
	case "maxattempts":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return true, fmt.Errorf("maxattempts=%s: want a number", value)
		}
		if k.MaxAttempts = n; n == 0 {
			k.MaxAttempts = -1 // none, where zero means all members
		}
	case "nofailover":
		return true, onOff(&k.Sticky.NoFailover, true)
	case "scolonpathdelim":
		return true, onOff(&k.Sticky.SemicolonDelimiter, true)
	case "failontimeout":
		return true, onOff(&k.FailOnTimeout, true)
	case "forcerecovery":
		return true, onOff(&k.NoForceRecovery, false)
	case "stickysession":
		names := balancer.ParseSticky(value)
		k.Sticky.Cookie, k.Sticky.Param = names.Cookie, names.Param
	case "stickysessionsep":
		k.Sticky.Separator = value
	case "timeout":
		k.Timeout, err = duration(value, time.Second)
		if err != nil || k.Timeout < time.Second {
			return true, fmt.Errorf("timeout=%s: want a duration of at least 1s", value)
		}
	case "failonstatus":
		for code := range strings.SplitSeq(value, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(code))
			if err != nil || n < 100 || n > 599 {
				return true, fmt.Errorf("failonstatus=%s: want statuses from 100 to 599", value)
			}
			k.FailOnStatus = append(k.FailOnStatus, n)
		}
	case "growth":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 100 {
			return true, fmt.Errorf("growth=%s: want a number from 0 to 100", value)
		}
		if k.Growth = n; n == 0 {
			k.Growth = -1
		}
	case "nonce":
		if value != "None" && value != "none" {
			return true, nil // each manager makes its own
		}
		return true, fmt.Errorf("nonce=%s is not supported: changes without one could be forged", value)
	default:
		return false, nil
	}
	return true, nil
}

// setAll reads the parameters of <Proxy balancer://name k=v …>, ProxySet, and
// of a ProxyPass, whose own flags go to rest.
func (c *cluster) setAll(words []string, rest func(word string) error) error {
	var all conf.Errors
	for _, w := range words {
		known, err := c.set(w)
		if !known {
			err = rest(w)
		}
		all.Add(err)
	}
	return all.Err()
}

func (c *cluster) unknown(word string) error {
	key, _, _ := strings.Cut(word, "=")
	return unknownParameter(fmt.Errorf("parameter %q of a balancer is not known", key), key, balancerParameters)
}
