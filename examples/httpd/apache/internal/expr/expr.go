package expr

import (
	"fmt"
	"strings"
)

// Lookup returns the value of a variable, for an empty function, or that of a
// function: of %{NAME}, Lookup("", "NAME"); of hc('body'), Lookup("hc",
// "body"); of %{HTTP:Accept}, Lookup("http", "Accept"). Functions are in lower
// case. The operators -U, -A and -F are functions, too: what is true has a
// value. The operator -R asks for the variable REMOTE_ADDR.
type Lookup func(function, name string) string

// Known reports whether there is such a variable or function. The name is empty
// if it is known only when the expression is evaluated, as in req(%{QUERY_STRING}).
type Known func(function, name string) bool

// Expr is a condition that has been read. It may be used by any number of
// goroutines.
type Expr struct {
	root  node
	names map[string]bool
}

// Eval evaluates the condition. One that cannot be evaluated, such as a file()
// that cannot be read, does not hold.
func (e *Expr) Eval(l Lookup) bool {
	holds, _ := e.Match(l)
	return holds
}

// Match evaluates the condition. It also returns the groups of the regular
// expression that was matched last: nil if it did not match, or if there was
// none.
func (e *Expr) Match(l Lookup) (holds bool, groups []string) {
	x := evaluation{lookup: l}
	holds = e.root(&x)
	return holds && !x.failed, x.groups
}

// Uses reports whether the value of a variable, of any spelling, may decide.
func (e *Expr) Uses(variable string) bool { return e.names[strings.ToUpper(variable)] }

// Text is text in which variables stand. It may be used by any number of
// goroutines.
type Text struct{ value operand }

// Eval puts the text together. $0 to $9 are the groups that are given.
func (t *Text) Eval(l Lookup, groups ...string) string {
	return t.value(&evaluation{lookup: l, groups: groups})
}

// evaluation is one use of an expression.
type evaluation struct {
	lookup Lookup
	groups []string // of the last match
	failed bool     // something could not be evaluated
}

// node is a part of an expression that is true or false.
type node func(*evaluation) bool

// operand is a part that is text.
type operand func(*evaluation) string

func constant(s string) operand { return func(*evaluation) string { return s } }

// Parse reads a condition. An error says at which byte it arose.
func Parse(text string, known Known) (*Expr, error) {
	p := &parser{text: text, known: known, names: make(map[string]bool)}
	root, err := p.or()
	if err == nil {
		if p.blank(); p.at < len(p.text) {
			err = p.fail("unexpected %q", p.text[p.at:])
		}
	}
	if err != nil {
		return nil, err
	}
	return &Expr{root, p.names}, nil
}

// ParseText reads text in which variables stand.
func ParseText(text string, known Known) (*Text, error) {
	p := &parser{text: text, known: known, names: make(map[string]bool)}
	value, _, err := p.textUntil(0)
	if err != nil {
		return nil, err
	}
	return &Text{value}, nil
}

// maxDepth bounds parentheses, negations and functions within each other.
const maxDepth = 100

type parser struct {
	text  string
	at    int
	depth int
	known Known
	names map[string]bool
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf("expression: byte %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

// deeper counts what stands within each other; shallower must follow.
func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return p.fail("nested too deeply")
	}
	return nil
}

func (p *parser) shallower() { p.depth-- }

func (p *parser) blank() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// eat takes a sign or word, after blanks, if it comes next.
func (p *parser) eat(word string) bool {
	p.blank()
	if !strings.HasPrefix(p.text[p.at:], word) {
		return false
	}
	if next := p.at + len(word); isWord(word[len(word)-1]) && next < len(p.text) && isWord(p.text[next]) {
		return false
	}
	p.at += len(word)
	return true
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (p *parser) or() (node, error) {
	parts, err := p.parts(p.and, "||", "or")
	if len(parts) == 1 {
		return parts[0], err
	}
	return func(x *evaluation) bool {
		for _, part := range parts {
			if part(x) {
				return true
			}
		}
		return false
	}, err
}

func (p *parser) and() (node, error) {
	parts, err := p.parts(p.not, "&&", "and")
	if len(parts) == 1 {
		return parts[0], err
	}
	return func(x *evaluation) bool {
		for _, part := range parts {
			if !part(x) {
				return false
			}
		}
		return true
	}, err
}

// parts reads parts with a sign, or a word, between them.
func (p *parser) parts(one func() (node, error), sign, word string) (list []node, err error) {
	for {
		part, err := one()
		if err != nil {
			return nil, err
		}
		list = append(list, part)
		if !p.eat(sign) && !p.eat(word) {
			return list, nil
		}
	}
}

func (p *parser) not() (node, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer p.shallower()
	switch {
	case p.eat("!"), p.eat("not"):
		inner, err := p.not()
		return func(x *evaluation) bool { return !inner(x) }, err
	case p.eat("("):
		inner, err := p.or()
		if err == nil && !p.eat(")") {
			err = p.fail("want )")
		}
		return inner, err
	case p.eat("true"):
		return func(*evaluation) bool { return true }, nil
	case p.eat("false"):
		return func(*evaluation) bool { return false }, nil
	}
	if p.at+1 < len(p.text) && p.text[p.at] == '-' && isWord(p.text[p.at+1]) && !isDigit(p.text[p.at+1]) {
		return p.unary()
	}
	return p.comparison()
}
