package rewrite

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// flag is one of those of a rule that are just there or not.
type flag uint32

const (
	flagChain          flag = 1 << iota // C
	flagDiscardPath                     // DPI
	flagEnd                             // END
	flagLast                            // L
	flagNext                            // N
	flagNoEscape                        // NE
	flagNoSubrequest                    // NS
	flagProxy                           // P
	flagPassThrough                     // PT
	flagAppendQuery                     // QSA
	flagDiscardQuery                    // QSD
	flagLastQuestion                    // QSL
	flagRedirect                        // R=3xx
	flagStatus                          // F, G, R=4xx
	flagEscape                          // B
	flagEscapeControls                  // BCTLS
	flagEscapeNoPlus                    // BNP
	flagKeepUNC                         // UNC
	flagAllow3F                         // UnsafeAllow3F
	flagPrefixStat                      // UnsafePrefixStat
)

// words are the flags by their names, short and long.
var words = map[string]flag{
	"c": flagChain, "chain": flagChain, "dpi": flagDiscardPath, "discardpath": flagDiscardPath, "end": flagEnd, "l": flagLast, "last": flagLast,
	"n": flagNext, "next": flagNext, "ne": flagNoEscape, "noescape": flagNoEscape, "ns": flagNoSubrequest, "nosubreq": flagNoSubrequest,
	"p": flagProxy, "proxy": flagProxy, "pt": flagPassThrough, "passthrough": flagPassThrough, "qsa": flagAppendQuery, "qsappend": flagAppendQuery,
	"qsd": flagDiscardQuery, "qsdiscard": flagDiscardQuery, "qsl": flagLastQuestion, "qslast": flagLastQuestion, "r": flagRedirect, "redirect": flagRedirect,
	"b": flagEscape, "backrefescaping": flagEscape, "bctls": flagEscapeControls, "bnp": flagEscapeNoPlus, "backrefnoplus": flagEscapeNoPlus,
	"unc": flagKeepUNC, "unsafeallow3f": flagAllow3F, "unsafeprefixstat": flagPrefixStat,
}

// maxRounds is how often [N] begins anew without a number of its own.
const maxRounds = 10000

// Rule is a RewriteRule with the conditions before it.
type Rule struct {
	conds   []*Cond
	pattern *pattern.Pattern
	not     bool
	keep    bool // "-": the path stays
	output  text
	dynamic bool // the output begins with what the request says
	literal string

	flags      flag
	status     int // of R, F and G
	skip       int
	rounds     int
	escapeOnly string // B=…
	escapeNot  string // BNE=…
	env        []assignment
	cookies    []text
	mime       text // T
	handler    string
}

// assignment is an E flag.
type assignment struct {
	unset bool
	name  text
	value text
}

// Handler is what the H flag says; empty without one.
func (r *Rule) Handler() string { return r.handler }

// Proxied returns what a rule with P leads to, as it is written; empty without P.
func (r *Rule) Proxied() string {
	if r.flags&flagProxy == 0 || r.keep {
		return ""
	}
	return r.literal
}

// Maps returns the names of the maps that the rule asks.
func (r *Rule) Maps() (names []string) {
	texts := []text{r.output, r.mime}
	for _, c := range r.conds {
		texts = append(texts, c.input)
	}
	for _, a := range r.env {
		texts = append(texts, a.name, a.value)
	}
	for _, t := range append(texts, r.cookies...) {
		names = t.maps(names)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ParseRule reads the arguments of a RewriteRule: pattern, substitution and
// "[flags]". The conditions are those that stand before it.
func ParseRule(args []string, conds []*Cond) (*Rule, error) {
	if len(args) < 2 || len(args) > 3 {
		return nil, errors.New("want a pattern, a substitution and [flags]")
	}
	r := &Rule{conds: conds, rounds: maxRounds, literal: args[1]}
	fold := false
	if len(args) == 3 {
		err := eachFlag(args[2], func(key, value string) error {
			if key == "nc" || key == "nocase" {
				fold = true
				return nil
			}
			return r.setFlag(key, value)
		})
		if err != nil {
			return nil, err
		}
	}
	expression, not := strings.CutPrefix(args[0], "!")
	r.not = not
	var err error
	if r.pattern, err = compile(expression, fold); err != nil {
		return nil, err
	}
	if r.keep = args[1] == "-"; !r.keep {
		r.output = parseText(args[1])
		r.dynamic = len(r.output) > 0 && r.output[0].kind != tokenLiteral
	}
	if r.flags&flagStatus != 0 {
		r.keep = true
	}
	return r, nil
}

func compile(expression string, fold bool) (*pattern.Pattern, error) {
	if fold {
		expression = "(?i)" + expression
	}
	return pattern.Compile(expression)
}

// eachFlag reads "[key=value,key]".
func eachFlag(list string, set func(key, value string) error) error {
	if len(list) < 2 || list[0] != '[' || list[len(list)-1] != ']' {
		return errors.New("flags stand in brackets, and a word with blanks in quotes")
	}
	for one := range strings.SplitSeq(list[1:len(list)-1], ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		if key == "" {
			continue
		}
		if err := set(strings.ToLower(key), value); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rule) setFlag(key, value string) (err error) {
	f := words[key]
	r.flags |= f
	switch key {
	case "b", "backrefescaping":
		r.escapeOnly = value
	case "bne":
		r.escapeNot = value
	case "bctls":
		r.flags |= flagEscape
	case "co", "cookie":
		r.cookies = append(r.cookies, parseText(value))
	case "e", "env":
		name, content, _ := strings.Cut(value, ":")
		bare, unset := strings.CutPrefix(name, "!")
		r.env = append(r.env, assignment{unset, parseText(bare), parseText(content)})
	case "f", "forbidden":
		r.flags, r.status = r.flags|flagStatus, http.StatusForbidden
	case "g", "gone":
		r.flags, r.status = r.flags|flagStatus, http.StatusGone
	case "h", "handler":
		r.handler = value
	case "t", "type":
		r.mime = parseText(value)
	case "n", "next":
		if value != "" {
			if r.rounds, err = strconv.Atoi(value); err != nil || r.rounds < 1 {
				return fmt.Errorf("flag N=%s is no number of rounds", value)
			}
		}
	case "s", "skip":
		if r.skip, err = strconv.Atoi(value); err != nil || r.skip < 0 {
			return fmt.Errorf("flag S=%s is no number of rules", value)
		}
	case "r", "redirect":
		r.flags &^= flagRedirect
		if r.status, err = StatusNamed(value); err != nil {
			return err
		}
		if r.status >= 300 && r.status < 400 {
			r.flags |= flagRedirect
		} else {
			r.flags |= flagStatus
		}
	default:
		if f == 0 {
			return fmt.Errorf("flag %q is not known", key)
		}
	}
	return nil
}

// StatusNamed reads a status as the R flag and mod_alias have it: a number, or
// permanent, temp, seeother or gone. Empty means 302.
func StatusNamed(s string) (int, error) {
	switch strings.ToLower(s) {
	case "":
		return http.StatusFound, nil
	case "permanent":
		return http.StatusMovedPermanently, nil
	case "temp":
		return http.StatusFound, nil
	case "seeother":
		return http.StatusSeeOther, nil
	case "gone":
		return http.StatusGone, nil
	}
	code, err := strconv.Atoi(s)
	if err != nil || code < 200 || code > 599 || http.StatusText(code) == "" {
		return 0, fmt.Errorf("%q is no status", s)
	}
	return code, nil
}
