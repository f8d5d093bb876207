package pattern

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

type kind uint8

const (
	kindSet    kind = iota // one byte of a set
	kindCat                // all of list, in order
	kindAlt                // one of list
	kindRepeat             // list[0], min to max times
	kindGroup              // list[0], kept as group n
	kindLook               // list[0] matches here; behind: up to here
	kindAtomic             // list[0], as it first matches
	kindBack               // what group n matched
	kindAssert             // a place
	kindKeep               // \K
)

// node is a part of an expression.
type node struct {
	kind     kind
	set      *set
	list     []*node
	n        int // of a group
	min, max int // of a repeat; a max below zero is no limit
	lazy     bool
	not      bool // of a look
	behind   bool
	assert   assertion
	fold     bool // of a backreference
}

type assertion uint8

const (
	textStart assertion = iota
	textEnd
	textEndNewline // or before a newline that ends it
	lineStart
	lineEnd
	wordEdge
	noWordEdge
)

// set is a set of bytes.
type set [4]uint64

func (s *set) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *set) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s *set) addRange(lo, hi byte) {
	for c := int(lo); c <= int(hi); c++ {
		s.add(byte(c))
	}
}

func (s *set) union(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}

func (s set) negated() set {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

// fold adds the other case of each letter.
func (s *set) fold() {
	for c := byte('a'); c <= 'z'; c++ {
		if s.has(c) || s.has(c-32) {
			s.add(c)
			s.add(c - 32)
		}
	}
}

func setOf(chars string) (s set) {
	for i := 0; i < len(chars); i++ {
		s.add(chars[i])
	}
	return s
}

func rangesOf(pairs string) (s set) {
	for i := 0; i < len(pairs); i += 2 {
		s.addRange(pairs[i], pairs[i+1])
	}
	return s
}

// classOf returns the set of an escape such as \d.
func classOf(c byte) (s set, ok bool) {
	switch c | 32 {
	case 'd':
		s = rangesOf("09")
	case 'w':
		s = rangesOf("09AZaz__")
	case 's':
		s = setOf("\t\n\v\f\r ")
	case 'h':
		s = setOf("\t ")
	case 'v':
		s = setOf("\n\v\f\r")
	default:
		if c == 'N' {
			return setOf("\n").negated(), true
		}
		return s, false
	}
	if c < 'a' {
		s = s.negated()
	}
	return s, true
}

// posixClass returns the set of [:name:].
func posixClass(name string) (set, bool) {
	pairs, ok := map[string]string{
		"alpha": "AZaz", "digit": "09", "alnum": "09AZaz", "upper": "AZ", "lower": "az", "space": "\t\r  ", "blank": "\t\t  ", "punct": "!/:@[`{~",
		"print": " ~", "graph": "!~", "cntrl": "\x00\x1f\x7f\x7f", "xdigit": "09AFaf", "word": "09AZaz__", "ascii": "\x00\x7f",
	}[name]
	return rangesOf(pairs), ok
}

const (
	maxDepth = 200     // groups within each other
	maxCount = 1000    // of a repeat
	maxProg  = 1 << 14 // instructions
)

var errMissing = errors.New("missing )")

// parser reads an expression; its flags hold up to the end of a group.
type parser struct {
	text                         string
	at, depth                    int
	fold, multi, extended, plain bool // (?i), (?m), (?x), and (?-s)
	names                        []string
	backs                        []*node  // backreferences
	named                        []string // of each, the name that is to be looked up
}

func parse(text string) (*node, []string, error) {
	p := &parser{text: text, names: []string{""}}
	n, err := p.alternatives()
	if err == nil && p.at < len(text) {
		err = errors.New("unexpected )")
	}
	for i, b := range p.backs {
		if name := p.named[i]; name != "" && err == nil {
			for j, known := range p.names {
				if known == name {
					b.n = j
				}
			}
		}
		if err == nil && (b.n < 1 || b.n >= len(p.names)) {
			err = errors.New("a backreference has no group")
		}
	}
	return n, p.names, err
}

func (p *parser) more() bool { return p.at < len(p.text) }

func (p *parser) eat(s string) bool {
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *parser) alternatives() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	fold, multi, extended, plain := p.fold, p.multi, p.extended, p.plain
	defer func() {
		p.depth--
		p.fold, p.multi, p.extended, p.plain = fold, multi, extended, plain
	}()
	alt := &node{kind: kindAlt}
	for {
		cat := &node{kind: kindCat}
		for p.more() && p.text[p.at] != '|' && p.text[p.at] != ')' {
			part, err := p.piece()
			if err != nil {
				return nil, err
			}
			if part != nil {
				cat.list = append(cat.list, part)
			}
		}
		alt.list = append(alt.list, cat)
		if !p.eat("|") {
			break
		}
	}
	if len(alt.list) == 1 {
		return alt.list[0], nil
	}
	return alt, nil
}

// piece reads an atom and what says how often; nil if it is nothing.
func (p *parser) piece() (*node, error) {
	if p.extended {
		if c := p.text[p.at]; strings.IndexByte(" \t\r\n\v\f", c) >= 0 {
			p.at++
			return nil, nil
		} else if c == '#' {
			for p.more() && p.text[p.at] != '\n' {
				p.at++
			}
			return nil, nil
		}
	}
	if p.eat(`\Q`) {
		quoted, rest, found := strings.Cut(p.text[p.at:], `\E`)
		if p.at = len(p.text); found {
			p.at -= len(rest)
		}
		cat := &node{kind: kindCat}
		for i := 0; i < len(quoted); i++ {
			cat.list = append(cat.list, p.char(quoted[i]))
		}
		return cat, nil
	}
	if p.eat(`\E`) {
		return nil, nil
	}
	atom, err := p.atom()
	if err != nil || !p.more() {
		return atom, err
	}
	if lo, hi, ok := p.count(); ok {
		if atom == nil {
			return nil, errors.New("nothing to repeat")
		}
		if lo > maxCount || hi > maxCount || hi >= 0 && lo > hi {
			return nil, fmt.Errorf("a count is above %d, or the counts are in the wrong order", maxCount)
		}
		atom = &node{kind: kindRepeat, min: lo, max: hi, list: []*node{atom}}
		switch {
		case p.eat("?"):
			atom.lazy = true
		case p.eat("+"):
			atom = &node{kind: kindAtomic, list: []*node{atom}}
		}
	}
	return atom, nil
}

// count reads what says how often.
func (p *parser) count() (lo, hi int, ok bool) {
	switch {
	case p.eat("*"):
		return 0, -1, true
	case p.eat("+"):
		return 1, -1, true
	case p.eat("?"):
		return 0, 1, true
	}
	if p.text[p.at] != '{' {
		return 0, 0, false
	}
	end := strings.IndexByte(p.text[p.at:min(len(p.text), p.at+16)], '}')
	if end < 0 {
		return 0, 0, false
	}
	first, second, two := strings.Cut(p.text[p.at+1:p.at+end], ",")
	lo, err := strconv.Atoi(first)
	if err != nil || lo < 0 {
		return 0, 0, false
	}
	switch hi = lo; {
	case two && second == "":
		hi = -1
	case two:
		if hi, err = strconv.Atoi(second); err != nil || hi < 0 {
			return 0, 0, false
		}
	}
	p.at += end + 1
	return lo, hi, true
}

func (p *parser) char(c byte) *node {
	s := new(set)
	s.add(c)
	if p.fold {
		s.fold()
	}
	return &node{kind: kindSet, set: s}
}

func (p *parser) atom() (*node, error) {
	c := p.text[p.at]
	p.at++
	switch c {
	case '(':
		return p.group()
	case '[':
		return p.class()
	case '\\':
		return p.escape()
	case '.':
		s := set{}
		if p.plain {
			s = setOf("\n")
		}
		s = s.negated()
		return &node{kind: kindSet, set: &s}, nil
	case '^':
		if p.multi {
			return &node{kind: kindAssert, assert: lineStart}, nil
		}
		return &node{kind: kindAssert, assert: textStart}, nil
	case '$':
		if p.multi {
			return &node{kind: kindAssert, assert: lineEnd}, nil
		}
		return &node{kind: kindAssert, assert: textEnd}, nil
	case '*', '+', '?':
		return nil, errors.New("nothing to repeat")
	}
	return p.char(c), nil
}

// group reads what follows an opening parenthesis.
func (p *parser) group() (*node, error) {
	n := &node{kind: kindGroup}
	switch {
	case p.eat("?#"):
		end := strings.IndexByte(p.text[p.at:], ')')
		if end < 0 {
			return nil, errMissing
		}
		p.at += end + 1
		return nil, nil
	case p.eat("?="):
		n.kind = kindLook
	case p.eat("?!"):
		n.kind, n.not = kindLook, true
	case p.eat("?<="):
		n.kind, n.behind = kindLook, true
	case p.eat("?<!"):
		n.kind, n.behind, n.not = kindLook, true, true
	case p.eat("?>"):
		n.kind = kindAtomic
	case p.eat("?P="):
		name, err := p.until(")")
		return p.back(0, name), err
	case p.eat("?P<"), p.eat("?<"):
		return p.withName(n, ">")
	case p.eat("?'"):
		return p.withName(n, "'")
	case p.eat("?"):
		return p.flags()
	case p.eat("*"):
		return nil, errors.New("verbs of backtracking are not supported")
	default:
		n.n = len(p.names)
		p.names = append(p.names, "")
	}
	return p.rest(n)
}

func (p *parser) withName(n *node, end string) (*node, error) {
	name, err := p.until(end)
	if err != nil {
		return nil, err
	}
	n.n = len(p.names)
	p.names = append(p.names, name)
	return p.rest(n)
}

func (p *parser) until(end string) (string, error) {
	name, _, ok := strings.Cut(p.text[p.at:], end)
	if !ok || name == "" {
		return "", errors.New("a name has no end")
	}
	p.at += len(name) + len(end)
	return name, nil
}

// rest reads a group up to its end.
func (p *parser) rest(n *node) (*node, error) {
	inner, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.eat(")") {
		return nil, errMissing
	}
	n.list = []*node{inner}
	return n, nil
}

// flags reads "i-m)" or "i-m:…)".
func (p *parser) flags() (*node, error) {
	fold, multi, extended, plain := p.fold, p.multi, p.extended, p.plain
	on := true
	for p.more() {
		c := p.text[p.at]
		p.at++
		switch c {
		case 'i':
			p.fold = on
		case 'm':
			p.multi = on
		case 'x':
			p.extended = on
		case 's':
			p.plain = !on
		case '-':
			on = false
		case ')':
			return nil, nil
		case ':':
			n, err := p.rest(&node{kind: kindCat})
			p.fold, p.multi, p.extended, p.plain = fold, multi, extended, plain
			return n, err
		default:
			return nil, fmt.Errorf("(?%c is not supported", c)
		}
	}
	return nil, errMissing
}

func (p *parser) back(n int, name string) *node {
	b := &node{kind: kindBack, n: n, fold: p.fold}
	p.backs, p.named = append(p.backs, b), append(p.named, name)
	return b
}
