package expr

import (
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither an expression nor the text that it is about costs more than
// its length.
func TestCost(t *testing.T) {
	known := func(function, name string) bool { return true }
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]func(n int) string{
		"or":                  func(n int) string { return "true" + strings.Repeat(" || false", n/9) },
		"and":                 func(n int) string { return "true" + strings.Repeat("&& true", n/7) },
		"negations":           func(n int) string { return strings.Repeat("!", n) },
		"parentheses":         func(n int) string { return strings.Repeat("(", n) },
		"a list":              func(n int) string { return "%{A} -in {'a'" + strings.Repeat(",'b'", n/4) + "}" },
		"an open list":        func(n int) string { return "%{A} -in {'a'" + strings.Repeat(",'b'", n/4) },
		"variables in text":   func(n int) string { return "'" + strings.Repeat("%{A}x", n/5) + "' == 'a'" },
		"backslashes":         func(n int) string { return "'" + strings.Repeat(`\'`, n/2) + "' == 'a'" },
		"an open string":      func(n int) string { return "'" + strings.Repeat(`\'`, n/2) },
		"open variables":      func(n int) string { return "'" + strings.Repeat("%{", n/2) },
		"flags":               func(n int) string { return "%{A} =~ /a/" + strings.Repeat("i", n) },
		"a regex":             func(n int) string { return "%{A} =~ /" + strings.Repeat(`\/`, n/8) + "/" },
		"an open regex":       func(n int) string { return "%{A} =~ /" + strings.Repeat(`\/`, n/2) },
		"blanks":              func(n int) string { return strings.Repeat(" ", n) + "true" },
		"a word":              func(n int) string { return strings.Repeat("a", n) + " == 1" },
		"words with brackets": func(n int) string { return strings.Repeat("a('b') == 1 || ", n/15) + "true" },
		"dots":                func(n int) string { return "'a'" + strings.Repeat(".'b'", n/4) + " == 'a'" },
		"numbers of bytes":    func(n int) string { return "'" + strings.Repeat(`\7\x`, n/4) + "' == 'a'" },
		"groups":              func(n int) string { return "'" + strings.Repeat("$1", n/2) + "' == 'a'" },
		"a pattern":           func(n int) string { return "%{A} -strmatch '" + strings.Repeat("*a", n/2) + "'" },
		"brackets":            func(n int) string { return "%{A} -strmatch '" + strings.Repeat("[[", n/2) + "'" },
		"a network":           func(n int) string { return "%{A} -ipmatch '" + strings.Repeat("1.", n/2) + "'" },
	} {
		inputs["expression, "+name] = func(n int) func() {
			text := text(n)
			return func() {
				if e, err := Parse(text, known); err == nil {
					e.Eval(func(string, string) string { return "x" })
				}
			}
		}
	}
	for name, text := range map[string]string{
		"a regex": "%{A} =~ /^(a*)*b$|q{60}/", "one that is found anywhere": "%{A} =~ /(a|b)*c(a|b)+d|q{60}/i", "a number": "%{A} -gt 1", "text": "%{A} == '%{A}x'",
		"a list": "%{A} in {'%{A}x', '%{A}y'}", "order": "'%{A}' < '%{A}a'", "a switch": "-T %{A}", "a pattern": "%{A} -strmatch '*a*a*a*b'", "functions": "escape(unescape(unbase64(base64(%{A})))) == md5(tolower(%{A}))",
	} {
		inputs["value for "+name] = func(n int) func() {
			e, err := Parse(text, known)
			if err != nil {
				panic(err)
			}
			value := strings.Repeat("a", n)
			return func() { e.Eval(func(string, string) string { return value }) }
		}
	}
	parsertest.Linear(t, inputs)
}
