package pattern

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestMatch: what the expressions that package regexp refuses match is what PCRE
// matches. The groups are joined by "|", "-" stands for none.
func TestMatch(t *testing.T) {
	for _, tc := range []struct{ text, in, want string }{
		{`^/(?!assets/)(.*)$`, "/x/y", "/x/y|x/y"},
		{`^/(?!assets/)(.*)$`, "/assets/y", "-"},
		{`^(?!www\.)(.+)$`, "example.org", "example.org|example.org"},
		{`^(?!www\.)(.+)$`, "www.example.org", "-"},
		{`^/(?!(?:a|b)(?:/|$)).*`, "/ab", "/ab"},
		{`^/(?!(?:a|b)(?:/|$)).*`, "/b", "-"},
		{`^(?=.*\.php$)/(.*)`, "/a.php", "/a.php|a.php"},
		{`^(?=.*\.php$)/(.*)`, "/a.txt", "-"},
		{`^(?=(a+))a*b\1`, "aaba", "-"}, // the look is not tried again
		{`(?=(a+))a*b\1`, "baaabac", "aba|a"},
		{`(?<!/)index\.html$`, "/index.html", "-"},
		{`(?<!/)index\.html$`, "xindex.html", "index.html"},
		{`(?<=a|bc)d`, "abcd", "d"},
		{`(?<=a|bc)d`, "cd", "-"},
		{`(?<=^|,)[a-z]+`, "1,ab", "ab"},
		{`(?>a+)b`, "aaab", "aaab"},
		{`(?>a+)ab`, "aaab", "-"},
		{`(?>(a+)|b)c`, "aac", "aac|aa"},
		{`a++b`, "aab", "aab"},
		{`a++ab`, "aab", "-"},
		{`[^/]*+/(x)?+`, "abc/x", "abc/x|x"},
		{`a?+a`, "a", "-"},
		{`a{1,2}+a`, "aa", "-"},
		{`(a|b)\1`, "abb", "bb|b"},
		{`(?i)(a)\1`, "aA", "aA|a"},
		{`(?<n>x)\k<n>`, "axx", "xx|x"},
		{`(?<n>x)\k{n}(?P=n)\g{n}\g1\g{-1}`, "xxxxxx", "xxxxxx|x"},
		{`(\w)(\w)\2\1`, "xabba", "abba|a|b"},
		{`^(?!.*(?:\.\.|//)).*$`, "/a/b", "/a/b"},
		{`^(?!.*(?:\.\.|//)).*$`, "/a//b", "-"},
		{`\h+\H(?!z)`, " \tab", " \ta"},
		{`\Aab\Z(?!x)`, "ab\n", "ab"},
		{`a\Rb(?=c)`, "a\r\nbc", "a\r\nb"},
		{`foo\Kbar(?!x)`, "foobar", "bar"},
		{`(?!x)\x41\x{42}\103\cA\e`, "ABC\x01\x1b", "ABC\x01\x1b"},
		{`(?!x)\Qa.b*\Ec`, "a.b*c", "a.b*c"},
		{`(?x) a b # no more` + "\n" + `c (?!d)`, "abc", "abc"},
		{`(?!x)(?i:a)b`, "Ab", "Ab"},
		{`(?!x)(?i:a)b`, "AB", "-"},
		{`(?i)(?!x)[a-c]+Z`, "AbCz", "AbCz"},
		{`(?!x)(?#nothing)a`, "a", "a"},
		{`(?!x)[]a]+[^]a]`, "]ab", "]ab"},
		{`(?!x)[[:alpha:][:digit:]_-]+`, "..a1_-.", "a1_-"},
		{`(?!x)[a-\d]+`, "a-1", "a-1"},
		{`(?!x)[\w.]+\.(?:gif|png)$`, "a.b.png", "a.b.png"},
		{`(?!x)a{2}b{2,}c{0,1}d{,3}`, "aabbbd{,3}", "aabbbd{,3}"},
		{`(?!x)a.c`, "a\nc", "a\nc"},
		{`(?-s)(?!x)a.c`, "a\nc", "-"},
		{`(?m)(?!x)^b$`, "a\nb\nc", "b"},
		{`(?!x)a$`, "a\n", "-"},
		{`(?!x)(a)|(b)`, "b", "b||b"},
		{`(?!x)(?:(a)|b)*`, "ab", "ab|a"},
		{`(?!x)(a*)*b`, "aab", "aab|"},
		{`(?!x)(?:a|b)*?c`, "abc", "abc"},
		{`(?!x)(a+?)(a*)`, "aaa", "aaa|a|aa"},
		{`(?=)\bword\B`, "a words", "word"},
		{`(?!x)`, "", ""},
		{`(?!)`, "a", "-"},
		{`\/(?!x)\-\_`, "/-_", "/-_"},
		{"(?!x)\xc3\xa4+", "\xc3\xa4\xa4", "\xc3\xa4\xa4"},
	} {
		p, err := Compile(tc.text)
		require.NoError(t, err, tc.text)
		got := "-"
		if groups := p.FindStringSubmatch(tc.in); groups != nil {
			got = strings.Join(groups, "|")
		}
		require.Equal(t, tc.want, got, "%s in %q", tc.text, tc.in)
		require.Equal(t, tc.want != "-", p.MatchString(tc.in))
	}
}

// TestSame: what both matchers take, both match alike, with and without notes of
// failures.
func TestSame(t *testing.T) {
	subjects := []string{"", "a", "ab", "aab/b.c", "/a/b/c.php", "abcabcabc", "xaay\nb", "AbC-09_z"}
	for _, text := range []string{
		`a`, `^/(.*)$`, `(a|ab)(c|bcd)*`, `[^/]+`, `(a+|b+)*c`, `\w+\W`, `(?i)abc`, `^$`, `(a)?(b)?(c)?`, `a{0}b`, `(ab|a){1,3}?b`, `\bb`, `()`, `(?:a?b??)*`,
		`(?P<x>a)(?<y>b)`, `.*\.(php|html)$`, `x*`, `[[:upper:]]+`, `(.+)/(.+)`, `a|b|`, `(?m)^b`, `((a)|b)+`, `[a-c]{2,}`,
	} {
		re := regexp.MustCompile("(?s)" + text)
		prog, err := compile(text)
		require.NoError(t, err, text)
		require.Equal(t, re.SubexpNames(), prog.names)
		own := &Pattern{text: text, prog: prog}
		require.Equal(t, re.NumSubexp(), own.NumSubexp())
		for _, s := range subjects {
			require.Equal(t, re.FindStringSubmatchIndex(s), own.FindStringSubmatchIndex(s), "%s in %q", text, s)
			require.Equal(t, re.FindAllStringSubmatchIndex(s, -1), own.FindAllStringSubmatchIndex(s, -1), "%s in %q", text, s)
			require.Equal(t, re.FindAllStringSubmatchIndex(s, 2), own.FindAllStringSubmatchIndex(s, 2), "%s in %q", text, s)
			m := prog.matcher(s)
			m.note()
			require.Equal(t, re.FindStringSubmatchIndex(s), m.from(0), "%s in %q, noting", text, s)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		`(`: "missing )", `a)`: "unexpected )", `(?!a`: "missing )", `[a`: "missing ]", `*a`: "nothing to repeat", `a**`: "nothing to repeat", `(?!x)*?*`: "nothing to repeat",
		`(?#a`: "missing )", `\`: `\ at the end`, `(?R)`: "(?R is not supported", `(?(1)a)`: "(?( is not supported", `(*FAIL)`: "verbs of backtracking are not supported",
		`(?<=a*)b`: "a lookbehind has no fixed length", `\1`: "a backreference has no group", `(?<n>a)\k<m>`: "a backreference has no group", `\y`: `\y is not supported`,
		`[z-a]`: "a range is in the wrong order", `(?<n`: "a name has no end", `a{2,1}`: "a count is above 1000, or the counts are in the wrong order",
		`a{1001}`: "a count is above 1000, or the counts are in the wrong order", `\x{100}(?!a)`: `\x100 is no byte`, `((a{1000}){1000}){2}`: "too large",
		`(?:(?:(?:){1000}){1000}){1000}`: "too large", strings.Repeat("(", 300): "nested too deeply",
	} {
		_, err := Compile(text)
		require.EqualError(t, err, fmt.Sprintf("regular expression %q: %s", text, want))
	}
}

// TestCost: an expression costs no more than its length, nor does a text, however
// badly the two fit.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for _, text := range []string{
		`^(a+)+(?!x)$`, `^(?!.*b)(a|aa)+c`, `(?!.*b.*c)d`, `(a*)*(?!x)b`, `(?=a*b)c`, `(?>a*)b`, `a*+b`, `(?=(a*)b)c`, `(?<!b)(a|a)*c`, `(?!(?:a|a)*b)c`, `(a+)\1+b`, `^(?:(?=a)a|a)*b`,
	} {
		inputs["text for "+text] = func(n int) func() {
			p, err := Compile(text)
			if err != nil {
				panic(err)
			}
			s := strings.Repeat("a", n)
			return func() { p.MatchString(s) }
		}
	}
	for name, text := range map[string]func(n int) string{
		"alternatives": func(n int) string { return strings.Repeat("a|", n/16) + "(?!x)" },
		"groups":       func(n int) string { return strings.Repeat("(a)", n/16) + "(?!x)" },
		"open looks":   func(n int) string { return strings.Repeat("(?!", n) },
		"open classes": func(n int) string { return "(?!x)" + strings.Repeat("[", n) },
		"repeats":      func(n int) string { return "(?!x)" + strings.Repeat("a*", n/16) },
		"comments":     func(n int) string { return "(?!x)" + strings.Repeat("(?#", n) },
		"braces":       func(n int) string { return "(?!x)" + strings.Repeat("{", n) },
		"class names":  func(n int) string { return "(?!x)[" + strings.Repeat("[:", n) },
	} {
		inputs["expression of "+name] = func(n int) func() {
			text := text(n)
			return func() { _, _ = Compile(text) }
		}
	}
	parsertest.Linear(t, inputs)
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{`^/(?!a|b)(.*)$`, `(a)\1`, `(?<=a|bc)d++`, `(?x)a #`, `[[:alpha:]-\]]`, `\Q.\E\K\R`, `(?<n>a)\k<n>`, `(?i-s:.)`, `(?>a*)*`} {
		f.Add(s, "abcd/aa")
	}
	f.Fuzz(func(t *testing.T, text, in string) {
		prog, err := compile(text)
		if err != nil {
			return
		}
		m := prog.matcher(in)
		m.note()
		if first := prog.match(in, 0); !m.backs && !m.over {
			require.Equal(t, first, m.from(0), "%q in %q", text, in)
		}
		p := &Pattern{text: text, prog: prog}
		require.LessOrEqual(t, len(p.FindAllStringSubmatchIndex(in, 3)), 3)
	})
}
