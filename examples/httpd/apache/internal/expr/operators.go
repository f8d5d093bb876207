package expr

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
	"github.com/modproxy/modproxy/proxy/access"
)

// tests are the operators of one word that ask nothing of a request.
var tests = map[string]func(string) bool{
	"n": func(s string) bool { return s != "" },
	"z": func(s string) bool { return s == "" },
	"T": func(s string) bool {
		switch strings.ToLower(s) {
		case "", "0", "off", "false", "no":
			return false
		}
		return true
	},
	"e": func(s string) bool { return isFile(s, func(os.FileInfo) bool { return true }) },
	"d": func(s string) bool { return isFile(s, os.FileInfo.IsDir) },
	"f": func(s string) bool { return isFile(s, func(f os.FileInfo) bool { return f.Mode().IsRegular() }) },
	"s": func(s string) bool {
		return isFile(s, func(f os.FileInfo) bool { return f.Mode().IsRegular() && f.Size() > 0 })
	},
	"x": func(s string) bool { return isFile(s, func(f os.FileInfo) bool { return f.Mode().Perm()&0o111 != 0 }) },
	"L": isLink,
	"h": isLink,
}

func isFile(name string, is func(os.FileInfo) bool) bool {
	f, err := os.Stat(name)
	return err == nil && is(f)
}

func isLink(name string) bool {
	f, err := os.Lstat(name)
	return err == nil && f.Mode()&os.ModeSymlink != 0
}

// unary reads an operator with one word behind it.
func (p *parser) unary() (node, error) {
	start := p.at
	n := 1
	for p.at+n < len(p.text) && isWord(p.text[p.at+n]) {
		n++
	}
	op := p.text[p.at+1 : p.at+n]
	p.at += n
	if op == "R" {
		holds, err := p.network()
		return func(x *evaluation) bool { return holds(x.lookup("", "REMOTE_ADDR")) }, err
	}
	holds := tests[op]
	if asks := "-" + op; holds == nil && (op == "U" || op == "A" || op == "F") && p.known(asks, "") {
		of, err := p.operand()
		return func(x *evaluation) bool { return x.lookup(asks, of(x)) != "" }, err
	}
	if holds == nil {
		p.at = start
		return nil, p.fail("operator -%s is not known", op)
	}
	of, err := p.operand()
	return func(x *evaluation) bool { return holds(of(x)) }, err
}

// network reads a network, which must be known now, and returns what says
// whether an address is in it.
func (p *parser) network() (func(addr string) bool, error) {
	p.blank()
	start := p.at
	word, err := p.operand()
	if err != nil {
		return nil, err
	}
	written := p.text[start:p.at]
	if strings.ContainsAny(written, "%$(") {
		p.at = start
		return nil, p.fail("a network cannot differ from request to request")
	}
	prefixes, err := access.ParsePrefixes(word(&evaluation{}))
	if err != nil {
		p.at = start
		return nil, p.fail("%s is no address or network", written)
	}
	return func(addr string) bool {
		a, err := netip.ParseAddr(addr)
		return err == nil && prefixes[0].Contains(a.Unmap().WithZone(""))
	}, nil
}

// comparisons are the operators in the order in which they are looked for: the
// longer before those they begin with. Those of numbers may have a minus sign.
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

// number is Apache's: digits at the beginning, and 0 if there are none.
func number(s string) int64 {
	s = strings.TrimLeft(s, " \t\r\n\v\f")
	n := 0
	if n < len(s) && (s[n] == '-' || s[n] == '+') {
		n++
	}
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	value, _ := strconv.ParseInt(s[:n], 10, 64) // out of range: the last number that there is
	return value
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
		return func(x *evaluation) bool { return c.holds(left(x), right(x)) }, err
	}
	if p.at < len(p.text) && p.text[p.at] == '-' {
		return p.binary(left)
	}
	return nil, p.fail("want an operator")
}

// binary reads the operators that have a name of their own.
func (p *parser) binary(left operand) (node, error) {
	n := 1
	for p.at+n < len(p.text) && isWord(p.text[p.at+n]) {
		n++
	}
	op := strings.ToLower(p.text[p.at+1 : p.at+n])
	glob, fold, crosses := false, false, true
	switch op {
	case "ipmatch":
		p.at += n
		holds, err := p.network()
		return func(x *evaluation) bool { return holds(left(x)) }, err
	case "strmatch":
		glob = true
	case "strcmatch":
		glob, fold = true, true
	case "fnmatch":
		glob, crosses = true, false
	}
	if !glob {
		return nil, p.fail("operator %q is not known", p.text[p.at:p.at+n])
	}
	p.at += n
	start := p.at
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	if !strings.ContainsAny(p.text[start:p.at], "%$(") {
		re := globRegexp(right(&evaluation{}), fold, crosses)
		return func(x *evaluation) bool { return re != nil && re.MatchString(left(x)) }, nil
	}
	return func(x *evaluation) bool {
		s := left(x)
		re := globRegexp(right(x), fold, crosses)
		return re != nil && re.MatchString(s)
	}, nil
}

// globRegexp returns what fits as fnmatch(3) with a pattern does; nil if that
// fits nothing. Unless slashes are crossed, they are matched by slashes alone.
func globRegexp(glob string, fold, crosses bool) *regexp.Regexp {
	any := "[^/]"
	if crosses {
		any = "."
	}
	var b strings.Builder
	b.WriteString("(?s")
	if fold {
		b.WriteByte('i')
	}
	b.WriteString(")^")
	last := strings.LastIndexByte(glob, ']')
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(any + "*")
		case '?':
			b.WriteString(any)
		case '[':
			if last <= i+1 || glob[i+1] == ']' {
				b.WriteString(`\[`)
				continue
			}
			end := strings.IndexByte(glob[i+1:], ']')
			set := strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(glob[i+1 : i+1+end])
			if set[0] == '!' {
				set = "^" + set[1:]
			}
			b.WriteString("[" + set + "]")
			i += end + 1
		case '\\':
			if i+1 < len(glob) {
				i++
			}
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	re, err := regexp.Compile(b.String() + "$")
	if err != nil {
		return nil
	}
	return re
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
	return func(x *evaluation) bool {
		x.groups = re.FindStringSubmatch(left(x))
		return (x.groups != nil) == want
	}, nil
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
	return func(x *evaluation) bool {
		s := left(x)
		return slices.ContainsFunc(list, func(one operand) bool { return one(x) == s })
	}, nil
}
