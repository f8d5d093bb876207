package filter

import (
	"io"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: a body costs no more than its length, whatever its lines are.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, tc := range map[string]struct {
		rule string
		text func(n int) string
	}{
		"short lines":     {"s/a/b/", func(n int) string { return strings.Repeat("a\n", n/2) }},
		"one line":        {"s/a/b/", func(n int) string { return strings.Repeat("a", n) }},
		"a text":          {"s/a/bb/n", func(n int) string { return strings.Repeat("a", n) }},
		"nothing found":   {"s/a/b/i", func(n int) string { return strings.Repeat("x", n) }},
		"found between":   {"s/x*/-/", func(n int) string { return strings.Repeat("a", n) }},
		"found at starts": {"s/^a/b/", func(n int) string { return strings.Repeat("a", n) }},
		"groups":          {"s/(a)(b)?/$1$2$1/", func(n int) string { return strings.Repeat("ab", n/2) }},
	} {
		for _, piece := range []int{1, 1 << 20} {
			key := name
			if piece == 1 {
				key += ", byte by byte"
			}
			inputs[key] = func(n int) func() {
				text := tc.text(n)
				one, err := ParseSubstitution(tc.rule)
				if err != nil {
					panic(err)
				}
				return func() {
					f := Substitute(discard{}, []*Substitution{one}, DefaultMaxLine)
					for rest := text; rest != ""; {
						at := min(piece, len(rest))
						_, _ = io.WriteString(f, rest[:at])
						rest = rest[at:]
					}
					_ = f.Close()
				}
			}
		}
	}
	inputs["a rule"] = func(n int) func() {
		rule := "s/" + strings.Repeat("a", n/4) + "/" + strings.Repeat("$1", n/4) + "/" + strings.Repeat("f", n/4)
		return func() { _, _ = ParseSubstitution(rule) }
	}
	inputs["slashes"] = func(n int) func() {
		return func() { _, _ = ParseSubstitution("s" + strings.Repeat("/", n)) }
	}
	parsertest.Linear(t, inputs)
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Flush() error                { return nil }
