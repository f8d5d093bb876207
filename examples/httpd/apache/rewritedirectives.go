package apache

import (
	"fmt"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/rewrite"
)

// rewriteSettings are what mod_rewrite's directives say in one section, or for a
// server.
type rewriteSettings struct {
	said    bool // there is one of them
	engine  *bool
	options *rewriteOptions
	base    string // RewriteBase
	dir     string // the section's path
	rules   []*rewrite.Rule
	conds   []*rewrite.Cond // that wait for their rule
	condAt  *conf.Directive // the last of them
	maps    map[string]*rewrite.Map
}

// rewriteOptions are RewriteOptions.
type rewriteOptions struct {
	inherit, inheritBefore, down, downBefore, ignoreInherit bool
	allowNoSlash, mergeBase                                 bool
}

// merge returns s with what inner says otherwise. As in httpd, the rules of an
// inner section take the place of the outer ones, unless they are inherited.
func (s rewriteSettings) merge(inner rewriteSettings) rewriteSettings {
	if !inner.said {
		return s
	}
	outer := said(s.options, rewriteOptions{})
	own := said(inner.options, rewriteOptions{})
	out := inner
	if out.engine == nil {
		out.engine = s.engine
	}
	if out.options == nil {
		out.options = s.options
	}
	if out.base == "" && (own.mergeBase || outer.mergeBase) {
		out.base = s.base
	}
	switch {
	case own.inheritBefore, outer.downBefore && !own.ignoreInherit:
		out.rules = behind(s.rules, inner.rules)
	case own.inherit, outer.down && !own.ignoreInherit:
		out.rules = behind(inner.rules, s.rules)
	default:
		return out
	}
	if len(s.maps) > 0 {
		out.maps = make(map[string]*rewrite.Map)
		for _, maps := range []map[string]*rewrite.Map{s.maps, inner.maps} {
			for name, m := range maps {
				out.maps[name] = m
			}
		}
	}
	return out
}

// on reports whether there are rules to obey.
func (s *rewriteSettings) on() bool { return said(s.engine, false) && len(s.rules) > 0 }

// rewriting returns where the rules of a scope are kept: those of servers apart,
// for they are no rules of the sections in them.
func (s *scope) rewriting() *rewriteSettings {
	if s.context&anyServer != 0 {
		return &s.serverRewriting
	}
	own := &s.settings.rewriting
	if own.said = true; own.dir == "" {
		switch {
		case s.context == inIf:
			own.dir = "*If/"
		default:
			own.dir = strings.TrimSuffix(s.path, "/") + "/"
		}
	}
	return own
}

// rewriteDirectives are those of mod_rewrite.
func rewriteDirectives() []directive {
	return []directive{
		{name: "RewriteEngine", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			on, err := onOff(d)
			s.rewriting().engine = &on
			if s.context&anyServer != 0 { // sections inherit it
				s.settings.rewriting.said, s.settings.rewriting.engine = true, &on
			}
			return err
		}},
		{name: "RewriteOptions", in: anywhere, min: 1, max: -1, apply: applyRewriteOptions},
		{name: "RewriteBase", in: inSection, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			if !strings.HasPrefix(d.Args[0], "/") {
				return fmt.Errorf("%q does not begin with a slash", d.Args[0])
			}
			s.rewriting().base = d.Args[0]
			return nil
		}},
		{name: "RewriteCond", in: anywhere, min: 1, max: -1, apply: func(b *builder, s *scope, d *conf.Directive) error {
			words, err := rewriteWords(b, d)
			if err != nil {
				return err
			}
			c, err := rewrite.ParseCond(words, parseRewriteExpr)
			own := s.rewriting()
			if err == nil {
				own.conds, own.condAt = append(own.conds, c), d
			}
			return err
		}},
		{name: "RewriteRule", in: anywhere, min: 1, max: -1, apply: applyRewriteRule},
		{name: "RewriteMap", in: anyServer, min: 2, max: 3, note: "txt, rnd and int", apply: func(b *builder, s *scope, d *conf.Directive) error {
			m, err := rewrite.ParseMap(d.Args[1], b.file)
			own := s.rewriting()
			if own.maps == nil {
				own.maps = make(map[string]*rewrite.Map)
			}
			own.maps[d.Args[0]] = m
			return err
		}},
	}
}

// parseRewriteExpr reads the expression of "RewriteCond expr …".
func parseRewriteExpr(text string) (rewrite.Expr, error) {
	c, err := parseCondition(text)
	if err != nil {
		return nil, err
	}
	return func(s *rewrite.State) (bool, []string) {
		look := s.Server.(rewriteServer).lookup()
		return c.Match(func(function, name string) string {
			if function == "" {
				return s.Variable(strings.ToUpper(name))
			}
			return look(function, name)
		})
	}, nil
}

func applyRewriteOptions(b *builder, s *scope, d *conf.Directive) error {
	own := s.rewriting()
	o := said(own.options, rewriteOptions{})
	for _, w := range d.Args {
		switch strings.ToLower(w) {
		case "inherit":
			o.inherit = true
		case "inheritbefore":
			o.inheritBefore = true
		case "inheritdown":
			o.down = true
		case "inheritdownbefore":
			o.downBefore = true
		case "ignoreinherit":
			o.ignoreInherit = true
		case "allownoslash":
			o.allowNoSlash = true
		case "mergebase":
			o.mergeBase = true
		case "allowanyuri", "legacyprefixdocroot", "longurloptions", "ignorecontextinfo":
			b.warn(d.Errorf("%s has no effect", w))
		default:
			if strings.HasPrefix(strings.ToLower(w), "maxredirects=") { // of httpd 2.0, which later ones take and ignore
				b.warn(d.Errorf("%s has no effect: LimitInternalRecursion took its place", w))
				continue
			}
			return fmt.Errorf("option %q is not known", w)
		}
	}
	own.options = &o
	if s.context&anyServer != 0 {
		s.settings.rewriting.said, s.settings.rewriting.options = true, &o
	}
	return nil
}

func applyRewriteRule(b *builder, s *scope, d *conf.Directive) error {
	own := s.rewriting()
	words, err := rewriteWords(b, d)
	if err != nil {
		return err
	}
	r, err := rewrite.ParseRule(words, own.conds)
	own.conds = nil
	if err != nil {
		return err
	}
	if to := r.Proxied(); to != "" {
		_, text := cutUnix(to)
		if scheme, _, ok := strings.Cut(text, "://"); ok && !strings.ContainsAny(scheme, "$%") && !isBalancer(text) {
			if err := checkScheme(scheme); err != nil {
				return err
			}
		}
	}
	if err := b.checkFlagH(s, d, r.Handler()); err != nil {
		return err
	}
	own.rules = append(own.rules, r)
	b.rewriteRules = append(b.rewriteRules, rewriteUse{d, s, r})
	return nil
}

// checkFlagH refuses a handler that is not here.
func (b *builder) checkFlagH(s *scope, d *conf.Directive, name string) error {
	switch {
	case isProxyHandler(name):
		return b.checkProxyHandler(s, d, name)
	case name == "", name == handlerStatus, name == handlerManager, name == handlerFile:
		return nil
	}
	return unknownHandler(name)
}

// rewriteUse is a RewriteRule and where it stands.
type rewriteUse struct {
	at   *conf.Directive
	in   *scope
	rule *rewrite.Rule
}

// checkRewriting warns of what httpd takes and cannot do.
func (b *builder) checkRewriting() {
	known := make(map[string]bool)
	for _, s := range append([]*scope{b.main}, b.vhosts...) {
		for name := range s.serverRewriting.maps {
			known[name] = true
		}
		if r := &s.serverRewriting; len(r.conds) > 0 {
			b.warn(r.condAt.Errorf("RewriteCond has no effect: no RewriteRule follows"))
		}
	}
	for _, use := range b.rewriteRules {
		for _, name := range use.rule.Maps() {
			if !known[name] {
				b.warn(use.at.Errorf("there is no RewriteMap %s: what it is asked for is empty", name))
			}
		}
	}
}
