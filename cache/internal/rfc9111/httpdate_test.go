package rfc9111

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testNow is the present of these tests.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// date is testNow and some seconds more, as a field has it.
func date(seconds int) string {
	return testNow.Add(time.Duration(seconds) * time.Second).Format(http.TimeFormat)
}

func TestRFC9110_5_6_7_ThreeFormsOfDate(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994",
		// In any case, for caches: RFC 9111 section 4.2.
		"SUN, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 NOV 1994 08:49:37 gMT",
		"sunday, 06-nov-94 08:49:37 gmt",
		"sun nov  6 08:49:37 1994",
	} {
		got, ok := parseDate(s, testNow)
		require.True(t, ok, s)
		require.True(t, want.Equal(got), "%s: %v", s, got)
	}
	got, ok := parseDate("Sat Nov 16 08:49:37 1994", testNow)
	require.True(t, ok)
	require.Equal(t, 16, got.Day())
	got, ok = parseDate("Thu, 18 Aug 2050 02:01:18 GMT", testNow)
	require.True(t, ok)
	require.Equal(t, 2050, got.Year())
	_, ok = parseDate("Sat, 29 Feb 2020 00:00:60 GMT", testNow)
	require.True(t, ok, "a leap day and a leap second")
}

func TestRFC9110_5_6_7_YearsOfTwoDigits(t *testing.T) {
	for s, want := range map[string]int{
		"Friday, 01-Jan-27 00:00:00 GMT": 2027,
		"Friday, 01-Jan-75 00:00:00 GMT": 2075,
		"Friday, 28-Feb-76 00:00:00 GMT": 2076,
		"Friday, 02-Mar-76 00:00:00 GMT": 1976, // seems more than 50 years ahead
		"Friday, 01-Jan-99 00:00:00 GMT": 1999,
	} {
		got, ok := parseDate(s, testNow)
		require.True(t, ok, s)
		require.Equal(t, want, got.Year(), s)
	}
	got, ok := parseDate("Friday, 01-Jan-20 00:00:00 GMT", time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC))
	require.True(t, ok)
	require.Equal(t, 2120, got.Year())
}

func TestRFC9110_5_6_7_NoOtherFormIsADate(t *testing.T) {
	for _, s := range []string{
		"", "0", "-1", "now",
		"Thu, 18 Aug 2050 02:01:18 UTC",
		"Thu, 18 Aug 2050 02:01:18 PST",
		"Thu, 18 Aug 2050 02:01:18 +0000",
		"Thu, 18 Aug 2050 02:01:18",
		"Thu, 18 Aug 2050 02:01:18 GMT ",
		"Thu, 18 Aug 50 02:01:18 GMT",
		"Thu 18 Aug 2050 02:01:18 GMT",
		"Thu, 18  Aug  2050 02:01:18 GMT",
		"Thu, 18-Aug-2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 02.01.18 GMT",
		"Thu, 18 Aug 2050 2:01:18 GMT",
		"Thu, 18 Aug 2050 02:01:18.5 GMT",
		"Thu, 8 Aug 2050 02:01:18 GMT",
		"Foo, 18 Aug 2050 02:01:18 GMT",
		"Thu, 18 Foo 2050 02:01:18 GMT",
		"Thu, 32 Aug 2050 02:01:18 GMT",
		"Thu, 00 Aug 2050 02:01:18 GMT",
		"Thu, 30 Feb 2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 24:01:18 GMT",
		"Thu, 18 Aug 2050 02:60:18 GMT",
		"Thu, 18 Aug 2050 02:01:61 GMT",
		"Thu, 18 Aug +205 02:01:18 GMT",
		"Sunday, 06-Nov-94 08:49:37 PST",
		"Sunday, 06-Nov-1994 08:49:37 GMT",
		"Sun, 06-Nov-94 08:49:37 GMT",
		"ſunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov 06 08:49:37 94",
		"Sun Nov  6 08:49:37 1994 GMT",
		"Sun Nov 6 08:49:37 1994",
		"1994-11-06T08:49:37Z",
	} {
		_, ok := parseDate(s, testNow)
		require.False(t, ok, "%q", s)
	}
}

func TestRFC9111_4_2_1_DatesThatDifferAreNone(t *testing.T) {
	_, ok := oneDate([]string{date(0), date(1)}, testNow)
	require.False(t, ok)
	_, ok = oneDate([]string{date(0), date(0)}, testNow)
	require.True(t, ok)
	_, ok = oneDate([]string{" " + date(0) + "\t"}, testNow)
	require.True(t, ok)
	_, ok = oneDate(nil, testNow)
	require.False(t, ok)
}
