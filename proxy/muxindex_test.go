package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oneByOne is what the index stands for.
func (l *ruleList) oneByOne(q *ruleRequest) *muxRule {
	for _, ru := range l.rules {
		if ru.takes(q.Method) && ru.fits(q) {
			return ru
		}
	}
	return nil
}

// parts of paths and of rules: few, so that they meet often.
var (
	segments = []string{"a", "b", "ab", "a%2Fb", "a%2fb", "%61", "a;b", ";x", "%3Bb", "", "%0A", "a%252Fb", "a%25%32Fb", ".", "..", "ü", "%ff", "\"", "a b"}
	texts    = []string{"/", "/a", "/a/", "/a/b", "/ab", "/a%2Fb", "/a%2fb", "/a;b", "/;x", "/a/;x/b", "/b/", "//a//b", "/ü", "/a b/"}
	patterns = []string{
		"^/a", "^/a/b$", "/a", "^(/a|/b)", "(?i)^/A", "^/a+", "^(?:/a)+b", "b$", "^/a%2Fb", "(?m)^/b", "(?s)^/a.b", "^/ü", "^/\uFFFD", "^/(a/b|ab)", `^\b/a`, "^$|^/b", "^/a{2,}", "^/a?b", "(^/a/)x*b", `\A/b/`, "^^/ab",
	}
	hosts   = []string{"a.test", "b.test", "x.a.test", "*.a.test", "*.test", "*.x.a.test"}
	methods = []string{"GET", "POST", "HEAD"}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func randomRule(r *rand.Rand, i int) Rule {
	ru := Rule{Handler: named(fmt.Sprint(i))}
	if r.IntN(3) > 0 {
		ru.Path = pick(r, texts)
		if r.IntN(2) == 0 {
			ru.Path += strings.TrimPrefix(pick(r, texts), "/")
		}
	} else if r.IntN(4) > 0 {
		re := regexp.MustCompile(pick(r, patterns))
		if posix, err := regexp.CompilePOSIX(re.String()); err == nil && r.IntN(2) == 0 {
			re = posix
		}
		ru.Match = re
	}
	for range r.IntN(3) {
		ru.Hosts = append(ru.Hosts, pick(r, hosts))
	}
	if r.IntN(4) == 0 {
		ru.Methods = []string{pick(r, methods)}
	}
	if r.IntN(8) == 0 {
		ru.Header = []Condition{{Name: "X", Values: []string{"1"}}}
	}
	if r.IntN(8) == 0 {
		ru.Query = []Condition{{Name: "q"}}
	}
	return ru
}

func randomPath(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString("/" + pick(r, segments))
		if r.IntN(4) == 0 {
			b.WriteString(pick(r, segments))
		}
	}
	return b.String()
}

// checkIndex compares the index with the list for one request.
func checkIndex(t *testing.T, l *ruleList, q ruleRequest) {
	t.Helper()
	again := q
	want, got := l.oneByOne(&q), l.find(&again)
	if want != got {
		t.Fatalf("%s %s %q: want %+v, got %+v", q.Method, q.host, q.path.wire, want, got)
	}
}

// TestMuxIndex: the index finds what a walk over the list finds.
func TestMuxIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	taken := 0
	for range 400 {
		var l ruleList
		for i := range 1 + r.IntN(40) {
			require.NoError(t, l.add(randomRule(r, i)))
		}
		mapping := Mapping(r.IntN(3))
		for range 100 {
			p := randomPath(r)
			path, err := canonicalPath(&url.URL{Path: p, RawPath: p}, mapping)
			if u, perr := url.ParseRequestURI(p); perr == nil {
				path, err = canonicalPath(u, mapping)
			}
			if err != nil {
				continue
			}
			q := ruleRequest{Request: asked(pick(r, methods), "", "/?"+pick(r, []string{"", "q"}), http.Header{"X": {pick(r, []string{"0", "1"})}}), path: path}
			q.host = hostForRules(strings.Replace(pick(r, hosts), "*", "y", 1))
			checkIndex(t, &l, q)
			if l.find(&q) != nil {
				taken++
			}
		}
	}
	require.Greater(t, taken, 10000)
}

// FuzzMuxIndex is the same for paths and prefixes of anybody.
func FuzzMuxIndex(f *testing.F) {
	for _, s := range []string{"/a%2fb/c", "/a//b", "/a;x/b", "/;x/;y/a", "/%25%32F", "/a%3B/b", "/A%0A/b"} {
		f.Add(s, "/a", "^/a")
		f.Add(s, "/a%2Fb", "^/a;?")
		f.Add(s, "/a;x/b", "(?m)^/b")
	}
	f.Fuzz(func(t *testing.T, target, prefix, expression string) {
		if len(expression) > 100 {
			return
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		var l ruleList
		if ru, err := parsePattern(prefix); err == nil {
			_ = l.add(ru)
		}
		if re, err := regexp.Compile(expression); err == nil {
			_ = l.add(Rule{Match: re})
		}
		_ = l.add(Rule{Path: "/a/"})
		for _, mapping := range []Mapping{MappingRaw, MappingDecoded, MappingServlet} {
			path, err := canonicalPath(u, mapping)
			if err != nil {
				return
			}
			checkIndex(t, &l, ruleRequest{Request: asked("GET", "a.test", "/", nil), path: path, host: "a.test"})
		}
	})
}

func TestLiteralPrefix(t *testing.T) {
	for expression, want := range map[string]string{
		"^/app/(.*)$": "/app/", "(?s)^/app/(.*)$": "/app/", "^/a(b|c)": "/a", "(^/a)b": "/ab", "/a": "", "^(?i)/a": "", "(?i)^/a": "", "^/ab?": "/a", "^/(ab)+c": "/ab", "^/(ab)*c": "/",
		"^/a|^/b": "", "(?m)^/a": "", "^/a|/b": "", `^/a\.b$`: "/a.b", "^/u\uFFFDx": "/u", "": "", "^": "",
	} {
		require.Equal(t, want, literalPrefix(regexp.MustCompile(expression)), expression)
	}
}

func TestMuxOfManyRulesAllocatesNothing(t *testing.T) {
	m := manyRules("both", 1000)
	r := asked("GET", "host999.test", "/service999/index.html", nil)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if h, err := m.pick(r); h == nil || err != nil {
			t.Fatal(h, err)
		}
	}))
}

// manyRules is a Mux of n rules that differ by what.
func manyRules(what string, n int) *Mux {
	m := &Mux{}
	h := named("x")
	for i := range n {
		switch what {
		case "prefix":
			m.Handle(fmt.Sprintf("/service%d/", i), h)
		case "host":
			m.Handle(fmt.Sprintf("host%d.test/", i), h)
		case "wildcard":
			m.Handle(fmt.Sprintf("*.host%d.test/", i), h)
		case "expression":
			m.HandleMatch(regexp.MustCompile(fmt.Sprintf("^/service%d/(.*)$", i)), h)
		case "both":
			m.Handle(fmt.Sprintf("GET host%d.test/service%d/", i, i), h)
		case "unanchored":
			m.HandleMatch(regexp.MustCompile(fmt.Sprintf("/service%d/(.*)$", i)), h)
		}
	}
	return m
}

// BenchmarkMuxRules: the last of many rules.
func BenchmarkMuxRules(b *testing.B) {
	for _, what := range []string{"prefix", "host", "wildcard", "expression", "both", "unanchored"} {
		for _, n := range []int{10, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", what, n), func(b *testing.B) {
				m := manyRules(what, n)
				host := fmt.Sprintf("host%d.test", n-1)
				if what == "wildcard" {
					host = "www." + host
				}
				r := asked("GET", host, fmt.Sprintf("/service%d/index.html", n-1), nil)
				b.ReportAllocs()
				for b.Loop() {
					if h, err := m.pick(r); h == nil || err != nil {
						b.Fatal(h, err)
					}
				}
			})
		}
	}
}

// BenchmarkMuxReplace: a list that is read anew.
func BenchmarkMuxReplace(b *testing.B) {
	var rules []Rule
	for i := range 10000 {
		rules = append(rules, Rule{Path: fmt.Sprintf("/service%d/", i), Handler: named("x")})
	}
	for b.Loop() {
		var m Mux
		if err := m.Replace(rules...); err != nil {
			b.Fatal(err)
		}
	}
}
