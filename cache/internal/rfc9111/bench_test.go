package rfc9111

import (
	"net/http"
	"testing"

	"github.com/modproxy/modproxy/cache/store"
)

// BenchmarkRules are those rules that every request needs.
func BenchmarkRules(b *testing.B) {
	p := &Policy{Targets: cdn}
	browser := http.Header{
		"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}, "Accept-Encoding": {"gzip, deflate, br"}, "User-Agent": {"Mozilla/5.0"},
		"Cache-Control": {"max-age=300"},
	}
	r := &http.Request{Header: browser}
	m := &store.Meta{
		Status: 200, Length: 1000, RequestTime: testNow, ResponseTime: testNow,
		Header: fields("Cache-Control: public, max-age=3600, stale-while-revalidate=60", `ETag: "abc"`, "Last-Modified: "+date(-9000), "Date: "+date(0), "Vary: Accept-Encoding"),
	}
	f := ReadFacts(m, p)
	vary := VaryValues(f.Vary, r)

	b.Run("Decide", func(b *testing.B) {
		b.ReportAllocs()
		now := after(10)
		for b.Loop() {
			req := ParseRequestDirectives(browser)
			if p.Decide(f, &req, now).Verdict != UseFresh {
				b.Fatal("not fresh")
			}
		}
	})
	b.Run("Choose", func(b *testing.B) {
		b.ReportAllocs()
		candidates := []Candidate{{f, http.Header{"Accept-Encoding": {"br"}}}, {f, vary}}
		for b.Loop() {
			if p.Choose(candidates, r) != 1 {
				b.Fatal("not chosen")
			}
		}
	})
	b.Run("Facts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ReadFacts(m, p)
		}
	})
	b.Run("Storable", func(b *testing.B) {
		b.ReportAllocs()
		x := transactionOf(p, 200, browser, m.Header)
		for b.Loop() {
			if why := p.Storable(x); why != "" {
				b.Fatal(why)
			}
		}
	})
	b.Run("CacheStatus", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 64)
		for b.Loop() {
			s := CacheStatus{Name: "modproxy", Hit: true, TTL: 60e9, HasTTL: true}
			buf = s.Append(buf[:0])
		}
	})
}
