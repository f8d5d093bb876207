package expr

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// values are the variables of the tests.
var values = map[string]string{
	":REQUEST_STATUS": "404", ":QUERY_STRING": "", "hc:body": "Under Maintenance\n", "http:Accept": "a/b", "req:X": "a/b", ":Content-Type": "text/html", ":REMOTE_ADDR": "192.0.2.7",
}

func known(function, name string) bool { _, ok := values[function+":"+name]; return ok }

func lookup(function, name string) string { return values[function+":"+name] }

func TestEval(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/file", []byte("text"), 0o600))
	require.NoError(t, os.Symlink("file", dir+"/link"))
	require.NoError(t, syscall.Mkfifo(dir+"/fifo", 0o600))
	t.Setenv("EXPR_TEST", "here")
	files := strings.NewReplacer("FILE", dir+"/file", "LINK", dir+"/link", "FIFO", dir+"/fifo", "DIR", dir)
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
		{"true and false or not false", true},
		// Words.
		{`'a' . "b" . %{REQUEST_STATUS} == 'ab404'`, true},
		{"-n %{QUERY_STRING} . 'a'", true},
		{"'x' == 1.5", false},
		{"15 == 1.5", true},
		{"-1 -lt 0", true},
		{"'' == ''", true},
		{`'\101\1022\x\tb\'' == "AB2x	b'"`, true},
		{`'50%' == '50\%'`, true},
		{"'a$' == 'a\\$'", true},
		{"'x%{tolower:ABC%{REQUEST_STATUS}}y' == 'xabc404y'", true},
		{"tolower(req('X').'Q') == 'a/bq'", true},
		{"REQ('X') == 'a/b' && %{REQ:X} == 'a/b'", true},
		// Numbers: what begins with digits is those.
		{"'12abc' -eq 12", true},
		{"' 7' -eq 7 && '-7x' -eq -7", true},
		{"'99999999999999999999' -gt 1", true},
		// Groups of the last match.
		{"'one two' =~ /(o.e) (t.o)/ && $2 == 'two' && '$1' == 'one' && $0 == 'one two' && $9 == ''", true},
		{"'one' =~ /(o)/ && !('two' =~ /(x)/) && $1 == ''", true},
		{"'one' !~ /(x)/ && $0 == ''", true},
		{"$1 == ''", true},
		// Operators with names.
		{"'10.1.2.3' -ipmatch '10.1' && '10.1.2.3' -IPMATCH '10.1.0.0/255.255.0.0'", true},
		{"'::ffff:10.1.2.3' -ipmatch '10.0.0.0/8'", true},
		{"'10.1.2.3' -ipmatch '10.2'", false},
		{"'x' -ipmatch '10.2'", false},
		{"-R '192.0.2.0/24' && !-R '192.0.3'", true},
		{"'/a/b' -strmatch '/*b' && '/A' -strcmatch '/[a-c]' && !('/A' -strmatch '/a')", true},
		{"'/a/b' -fnmatch '/*b'", false},
		{"'/a/b' -fnmatch '/*/?' && 'b' -strmatch '[!a]' && '*' -strmatch '\\\\*'", true},
		{"'[a' -strmatch '[?'", true},
		{"'a' -strmatch '[z-a]'", false},
		{"'404' -strmatch %{REQUEST_STATUS}", true},
		// Functions.
		{"toupper('aä\xff') == 'Aä\xff' && tolower('AÄ') == 'aÄ'", true},
		{"md5('foo') == 'acbd18db4cc2f85cedef654fccc4a4d8'", true},
		{"sha1('foo') == '0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33'", true},
		{"base64('foo!') == 'Zm9vIQ==' && unbase64('Zm9vIQ==') == 'foo!' && unbase64('Zm9vIQ') == 'foo!'", true},
		{"escape('/a b?&ä') == '/a%20b%3f&%c3%a4'", true},
		{"unescape('a%20b%2Fc') == 'a b%2Fc' && unescape('%zz') == '' && unescape('%00') == ''", true},
		{"osenv('EXPR_TEST') == 'here'", true},
		// Files.
		{"-f 'FILE' && -e 'FILE' && -s 'FILE' && !-d 'FILE' && !-L 'FILE' && !-x 'FILE'", true},
		{"-d 'DIR' && -e 'DIR' && -x 'DIR' && !-f 'DIR' && !-s 'DIR'", true},
		{"-L 'LINK' && -h 'LINK' && -f 'LINK'", true},
		{"-e 'DIR/nothing' || -f 'DIR/nothing' || -h 'DIR/nothing'", false},
		{"file('FILE') == 'text' && filesize('FILE') -eq 4 && filesize('DIR') -eq 0", true},
		{"file('DIR/nothing') == '' || true", false}, // what cannot be read is no answer
		{"!(file('DIR') == 'x')", false},
		{"!(file('FIFO') == 'x')", false},
	} {
		tc.text = files.Replace(tc.text)
		e, err := Parse(tc.text, known)
		require.NoError(t, err, tc.text)
		require.Equal(t, tc.want, e.Eval(lookup), tc.text)
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"plain 50% $ text":             "plain 50% $ text",
		"a%{REQUEST_STATUS}b%{REQ:X}c": "a404ba/bc",
		`"%{tolower:X}"'\n\%{x}`:       "\"x\"'\n%{x}",
		"$1-$0-$2":                     "one-all-",
	} {
		e, err := ParseText(text, known)
		require.NoError(t, err, text)
		require.Equal(t, want, e.Eval(lookup, "all", "one"), text)
	}
	for text, want := range map[string]string{
		"a%{NOTHING}": "byte 2: variable %{NOTHING} is not known",
		"%{":          "byte 1: variable has no }",
		`\400`:        `byte 1: "\\400" is no byte`,
	} {
		_, err := ParseText(text, known)
		require.EqualError(t, err, "expression: "+want, text)
	}
}

// TestMatch: who asks for a condition can have the groups of its last match, and
// is told whether a variable decides.
func TestMatch(t *testing.T) {
	e, err := Parse("%{REQUEST_STATUS} =~ /(4)/ && %{Content-Type} =~ m#(.*)/(h?tml)#", known)
	require.NoError(t, err)
	holds, groups := e.Match(lookup)
	require.True(t, holds)
	require.Equal(t, []string{"text/html", "text", "html"}, groups)
	require.True(t, e.Uses("request_status"))
	require.False(t, e.Uses("REMOTE_USER"))
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
		"ldap('x') == '1'":              "byte 1: function ldap('x') is not known",
		"%{LDAP:x} == '1'":              "byte 1: function LDAP(x) is not known",
		"join('x') == '1'":              "byte 1: function join('x') is not known",
		"'a' in split('b')":             "byte 8: want {",
		"'a' =~ s/a/b/":                 "byte 8: want /regex/",
		"replace('a', 'b', 'c') == 'a'": "byte 1: function replace('a') is not known",
		"'a' -foo 'b'":                  `byte 5: operator "-foo" is not known`,
		"'a' -EQ 'b'":                   `byte 5: operator "-EQ" is not known`,
		"-Q 'a'":                        "byte 1: operator -Q is not known",
		"-U 'a'":                        "byte 1: operator -U is not known",
		"-ipmatch 'a'":                  "byte 1: operator -ipmatch is not known",
		"'a' -ipmatch '10.0.0.0/33'":    "byte 14: '10.0.0.0/33' is no address or network",
		"-R %{REQUEST_STATUS}":          "byte 4: a network cannot differ from request to request",
		"'a' == a":                      `byte 8: "a" is no value: text stands in quotes`,
		"'a' == 'b' == 'c'":             `byte 12: unexpected "== 'c'"`,
		"'a' in { }":                    "byte 10: want a value",
		"TRUE":                          `byte 1: "TRUE" is no value: text stands in quotes`,
		`'\777' == 'a'`:                 `byte 2: "\\777" is no byte`,
		"%{HTTP:Accept == 'a'":          "byte 1: variable has no }",
		strings.Repeat("tolower(", 200): "byte 801: nested too deeply",
		"hc(body) == 1":                 `byte 4: "body" is no value: text stands in quotes`,
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
		"%{REQUEST_STATUS} =~ /^[234]/i", `-n "a%{QUERY_STRING}b" || !(hc('body') -eq 3)`, "req('X') -in {'a', \"b\"}", "m", "%{", "'\\", "=~ m", "-T", "x(", "'a' -strmatch '[' . $1", "-R '10'", `tolower("%{REQ:%{QUERY_STRING}}\x41\7") -in {-1}`, "not -f '/' and 'a' -ipmatch '::/0'",
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
