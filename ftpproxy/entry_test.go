package ftpproxy

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseMLSD(t *testing.T) {
	at := time.Date(2024, 3, 2, 3, 4, 5, 0, time.UTC)
	for line, want := range map[string]entry{
		"type=file;size=12;modify=20240302030405; a b":                 {name: "a b", size: 12, modified: at},
		"Type=FILE;Size=0;Modify=20240302030405.000;UNIX.mode=0644; x": {name: "x", modified: at},
		"modify=20240302030405;type=dir;sizd=4096; d":                  {name: "d", kind: kindDirectory, size: -1, modified: at},
		"type=OS.unix=slink:/else where;size=3; l":                     {},
		"type=OS.unix=slink:/elsewhere;size=3; l":                      {name: "l", kind: kindLink, size: -1, target: "/elsewhere"},
		"type=OS.unix=symlink; l":                                      {name: "l", kind: kindLink, size: -1},
		"type=OS.unix=chr-1/3; null":                                   {name: "null", kind: kindOther, size: -1},
		"type=file;size=99999999999999999999;modify=never; odd":        {name: "odd", size: -1},
		"type=file;size=-5; negative":                                  {name: "negative", size: -1},
		"type=file; /whole/path.txt":                                   {name: "path.txt", size: -1},
		" type=file;size=1; from MLST":                                 {name: "from MLST", size: 1},
		"type=file;size=1;  leading blank":                             {name: " leading blank", size: 1},
		"type=cdir; .":                                                 {},
		"type=pdir; ..":                                                {},
		"type=dir; ..":                                                 {},
		"type=dir; a/..":                                               {},
		"type=file;":                                                   {},
		"type=file; ":                                                  {},
		"nonsense":                                                     {},
		"a b":                                                          {},
		"":                                                             {},
	} {
		got, ok := parseMLSD(line)
		require.Equal(t, want != entry{}, ok, "%q", line)
		if ok {
			require.Equal(t, want, got, "%q", line)
		}
	}
}

// TestParseLIST: the forms in which servers list.
func TestParseLIST(t *testing.T) {
	day := time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC)
	for line, want := range map[string]entry{
		"-rw-r--r--   1 owner group   1234 Jan  2  2024 a b.txt":    {name: "a b.txt", size: 1234, modified: day},
		"-rw-r--r--.  1 owner group   1234 Jan  2  2024 selinux":    {name: "selinux", size: 1234, modified: day},
		"-rw-r--r--+  1 owner group   1234 Jan  2  2024 acl":        {name: "acl", size: 1234, modified: day},
		"-rw-r--r--@  1 owner group   1234 Jan  2  2024 attributes": {name: "attributes", size: 1234, modified: day},
		"drwxr-xr-x   2 1000 1000 4096 Jan  2  2024 d":              {name: "d", kind: kindDirectory, size: -1, modified: day},
		"lrwxrwxrwx   1 root root 7 Jan  2  2024 l -> some where":   {name: "l", kind: kindLink, size: -1, modified: day, target: "some where"},
		"01-02-24  03:04PM       <DIR>          some dir":           {name: "some dir", kind: kindDirectory, size: -1, modified: day.Add(15*time.Hour + 4*time.Minute)},
		"01-02-2024  03:04PM                 77 iis file.txt":       {name: "iis file.txt", size: 77, modified: day.Add(15*time.Hour + 4*time.Minute)},
		"drwxr-xr-x   2 1000 1000 4096 Jan  2  2024 .":              {},
		"drwxr-xr-x   2 1000 1000 4096 Jan  2  2024 ..":             {},
		"-rw-r--r--   1 owner group   1234 Jan  2  2024 ../../x":    {},
		"crw-rw-rw-   1 root root      1,   3 Jan  2  2024 null":    {},
		"total 12": {},
		"hello":    {},
	} {
		parser, err := newLineParser(nil)
		require.NoError(t, err)
		got, err := parser.parse(nil, []string{line})
		require.NoError(t, err)
		if want == (entry{}) {
			require.Empty(t, got, "%q", line)
			continue
		}
		require.Equal(t, []entry{want}, got, "%q", line)
	}

	parser, err := newLineParser(time.FixedZone("there", 3600))
	require.NoError(t, err)
	for range 2 { // it is used for one batch after the other
		got, err := parser.parse(nil, []string{"total 1", "01-02-24  03:04PM  7 a", "", "01-02-24  03:05PM  8 b"})
		require.NoError(t, err)
		require.Len(t, got, 2)
		require.True(t, got[0].modified.Equal(day.Add(14*time.Hour+4*time.Minute)))
	}
}

func TestSortEntries(t *testing.T) {
	list := []entry{{name: "b"}, {name: "z", kind: kindDirectory}, {name: "a"}, {name: "y", kind: kindDirectory}}
	sortEntries(list)
	require.Equal(t, []entry{{name: "y", kind: kindDirectory}, {name: "z", kind: kindDirectory}, {name: "a"}, {name: "b"}}, list)
}

func TestPattern(t *testing.T) {
	for text, names := range map[string]map[string]bool{
		"*.txt":                                  {"a.txt": true, ".txt": true, "a.bin": false},
		"a?c":                                    {"abc": true, "ac": false},
		"[a-c]x":                                 {"bx": true, "dx": false},
		"{a,b{c,d}}.x":                           {"a.x": true, "bc.x": true, "bd.x": true, "b.x": false},
		"{a,b":                                   {"{a,b": true, "a": false},
		"a}b*":                                   {"a}bc": true},
		"[":                                      {"[": false},
		`\*`:                                     {"*": true, "x": false},
		"{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}":    {"aaaaaaa": false}, // too many
		"{a,b}{a,b}*" + strings.Repeat("x", 120): {"aa" + strings.Repeat("x", 120): true},
		"{a,b}{a,b}*" + strings.Repeat("x", 130): {"aa" + strings.Repeat("x", 130): false}, // too long
	} {
		p := newPattern(text)
		for name, want := range names {
			require.Equal(t, want, p.matches(name), "%s %s", text, name)
		}
	}
	require.True(t, isPattern("*"+strings.Repeat("a", 254)))
	require.False(t, isPattern("*"+strings.Repeat("a", 255)))
	require.Equal(t, `a\*b\?c\[d]\{e}\~`, escapeWildcards("a*b?c[d]{e}~"))
}

func TestPrefersJSON(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"application/*":                     false,
		"application/json":                  true,
		"Application/JSON; charset=x":       true,
		"text/html,application/json":        true,
		"text/html, application/json;q=0.9": false,
		"text/html;q=0.5, application/json": true,
		"application/json;q=0":              false,
		"application/json;q=nan":            false,
		"application/json; q=2":             false,
		"text/html,application/xhtml+xml,*/*;q=0.8": false,
	} {
		require.Equal(t, want, prefersJSON([]string{accept}), "%q", accept)
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]target{
		"ftp://h":                 {slash: true},
		"ftp://h/":                {slash: true},
		"ftp://h/a":               {name: "a"},
		"ftp://h/a/b":             {dir: "a", name: "b"},
		"ftp://h/a//b":            {dir: "a", name: "b"},
		"ftp://h/a/b/":            {dir: "a/b", slash: true},
		"ftp://h/%2F":             {dir: "/"},
		"ftp://h/%2F/":            {dir: "/", slash: true},
		"ftp://h/%2fa":            {dir: "/", name: "a"},
		"ftp://h/%2fa/b":          {dir: "/a", name: "b"},
		"ftp://h/a;type=i":        {name: "a", kind: 'i'},
		"ftp://h/a;TyPe=D":        {dir: "a", kind: 'd'},
		"ftp://h/a;type=a;type=i": {name: "a;type=a", kind: 'i'},
		"ftp://h/a%3Btype=i":      {name: "a;type=i"},
		"ftp://h/a;b":             {name: "a;b"},
		"ftp://h/a;type=d/b":      {dir: "a;type=d", name: "b"},
		"ftp://h/%FF%20%25":       {name: "\xff %"},
		"ftp://h/\"%2F":           {},
	} {
		got, perr := parseTarget(mustURL(t, text))
		if want == (target{}) {
			require.NotNil(t, perr, text)
			continue
		}
		require.Nil(t, perr, text)
		require.Equal(t, want, got, text)
	}
	got, perr := parseTarget(&url.URL{Path: "/a b/c"})
	require.Nil(t, perr)
	require.Equal(t, target{dir: "a b", name: "c"}, got)
}
