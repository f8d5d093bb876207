package apache

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/expr"
)

// checkParams are the hc… parameters of a member, or of a template.
type checkParams struct {
	check    balancer.Check
	expr     string
	template string
	own      []func(c *checkParams) // what overrides the template
}

// healthDirectives are those of mod_proxy_hcheck.
func healthDirectives() []directive {
	return []directive{
		{name: "ProxyHCExpr", in: anyServer, min: 2, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			text := strings.Join(d.Args[1:], " ")
			if inner, ok := strings.CutPrefix(text, "{"); ok {
				text = strings.TrimSuffix(inner, "}")
			}
			e, err := expr.Parse(text, knownOfCheck)
			if err != nil {
				return err
			}
			if s.checkExprs == nil {
				s.checkExprs = make(map[string]*expr.Expr)
			}
			s.checkExprs[d.Args[0]] = e
			return nil
		}},
		{name: "ProxyHCTemplate", in: anyServer, min: 2, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			t := &checkParams{}
			for _, w := range d.Args[1:] {
				key, value, _ := strings.Cut(w, "=")
				known, err := t.set(strings.ToLower(key), value)
				if err != nil {
					return err
				}
				if !known || t.template != "" {
					return fmt.Errorf("%q may not stand in a template", w)
				}
			}
			if s.checkTemplates == nil {
				s.checkTemplates = make(map[string]*checkParams)
			}
			s.checkTemplates[d.Args[0]] = t
			return nil
		}},
		{name: "ProxyHCTPsize", in: inServer, min: 1, max: 1, apply: func(b *builder, _ *scope, d *conf.Directive) error {
			n, err := strconv.Atoi(d.Args[0])
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no number", d.Args[0])
			}
			b.opt.maxChecks = max(n, 1)
			return nil
		}},
	}
}

// knownOfCheck are the variables that an expression can ask of an answer.
func knownOfCheck(function, name string) bool {
	switch function {
	case "":
		return true // fields of the answer, and REQUEST_STATUS
	case "hc":
		return strings.EqualFold(name, "body")
	case "resp", "http":
		return true
	}
	return false
}

// set reads one parameter. known is false for a word that is none.
func (p *checkParams) set(key, value string) (known bool, err error) {
	var step func(c *checkParams)
	switch key {
	case "hcmethod":
		method := strings.ToUpper(value)
		switch method {
		case "NONE":
			method = ""
		case "TCP", "OPTIONS", "HEAD", "GET", "OPTIONS11", "HEAD11", "GET11", "CPING":
		default:
			return true, fmt.Errorf("hcmethod=%s is not supported: TCP, OPTIONS, HEAD, GET and CPING are", value)
		}
		step = func(c *checkParams) { c.check.Method = method }
	case "hcinterval":
		d, err := duration(value, time.Second)
		if err != nil || d < 100*time.Millisecond {
			return true, fmt.Errorf("hcinterval=%s: want a duration of at least 100ms", value)
		}
		step = func(c *checkParams) { c.check.Interval = d }
	case "hcpasses", "hcfails":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return true, fmt.Errorf("%s=%s: want a number", key, value)
		}
		step = func(c *checkParams) { c.check.Passes = n }
		if key == "hcfails" {
			step = func(c *checkParams) { c.check.Fails = n }
		}
	case "hcuri":
		path := "/" + strings.TrimPrefix(value, "/")
		step = func(c *checkParams) { c.check.Path = path }
	case "hcexpr":
		step = func(c *checkParams) { c.expr = value }
	case "hctemplate":
		p.template = value
		return true, nil
	default:
		return false, nil
	}
	p.own = append(p.own, step)
	return true, nil
}

// idle reports whether there is something about checks, but no method.
func (p *checkParams) idle(h *host) bool {
	all := checkParams{check: balancer.Check{Method: "unsaid"}}
	steps := p.own
	if t := h.checkTemplate(p.template); t != nil {
		steps = slices.Concat(t.own, p.own)
	}
	for _, step := range steps {
		step(&all)
	}
	return len(steps) > 0 && all.check.Method == "unsaid"
}

// build makes the check of a member; nil without hcmethod.
func (p *checkParams) build(h *host, _ *generation) (*balancer.Check, error) {
	all := checkParams{}
	if p.template != "" {
		t := h.checkTemplate(p.template)
		if t == nil {
			return nil, fmt.Errorf("hctemplate=%s: there is no ProxyHCTemplate of that name", p.template)
		}
		for _, step := range t.own {
			step(&all)
		}
	}
	for _, step := range p.own {
		step(&all)
	}
	if all.check.Method == "" {
		return nil, nil
	}
	if all.expr != "" {
		e := h.checkExpr(all.expr)
		if e == nil {
			return nil, fmt.Errorf("hcexpr=%s: there is no ProxyHCExpr of that name", all.expr)
		}
		all.check.Expect = expectation(e)
	}
	return &all.check, nil
}

func (h *host) checkTemplate(name string) *checkParams {
	for s := h.scope; s != nil; s = s.parent {
		if t := s.checkTemplates[name]; t != nil {
			return t
		}
	}
	return nil
}

func (h *host) checkExpr(name string) *expr.Expr {
	for s := h.scope; s != nil; s = s.parent {
		if e := s.checkExprs[name]; e != nil {
			return e
		}
	}
	return nil
}

var errExpression = errors.New("the expression does not hold")

// expectation judges an answer by an expression.
func expectation(e *expr.Expr) func(resp *http.Response, body []byte) error {
	return func(resp *http.Response, body []byte) error {
		holds := e.Eval(func(function, name string) string {
			switch {
			case function == "hc":
				return string(body)
			case function == "" && name == "REQUEST_STATUS":
				return strconv.Itoa(resp.StatusCode)
			}
			return resp.Header.Get(name)
		})
		if !holds {
			return fmt.Errorf("status %d: %w", resp.StatusCode, errExpression)
		}
		return nil
	}
}
