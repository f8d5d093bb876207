package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// show writes a tree in one line.
func show(list []*Directive) string {
	var parts []string
	for _, d := range list {
		s := d.Name
		for _, a := range d.Args {
			s += fmt.Sprintf(" %q", a)
		}
		if d.Section {
			s = "<" + s + ">{" + show(d.Children) + "}"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

func testOptions() Options {
	return Options{
		Defines:   map[string]string{"SET": "", "HOST": "h.test"},
		Getenv:    func(n string) (string, bool) { return "from env", n == "ENV" },
		HasModule: func(n string) bool { return n == "mod_proxy.c" },
		Version:   "2.4.71",

		HasDirective: func(n string) bool { return n == "here" || n == "<Sec" },
	}
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"empty":               {"", ""},
		"comment":             {"# a\n   # b\n", ""},
		"words":               {"A b\tc  d", `A "b" "c" "d"`},
		"quotes":              {`A "b c" 'd "e' "f\"g" "h\\i" "\d" ""`, `A "b c" "d \"e" "f\"g" "h\\i" "\\d" ""`},
		"hash in a word":      {"A b#c", `A "b#c"`},
		"continued":           {"A b \\\n  c\nD", `A "b" "c"; D`},
		"CRLF":                {"A b\r\nC\r\n", `A "b"; C`},
		"section":             {"<S a>\nB c\n</S>\nD", `<S "a">{B "c"}; D`},
		"case of the end":     {"<Sec>\n</sEC>", `<Sec>{}`},
		"nested":              {"<A>\n<B>\nC\n</B>\n</A>", `<A>{<B>{C}}`},
		"variables":           {"A ${HOST} x${HOST}y ${ENV} ${NONE} ${", `A "h.test" "xh.testy" "from" "env" "${NONE}" "${"`},
		"defined here":        {"Define X 1\nA ${X}\nUnDefine X\nA ${X}", `A "1"; A "${X}"`},
		"IfDefine":            {"<IfDefine SET>\nA\n</IfDefine>\n<IfDefine !SET>\nB\n</IfDefine>\n<IfDefine NO>\nC\n</IfDefine>", `A`},
		"IfModule":            {"<IfModule mod_proxy.c>\nA\n</IfModule>\n<IfModule !x>\nB\n</IfModule>\n<IfModule x>\n<D>\n<E>\n</E>\n</D>\nC \"\n</IfModule>\nF", `A; B; F`},
		"skipped, with a tab": {"<IfModule x>\n<D\ta>\n</D>\n</IfModule>\nF", `F`},
		"byte order mark":     {"\ufeffA b", `A "b"`},
		"behind a section":    {"<S a> # b\nC\n</S> # d\nD", `<S "a">{C}; D`},
		"open quote":          {"A \"b c\nD 'e", `A "b c"; D "e"`},
		"IfDirective":         {"<IfDirective here>\nA\n</IfDirective>\n<IfDirective !There>\nB\n</IfDirective>\n<IfDirective There>\nC\n</IfDirective>\n<IfDirective Macro>\nD\n</IfDirective>\n<IfDirective use>\nE\n</IfDirective>", `A; B; E`},
		"IfSection":           {"<IfSection Sec>\nA\n</IfSection>\n<IfSection Here>\nB\n</IfSection>\n<IfSection !Here>\nC\n</IfSection>\n<IfSection Macro>\nD\n</IfSection>", `A; C; D`},
		"macro":               {"<Macro M $a %b>\nA \"$a %b\"\n<S $a>\n# $a\nB %b \\\n c\n</S>\n</Macro>\nUse m 1 2\nUSE M \"3 4\" 5", `A "1 2"; <S "1">{B "2" "c"}; A "3 4 5"; <S "3" "4">{B "5" "c"}`},
		"longest parameter":   {"<Macro M $a $ab>\nA $ab$a$\n</Macro>\nUse M 1 2", `A "21$"`},
		"macro in a macro":    {"<Macro M $a>\n<Macro N$a>\nA $a\n</Macro>\nUse N$a\n</Macro>\nUse M 1\nUse N1", `A "1"; A "1"`},
		"macro over sections": {"<Macro M>\n<S>\nA\n</Macro>\nUse M\nB\n</S>", `<S>{A; B}`},
		"macro, later names":  {"<Macro M>\nA ${N}\nDefine N 2\n</Macro>\nDefine N 1\nUse M\nUse M", `A "1"; A "2"`},
		"macro left out":      {"<IfDefine NO>\n<Macro M>\nB\n</Macro>\n</IfDefine>\n<Macro M>\nA\n</Macro>\nUse M", `A`},
		"IfVersion":           {"<IfVersion >= 2.4>\nA\n</IfVersion>\n<IfVersion < 2.4.71>\nB\n</IfVersion>\n<IfVersion 2.4.71>\nC\n</IfVersion>\n<IfVersion !> 2.5>\nD\n</IfVersion>\n<IfVersion ~ ^2\\.4>\nE\n</IfVersion>\n<IfVersion = /^2\\.2/>\nF\n</IfVersion>", `A; C; D; E`},
		"IfFile":              {"<IfFile parse.go>\nA\n</IfFile>\n<IfFile !parse.go>\nB\n</IfFile>\n<IfFile none>\nC\n</IfFile>", `A`},
		"condition in parent": {"<S>\n<IfDefine SET>\nA\n<T>\nB\n</T>\n</IfDefine>\nC\n</S>", `<S>{A; <T>{B}; C}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(tc.text), "x.conf", testOptions())
			require.NoError(t, err)
			require.Equal(t, tc.want, show(got))
		})
	}
}

func TestParseErrorsSayWhere(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"after continued": {"A \\\nb\nInclude", "x.conf:3: Include takes one name"},
		"section open":    {"\n<A>\nB", "x.conf:2: <A> is not closed"},
		"no bracket":      {"<A\n</A>", `x.conf:1: section has no closing ">"`},
		"no name":         {"< >\n</>", "x.conf:1: section has no name"},
		"empty name":      {`"" A`, "x.conf:1: directive has no name"},
		"wrong end":       {"<A>\n<B>\n</A>", "x.conf:3: </A> where </B> is expected, for line 2"},
		"end of nothing":  {"</A>", "x.conf:1: </A> closes nothing"},
		"NUL":             {"A \x00", "x.conf:1: NUL byte"},
		"Define":          {"Define", "x.conf:1: Define takes a name and may take a value"},
		"no include":      {"Include nowhere.conf", "x.conf:1: Include: no file nowhere.conf"},
		"Error":           {"Error \"do not\" so", "x.conf:1: do not so"},
		"macro's end":     {"<Macro M>\nA", "x.conf:1: <Macro> is not closed"},
		"macro's name":    {"<Macro>\n</Macro>", "x.conf:1: <Macro> takes a name"},
		"parameters":      {"<Macro M a a>\n</Macro>", "x.conf:1: parameters of <Macro M> need names of their own"},
		"no macro":        {"<Macro Vhost>\n</Macro>\nUse VHots", "x.conf:3: there is no macro VHots; did you mean Vhost?"},
		"arguments":       {"<Macro M a>\n</Macro>\nUse M", "x.conf:3: macro M takes 1 argument(s), not 0"},
		"in the macro":    {"<Macro M>\nA\nInclude\n</Macro>\nUse M", "x.conf:3: Include takes one name"},
		"uses itself":     {"<Macro M>\nUse M\n</Macro>\nUse M", "x.conf:2: macro M uses itself"},
		"UndefMacro":      {"<Macro M>\n</Macro>\nUndefMacro M\nUndefMacro M", "x.conf:4: UndefMacro takes the name of a macro"},
		"IfModule":        {"<IfModule>\n</IfModule>", "x.conf:1: <IfModule> takes one name"},
		"IfVersion":       {"<IfVersion 2.x>\n</IfVersion>", `x.conf:1: "2.x" is no version`},
		"operator":        {"<IfVersion <> 2>\n</IfVersion>", `x.conf:1: operator "<>" is not known`},
		"too deep":        {strings.Repeat("<A>\n", 70), "x.conf:64: sections are nested too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(tc.text), "x.conf", testOptions())
			require.EqualError(t, err, tc.want)
			var e *Error
			require.True(t, errors.As(err, &e))
		})
	}
}

// TestAllProblems: a fault does not hide those behind it, nor what can be read.
func TestAllProblems(t *testing.T) {
	got, err := Parse(strings.NewReader("A \"b\n<S \"c>\nB\n</S>\n<T\nC\n</T>\nDefine\nInclude nowhere\n<IfVersion x>\nD\n</IfVersion>\n<U>\n<V>\nE\n</U>\n</W>\nF\n<X>\n<Y>\n"), "x.conf", testOptions())
	require.Equal(t, `A "b"; <S "c">{B}; <T>{C}; D; <U>{<V>{E}}; F; <X>{<Y>{}}`, show(got))
	var lines []string
	var all Errors
	require.ErrorAs(t, err, &all)
	for _, one := range all {
		var at *Error
		require.ErrorAs(t, one, &at)
		lines = append(lines, fmt.Sprintf("%d %s: %v", at.Line, at.Directive, at.Err))
	}
	require.Equal(t, []string{
		`5 T: section has no closing ">"`,
		"8 Define: Define takes a name and may take a value",
		"9 Include: Include: no file nowhere",
		`10 IfVersion: "x" is no version`,
		"16 : </U> where </V> is expected, for line 14",
		"17 : </W> closes nothing",
		"20 Y: <Y> is not closed",
		"19 X: <X> is not closed",
	}, lines)
}

func TestInclude(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	write("sub/b.conf", "B")
	write("sub/a.conf", "A\nInclude c.inc")
	write("c.inc", "C")
	write("sub/.b.conf.swp", "Hidden")
	main := write("main.conf", "Include sub/*\nIncludeOptional none/*.conf\nInclude sub\nD")
	got, err := File(main, Options{})
	require.NoError(t, err)
	require.Equal(t, "A; C; B; Hidden; A; C; B; D", show(got))
	write("deep/1/x.conf", "X")
	write("deep/2.conf", "Y")
	got, err = File(write("sub/rooted.conf", "ServerRoot "+dir+"\nInclude deep\nInclude c.inc\nInclude [dx]eep/*.conf"), Options{})
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("ServerRoot %q; X; Y; C; Y", dir), show(got))
	loop := write("loop.conf", "Include loop.conf")
	_, err = File(loop, Options{})
	require.ErrorContains(t, err, "too deeply")
	half := write("half.conf", "<S>\n")
	_, err = File(write("over.conf", "Include half.conf\n</S>"), Options{})
	require.EqualError(t, err, half+":1: <S> is not closed\n"+filepath.Join(dir, "over.conf")+":2: </S> closes nothing")
}

func TestUndefinedVariableWarns(t *testing.T) {
	var got []string
	opt := Options{Warn: func(e *Error) { got = append(got, e.Error()) }}
	_, err := Parse(strings.NewReader("\nA ${NOBODY_SET_THIS}"), "x.conf", opt)
	require.NoError(t, err)
	require.Equal(t, []string{"x.conf:2: ${NOBODY_SET_THIS} is not defined"}, got)
}

func TestWarnings(t *testing.T) {
	var got []string
	opt := Options{Warn: func(e *Error) { got = append(got, e.Error()) }}
	opt.Skipped = func(section *Directive, inner []*Directive) error {
		line := section.Args[0] + ":"
		for _, d := range inner {
			line += fmt.Sprintf(" %s %d", d.Name, d.Line)
		}
		return section.Errorf("%s", line)
	}
	_, err := Parse(strings.NewReader("A \"b\n<S \"c>\n</S>\n<Macro M>\n</Macro>\n<Macro m>\n</Macro>\n<IfModule x>\nA b\n<B c>\nC\n</B>\n</IfModule>\n<IfDefine x>\nA\n</IfDefine>\n<IfModule !x>\nA\n</IfModule>"), "x.conf", opt)
	require.NoError(t, err)
	require.Equal(t, []string{"x.conf:1: quote is not closed", "x.conf:2: quote is not closed", "x.conf:6: macro m takes the place of that in x.conf, line 4", "x.conf:8: x: A 9 B 10 C 11"}, got)
}

// TestMacrosEnd: macros that stand for others twice come to an end.
func TestMacrosEnd(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "<Macro M%d>\nUse M%d\nUse M%[2]d\n</Macro>\n", i+1, i)
	}
	b.WriteString("<Macro M0>\nA\n</Macro>\nUse M60\n")
	_, err := Parse(strings.NewReader(b.String()), "x.conf", testOptions())
	require.ErrorContains(t, err, "macros stand for too many lines")
}

func TestNearest(t *testing.T) {
	words := []string{"ProxyPass", "ProxyPassReverse", "Listen"}
	for name, want := range map[string]string{"ProxyPas": "ProxyPass", "proxypass": "ProxyPass", "Lissten": "Listen", "ProxyPassRevers": "ProxyPassReverse", "Zebra": "", "": ""} {
		got, ok := Nearest(name, words)
		require.Equal(t, want, got, name)
		require.Equal(t, want != "", ok)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"A b", "<A>\nB \"c\"\n</A>", "Define X ${X}\n${X}", "<IfModule x>\n<A>\n</A>\n</IfModule>", "A \\\nb", "A 'b", "</A>", "<", "A ${"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "include") {
			return // reads files
		}
		list, err := Parse(strings.NewReader(text), "x.conf", Options{Getenv: func(string) (string, bool) { return "", false }})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		for _, d := range list {
			if d.Name == "" || d.Line < 1 {
				t.Fatalf("directive without a name or place: %+v", d)
			}
		}
	})
}
