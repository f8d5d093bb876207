package rewrite

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// Cond is a RewriteCond.
type Cond struct {
	input  text
	test   string // one of -f, -eq, <=, … ; "" for an expression of PCRE, "expr" for Apache's
	not    bool
	fold   bool
	or     bool
	noVary bool
	value  string
	number int
	re     *pattern.Pattern
	expr   Expr
}

// Expr is an expression of Apache's (ap_expr). Groups are what its last regular
// expression has matched; nil for nothing.
type Expr func(s *State) (holds bool, groups []string)

// ParseCond reads the arguments of a RewriteCond: a text, a pattern and
// "[flags]". For a text "expr" the pattern is given to parse.
func ParseCond(args []string, parse func(text string) (Expr, error)) (*Cond, error) {
	if len(args) < 2 || len(args) > 3 {
		return nil, errors.New("want a text, a pattern and [flags]")
	}
	c := &Cond{}
	if len(args) == 3 {
		err := eachFlag(args[2], func(key, _ string) error {
			switch key {
			case "nc", "nocase":
				c.fold = true
			case "or", "ornext":
				c.or = true
			case "nv", "novary":
				c.noVary = true
			default:
				return fmt.Errorf("flag %q is not known", key)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	what := args[1]
	var err error
	if strings.EqualFold(args[0], "expr") {
		c.test = "expr"
		if rest, not := strings.CutPrefix(what, "!"); not && !strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "(") && parse != nil {
			what, c.not = rest, true
		}
		if parse == nil {
			return nil, errors.New("expr is not supported")
		}
		c.expr, err = parse(what)
		return c, err
	}
	c.input = parseText(args[0])
	what, c.not = strings.CutPrefix(what, "!")
	if err := c.parseTest(what); err != nil {
		return nil, err
	}
	if c.test == "" {
		c.re, err = compile(what, c.fold)
	}
	return c, err
}

// parseTest looks whether a pattern is none, but a comparison or a question about
// a file.
func (c *Cond) parseTest(what string) (err error) {
	switch {
	case len(what) == 2 && what[0] == '-' && strings.IndexByte("fsdxhlLUF", what[1]) >= 0:
		c.test = what
	case len(what) > 3 && what[0] == '-' && isNumberTest(what[:3]):
		c.test = what[:3]
		digits := strings.TrimSpace(what[3:])
		if c.number, err = strconv.Atoi(digits); err != nil {
			return fmt.Errorf("%q is no number", digits)
		}
	case len(what) == 3 && isNumberTest(what):
		return fmt.Errorf(`%s and its number are one argument: "%s 5"`, what, what)
	case strings.HasPrefix(what, "<="), strings.HasPrefix(what, ">="):
		c.test, c.value = what[:2], what[2:]
	case strings.HasPrefix(what, "<"), strings.HasPrefix(what, ">"), strings.HasPrefix(what, "="):
		if c.test, c.value = what[:1], what[1:]; c.value == `""` {
			c.value = ""
		}
	}
	return nil
}

func isNumberTest(s string) bool {
	switch s {
	case "-eq", "-ne", "-lt", "-le", "-gt", "-ge":
		return true
	}
	return false
}

// holds evaluates the condition, and keeps the groups of its expression.
func (c *Cond) holds(s *State) bool {
	if c.test == "expr" {
		holds, groups := c.expr(s)
		if holds && !c.not && groups != nil {
			s.condGroups = groups
		}
		return holds != c.not
	}
	s.noVary = c.noVary
	input := s.expand(c.input, nil)
	s.noVary = false
	var ok bool
	switch c.test {
	case "":
		groups := c.re.FindStringSubmatch(input)
		if ok = groups != nil; ok && !c.not {
			s.condGroups = groups
		}
	case "-f":
		info, err := os.Stat(input)
		ok = err == nil && info.Mode().IsRegular()
	case "-s":
		info, err := os.Stat(input)
		ok = err == nil && info.Mode().IsRegular() && info.Size() > 0
	case "-d":
		info, err := os.Stat(input)
		ok = err == nil && info.IsDir()
	case "-x":
		info, err := os.Stat(input)
		ok = err == nil && info.Mode()&0o111 != 0
	case "-h", "-l", "-L":
		info, err := os.Lstat(input)
		ok = err == nil && info.Mode()&os.ModeSymlink != 0
	case "-U":
		ok = input != "" && s.Server.Reachable(input, false)
	case "-F":
		ok = input != "" && s.Server.Reachable(input, true)
	case "-eq":
		ok = atoi(input) == c.number
	case "-ne":
		ok = atoi(input) != c.number
	case "-lt":
		ok = atoi(input) < c.number
	case "-le":
		ok = atoi(input) <= c.number
	case "-gt":
		ok = atoi(input) > c.number
	case "-ge":
		ok = atoi(input) >= c.number
	case "=":
		ok = input == c.value || c.fold && strings.EqualFold(input, c.value)
	default:
		value := c.value
		if c.fold {
			input, value = strings.ToLower(input), strings.ToLower(value)
		}
		order := compare(input, value)
		ok = order < 0 && c.test[0] == '<' || order > 0 && c.test[0] == '>' || order == 0 && len(c.test) == 2
	}
	return ok != c.not
}

// compare orders as httpd does: the shorter text comes first.
func compare(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// atoi is C's: it reads what is a number at the beginning.
func atoi(s string) int {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	end := 0
	if end < len(s) && (s[end] == '-' || s[end] == '+') {
		end++
	}
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	n, _ := strconv.Atoi(s[:end])
	return n
}

// hold evaluates all conditions of a rule, and gathers the fields of the request
// that they have asked for.
func (r *Rule) hold(s *State) bool {
	for i := 0; i < len(r.conds); i++ {
		c := r.conds[i]
		before := len(s.vary)
		ok := c.holds(s)
		if !ok {
			s.vary = s.vary[:before]
		}
		switch {
		case c.or && ok:
			for i < len(r.conds) && r.conds[i].or {
				i++ // the others need not be asked, nor the one behind them
			}
		case !c.or && !ok:
			return false
		}
	}
	return true
}
