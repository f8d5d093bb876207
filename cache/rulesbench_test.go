package cache

import (
	"net/http"
	"testing"
)

// BenchmarkRules are those rules that every request needs.
func BenchmarkRules(b *testing.B) {
	p := &policy{targets: cdn}
	browser := http.Header{
		"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}, "Accept-Encoding": {"gzip, deflate, br"}, "User-Agent": {"Mozilla/5.0"},
		"Cache-Control": {"max-age=300"},
	}
	r := &http.Request{Header: browser}
	m := &Meta{
		Status: 200, Length: 1000, RequestTime: testNow, ResponseTime: testNow,
		Header: fields("Cache-Control: public, max-age=3600, stale-while-revalidate=60", `ETag: "abc"`, "Last-Modified: "+date(-9000), "Date: "+date(0), "Vary: Accept-Encoding"),
	}
	f := readFacts(m, p)
	vary := varyValues(f.vary, r)

	b.Run("Decide", func(b *testing.B) {
		b.ReportAllocs()
		now := after(10)
		for b.Loop() {
			req := parseRequestDirectives(browser)
			if p.decide(f, &req, now).verdict != useFresh {
				b.Fatal("not fresh")
			}
		}
	})
	b.Run("Choose", func(b *testing.B) {
		b.ReportAllocs()
		candidates := []candidate{{f, http.Header{"Accept-Encoding": {"br"}}}, {f, vary}}
		for b.Loop() {
			if p.choose(candidates, r) != 1 {
				b.Fatal("not chosen")
			}
		}
	})
	b.Run("Facts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			readFacts(m, p)
		}
	})
	b.Run("Storable", func(b *testing.B) {
		b.ReportAllocs()
		x := transactionOf(p, 200, browser, m.Header)
		for b.Loop() {
			if why := p.storable(x); why != "" {
				b.Fatal(why)
			}
		}
	})
	b.Run("CacheStatus", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 64)
		for b.Loop() {
			s := cacheStatus{name: "modproxy", hit: true, ttl: 60e9, hasTTL: true}
			buf = s.append(buf[:0])
		}
	})
}
