package expr

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// values are the variables of the tests.
var values = map[string]string{
	":REQUEST_STATUS": "404", ":QUERY_STRING": "", "hc:body": "Under Maintenance\n", "http:Accept": "a/b", "req:X": "a/b", ":Content-Type": "text/html",
}

func known(function, name string) bool { _, ok := values[function+":"+name]; return ok }

func lookup(function, name string) string { return values[function+":"+name] }

func TestEval(t *testing.T) {
	for _, tc := range []struct {
		text string
		want bool
	}{
		{"true", true},
		{"false || ! false", true},
		{"%{REQUEST_STATUS} =~ /^[234]/", true},
		{"%{REQUEST_STATUS} !~ /^[234]/", false},
		{"%{REQUEST_STATUS} =~ m#^4#", true},
		{"%{REQUEST_STATUS} -lt 400", false},
		{"%{REQUEST_STATUS} ge 400 && %{REQUEST_STATUS} -le 0404", true},
		{"%{REQUEST_STATUS} == '404'", true},
		{"%{REQUEST_STATUS} != 404", false},
		{"%{REQUEST_STATUS} = 404", true},
		{"%{REQUEST_STATUS} < '5'", true},
		{"hc('body') =~ /maintenance/", false},
		{"hc('body') =~ /maintenance/i", true},
		{"hc('body') =~ /under.*$/im", true},
		{"! (hc('body') !~ /Under/ || false)", true},
		{"-n %{QUERY_STRING}", false},
		{`-z "%{QUERY_STRING}"`, true},
		{`-n "x%{QUERY_STRING}"`, true},
		{"-T 'off'", false},
		{"-T 'yes'", true},
		{`"%{REQUEST_STATUS}-%{HTTP:Accept}" == '404-a/b'`, true},
		{`%{http:Accept} =~ /^a\/b$/`, true},
		{"req('X') -in {'c', 'a/b'}", true},
		{"req('X') in { 'c' }", false},
		{"%{Content-Type} == 'text/html'", true},
		{"'x' eq 'y'", true}, // neither is a number: both are 0
		{"true && false || true", true},
	} {
		e, err := Parse(tc.text, known)
		require.NoError(t, err, tc.text)
		require.Equal(t, tc.want, e.Eval(lookup), tc.text)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "byte 1: want a value",
		"true true":                     `byte 6: unexpected "true"`,
		"%{NOTHING} == 1":               "byte 1: variable %{NOTHING} is not known",
		"%{REQUEST_STATUS":              "byte 1: variable has no }",
		"%{REQUEST_STATUS} 1":           "byte 19: want an operator",
		"%{REQUEST_STATUS} =~ 1":        "byte 22: want /regex/",
		"%{REQUEST_STATUS} =~ /(/":      "byte 22: regular expression \"(\": missing )",
		"%{REQUEST_STATUS} =~ /a":       "byte 22: regular expression has no end",
		"%{REQUEST_STATUS} =~ /a/x":     `byte 22: flag 'x' of a regular expression is not known`,
		"(true":                         "byte 6: want )",
		"file('/etc/passwd') =~ /root/": "byte 6: file('/etc/passwd') is not known",
		"hc(body) == 1":                 "byte 4: hc takes a string",
		"'a":                            "byte 3: string has no end",
		"'a' in {'b' 'c'}":              "byte 13: want , or }",
		strings.Repeat("!", 200):        "byte 101: nested too deeply",
	} {
		_, err := Parse(text, known)
		require.EqualError(t, err, "expression: "+want, text)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"%{REQUEST_STATUS} =~ /^[234]/i", `-n "a%{QUERY_STRING}b" || !(hc('body') -eq 3)`, "req('X') -in {'a', \"b\"}", "m", "%{", "'\\", "=~ m", "-T", "x(",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s, known)
		if err == nil {
			require.Equal(t, e.Eval(lookup), e.Eval(lookup))
			return
		}
		require.Nil(t, e)
	})
}
