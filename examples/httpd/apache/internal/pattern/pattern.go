package pattern

import (
	"fmt"
	"regexp"
)

// Pattern is a compiled expression. It may be used by any number of goroutines.
type Pattern struct {
	text string
	re   *regexp.Regexp // nil if prog matches
	prog *program
}

// Compile reads an expression. Flags may stand before it: "(?i)" for one that
// takes both cases.
func Compile(text string) (*Pattern, error) {
	if re, err := regexp.Compile("(?s)" + text); err == nil {
		return &Pattern{text: text, re: re}, nil
	}
	prog, err := compile(text)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", text, err)
	}
	return &Pattern{text: text, prog: prog}, nil
}

// String returns the text that was compiled.
func (p *Pattern) String() string { return p.text }

// Standard returns the same expression of package regexp, or nil if that refuses
// it.
func (p *Pattern) Standard() *regexp.Regexp { return p.re }

// NumSubexp returns the number of groups.
func (p *Pattern) NumSubexp() int {
	if p.re != nil {
		return p.re.NumSubexp()
	}
	return len(p.prog.names) - 1
}

// Named reports whether a group has a name.
func (p *Pattern) Named() bool {
	for _, name := range p.SubexpNames() {
		if name != "" {
			return true
		}
	}
	return false
}

// SubexpNames returns the names of groups by their number; the first is the
// whole match's, "".
func (p *Pattern) SubexpNames() []string {
	if p.re != nil {
		return p.re.SubexpNames()
	}
	return p.prog.names
}

// MatchString reports whether the expression matches anywhere in s.
func (p *Pattern) MatchString(s string) bool {
	if p.re != nil {
		return p.re.MatchString(s)
	}
	return p.prog.match(s, 0) != nil
}

// FindStringSubmatchIndex returns the offsets of the first match and its groups
// in pairs, -1 for groups that took no part; nil if there is none.
func (p *Pattern) FindStringSubmatchIndex(s string) []int {
	if p.re != nil {
		return p.re.FindStringSubmatchIndex(s)
	}
	return p.prog.match(s, 0)
}

// FindStringSubmatch returns the first match and its groups; nil if there is
// none.
func (p *Pattern) FindStringSubmatch(s string) []string {
	at := p.FindStringSubmatchIndex(s)
	if at == nil {
		return nil
	}
	groups := make([]string, len(at)/2)
	for i := range groups {
		if at[2*i] >= 0 {
			groups[i] = s[at[2*i]:at[2*i+1]]
		}
	}
	return groups
}

// FindAllStringSubmatchIndex returns up to n matches behind each other; all for
// a negative n.
func (p *Pattern) FindAllStringSubmatchIndex(s string, n int) (all [][]int) {
	if p.re != nil {
		return p.re.FindAllStringSubmatchIndex(s, n)
	}
	m := p.prog.matcher(s)
	last := -1 // where the match before ended: an empty one may not stand there
	for at := 0; at <= len(s) && len(all) != n; {
		found := m.from(at)
		if found == nil {
			break
		}
		if at = found[1]; found[1] > found[0] || found[0] != last {
			all = append(all, found)
		}
		if last = found[1]; found[1] == found[0] {
			at++
		}
	}
	return all
}
