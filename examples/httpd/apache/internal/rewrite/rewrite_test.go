package rewrite

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// fake is a server of which the variables are those of a map; fields begin with
// "HTTP:".
type fake map[string]string

func (f fake) Variable(name string) string           { return f[name] }
func (f fake) Header(name string) (string, bool)     { v, ok := f["HTTP:"+name]; return v, ok }
func (f fake) Env(name string) string                { return f["ENV:"+name] }
func (f fake) SetEnv(name, value string)             { f["ENV:"+name] = value }
func (f fake) UnsetEnv(name string)                  { delete(f, "ENV:"+name) }
func (f fake) LookAhead(string, bool, string) string { return "" }
func (f fake) Reachable(path string, _ bool) bool    { return path == "/there" }
func (f fake) Self() string                          { return "http://self.test" }
func (f fake) IsSelf(host, port string) bool         { return host == "self.test" && port == "" }

// newSet reads lines of "Cond a b [c]" and "Rule a b [c]".
func newSet(t testing.TB, lines ...string) *Set {
	set := &Set{Maps: map[string]*Map{}}
	var conds []*Cond
	for _, line := range lines {
		words := strings.Fields(line)
		if words[0] == "Cond" {
			c, err := ParseCond(words[1:], nil)
			require.NoError(t, err, line)
			conds = append(conds, c)
			continue
		}
		r, err := ParseRule(words[1:], conds)
		require.NoError(t, err, line)
		set.Rules, conds = append(set.Rules, r), nil
	}
	return set
}

func TestParseErrors(t *testing.T) {
	for line, want := range map[string]string{
		"^/ /x L":             `flags stand in brackets, and a word with blanks in quotes`,
		"^/ /x [L":            `flags stand in brackets, and a word with blanks in quotes`,
		"^/ /x [LAST,OOPS]":   `flag "oops" is not known`,
		"( /x":                `regular expression "(": missing )`,
		"^/ /x [R=abc]":       `"abc" is no status`,
		"^/ /x [R=999]":       `"999" is no status`,
		"^/ /x [N=0]":         "flag N=0 is no number of rounds",
		"^/ /x [S=x]":         "flag S=x is no number of rules",
		"^/":                  "want a pattern, a substitution and [flags]",
		"^/ /x [L] more args": "want a pattern, a substitution and [flags]",
	} {
		_, err := ParseRule(strings.Fields(line), nil)
		require.EqualError(t, err, want, line)
	}
	for line, want := range map[string]string{
		"%{X} a OR":     `flags stand in brackets, and a word with blanks in quotes`,
		"%{X} a [L]":    `flag "l" is not known`,
		"%{X} -gt [NC]": `-gt and its number are one argument: "-gt 5"`,
		"%{X} -gtx":     `"x" is no number`,
		"%{X} (":        `regular expression "(": missing )`,
		"%{X}":          "want a text, a pattern and [flags]",
		"expr true":     "expr is not supported",
	} {
		_, err := ParseCond(strings.Fields(line), nil)
		require.EqualError(t, err, want, line)
	}
	for source, want := range map[string]string{
		"prg:/bin/x":  "prg: is not supported, for no programs are started: txt: with a file can do the same",
		"dbm:/x":      "dbm: is not supported: txt: with a file can do the same",
		"dbd:select":  "dbd: is not supported: txt: with a file can do the same",
		"int:reverse": "int:reverse is not known: tolower, toupper, escape and unescape are",
		"odd:x":       `kind "odd" of map is not known: txt, rnd and int are`,
	} {
		_, err := ParseMap(source, func(name string) string { return name })
		require.EqualError(t, err, want, source)
	}
	_, err := ParseMap("txt:missing", func(name string) string { return filepath.Join(t.TempDir(), name) })
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestApply is what a table of requests at httpd cannot show: rounds, length, and
// the results themselves.
func TestApply(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		path  string
		want  Result
		env   fake
	}{
		{name: "nothing fits", lines: []string{"Rule ^/a$ /b"}, path: "/x", want: Result{}},
		{name: "a path", lines: []string{"Rule ^/a$ /b?c=d"}, path: "/a", want: Result{Kind: Path, Target: "/b", Query: "c=d", Stat: true}},
		{name: "a path of the request's", lines: []string{"Rule ^/a(.*)$ $1"}, path: "/a/etc", want: Result{Kind: Path, Target: "/etc"}},
		{name: "the same, wanted", lines: []string{"Rule ^/a(.*)$ $1 [UnsafePrefixStat]"}, path: "/a/etc", want: Result{Kind: Path, Target: "/etc", Stat: true}},
		{name: "passed through", lines: []string{"Rule ^/a$ /b [PT]", "Rule ^/b$ /c"}, path: "/a", want: Result{Kind: PassThrough, Target: "/b", Stat: true}},
		{name: "rounds", lines: []string{"Rule ^(.*)$ $1 [N=3]"}, path: "/a", want: Result{Kind: Status, Status: http.StatusInternalServerError}},
		{name: "rounds without a number", lines: []string{"Rule ^(.*)$ $1 [N]"}, path: "/a", want: Result{Kind: Status, Status: http.StatusInternalServerError}},
		{name: "too long", lines: []string{"Rule ^(.*)$ $1$1 [N]"}, path: "/a", want: Result{Kind: Status, Status: http.StatusInternalServerError}},
		{name: "skip behind the end", lines: []string{"Rule ^/a - [S=5]", "Rule ^/a /b"}, path: "/a", want: Result{}},
		{name: "chain at the end", lines: []string{"Rule ^/x - [C]"}, path: "/a", want: Result{}},
		{name: "end", lines: []string{"Rule ^/a$ /b [END]", "Rule ^/b$ /c"}, path: "/a", want: Result{Kind: Path, Target: "/b", Stat: true, End: true}},
		{name: "type", lines: []string{"Rule ^/a$ - [T=Text/X-New]"}, path: "/a", want: Result{Type: "text/x-new"}},
		{name: "reachable", lines: []string{"Cond /there -U", "Rule ^ - [F]"}, path: "/a", want: Result{Kind: Status, Status: 403}},
		{name: "not reachable", lines: []string{"Cond /where -F", "Rule ^ - [F]"}, path: "/a", want: Result{}},
		{name: "this server", lines: []string{"Rule ^/a$ http://self.test/b"}, path: "/a", want: Result{Kind: Path, Target: "/b", Stat: true}},
		{name: "fields that mattered", env: fake{"HTTP:A": "1", "HTTP:B": "2", "HTTP:C": "3"}, path: "/a",
			lines: []string{"Cond %{HTTP:A} 1", "Cond %{HTTP:B} 2 [NV]", "Cond %{HTTP:C} x [OR]", "Cond %{HTTP:A} 1", "Rule ^ /b"}, want: Result{Kind: Path, Target: "/b", Stat: true, Vary: []string{"A", "A"}}},
		{name: "variables are set and taken away", lines: []string{"Rule ^/(.*) - [E=X:$1,E=Y]", "Cond %{ENV:X} =a", "Rule ^ /%{ENV:X}%{ENV:Y}-b"}, path: "/a", want: Result{Kind: Path, Target: "/a-b", Stat: true}},
		{name: "maps within maps that are not there", lines: []string{"Rule ^/a$ /${no:${no:x|y}|${no:|z}}"}, path: "/a", want: Result{Kind: Path, Target: "/z", Stat: true}},
		{name: "braces without an end", lines: []string{"Rule ^/a$ /%{HTTP:X"}, path: "/a", want: Result{Kind: Path, Target: "/%{HTTP:X", Stat: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := maps.Clone(tc.env)
			if env == nil {
				env = fake{}
			}
			got := newSet(t, tc.lines...).Apply(&State{Server: env, File: tc.path})
			got.Rule = nil
			if len(got.Vary) == 0 {
				got.Vary = nil
			}
			require.Equal(t, tc.want, got)
		})
	}
}

// TestMapRefresh: a table is read again when its file has changed, and stays when
// that has gone.
func TestMapRefresh(t *testing.T) {
	file := filepath.Join(t.TempDir(), "map")
	require.NoError(t, os.WriteFile(file, []byte("a 1\nr x|x\n"), 0o644))
	m, err := ParseMap("rnd:map", func(string) string { return file })
	require.NoError(t, err)
	find := func(key string) string { v, _ := m.Find(key); return v }
	require.Equal(t, "1", find("a"))
	require.Equal(t, "x", find("r"))
	require.NoError(t, os.WriteFile(file, []byte("a 22\n"), 0o644))
	require.Equal(t, "22", find("a"))
	require.NoError(t, os.WriteFile(file, []byte("a 33\n"), 0o644))
	require.NoError(t, os.Chtimes(file, time.Time{}, time.Now().Add(time.Hour)))
	require.Equal(t, "33", find("a"))
	require.NoError(t, os.Remove(file))
	require.Equal(t, "33", find("a"))
}

func TestCookieExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newSet(t, "Rule ^ - [CO=a:b:x.test:10:/p,CO=c:d:x.test:-1,CO=a:z:x.test,CO=short:x]")
		got := set.Apply(&State{Server: fake{}, File: "/"})
		require.Equal(t, []string{
			"a=b; path=/p; domain=x.test; expires=Sat, 01-Jan-2000 00:10:00 GMT",
			"c=d; path=/; domain=x.test; expires=Fri, 31-Dec-1999 23:59:00 GMT",
		}, got.Cookies)
	})
}

// TestCost: a request costs no more than the rules and its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	many := make([]string, 200)
	for i := range many {
		many[i] = "Rule ^/(.*)/" + strconv.Itoa(i) + "$ /x/$1"
	}
	for name, lines := range map[string][]string{
		"many rules":     many,
		"conditions":     {`Cond %{REQUEST_FILENAME} ^(.*)(?!x)a(.*)$`, "Rule ^(.*)$ /%1$1%2"},
		"escapes":        {"Rule ^/(.*)$ http://b.test/?x=$1 [P,B]"},
		"redirects":      {"Rule ^/(.*)$ /$1 [R,L]"},
		"rounds":         {"Rule ^(.*)b$ $1 [N=50]"},
		"maps":           {"Rule ^(.*)$ ${no:$1|$1}"},
		"question marks": {"Rule ^(.*)$ $1?$1 [QSA,QSL,UnsafeAllow3F]"},
	} {
		for kind, piece := range map[string]string{"letters": "a", "question marks": "?", "bytes": "\xff", "braces": "%{"} {
			inputs[name+", "+kind] = func(n int) func() {
				set := newSet(t, lines...)
				path := "/" + strings.Repeat(piece, n/8/len(piece))
				return func() { set.Apply(&State{Server: fake{}, File: path, Query: path}) }
			}
		}
	}
	for name, text := range map[string]func(n int) string{
		"open braces": func(n int) string { return strings.Repeat("%{", n) },
		"maps":        func(n int) string { return strings.Repeat("${a:", n) + "x" + strings.Repeat("}", n) },
		"closed":      func(n int) string { return strings.Repeat("%{A}${b:c|d}", n/8) },
		"backslashes": func(n int) string { return strings.Repeat(`\`, n) },
		"flags":       func(n int) string { return strings.Repeat("L,", n) },
		"colons":      func(n int) string { return "${" + strings.Repeat(":|", n) + "}" },
	} {
		inputs["substitution, "+name] = func(n int) func() {
			words := []string{"^", text(n)}
			if name == "flags" {
				words = []string{"^", "-", "[" + text(n) + "]"}
			}
			return func() { _, _ = ParseRule(words, nil) }
		}
	}
	parsertest.Linear(t, inputs)
}

func FuzzApply(f *testing.F) {
	f.Add("^/(.*)$", "/x/$1?${m:$1|%{HTTP:X}}", "[L,QSA]", "%{REQUEST_FILENAME}", "!-f", "[OR]", "/a%3fb?c")
	f.Add("!^/a", "http://b/%1\\$", "[P,NE,B=&?,CO=a:b:c]", "%{HTTP:X}", ">=m", "[NC,NV]", "/x")
	f.Add("(?!x)(.)\\1", "-", "[N=2,C,S=1,E=!A:b]", "a", "-eq 5", "[]", "//")
	f.Fuzz(func(t *testing.T, pattern, output, flags, input, test, condFlags, path string) {
		c, err := ParseCond([]string{input, test, condFlags}, nil)
		if err != nil {
			return
		}
		r, err := ParseRule([]string{pattern, output, flags}, []*Cond{c})
		if err != nil || r.flags&flagNext != 0 && r.rounds > 5 {
			return // many rounds take their time
		}
		for _, dir := range []string{"", "/srv/"} {
			set := &Set{Rules: []*Rule{r}, Dir: dir}
			got := set.Apply(&State{Server: fake{"HTTP:X": path}, File: dir + path, Query: path})
			if got.Kind == Status || got.Kind == Redirect {
				require.NotZero(t, got.Status)
			}
			if got.Kind == Path {
				require.True(t, strings.HasPrefix(got.Target, "/"), got.Target)
			}
			require.LessOrEqual(t, len(got.Target), 8*maxLength)
		}
	})
}
