package rfc9111

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fields makes a header of lines as they are on the wire.
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimPrefix(value, " "))
	}
	return h
}

func valid(n uint32) deltaSeconds { return deltaSeconds{n, deltaValid} }

var broken = deltaSeconds{state: deltaBroken}

// The numbers that a directive may have: RFC 9111 sections 1.2.2 and 4.2.1, and
// what the public test suite sends.
func TestRFC9111_1_2_2_DeltaSeconds(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  deltaSeconds
	}{
		{[]string{"max-age=3600"}, valid(3600)},
		{[]string{"MaX-aGe=3600"}, valid(3600)},
		{[]string{"max-age=0"}, valid(0)},
		{[]string{"max-age=003600"}, valid(3600)},
		{[]string{`max-age="3600"`}, valid(3600)},
		{[]string{"foobar, max-age=3600"}, valid(3600)},
		{[]string{"max-age=3600,,  ,public"}, valid(3600)},
		{[]string{"\tmax-age=3600\t"}, valid(3600)},
		{[]string{"max-age=2147483647"}, valid(1<<31 - 1)},
		{[]string{"max-age=2147483648"}, valid(1 << 31)},
		{[]string{"max-age=2147483649"}, valid(1 << 31)},
		{[]string{"max-age=99999999999999999999999999"}, valid(1 << 31)},

		{[]string{"max-age"}, broken},
		{[]string{"max-age="}, broken},
		{[]string{`max-age=""`}, broken},
		{[]string{"max-age=-3600"}, broken},
		{[]string{"max-age=+3600"}, broken},
		{[]string{"max-age='3600'"}, broken},
		{[]string{"max-age=3600.0"}, broken},
		{[]string{"max-age=3600.5"}, broken},
		{[]string{"max-age=a3600"}, broken},
		{[]string{"max-age=3600a"}, broken},
		{[]string{"max-age=3600 a"}, broken},
		{[]string{"max-age =3600"}, broken},
		{[]string{"max-age= 3600"}, broken},
		{[]string{`max-age="36\00"`}, broken},
		{[]string{`max-age="3600`}, broken},
		{[]string{`max-age="3600"1`}, broken},
		{[]string{"max-age=3600;foo"}, broken},

		// Two that say the same are one; of two that do not, none is believed.
		{[]string{"max-age=60, max-age=60"}, valid(60)},
		{[]string{"max-age=60", "max-age=60"}, valid(60)},
		{[]string{"max-age=1800, max-age=1"}, broken},
		{[]string{"max-age=1, max-age=1800"}, broken},
		{[]string{"max-age=1800", "max-age=1"}, broken},
		{[]string{"max-age=a, max-age=1"}, broken},
		{[]string{"max-age=1, max-age=a"}, broken},

		// What only looks like it.
		{[]string{`extension="max-age=3600", max-age=1`}, valid(1)},
		{[]string{`max-age=1, extension="max-age=3600"`}, valid(1)},
		{[]string{`extension="a\", max-age=3600"`}, deltaSeconds{}},
		{[]string{"x-max-age=3600"}, deltaSeconds{}},
		{[]string{"=3600"}, deltaSeconds{}},
		{[]string{""}, deltaSeconds{}},
	} {
		d := ParseResponseDirectives(http.Header{"Cache-Control": c.lines}, nil)
		require.Equal(t, c.want, d.maxAge, "%q", c.lines)
		require.Equal(t, c.want, ParseRequestDirectives(http.Header{"Cache-Control": c.lines}).maxAge, "%q in a request", c.lines)
	}
}

func TestRFC9111_5_2_2_ResponseDirectives(t *testing.T) {
	d := ParseResponseDirectives(fields(
		"Cache-Control: no-store, no-transform, must-understand, must-revalidate",
		"Cache-Control: Proxy-Revalidate, PUBLIC, immutable, s-maxage=1",
		"Cache-Control: stale-while-revalidate=2, stale-if-error=3, no-cache, private",
	), nil)
	require.Equal(t, responseDirectives{
		noStore: true, noTransform: true, mustUnderstand: true, mustRevalidate: true, proxyRevalidate: true,
		public: true, immutable: true, NoCache: true, private: true,
		sMaxAge: valid(1), staleWhileRevalidate: valid(2), staleIfError: valid(3),
	}, d)
	require.Equal(t, responseDirectives{}, ParseResponseDirectives(fields("Pragma: no-cache"), nil), "Pragma in a response means nothing")
}

// What forbids counts even where it has an argument that it should not have;
// what allows does not.
func TestRFC9111_5_2_ArgumentsThatNobodyDefined(t *testing.T) {
	d := ParseResponseDirectives(fields(`Cache-Control: no-store=0, must-revalidate=x, proxy-revalidate="y", public=1, must-understand=1, immutable=1`), nil)
	require.Equal(t, responseDirectives{noStore: true, mustRevalidate: true, proxyRevalidate: true, immutable: true}, d)
}

// RFC 9111 sections 5.2.2.4 and 5.2.2.7.
func TestRFC9111_5_2_2_4_FieldsOfNoCacheAndPrivate(t *testing.T) {
	for _, c := range []struct {
		arg  string
		all  bool
		want []string
	}{
		{`="set-cookie"`, false, []string{"Set-Cookie"}},
		{`=set-cookie`, false, []string{"Set-Cookie"}},
		{`="a, b ,,c"`, false, []string{"A", "B", "C"}},
		{`="\a"`, false, []string{"A"}},
		{``, true, nil},
		{`=`, true, nil},
		{`=""`, true, nil},
		{`=" , "`, true, nil},
		{`="a`, true, nil},
		{`="a b"`, true, nil},
		{`= "a"`, true, nil},
		{`="a" b`, true, nil},
	} {
		d := ParseResponseDirectives(fields("Cache-Control: no-cache"+c.arg+", private"+c.arg), nil)
		require.Equal(t, c.all, d.NoCache, c.arg)
		if c.arg == `="a` {
			continue // the rest is inside the quotes that nothing closes
		}
		require.Equal(t, c.all, d.private, c.arg)
		if !c.all {
			require.Equal(t, c.want, d.noCacheFields, c.arg)
			require.Equal(t, c.want, d.privateFields, c.arg)
		}
	}
}

// Quotes that nothing closes must not hide what stands behind them.
func TestRFC9111_5_2_NoStoreBehindBrokenQuotes(t *testing.T) {
	for _, v := range []string{`foo="bar, no-store`, `max-age="1, no-store`, `"no-store" , no-store`, `@@@, no-store`, `a=b=c, no-store`} {
		require.True(t, ParseResponseDirectives(http.Header{"Cache-Control": {v}}, nil).noStore, v)
	}
	require.False(t, ParseResponseDirectives(fields(`Cache-Control: foo="bar, no-store"`), nil).noStore)
}

func TestRFC9111_5_2_1_RequestDirectives(t *testing.T) {
	d := ParseRequestDirectives(fields("Cache-Control: no-cache, no-store, no-transform, only-if-cached, max-age=1, max-stale=2, min-fresh=3, stale-if-error=4"))
	require.Equal(t, RequestDirectives{
		NoCache: true, NoStore: true, noTransform: true, OnlyIfCached: true,
		maxAge: valid(1), maxStale: valid(2), minFresh: valid(3), staleIfError: valid(4),
	}, d)
	require.Equal(t, RequestDirectives{maxStaleAny: true}, ParseRequestDirectives(fields("Cache-Control: max-stale")))
	require.Equal(t, RequestDirectives{maxStale: broken}, ParseRequestDirectives(fields("Cache-Control: max-stale=x")))
	require.Equal(t, RequestDirectives{}, ParseRequestDirectives(fields("Cache-Control: immutable, public, s-maxage=3")))
}

func TestRFC9111_5_4_PragmaOnlyWithoutCacheControl(t *testing.T) {
	require.True(t, ParseRequestDirectives(fields("Pragma: no-cache")).NoCache)
	require.True(t, ParseRequestDirectives(fields("Pragma: foo, No-Cache")).NoCache)
	require.False(t, ParseRequestDirectives(fields("Pragma: foo")).NoCache)
	require.False(t, ParseRequestDirectives(fields("Pragma: no-cache", "Cache-Control: max-age=10")).NoCache)
	require.False(t, ParseRequestDirectives(fields(`Pragma: foo="no-cache"`)).NoCache)
}

func TestDurationOfDeltaSeconds(t *testing.T) {
	require.Equal(t, time.Minute, valid(60).duration())
	require.Zero(t, broken.duration())
	require.Equal(t, 1<<31*time.Second, valid(1<<31).duration())
}

func TestParsingDirectivesAllocatesNothing(t *testing.T) {
	request := fields(`Cache-Control: max-age=0, no-cache, foo="bar, baz"`)
	response := fields(`Cache-Control: public, max-age=31536000, s-maxage="60", stale-while-revalidate=30`)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = ParseRequestDirectives(request) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = ParseResponseDirectives(response, []string{"Cdn-Cache-Control"}) }))
}
