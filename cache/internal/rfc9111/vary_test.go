package rfc9111

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRFC9110_12_5_5_NominatedFields(t *testing.T) {
	for _, c := range []struct {
		lines []string
		names []string
		all   bool
	}{
		{nil, nil, false},
		{[]string{""}, nil, false},
		{[]string{" , "}, nil, false},
		{[]string{"foo"}, []string{"Foo"}, false},
		{[]string{"foo, BAR ,,Foo"}, []string{"Bar", "Foo"}, false},
		{[]string{"foo", "bar"}, []string{"Bar", "Foo"}, false},
		{[]string{"*"}, nil, true},
		{[]string{"*, *"}, nil, true},
		{[]string{"*", "*"}, nil, true},
		{[]string{", *"}, nil, true},
		{[]string{"", "*"}, nil, true},
		{[]string{"*, foo"}, nil, true},
		{[]string{"foo, *"}, nil, true},
		{[]string{"foo bar"}, nil, true},
		{[]string{"foo;bar"}, nil, true},
		{[]string{"*foo"}, []string{"*foo"}, false}, // a token, after all
	} {
		names, all := Nominated(c.lines)
		require.Equal(t, c.all, all, "%q", c.lines)
		if len(c.names) > 0 || len(names) > 0 {
			require.Equal(t, c.names, names, "%q", c.lines)
		}
	}
}

// requestWith is a request with some lines in its header.
func requestWith(lines ...string) *http.Request { return &http.Request{Header: fields(lines...)} }

// Which requests a response with Vary answers.
func TestRFC9111_4_1_MatchingVary(t *testing.T) {
	for _, c := range []struct {
		name          string
		vary          string
		first, second http.Header
		want          bool
	}{
		{"the same", "Foo", fields("Foo: 1"), fields("Foo: 1"), true},
		{"another", "Foo", fields("Foo: 1"), fields("Foo: 2"), false},
		{"left out", "Foo", fields("Foo: 1"), nil, false},
		{"added", "Foo", nil, fields("Foo: 1"), false},
		{"never there", "Foo", nil, nil, true},
		{"empty is not absent", "Foo", fields("Foo: "), nil, false},
		{"names have no case", "fOO", fields("Foo: 1"), fields("Foo: 1"), true},
		{"values have", "Foo", fields("Foo: a"), fields("Foo: A"), false},
		{"others do not count", "Foo", fields("Foo: 1", "Bar: 1"), fields("Foo: 1", "Bar: 2"), true},
		{"two", "Foo, Bar", fields("Foo: 1", "Bar: 1"), fields("Foo: 1", "Bar: 1"), true},
		{"two, one another", "Foo, Bar", fields("Foo: 1", "Bar: 1"), fields("Foo: 1", "Bar: 2"), false},
		{"two, one left out", "Foo, Bar", fields("Foo: 1", "Bar: 1"), fields("Foo: 1"), false},
		{"three, one never there", "Foo, Bar, Baz", fields("Foo: 1", "Baz: 1"), fields("Foo: 1", "Baz: 1"), true},
		{"Host", "Host", fields("Host: x"), fields("Host: y"), false},
		{"Host, case", "Host", fields("Host: x"), fields("Host: X"), true},

		{"a blank is no comma", "Foo", fields("Foo: 1, 2"), fields("Foo: 1 2"), false},
		{"nor is nothing", "Foo", fields("Foo: 1, 2"), fields("Foo: 12"), false},
		{"more members", "Foo", fields("Foo: 1, 2"), fields("Foo: 1, 2, 3"), false},
		{"white space", "Foo", fields("Foo: 1,2"), fields("Foo:  1,\t2 "), true},
		{"lines joined", "Foo", fields("Foo: 1, 2"), fields("Foo: 1", "Foo: 2"), true},
		{"empty members", "Foo", fields("Foo: 1,,2"), fields("Foo: 1, 2"), true},
		{"order counts", "Foo", fields("Foo: 1, 2"), fields("Foo: 2, 1"), false},
		{"white space inside", "Foo", fields("Foo: a b"), fields("Foo: a  b"), false},
		{"white space in quotes", "Foo", fields(`Foo: "a,b"`), fields(`Foo: "a, b"`), false},
		{"after quotes", "Foo", fields(`Foo: "a,b",c`), fields(`Foo: "a,b" , c`), true},
		{"no list", "User-Agent", fields("User-Agent: a (b,c)"), fields("User-Agent: a (b, c)"), false},
		{"language, case and blanks", "Accept-Language", fields("Accept-Language: en-GB;q=0.5,de"), fields("Accept-Language: EN-gb; q=0.5, de"), true},
		{"language, order", "Accept-Language", fields("Accept-Language: en, de"), fields("Accept-Language: de, en"), false},
		{"coding, case", "Accept-Encoding", fields("Accept-Encoding: gzip, br"), fields("Accept-Encoding: GZIP,br"), true},
		{"coding, order", "Accept-Encoding", fields("Accept-Encoding: gzip, br"), fields("Accept-Encoding: br, gzip"), false},
	} {
		p := &Policy{}
		f := storedAt(p, "Vary: "+c.vary)
		first, second := &http.Request{Header: c.first, Host: c.first.Get("Host")}, &http.Request{Header: c.second, Host: c.second.Get("Host")}
		require.Equal(t, c.want, p.Matches(f.Vary, VaryValues(f.Vary, first), second), c.name)
		require.Equal(t, c.want, p.Matches(f.Vary, VaryValues(f.Vary, second), first), c.name+", the other way round")
	}
}

func TestNormalizedAcceptEncoding(t *testing.T) {
	p := &Policy{NormalizeEncoding: []string{"br", "gzip"}}
	f := storedAt(p, "Vary: Accept-Encoding")
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"gzip, br", "br;q=0.1, deflate", true},
		{"gzip", "gzip, deflate", true},
		{"gzip", "br", false},
		{"gzip", "gzip;q=0", false},
		{"identity", "", true},
		{"deflate", "gzip;q=0.000", true},
		{"*", "br", true},
		{"*, br;q=0", "GZip", true},
		{"*;q=0", "deflate", true},
		{"gzip;q=0.001", "gzip ; Q=1", true},
	} {
		require.Equal(t, c.want, p.Matches(f.Vary, VaryValues(f.Vary, requestWith("Accept-Encoding: "+c.a)), requestWith("Accept-Encoding: "+c.b)), "%q %q", c.a, c.b)
	}
	require.True(t, p.Matches(f.Vary, nil, requestWith("Accept-Encoding: identity")), "not there, and nothing that would be used")
	require.False(t, p.Matches(f.Vary, nil, requestWith("Accept-Encoding: br")))
}

func TestRFC9111_4_1_ChoosingAmongVariants(t *testing.T) {
	p := &Policy{}
	one := func(vary http.Header, lines ...string) Candidate {
		return Candidate{storedAt(p, lines...), vary}
	}
	request := requestWith("Foo: 1")
	for _, c := range []struct {
		name string
		from []Candidate
		want int
	}{
		{"none", nil, -1},
		{"no match", []Candidate{one(fields("Foo: 2"), "Vary: Foo")}, -1},
		{"the one that matches", []Candidate{one(fields("Foo: 2"), "Vary: Foo"), one(fields("Foo: 1"), "Vary: Foo")}, 1},
		{"the most recent by Date", []Candidate{one(nil, "Date: "+date(-9)), one(nil, "Date: "+date(-5)), one(nil, "Date: "+date(-7))}, 1},
		{"the first of the same Date", []Candidate{one(nil, "Date: "+date(-5)), one(nil, "Date: "+date(-5))}, 0},
		{"with Vary before without", []Candidate{one(nil, "Date: "+date(0)), one(fields("Foo: 1"), "Vary: Foo", "Date: "+date(-5))}, 1},
		{"with Vary first", []Candidate{one(fields("Foo: 1"), "Vary: Foo", "Date: "+date(-5)), one(nil, "Date: "+date(0))}, 0},
		{"without, if that alone matches", []Candidate{one(fields("Foo: 2"), "Vary: Foo"), one(nil, "Date: "+date(0))}, 1},
	} {
		require.Equal(t, c.want, p.Choose(c.from, request), c.name)
	}
}

func TestMatchingTheSameWordsAllocatesNothing(t *testing.T) {
	p := &Policy{}
	f := storedAt(p, "Vary: Accept-Encoding, Accept")
	request := requestWith("Accept-Encoding: gzip, br", "Accept: text/html, */*;q=0.1")
	candidates := []Candidate{{f, VaryValues(f.Vary, request)}}
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = p.Choose(candidates, request) }))
}

// Blanks mean nothing around a weight, but inside a language they do.
func TestRFC9111_4_1_BlanksInsideALanguage(t *testing.T) {
	p := &Policy{}
	f := storedAt(p, "Vary: Accept-Language")
	require.True(t, p.Matches(f.Vary, VaryValues(f.Vary, requestWith("Accept-Language: de ; Q=0.5")), requestWith("Accept-Language: DE;q=0.5")))
	require.False(t, p.Matches(f.Vary, VaryValues(f.Vary, requestWith("Accept-Language: de;")), requestWith("Accept-Language: de")))
	require.False(t, p.Matches(f.Vary, VaryValues(f.Vary, requestWith("Accept-Language: d e")), requestWith("Accept-Language: de")))
}
