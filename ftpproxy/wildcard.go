package ftpproxy

import (
	"path"
	"strings"
)

// What matching a name costs is the product of its length and the pattern's, so
// that must be short.
const (
	maxPattern      = 255 // bytes, as of the names in most file systems
	maxAlternatives = 64  // that braces may expand to
	maxExpanded     = 512 // bytes of all of them
)

// hasWildcard reports whether a name has something that servers expand.
func hasWildcard(name string) bool { return strings.ContainsAny(name, "*?[{") }

// isPattern reports whether a name may be a pattern.
func isPattern(name string) bool { return len(name) <= maxPattern && hasWildcard(name) }

// escapeWildcards puts a backslash before what servers expand.
func escapeWildcards(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if strings.IndexByte("*?[{~", name[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// pattern selects the entries of a listing. It is matched here and never sent:
// servers differ in what they make of one.
type pattern struct{ alternatives []string }

// newPattern reads *, ?, [a-z] and {a,b}.
func newPattern(text string) *pattern {
	return &pattern{expandBraces(text)}
}

// expandBraces expands the innermost braces until there are none. Where there
// would be too many alternatives, or too long ones, braces stand for themselves.
func expandBraces(text string) []string {
	list := []string{text}
	for {
		next, size, changed := make([]string, 0, len(list)), 0, false
		for _, s := range list {
			end := strings.IndexByte(s, '}')
			begin := strings.LastIndexByte(s[:max(end, 0)], '{')
			if begin < 0 {
				next = append(next, s)
				continue
			}
			changed = true
			for choice := range strings.SplitSeq(s[begin+1:end], ",") {
				next = append(next, s[:begin]+choice+s[end+1:])
			}
		}
		for _, s := range next {
			size += len(s)
		}
		if len(next) > maxAlternatives || size > maxExpanded {
			return []string{text}
		}
		if list = next; !changed {
			return list
		}
	}
}

func (p *pattern) matches(name string) bool {
	for _, a := range p.alternatives {
		if ok, err := path.Match(a, name); ok && err == nil {
			return true
		}
	}
	return false
}
