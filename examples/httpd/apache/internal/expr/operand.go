package expr

import "strings"

// operand reads a word: a string in quotes, a variable, a group, a function, a
// number, or several of them with a dot between.
func (p *parser) operand() (operand, error) {
	var words []operand
	for {
		word, err := p.word()
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		if !p.eat(".") {
			return concatenation(words), nil
		}
	}
}

func concatenation(parts []operand) operand {
	switch len(parts) {
	case 0:
		return constant("")
	case 1:
		return parts[0]
	}
	return func(x *evaluation) string {
		var b strings.Builder
		for _, part := range parts {
			b.WriteString(part(x))
		}
		return b.String()
	}
}

func (p *parser) word() (operand, error) {
	p.blank()
	if p.at >= len(p.text) {
		return nil, p.fail("want a value")
	}
	rest := p.text[p.at:]
	switch c := rest[0]; {
	case c == '\'' || c == '"':
		p.at++
		value, _, err := p.textUntil(c)
		return value, err
	case strings.HasPrefix(rest, "%{"):
		return p.variable()
	case c == '$' && len(rest) > 1 && isDigit(rest[1]):
		p.at += 2
		return group(int(rest[1] - '0')), nil
	case isDigit(c) || c == '-' && len(rest) > 1 && isDigit(rest[1]):
		n := 1
		for n < len(rest) && isDigit(rest[n]) {
			n++
		}
		p.at += n
		return constant(rest[:n]), nil
	case isWord(c):
		n := 1
		for n < len(rest) && isWord(rest[n]) {
			n++
		}
		return p.call(rest[:n])
	}
	return nil, p.fail("want a value")
}

// group returns what stands for $n.
func group(n int) operand {
	return func(x *evaluation) string {
		if n < len(x.groups) {
			return x.groups[n]
		}
		return ""
	}
}

// call reads function(word). The regular expressions and lists of later versions
// of httpd are told by their names.
func (p *parser) call(name string) (operand, error) {
	start := p.at
	p.at += len(name)
	if !p.eat("(") {
		p.at = start
		return nil, p.fail("%q is no value: text stands in quotes", name)
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer p.shallower()
	from := p.at
	arg, err := p.operand()
	if err != nil {
		return nil, err
	}
	after := p.at
	p.at = start
	value, err := p.apply(name, p.text[from:after], arg)
	if err != nil {
		return nil, err
	}
	p.at = after
	if !p.eat(")") {
		return nil, p.fail("want )")
	}
	return value, nil
}

// apply returns what calls a function. The argument is also given as it is
// written.
func (p *parser) apply(function, written string, arg operand) (operand, error) {
	name := strings.ToLower(function)
	if change := functions[name]; change != nil {
		return func(x *evaluation) string { return change(x, arg(x)) }, nil
	}
	fixed := "" // unless it differs from request to request
	if !strings.ContainsAny(written, "%$(") {
		fixed = arg(&evaluation{})
	}
	if !p.known(name, fixed) {
		return nil, p.fail("function %s(%s) is not known", function, strings.TrimSpace(written))
	}
	return func(x *evaluation) string { return x.lookup(name, arg(x)) }, nil
}

// variable reads %{NAME} or %{function:text}.
func (p *parser) variable() (operand, error) {
	start := p.at
	p.at += len("%{")
	n := strings.IndexAny(p.text[p.at:], ":}")
	if n < 0 {
		p.at = start
		return nil, p.fail("variable has no }")
	}
	name := p.text[p.at : p.at+n]
	if p.at += n + 1; p.text[p.at-1] == ':' {
		return p.function(start, name)
	}
	if name == "" || !p.known("", name) {
		p.at = start
		return nil, p.fail("variable %%{%s} is not known", name)
	}
	p.names[strings.ToUpper(name)] = true
	return func(x *evaluation) string { return x.lookup("", name) }, nil
}

// function reads the rest of %{function:text}.
func (p *parser) function(start int, name string) (operand, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer p.shallower()
	from := p.at
	arg, ended, err := p.textUntil('}')
	if err != nil {
		if !ended {
			p.at = start
			err = p.fail("variable has no }")
		}
		return nil, err
	}
	after := p.at
	p.at = start
	value, err := p.apply(name, p.text[from:after-1], arg)
	if err == nil {
		p.at = after
	}
	return value, err
}

// textUntil reads text in which %{…} and $0 to $9 have a meaning, and a
// backslash. It ends behind the byte end, or with the whole if that is 0. When
// it has no end, ended is false.
func (p *parser) textUntil(end byte) (value operand, ended bool, err error) {
	var parts []operand
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			parts = append(parts, constant(literal.String()))
			literal.Reset()
		}
	}
	for p.at < len(p.text) {
		rest := p.text[p.at:]
		switch c := rest[0]; {
		case c == end && end != 0:
			p.at++
			flush()
			return concatenation(parts), true, nil
		case c == '\\' && len(rest) > 1:
			n, err := p.escape(rest, &literal)
			if err != nil {
				return nil, true, err
			}
			p.at += n
		case strings.HasPrefix(rest, "%{"):
			flush()
			v, err := p.variable()
			if err != nil {
				return nil, true, err
			}
			parts = append(parts, v)
		case c == '$' && len(rest) > 1 && isDigit(rest[1]):
			flush()
			parts = append(parts, group(int(rest[1]-'0')))
			p.at += 2
		default:
			literal.WriteByte(c)
			p.at++
		}
	}
	if end != 0 {
		return nil, false, p.fail("string has no end")
	}
	flush()
	return concatenation(parts), true, nil
}

// escape reads what begins with a backslash, and returns its length: a byte by
// its octal number, one of \n \r \t \b \f, or any other one, which stands for
// itself.
func (p *parser) escape(s string, into *strings.Builder) (int, error) {
	n, value := 1, 0
	for ; n <= 3 && n < len(s) && '0' <= s[n] && s[n] <= '7'; n++ {
		value = value*8 + int(s[n]-'0')
	}
	switch i := strings.IndexByte("nrtbf", s[1]); {
	case value > 0xff:
		return 0, p.fail("%q is no byte", s[:n])
	case n > 1:
		into.WriteByte(byte(value))
		return n, nil
	case i >= 0:
		into.WriteByte("\n\r\t\b\f"[i])
	default:
		into.WriteByte(s[1])
	}
	return 2, nil
}
