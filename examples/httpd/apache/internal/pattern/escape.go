package pattern

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// escape reads what follows a backslash outside of a class.
func (p *parser) escape() (*node, error) {
	if !p.more() {
		return nil, errors.New(`\ at the end`)
	}
	c := p.text[p.at]
	if s, ok := classOf(c); ok {
		p.at++
		return &node{kind: kindSet, set: &s}, nil
	}
	if a, ok := map[byte]assertion{'A': textStart, 'z': textEnd, 'Z': textEndNewline, 'b': wordEdge, 'B': noWordEdge}[c]; ok {
		p.at++
		return &node{kind: kindAssert, assert: a}, nil
	}
	switch {
	case c == 'K':
		p.at++
		return &node{kind: kindKeep}, nil
	case c == 'R':
		p.at++
		s := setOf("\n\v\f\r")
		crlf := &node{kind: kindCat, list: []*node{p.char('\r'), p.char('\n')}}
		return &node{kind: kindAtomic, list: []*node{{kind: kindAlt, list: []*node{crlf, {kind: kindSet, set: &s}}}}}, nil
	case '1' <= c && c <= '9':
		end := p.at + 1
		for end < len(p.text) && end < p.at+3 && '0' <= p.text[end] && p.text[end] <= '9' {
			end++
		}
		if n, _ := strconv.Atoi(p.text[p.at:end]); n < 10 || n < len(p.names) {
			p.at = end
			return p.back(n, ""), nil
		} // else it is a byte in octal
	case c == 'g' || c == 'k':
		p.at++
		return p.namedBack()
	}
	b, err := p.escapedByte()
	if err != nil {
		return nil, err
	}
	return p.char(b), nil
}

// namedBack reads the rest of \g1, \g{-1}, \g{name}, \k<name>, \k'name', \k{name}.
func (p *parser) namedBack() (*node, error) {
	var name string
	var err error
	switch {
	case p.eat("{"):
		name, err = p.until("}")
	case p.eat("<"):
		name, err = p.until(">")
	case p.eat("'"):
		name, err = p.until("'")
	case p.more():
		name = p.text[p.at : p.at+1]
		p.at++
	}
	if n, bad := strconv.Atoi(name); bad == nil {
		if n < 0 {
			n += len(p.names)
		}
		return p.back(n, ""), err
	}
	return p.back(0, name), err
}

// escapedByte reads an escape that stands for one byte.
func (p *parser) escapedByte() (byte, error) {
	if !p.more() {
		return 0, errors.New(`\ at the end`)
	}
	c := p.text[p.at]
	p.at++
	if i := strings.IndexByte("tnrfae", c); i >= 0 {
		return "\t\n\r\f\a\x1b"[i], nil
	}
	number := func(digits string, base, bits int) (byte, error) {
		n, err := strconv.ParseUint(digits, base, bits)
		if err != nil {
			return 0, fmt.Errorf(`\%c%s is no byte`, c, digits)
		}
		return byte(n), nil
	}
	switch {
	case c == 'x' && p.eat("{"):
		digits, err := p.until("}")
		if err != nil {
			return 0, err
		}
		return number(digits, 16, 8)
	case c == 'x':
		end := p.at
		for end < len(p.text) && end < p.at+2 && strings.IndexByte("0123456789abcdefABCDEF", p.text[end]) >= 0 {
			end++
		}
		digits := "0" + p.text[p.at:end]
		p.at = end
		return number(digits, 16, 8)
	case '0' <= c && c <= '7':
		end := p.at
		for end < len(p.text) && end < p.at+2 && '0' <= p.text[end] && p.text[end] <= '7' {
			end++
		}
		digits := string(c) + p.text[p.at:end]
		p.at = end
		return number(digits, 8, 8)
	case c == 'c' && p.more():
		b := p.text[p.at]
		p.at++
		if 'a' <= b && b <= 'z' {
			b -= 32
		}
		return b ^ 64, nil
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '8', c == '9':
		return 0, fmt.Errorf(`\%c is not supported`, c)
	}
	return c, nil
}

// class reads what follows an opening bracket.
func (p *parser) class() (*node, error) {
	s := new(set)
	not := p.eat("^")
	for first := true; ; first = false {
		if !p.more() {
			return nil, errors.New("missing ]")
		}
		if p.text[p.at] == ']' && !first {
			p.at++
			break
		}
		if p.eat("[:") {
			name, _, ok := strings.Cut(p.text[p.at:min(len(p.text), p.at+12)], ":]")
			bare, negated := strings.CutPrefix(name, "^")
			if class, known := posixClass(bare); ok && known {
				if negated {
					class = class.negated()
				}
				s.union(class)
				p.at += len(name) + 2
				continue
			}
			p.at--
			s.add('[')
			continue
		}
		lo, class, err := p.classItem()
		if err != nil {
			return nil, err
		}
		if class != nil {
			s.union(*class)
			continue
		}
		hi := lo
		if rest := p.text[p.at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			p.at++
			if hi, class, err = p.classItem(); err != nil {
				return nil, err
			}
			if class != nil { // [a-\d]: the minus sign stands for itself
				s.union(*class)
				s.add('-')
				hi = lo
			}
		}
		if hi < lo {
			return nil, errors.New("a range is in the wrong order")
		}
		s.addRange(lo, hi)
	}
	if p.fold {
		s.fold()
	}
	if not {
		*s = s.negated()
	}
	return &node{kind: kindSet, set: s}, nil
}

// classItem reads a byte, or an escape that is a set.
func (p *parser) classItem() (byte, *set, error) {
	if !p.more() {
		return 0, nil, errors.New("missing ]")
	}
	c := p.text[p.at]
	p.at++
	if c != '\\' {
		return c, nil, nil
	}
	if p.more() {
		if class, ok := classOf(p.text[p.at]); ok {
			p.at++
			return 0, &class, nil
		}
		if p.eat("b") {
			return '\b', nil, nil
		}
	}
	b, err := p.escapedByte()
	return b, nil, err
}
