package rfc9111

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// storedAt is the facts of a response that came at testNow.
func storedAt(p *Policy, lines ...string) *Facts {
	return ReadFacts(&store.Meta{Status: 200, Header: fields(lines...), RequestTime: testNow, ResponseTime: testNow, Length: 10}, p)
}

// after is a time that many seconds after testNow.
func after(seconds float64) time.Time {
	return testNow.Add(time.Duration(seconds * float64(time.Second)))
}

// What may be done with a stored response, by its directives and those of the
// request: each row is one sentence of the sections named.
func TestRFC9111_4_2_And_5_2_Decide(t *testing.T) {
	for _, c := range []struct {
		name     string
		stored   string // Cache-Control of the response
		request  string // Cache-Control of the request
		age      float64
		want     verdict
		wantText string
	}{
		{"4.2 fresh", "max-age=60", "", 0, UseFresh, ""},
		{"4.2 fresh up to its end", "max-age=60", "", 59.9, UseFresh, ""},
		{"4.2 not at its end", "max-age=60", "", 60, mustValidate, "stale"},
		{"4.2 stale", "max-age=60", "", 61, mustValidate, "stale"},
		{"4.2 max-age=0", "max-age=0", "", 0, mustValidate, "stale"},
		{"4.2.1 broken max-age is stale", "max-age=x", "", 0, mustValidate, "stale"},
		{"5.2.2.4 no-cache", "max-age=60, no-cache", "", 0, mustValidate, "no-cache in the response"},
		{"5.2.2.4 no-cache forbids to take it stale", "max-age=60, no-cache", "max-stale", 61, mustValidate, "no-cache in the response"},
		{"5.2.2.4 no-cache with fields does not count", `max-age=60, no-cache="a"`, "", 0, UseFresh, ""},

		{"5.2.1.4 no-cache", "max-age=60", "no-cache", 0, mustValidate, "no-cache in the request"},
		{"5.2.1.1 max-age", "max-age=60", "max-age=10", 10, UseFresh, ""},
		{"5.2.1.1 max-age, older", "max-age=60", "max-age=10", 10.1, mustValidate, "max-age in the request"},
		{"5.2.1.1 max-age=0", "max-age=60", "max-age=0", 0, mustValidate, "max-age in the request"},
		{"5.2.1.1 max-age that is none", "max-age=60", "max-age=x", 0, mustValidate, "max-age in the request"},
		{"5.2.1.1 max-age does not make it fresh", "max-age=60", "max-age=100", 61, mustValidate, "stale"},
		{"5.2.1.2 max-stale", "max-age=60", "max-stale=10", 70, UseStale, ""},
		{"5.2.1.2 max-stale, exceeded", "max-age=60", "max-stale=10", 70.1, mustValidate, "stale"},
		{"5.2.1.2 max-stale without a number", "max-age=60", "max-stale", 1e6, UseStale, ""},
		{"5.2.1.2 max-stale that is none", "max-age=60", "max-stale=x", 61, mustValidate, "stale"},
		{"5.2.1.2 max-stale with max-age", "max-age=60", "max-age=10, max-stale=5", 15, UseStale, ""},
		{"5.2.1.2 max-stale with max-age, exceeded", "max-age=60", "max-age=10, max-stale=5", 16, mustValidate, "max-age in the request"},
		{"5.2.1.3 min-fresh", "max-age=60", "min-fresh=10", 50, UseFresh, ""},
		{"5.2.1.3 min-fresh, not enough", "max-age=60", "min-fresh=10", 50.1, mustValidate, "min-fresh in the request"},
		{"5.2.1.3 min-fresh that is none", "max-age=60", "min-fresh=x", 0, mustValidate, "min-fresh in the request"},
		{"5.2.1.3 min-fresh beside max-age", "max-age=60", "min-fresh=10, max-age=20", 15, UseFresh, ""},
		{"5.2.1.5 no-store does not concern what is stored", "max-age=60", "no-store", 0, UseFresh, ""},
		{"5.2.1.7 only-if-cached, fresh", "max-age=60", "only-if-cached", 0, UseFresh, ""},
		{"5.2.1.7 only-if-cached, stale", "max-age=60", "only-if-cached", 60, mustValidate, "stale"},

		// §4.2.4: never stale against these.
		{"5.2.2.2 must-revalidate, fresh", "max-age=60, must-revalidate", "", 59, UseFresh, ""},
		{"5.2.2.2 must-revalidate", "max-age=60, must-revalidate", "max-stale", 60, mustValidate, "stale"},
		{"5.2.2.8 proxy-revalidate", "max-age=60, proxy-revalidate", "max-stale", 60, mustValidate, "stale"},
		{"5.2.2.10 s-maxage", "s-maxage=60", "max-stale", 60, mustValidate, "stale"},
		{"5.2.2.2 but max-stale may stretch max-age of the request", "max-age=60, must-revalidate", "max-age=10, max-stale", 30, UseStale, ""},

		// RFC 5861 §3.
		{"stale-while-revalidate, fresh", "max-age=60, stale-while-revalidate=30", "", 59, UseFresh, ""},
		{"stale-while-revalidate", "max-age=60, stale-while-revalidate=30", "", 90, UseWhileRevalidating, ""},
		{"stale-while-revalidate, over", "max-age=60, stale-while-revalidate=30", "", 90.1, mustValidate, "stale"},
		{"stale-while-revalidate that is none", "max-age=60, stale-while-revalidate=x", "", 61, mustValidate, "stale"},
		{"stale-while-revalidate, must-revalidate", "max-age=60, stale-while-revalidate=30, must-revalidate", "", 61, mustValidate, "stale"},
		{"stale-while-revalidate, s-maxage", "s-maxage=60, stale-while-revalidate=30", "", 61, mustValidate, "stale"},
		{"stale-while-revalidate against no-cache", "max-age=60, stale-while-revalidate=30", "no-cache", 61, mustValidate, "no-cache in the request"},
		{"stale-while-revalidate against max-age", "max-age=60, stale-while-revalidate=30", "max-age=5", 61, mustValidate, "max-age in the request"},
		{"stale-while-revalidate against min-fresh", "max-age=60, stale-while-revalidate=30", "min-fresh=0", 61, mustValidate, "min-fresh in the request"},

		// RFC 8246 §2.
		{"immutable, reload", "max-age=60, immutable", "max-age=0", 30, UseFresh, ""},
		{"immutable, forced reload", "max-age=60, immutable", "no-cache", 30, mustValidate, "no-cache in the request"},
		{"immutable, stale", "max-age=60, immutable", "max-age=0", 60, mustValidate, "max-age in the request"},
	} {
		p := &Policy{}
		req := ParseRequestDirectives(fields("Cache-Control: " + c.request))
		d := p.Decide(storedAt(p, "Cache-Control: "+c.stored), &req, after(c.age))
		require.Equal(t, c.want, d.Verdict, c.name)
		require.Equal(t, c.wantText, d.Reason, c.name)
		require.Equal(t, c.want != mustValidate, d.Verdict.Usable(), c.name)
		require.Equal(t, time.Duration(c.age*1e9), d.Age, c.name)
	}
}

func TestRFC9111_4_2_3_CurrentAge(t *testing.T) {
	p := &Policy{}
	f := storedAt(p, "Cache-Control: max-age=100", "Age: 30", "Date: "+date(-40))
	d := p.Decide(f, &RequestDirectives{}, after(20))
	require.Equal(t, 60*time.Second, d.Age)
	require.Equal(t, 40*time.Second, d.TTL)
	require.Equal(t, UseFresh, d.Verdict)
	d = p.Decide(f, &RequestDirectives{}, after(70))
	require.Equal(t, -10*time.Second, d.TTL)
	require.Equal(t, mustValidate, d.Verdict)
}

// A clock that was put back must not keep a response fresh for ever.
func TestClockThatWasPutBack(t *testing.T) {
	p := &Policy{StaleOnError: true}
	f := storedAt(p, "Cache-Control: max-age=100, stale-while-revalidate=1000")
	require.Equal(t, UseFresh, p.Decide(f, &RequestDirectives{}, after(-1)).Verdict, "of another core, say")
	d := p.Decide(f, &RequestDirectives{}, after(-3600))
	require.Equal(t, mustValidate, d.Verdict)
	require.Zero(t, d.Age)
	require.True(t, p.MayAnswerError(f, &RequestDirectives{}, after(-3600)))
}

func TestRFC9111_4_4_InvalidatedIsNeverUsedUnvalidated(t *testing.T) {
	p := &Policy{StaleOnError: true, StaleIfError: time.Hour, StaleWhileRevalidate: time.Hour}
	f := storedAt(p, "Cache-Control: max-age=100, stale-if-error=100")
	f.invalid = true
	require.Equal(t, mustValidate, p.Decide(f, &RequestDirectives{maxStaleAny: true}, testNow).Verdict)
	require.False(t, p.MayAnswerError(f, &RequestDirectives{}, testNow))
}

func TestRFC9111_4_3_3_AnsweringErrors(t *testing.T) {
	for _, c := range []struct {
		name            string
		p               Policy
		stored, request string
		age             float64
		want            bool
	}{
		{"CacheStaleOnError", Policy{StaleOnError: true}, "max-age=1", "", 1e6, true},
		{"CacheStaleOnError off", Policy{}, "max-age=1", "", 2, false},
		{"must-revalidate", Policy{StaleOnError: true}, "max-age=1, must-revalidate, stale-if-error=60", "", 2, false},
		{"proxy-revalidate", Policy{StaleOnError: true}, "max-age=1, proxy-revalidate", "", 2, false},
		{"s-maxage", Policy{StaleOnError: true}, "s-maxage=1, stale-if-error=60", "", 2, false},
		{"s-maxage with its window, by policy", Policy{StaleBeyondSMaxAge: true}, "s-maxage=1, stale-if-error=60", "", 2, true},
		{"s-maxage without a window, by policy", Policy{StaleBeyondSMaxAge: true, StaleOnError: true}, "s-maxage=1", "", 2, false},
		{"no-cache", Policy{StaleOnError: true}, "no-cache", "", 2, false},
		{"no-cache in the request", Policy{StaleOnError: true}, "max-age=1", "no-cache", 2, false},
		{"no-cache in the request, ignored", Policy{StaleOnError: true, IgnoreCacheControl: true}, "max-age=1", "no-cache", 2, true},
		// RFC 5861 §4.
		{"stale-if-error", Policy{}, "max-age=1, stale-if-error=60", "", 61, true},
		{"stale-if-error, over", Policy{StaleOnError: true}, "max-age=1, stale-if-error=60", "", 61.1, false},
		{"stale-if-error that is none", Policy{StaleOnError: true}, "max-age=1, stale-if-error=x", "", 2, false},
		{"stale-if-error of the request", Policy{}, "max-age=1", "stale-if-error=60", 61, true},
		{"stale-if-error of the request, over", Policy{StaleOnError: true}, "max-age=1", "stale-if-error=60", 61.1, false},
		{"stale-if-error of both", Policy{}, "max-age=1, stale-if-error=5", "stale-if-error=60", 61, true},
		{"a window of the cache", Policy{StaleIfError: time.Minute}, "max-age=1", "", 61, true},
		{"a window of the cache, over", Policy{StaleIfError: time.Minute}, "max-age=1", "", 62, false},
		{"a window of the cache counts less than the origin's", Policy{StaleIfError: time.Minute}, "max-age=1, stale-if-error=5", "", 30, false},
	} {
		req := ParseRequestDirectives(fields("Cache-Control: " + c.request))
		require.Equal(t, c.want, c.p.MayAnswerError(storedAt(&c.p, "Cache-Control: "+c.stored), &req, after(c.age)), c.name)
	}
}

func TestRFC5861_4_StatusesThatAreErrors(t *testing.T) {
	for status := 200; status < 600; status++ {
		want := status == 500 || status == 502 || status == 503 || status == 504
		require.Equal(t, want, IsServerError(status), status)
	}
}

func TestWindowsOfTheCache(t *testing.T) {
	p := &Policy{StaleWhileRevalidate: time.Minute}
	none := &RequestDirectives{}
	require.Equal(t, UseWhileRevalidating, p.Decide(storedAt(p, "Cache-Control: max-age=1"), none, after(60)).Verdict)
	require.Equal(t, mustValidate, p.Decide(storedAt(p, "Cache-Control: max-age=1"), none, after(62)).Verdict)
	require.Equal(t, mustValidate, p.Decide(storedAt(p, "Cache-Control: max-age=1, stale-while-revalidate=0"), none, after(2)).Verdict)
	require.Equal(t, mustValidate, p.Decide(storedAt(p, "Cache-Control: s-maxage=1"), none, after(2)).Verdict)
	p.StaleBeyondSMaxAge = true
	require.Equal(t, UseWhileRevalidating, p.Decide(storedAt(p, "Cache-Control: s-maxage=1, stale-while-revalidate=9"), none, after(2)).Verdict)
}

func TestCacheIgnoreCacheControl(t *testing.T) {
	p := &Policy{IgnoreCacheControl: true}
	req := ParseRequestDirectives(fields("Pragma: no-cache"))
	require.Equal(t, UseFresh, p.Decide(storedAt(p, "Cache-Control: max-age=10"), &req, testNow).Verdict)
}

func TestLifetimeOfTheOwner(t *testing.T) {
	ttl := time.Hour
	m := &store.Meta{Status: 200, Header: fields("Cache-Control: max-age=1"), ResponseTime: testNow, RequestTime: testNow, TTL: &ttl}
	require.Equal(t, freshness{time.Hour, lifeOverride}, ReadFacts(m, &Policy{}).freshness)
}

func TestDecidingAllocatesNothing(t *testing.T) {
	p := &Policy{}
	f := storedAt(p, "Cache-Control: max-age=60")
	h := http.Header{"Cache-Control": {"max-age=30"}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		req := ParseRequestDirectives(h)
		if !p.Decide(f, &req, testNow).Verdict.Usable() {
			t.Fail()
		}
	}))
}
