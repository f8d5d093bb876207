package rfc9111

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lifetime is that of a response that came at testNow.
func lifetime(p *Policy, status int, h http.Header) freshness {
	d := ParseResponseDirectives(h, p.Targets)
	return p.lifetimeOf(&d, status, h, testNow)
}

func TestRFC9111_4_2_1_CalculatingFreshnessLifetime(t *testing.T) {
	for _, c := range []struct {
		name string
		h    http.Header
		want freshness
	}{
		{"MaxAge", fields("Cache-Control: max-age=60"), freshness{time.Minute, lifeMaxAge}},
		{"SMaxAgeBeatsMaxAge", fields("Cache-Control: max-age=60, s-maxage=1"), freshness{time.Second, lifeSMaxAge}},
		{"SMaxAgeBeatsMaxAge, longer", fields("Expires: "+date(-10), "Cache-Control: max-age=0", "Cache-Control: s-maxage=60"), freshness{time.Minute, lifeSMaxAge}},
		{"BrokenSMaxAgeIsStale", fields("Cache-Control: max-age=60, s-maxage=x"), freshness{0, lifeBroken}},
		{"MaxAgeBeatsExpires", fields("Cache-Control: max-age=60", "Expires: "+date(-7200), "Date: "+date(0)), freshness{time.Minute, lifeMaxAge}},
		{"MaxAgeBeatsBrokenExpires", fields("Cache-Control: max-age=60", "Expires: 0"), freshness{time.Minute, lifeMaxAge}},
		{"MaxAge0BeatsExpires", fields("Cache-Control: max-age=0", "Expires: "+date(3600)), freshness{0, lifeMaxAge}},
		{"BrokenMaxAgeBeatsExpires", fields("Cache-Control: max-age=x", "Expires: "+date(3600)), freshness{0, lifeBroken}},
		{"ExpiresMinusDate", fields("Expires: "+date(300), "Date: "+date(100)), freshness{200 * time.Second, lifeExpires}},
		{"ExpiresBeforeDate", fields("Expires: "+date(300), "Date: "+date(400)), freshness{0, lifeExpires}},
		{"ExpiresWithoutDate", fields("Expires: " + date(300)), freshness{300 * time.Second, lifeExpires}},
		{"ExpiresWithBrokenDate", fields("Expires: "+date(300), "Date: foo"), freshness{300 * time.Second, lifeExpires}},
		{"ExpiresFarAhead", fields("Expires: Fri, 31 Dec 9999 23:59:59 GMT"), freshness{math.MaxInt64, lifeExpires}},
		{"TargetedBeatsAll", fields("CDN-Cache-Control: max-age=5", "Cache-Control: s-maxage=60", "Expires: "+date(300)), freshness{5 * time.Second, lifeMaxAge}},
		{"TargetedBeatsExpires", fields("CDN-Cache-Control: foo", "Expires: "+date(300)), freshness{}},
		{"Nothing", nil, freshness{}},
	} {
		require.Equal(t, c.want, lifetime(&Policy{Targets: cdn}, 200, c.h), c.name)
	}
}

func TestRFC9111_5_3_InvalidExpiresIsInThePast(t *testing.T) {
	for _, v := range []string{"0", "-1", "", "foo", "Thu, 18 Aug 2050 02:01:18 UTC", "3600"} {
		require.Equal(t, freshness{0, lifeBroken}, lifetime(&Policy{}, 200, http.Header{"Expires": {v}, "Last-Modified": {date(-100000)}}), v)
	}
	require.Equal(t, lifeBroken, lifetime(&Policy{}, 200, fields("Expires: "+date(60), "Expires: "+date(70))).Source)
}

func TestRFC9111_4_2_2_HeuristicFreshness(t *testing.T) {
	day := 24 * time.Hour
	h := fields("Last-Modified: "+date(-1000), "Date: "+date(0))
	require.Equal(t, freshness{100 * time.Second, lifeHeuristic}, lifetime(&Policy{}, 200, h))
	require.Equal(t, freshness{200 * time.Second, lifeHeuristic}, lifetime(&Policy{LastModifiedFactor: 0.2}, 200, h), "CacheLastModifiedFactor")
	require.Equal(t, freshness{}, lifetime(&Policy{LastModifiedFactor: -1}, 200, h))
	require.Equal(t, freshness{}, lifetime(&Policy{}, 403, h), "not without public")
	h.Set("Cache-Control", "public")
	require.Equal(t, freshness{100 * time.Second, lifeHeuristic}, lifetime(&Policy{}, 403, h))
	require.Equal(t, freshness{100 * time.Second, lifeHeuristic}, lifetime(&Policy{}, 200, fields("Last-Modified: "+date(-1000))), "without Date")
	require.Equal(t, freshness{0, lifeHeuristic}, lifetime(&Policy{}, 200, fields("Last-Modified: "+date(1000))), "changed in the future")
	require.Equal(t, freshness{day, lifeHeuristic}, lifetime(&Policy{}, 200, fields("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")))
	require.Equal(t, freshness{time.Hour, lifeHeuristic}, lifetime(&Policy{HeuristicMax: time.Hour}, 200, fields("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")))
	require.Equal(t, freshness{}, lifetime(&Policy{}, 200, fields("Last-Modified: foo")))
}

func TestExpireDirectives(t *testing.T) {
	p := &Policy{MinExpire: 50 * time.Second, MaxExpire: 100 * time.Second, DefaultExpire: time.Hour}
	for want, h := range map[time.Duration]http.Header{
		50 * time.Second:  fields("Last-Modified: " + date(-10)),        // CacheMinExpire, without an explicit lifetime
		10 * time.Second:  fields("Cache-Control: max-age=10"),          // and not with one
		100 * time.Second: fields("Cache-Control: max-age=200"),         // CacheMaxExpire
		99 * time.Second:  fields("Expires: " + date(99)),               //
		time.Hour:         nil,                                          // CacheDefaultExpire, which CacheMaxExpire does not change
		0:                 fields("Expires: 0"),                         //
		60 * time.Second:  fields("Last-Modified: " + date(-60*10)),     //
		11 * time.Second:  fields("Cache-Control: s-maxage=11, public"), //
	} {
		require.Equal(t, want, lifetime(p, 200, h).Lifetime, "%v", h)
	}
	require.Equal(t, 100*time.Second, lifetime(p, 200, fields("Expires: "+date(1000))).Lifetime, "CacheMaxExpire counts for Expires, as the manual says")
}

func TestRFC9111_4_2_3_CalculatingAge(t *testing.T) {
	second := time.Second
	for _, c := range []struct {
		name            string
		h               http.Header
		requested, want time.Duration // before testNow; corrected_initial_age
	}{
		{"nothing", nil, 0, 0},
		{"apparent age", fields("Date: " + date(-100)), 0, 100 * second},
		{"a clock that is ahead", fields("Date: " + date(100)), 0, 0},
		{"a Date that is none", fields("Date: foo"), 0, 0},
		{"age value", fields("Age: 30", "Date: "+date(0)), 0, 30 * second},
		{"age value and response delay", fields("Age: 30", "Date: "+date(0)), 5 * second, 35 * second},
		{"the larger one", fields("Age: 30", "Date: "+date(-100)), 5 * second, 100 * second},
		{"response delay alone", nil, 5 * second, 5 * second},
		// §5.1: a list was made of it; no number.
		{"first of a list", fields("Age: 7200,0"), 0, 7200 * second},
		{"first of two lines", fields("Age: 7200", "Age: 0"), 0, 7200 * second},
		{"zero first", fields("Age: 0, 7200"), 0, 0},
		{"zero line first", fields("Age: 0", "Age: 7200"), 0, 0},
		{"no number", fields("Age: abc"), 0, 0},
		{"negative", fields("Age: -7200"), 0, 0},
		{"decimal", fields("Age: 7200.0"), 0, 0},
		{"blanks", fields("Age:  \t30 "), 0, 30 * second},
		{"more than fits", fields("Age: 99999999999999999999"), 0, 1 << 31 * second},
	} {
		require.Equal(t, c.want, initialAge(c.h, testNow.Add(-c.requested), testNow), c.name)
	}
	require.Equal(t, time.Duration(math.MaxInt64), addTime(math.MaxInt64-1, 2))
}
