package expr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// Lookup returns the value of a variable, for an empty function, or that of a
// function: of %{NAME}, Lookup("", "NAME"); of hc('body'), Lookup("hc",
// "body"); of %{HTTP:Accept}, Lookup("http", "Accept").
type Lookup func(function, name string) string

// Known reports whether there is such a variable or function.
type Known func(function, name string) bool

// Expr is an expression that has been read. It may be used by any number of
// goroutines.
type Expr struct{ root node }

// Eval evaluates the expression.
func (e *Expr) Eval(l Lookup) bool { return e.root(l) }

// node is a part of an expression that is true or false.
type node func(Lookup) bool

// operand is a part that is text.
type operand func(Lookup) string

// Parse reads an expression. An error says at which byte it arose.
func Parse(text string, known Known) (*Expr, error) {
	p := &parser{text: text, known: known}
	root, err := p.or()
	if err == nil {
		if p.blank(); p.at < len(p.text) {
			err = p.fail("unexpected %q", p.text[p.at:])
		}
	}
	if err != nil {
		return nil, err
	}
	return &Expr{root}, nil
}

// maxDepth bounds parentheses and negations within each other.
const maxDepth = 100

type parser struct {
	text  string
	at    int
	depth int
	known Known
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf("expression: byte %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

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
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

func (p *parser) or() (node, error) {
	left, err := p.and()
	for err == nil && p.eat("||") {
		var right node
		a := left
		right, err = p.and()
		left = func(l Lookup) bool { return a(l) || right(l) }
	}
	return left, err
}

func (p *parser) and() (node, error) {
	left, err := p.not()
	for err == nil && p.eat("&&") {
		var right node
		a := left
		right, err = p.not()
		left = func(l Lookup) bool { return a(l) && right(l) }
	}
	return left, err
}

func (p *parser) not() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("nested too deeply")
	}
	defer func() { p.depth-- }()
	switch {
	case p.eat("!"):
		inner, err := p.not()
		return func(l Lookup) bool { return !inner(l) }, err
	case p.eat("("):
		inner, err := p.or()
		if err == nil && !p.eat(")") {
			err = p.fail("want )")
		}
		return inner, err
	case p.eat("true"):
		return func(Lookup) bool { return true }, nil
	case p.eat("false"):
		return func(Lookup) bool { return false }, nil
	}
	for word, holds := range unary {
		if p.eat(word) {
			of, err := p.operand()
			return func(l Lookup) bool { return holds(of(l)) }, err
		}
	}
	return p.comparison()
}

var unary = map[string]func(string) bool{
	"-n": func(s string) bool { return s != "" },
	"-z": func(s string) bool { return s == "" },
	"-T": func(s string) bool {
		switch strings.ToLower(s) {
		case "", "0", "off", "false", "no":
			return false
		}
		return true
	},
}

// comparisons are the operators in the order in which they are looked for: the
// longer before those they begin with. A minus sign may be left out.
var comparisons = []struct {
	word  string
	holds func(a, b string) bool
}{
	{"==", func(a, b string) bool { return a == b }},
	{"!=", func(a, b string) bool { return a != b }},
	{"<=", func(a, b string) bool { return a <= b }},
	{">=", func(a, b string) bool { return a >= b }},
	{"<", func(a, b string) bool { return a < b }},
	{">", func(a, b string) bool { return a > b }},
	{"=", func(a, b string) bool { return a == b }},
	{"eq", func(a, b string) bool { return number(a) == number(b) }},
	{"ne", func(a, b string) bool { return number(a) != number(b) }},
	{"lt", func(a, b string) bool { return number(a) < number(b) }},
	{"le", func(a, b string) bool { return number(a) <= number(b) }},
	{"gt", func(a, b string) bool { return number(a) > number(b) }},
	{"ge", func(a, b string) bool { return number(a) >= number(b) }},
}

// number is Apache's: what is none counts as 0.
func number(s string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return n
}

func (p *parser) comparison() (node, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	switch {
	case p.eat("=~"):
		return p.matches(left, true)
	case p.eat("!~"):
		return p.matches(left, false)
	case p.eat("-in"), p.eat("in"):
		return p.among(left)
	}
	for _, c := range comparisons {
		if !p.eat(c.word) && !(isWord(c.word[0]) && p.eat("-"+c.word)) {
			continue
		}
		right, err := p.operand()
		return func(l Lookup) bool { return c.holds(left(l), right(l)) }, err
	}
	return nil, p.fail("want an operator")
}

// matches reads /regex/flags or m#regex#flags.
func (p *parser) matches(left operand, want bool) (node, error) {
	p.blank()
	if strings.HasPrefix(p.text[p.at:], "m") && p.at+1 < len(p.text) && !isWord(p.text[p.at+1]) {
		p.at++
	}
	if p.at >= len(p.text) || isWord(p.text[p.at]) {
		return nil, p.fail("want /regex/")
	}
	end := p.text[p.at]
	var body strings.Builder
	i := p.at + 1
	for ; i < len(p.text) && p.text[i] != end; i++ {
		if p.text[i] == '\\' && i+1 < len(p.text) {
			if p.text[i+1] != end {
				body.WriteByte('\\')
			}
			i++
		}
		body.WriteByte(p.text[i])
	}
	if i >= len(p.text) {
		return nil, p.fail("regular expression has no end")
	}
	flags := ""
	for i++; i < len(p.text) && isWord(p.text[i]); i++ {
		switch c := p.text[i]; c {
		case 'i', 'm':
			if strings.IndexByte(flags, c) < 0 {
				flags += string(c)
			}
		case 's', 'g':
		default:
			return nil, p.fail("flag %q of a regular expression is not known", c)
		}
	}
	if flags != "" {
		flags = "(?" + flags + ")"
	}
	re, err := pattern.Compile(flags + body.String())
	if err != nil {
		return nil, p.fail("%v", err)
	}
	p.at = i
	return func(l Lookup) bool { return re.MatchString(left(l)) == want }, nil
}

// among reads { operand, … }.
func (p *parser) among(left operand) (node, error) {
	if !p.eat("{") {
		return nil, p.fail("want {")
	}
	var list []operand
	for {
		one, err := p.operand()
		if err != nil {
			return nil, err
		}
		list = append(list, one)
		if p.eat("}") {
			break
		}
		if !p.eat(",") {
			return nil, p.fail("want , or }")
		}
	}
	return func(l Lookup) bool {
		s := left(l)
		for _, one := range list {
			if one(l) == s {
				return true
			}
		}
		return false
	}, nil
}
