package proxy

import (
	"cmp"
	"net/http"
	"regexp"
	resyntax "regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// ruleList is the list of a Mux at one moment. Its index says which rules could
// fit; whether they do they say themselves.
type ruleList struct {
	rules    []*muxRule
	byMethod bool // some ask for the method

	once     sync.Once // for what follows
	hosts    map[string]*ruleGroup
	below    map[string]*ruleGroup // by what follows the "*" of a wildcard
	longest  int                   // of its keys
	anywhere ruleGroup
}

// ruleGroup has the rules for one host, as places in the list.
type ruleGroup struct {
	prefixes    prefixSet // by the path
	literals    prefixSet // by what the text that the expression fits begins with
	expressions []int32   // the same rules, all
}

func (l *ruleList) add(ru Rule) error {
	made, err := newMuxRule(ru)
	if err == nil {
		l.rules = append(l.rules, made)
		l.byMethod = l.byMethod || len(made.Methods) > 0
	}
	return err
}

// prepare makes the index, once.
func (l *ruleList) prepare() {
	l.once.Do(func() {
		l.hosts, l.below = make(map[string]*ruleGroup), make(map[string]*ruleGroup)
		for i, ru := range l.rules {
			if len(ru.hosts) == 0 {
				l.anywhere.add(int32(i), ru)
			}
			for _, host := range ru.hosts {
				groups := l.hosts
				if host[0] == '.' {
					groups, l.longest = l.below, max(l.longest, len(host))
				}
				if groups[host] == nil {
					groups[host] = &ruleGroup{}
				}
				groups[host].add(int32(i), ru)
			}
		}
		l.anywhere.sort()
		for _, groups := range []map[string]*ruleGroup{l.hosts, l.below} {
			for _, g := range groups {
				g.sort()
			}
		}
	})
}

func (g *ruleGroup) add(i int32, ru *muxRule) {
	if ru.Path != "" || ru.Match == nil {
		g.prefixes.add(foldedPrefix(ru.Path), i)
		return
	}
	g.literals.add(literalPrefix(ru.Match), i)
	g.expressions = append(g.expressions, i)
}

func (g *ruleGroup) sort() {
	g.prefixes.sort()
	g.literals.sort()
}

// find returns the first rule that fits, or nil.
func (l *ruleList) find(q *ruleRequest) *muxRule {
	l.prepare()
	q.rules, q.best, q.key = l.rules, len(l.rules), q.path.folded()
	if g := l.hosts[q.host]; g != nil {
		q.try(g)
	}
	for i := max(1, len(q.host)-l.longest); i < len(q.host) && len(l.below) > 0; i++ {
		if q.host[i] == '.' {
			if g := l.below[q.host[i:]]; g != nil {
				q.try(g)
			}
		}
	}
	q.try(&l.anywhere)
	if q.best == len(l.rules) {
		return nil
	}
	return l.rules[q.best]
}

// try tries the rules of a group that could fit.
func (q *ruleRequest) try(g *ruleGroup) {
	q.trySet(&g.prefixes, q.key)
	if len(g.expressions) == 0 {
		return
	}
	text := q.decoded()
	if strings.IndexByte(text, '\n') >= 0 {
		q.tryRules(g.expressions) // "^" of regexp.CompilePOSIX stands for the beginning of any line
		return
	}
	q.trySet(&g.literals, text)
}

func (q *ruleRequest) trySet(p *prefixSet, text string) {
	for at := p.longestOf(text); at >= 0; at = p.entries[at].parent {
		q.tryRules(p.entries[at].rules)
	}
}

// tryRules tries rules, in order, up to the best.
func (q *ruleRequest) tryRules(places []int32) {
	for _, i := range places {
		if int(i) >= q.best {
			return
		}
		ru := q.rules[i]
		switch takes := ru.takes(q.Method); {
		case !takes && q.allowed == nil || !ru.fits(q):
		case takes:
			q.best = int(i)
			return
		default:
			for _, method := range ru.Methods {
				q.allowed[method] = true
				if method == http.MethodGet {
					q.allowed[http.MethodHead] = true
				}
			}
		}
	}
}

// prefixSet finds those of many texts that another text begins with.
type prefixSet struct{ entries []prefixEntry } // in order

type prefixEntry struct {
	text   string
	parent int // the longest other entry that text begins with, or -1
	rules  []int32
}

func (p *prefixSet) add(text string, rule int32) {
	p.entries = append(p.entries, prefixEntry{text: text, rules: []int32{rule}})
}

// sort makes the set ready. Entries with the same text become one.
func (p *prefixSet) sort() {
	slices.SortStableFunc(p.entries, func(a, b prefixEntry) int { return cmp.Compare(a.text, b.text) })
	merged := p.entries[:0]
	for _, e := range p.entries {
		last := len(merged) - 1
		if last >= 0 && merged[last].text == e.text {
			merged[last].rules = append(merged[last].rules, e.rules...)
			continue
		}
		for e.parent = last; e.parent >= 0 && !strings.HasPrefix(e.text, merged[e.parent].text); {
			e.parent = merged[e.parent].parent
		}
		merged = append(merged, e)
	}
	p.entries = merged
}

// longestOf returns the longest entry that text begins with, or -1; its parents
// are the others. All that lies in order between that entry and text begins
// with it, too, so it is among the parents of the last entry before text.
func (p *prefixSet) longestOf(text string) int {
	n, found := slices.BinarySearchFunc(p.entries, text, func(e prefixEntry, text string) int { return cmp.Compare(e.text, text) })
	if found {
		return n
	}
	at := n - 1
	if at < 0 {
		return -1
	}
	common := 0
	for last := p.entries[at].text; common < len(last) && common < len(text) && last[common] == text[common]; {
		common++
	}
	for at >= 0 && len(p.entries[at].text) > common {
		at = p.entries[at].parent
	}
	return at
}

// foldedPrefix is what the folded path begins with if it lies under prefix.
func foldedPrefix(prefix string) string {
	prefix, _, _ = strings.Cut(prefix, ";") // parameters of a folded path may be missing
	return strings.ReplaceAll(prefix, "%2F", "%2f")
}

// folded returns the path in a form in which all spellings that hasPrefix takes
// for one begin alike.
func (c canonical) folded() string {
	w := c.wire
	if c.plain {
		return w
	}
	b := make([]byte, 0, len(w))
	for i := 0; i < len(w); {
		if c.servlet && w[i] == ';' {
			i = c.skipParams(i)
			continue
		}
		d, n := decodeAt(w, i)
		switch i += n; {
		case d == '/' && n == 3:
			b = append(b, "%2f"...)
		case d != '/' || len(b) == 0 || b[len(b)-1] != '/':
			b = append(b, d)
		}
	}
	return strings.ReplaceAll(string(b), "%2F", "%2f")
}

// literalPrefix returns what every text without a newline begins with that re
// fits; it is empty unless re is anchored.
func literalPrefix(re *regexp.Regexp) string {
	parsed, err := resyntax.Parse(re.String(), resyntax.Perl)
	if err != nil {
		return ""
	}
	if parsed = parsed.Simplify(); !anchored(parsed) {
		return ""
	}
	literal, _ := leadingLiteral(parsed)
	if i := strings.IndexRune(literal, utf8.RuneError); i >= 0 {
		literal = literal[:i] // it fits any byte that is no UTF-8
	}
	return literal
}

func anchored(re *resyntax.Regexp) bool {
	switch re.Op {
	case resyntax.OpBeginText:
		return true
	case resyntax.OpConcat, resyntax.OpCapture:
		return anchored(re.Sub[0])
	}
	return false
}

// leadingLiteral returns what all that re fits begins with, and whether that is
// all of it.
func leadingLiteral(re *resyntax.Regexp) (literal string, whole bool) {
	switch re.Op {
	case resyntax.OpBeginText, resyntax.OpEmptyMatch, resyntax.OpEndText, resyntax.OpWordBoundary, resyntax.OpNoWordBoundary:
		return "", true
	case resyntax.OpLiteral:
		if re.Flags&resyntax.FoldCase != 0 {
			return "", false
		}
		return string(re.Rune), true
	case resyntax.OpCapture:
		return leadingLiteral(re.Sub[0])
	case resyntax.OpPlus:
		literal, _ = leadingLiteral(re.Sub[0])
		return literal, false
	case resyntax.OpConcat:
		for _, sub := range re.Sub {
			part, whole := leadingLiteral(sub)
			if literal += part; !whole {
				return literal, false
			}
		}
		return literal, true
	}
	return "", false
}
