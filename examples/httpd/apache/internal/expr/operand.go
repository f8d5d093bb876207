package expr

import "strings"

// operand reads a string in quotes, a variable, a function with a string, or a
// bare word such as a number.
func (p *parser) operand() (operand, error) {
	p.blank()
	if p.at >= len(p.text) {
		return nil, p.fail("want a value")
	}
	switch c := p.text[p.at]; {
	case c == '\'' || c == '"':
		return p.quoted(c)
	case strings.HasPrefix(p.text[p.at:], "%{"):
		return p.variable()
	case isWord(c):
		start := p.at
		for p.at < len(p.text) && (isWord(p.text[p.at]) || p.text[p.at] == '.') {
			p.at++
		}
		word := p.text[start:p.at]
		if p.eat("(") {
			return p.call(word)
		}
		return func(Lookup) string { return word }, nil
	}
	return nil, p.fail("want a value")
}

// quoted reads a string, in which %{NAME} stands for a variable.
func (p *parser) quoted(quote byte) (operand, error) {
	p.at++
	var parts []operand
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			s := literal.String()
			literal.Reset()
			parts = append(parts, func(Lookup) string { return s })
		}
	}
	for p.at < len(p.text) && p.text[p.at] != quote {
		switch {
		case p.text[p.at] == '\\' && p.at+1 < len(p.text):
			p.at++
			literal.WriteByte(p.text[p.at])
			p.at++
		case strings.HasPrefix(p.text[p.at:], "%{"):
			flush()
			v, err := p.variable()
			if err != nil {
				return nil, err
			}
			parts = append(parts, v)
		default:
			literal.WriteByte(p.text[p.at])
			p.at++
		}
	}
	if p.at >= len(p.text) {
		return nil, p.fail("string has no end")
	}
	p.at++
	flush()
	if len(parts) == 1 {
		return parts[0], nil
	}
	return func(l Lookup) string {
		var b strings.Builder
		for _, part := range parts {
			b.WriteString(part(l))
		}
		return b.String()
	}, nil
}

// variable reads %{NAME} or %{function:name}.
func (p *parser) variable() (operand, error) {
	end := strings.IndexByte(p.text[p.at:], '}')
	if end < 0 {
		return nil, p.fail("variable has no }")
	}
	name := p.text[p.at+2 : p.at+end]
	function := ""
	if f, n, ok := strings.Cut(name, ":"); ok {
		function, name = strings.ToLower(f), n
	}
	if name == "" || !p.known(function, name) {
		return nil, p.fail("variable %s is not known", p.text[p.at:p.at+end+1])
	}
	p.at += end + 1
	return func(l Lookup) string { return l(function, name) }, nil
}

// call reads the rest of function('name').
func (p *parser) call(function string) (operand, error) {
	p.blank()
	if p.at >= len(p.text) || p.text[p.at] != '\'' && p.text[p.at] != '"' {
		return nil, p.fail("%s takes a string", function)
	}
	end := strings.IndexByte(p.text[p.at+1:], p.text[p.at])
	if end < 0 {
		return nil, p.fail("string has no end")
	}
	name := p.text[p.at+1 : p.at+1+end]
	function = strings.ToLower(function)
	if !p.known(function, name) {
		return nil, p.fail("%s('%s') is not known", function, name)
	}
	p.at += end + 2
	if !p.eat(")") {
		return nil, p.fail("want )")
	}
	return func(l Lookup) string { return l(function, name) }, nil
}
