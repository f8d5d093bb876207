package rfc9111

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var cdn = []string{"Cdn-Cache-Control"}

func TestRFC9213_2_2_TargetedFieldBeatsCacheControl(t *testing.T) {
	d := ParseResponseDirectives(fields("CDN-Cache-Control: max-age=60", "Cache-Control: no-store, max-age=1"), cdn)
	require.Equal(t, responseDirectives{maxAge: valid(60), target: "Cdn-Cache-Control"}, d)

	d = ParseResponseDirectives(fields("CDN-Cache-Control: max-age=60", "Cache-Control: max-age=1"), nil)
	require.Equal(t, responseDirectives{maxAge: valid(1)}, d, "a cache that it is not for")
}

func TestRFC9213_2_2_FirstOfTheTargetListCounts(t *testing.T) {
	h := fields("CDN-Cache-Control: max-age=60", "Example-Cache-Control: max-age=70", "Cache-Control: max-age=1")
	d := ParseResponseDirectives(h, []string{"Example-Cache-Control", "Cdn-Cache-Control"})
	require.Equal(t, valid(70), d.maxAge)
	h.Set("Example-Cache-Control", "max-age=,")
	d = ParseResponseDirectives(h, []string{"Example-Cache-Control", "Cdn-Cache-Control"})
	require.Equal(t, valid(60), d.maxAge)
}

// What is broken anywhere is ignored as a whole, and Cache-Control counts again.
func TestRFC9213_2_1_BrokenTargetedFieldIsIgnoredWhole(t *testing.T) {
	for _, v := range []string{
		"", " ", "max-age=10000, &&&&&", `max-age="10000"`, "max-age=10000,", "max-age =10000", "max-age= 10000",
		"max-age=10000;", "max-age=10000.5", "max-age=10000.", "max-age", "max-age=abc", "max-age=:YWJj:", "max-age=(1 2)",
		"no-store=5", "no-store=x", `private=5`, "MaX-aGe=10000", "max-age=1234567890123456", "max-age=1 2", "max-age=1; a=",
		`a="b`, "a=(1", "a=(1,2)", "a=?2", "a=:@:", "a=:b", "a=@x", `a=%"%4"`, `a=%x`, "a=\"\x7f\"", `a="\x"`, "a=-", "a=é",
		"\tmax-age=10000",
	} {
		d := ParseResponseDirectives(fields("CDN-Cache-Control: "+v, "Cache-Control: max-age=1"), cdn)
		require.Equal(t, responseDirectives{maxAge: valid(1)}, d, "%q", v)
	}
}

func TestRFC9213_2_1_DictionariesThatAreWhole(t *testing.T) {
	for v, want := range map[string]responseDirectives{
		"max-age=60, no-store":                        {maxAge: valid(60), noStore: true},
		"max-age=60;p=1;q, no-store;x":                {maxAge: valid(60), noStore: true},
		"foobar, max-age=60":                          {maxAge: valid(60)},
		"max-age=1, max-age=60":                       {maxAge: valid(60)}, // the last of a key counts: RFC 9651 section 3.2
		"max-age=99999999999":                         {maxAge: valid(1 << 31)},
		"max-age=-1":                                  {maxAge: broken},
		"no-store=?0, public=?1":                      {public: true},
		`private="a, b", no-cache="c"`:                {privateFields: []string{"A", "B"}, noCacheFields: []string{"C"}},
		"private":                                     {private: true},
		`a=(1 "b";c d);e, b=:YWI=:, c=@1, max-age=2`:  {maxAge: valid(2)},
		`a=%"f%c3%bc", b=1.5, *x=tok/en:1, max-age=2`: {maxAge: valid(2)},
		`a="\"\\", max-age=2`:                         {maxAge: valid(2)},
		" max-age=2 \t, \tpublic ":                    {maxAge: valid(2), public: true},
		"s-maxage=3, must-revalidate, proxy-revalidate, must-understand, no-transform, immutable, stale-if-error=4, stale-while-revalidate=5": {
			sMaxAge: valid(3), mustRevalidate: true, proxyRevalidate: true, mustUnderstand: true, noTransform: true, immutable: true,
			staleIfError: valid(4), staleWhileRevalidate: valid(5)},
	} {
		want.target = "Cdn-Cache-Control"
		require.Equal(t, want, ParseResponseDirectives(fields("CDN-Cache-Control: "+v, "Cache-Control: max-age=1"), cdn), "%q", v)
	}
	d := ParseResponseDirectives(fields("CDN-Cache-Control: max-age=60", "CDN-Cache-Control: public"), cdn)
	require.Equal(t, responseDirectives{maxAge: valid(60), public: true, target: "Cdn-Cache-Control"}, d, "lines are joined")
}
