package rfc9111

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/cache/store"
)

// FuzzCacheControl looks for lines that panic, that let a plain no-store be
// overlooked, or that make a lifetime out of nothing.
func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{
		"max-age=60", `max-age="60", no-cache="a, b"`, `private="Set-Cookie`, "max-age=1, max-age=2", "s-maxage=99999999999999", `a="\"", b`, ",,=,", `no-cache=" , "`,
		"stale-while-revalidate=1 , stale-if-error=\t2", `"`, `\`, "a=b=c", "max-age=\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		h := http.Header{"Cache-Control": {v}}
		d := ParseResponseDirectives(h, nil)
		ParseRequestDirectives(h)
		for _, n := range []deltaSeconds{d.maxAge, d.sMaxAge, d.staleIfError, d.staleWhileRevalidate} {
			if n.valid() && !strings.ContainsAny(v, "0123456789") {
				t.Fatalf("%q: a number without digits", v)
			}
			if n.n > maxDelta || !n.valid() && n.n != 0 {
				t.Fatalf("%q: %v", v, n)
			}
		}
		for _, name := range append(d.noCacheFields, d.privateFields...) {
			if !httpguts.ValidHeaderFieldName(name) || http.CanonicalHeaderKey(name) != name {
				t.Fatalf("%q: field %q", v, name)
			}
		}
		// On a line of its own, and before what is on the same line.
		for _, lines := range [][]string{{v, "no-store"}, {"no-store, " + v}} {
			if !ParseResponseDirectives(http.Header{"Cache-Control": lines}, nil).noStore {
				t.Fatalf("%q: no-store was overlooked", lines)
			}
		}
	})
}

// FuzzTargeted looks for fields that panic, or are believed although a strict
// reader would not.
func FuzzTargeted(f *testing.F) {
	for _, s := range []string{
		"max-age=60", "max-age=60;a=b, no-store", `private="a, b"`, "a=(1 2);x, b=?0", "a=:YQ==:", "a=@5", `a=%"f%c3%bc"`, "a=1.5", "max-age=-1", "A=1", "a=1,", "a=*b/c:d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		d, ok := parseTargeted([]string{v})
		if !ok {
			if again := ParseResponseDirectives(http.Header{"Cdn-Cache-Control": {v}, "Cache-Control": {"max-age=7"}}, cdn); again.maxAge != valid(7) || again.target != "" {
				t.Fatalf("%q: broken, but not ignored", v)
			}
			return
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
			t.Fatalf("%q: not ASCII, but believed", v)
		}
		// Members that nobody knows change nothing.
		more, ok := parseTargeted([]string{"xyz=1;a", v})
		if !ok || more.maxAge != d.maxAge || more.noStore != d.noStore || !slices.Equal(more.privateFields, d.privateFields) {
			t.Fatalf("%q: %v, %v", v, d, more)
		}
	})
}

// FuzzVary checks that a request matches itself, and that writing a list
// otherwise does not matter.
func FuzzVary(f *testing.F) {
	f.Add("Foo, bar", "1, 2", "a")
	f.Add("accept-encoding", "gzip;q=0.5 , BR", "*;q=0")
	f.Add("*", "", "")
	f.Add("a,,*", `"a, b" , c`, "\t")
	f.Add("Accept-Language", `"`, `a"b, c"d`)
	f.Fuzz(func(t *testing.T, vary, value, other string) {
		names, all := Nominated([]string{vary})
		if all || len(names) == 0 {
			return // matches nothing, or whatever is sent
		}
		p := &Policy{}
		match := func(a, b *http.Request) bool { return p.Matches(names, VaryValues(names, a), b) }
		one, two, spaced := requestWith(), requestWith(), requestWith()
		for _, name := range names {
			if http.CanonicalHeaderKey(name) != name {
				t.Fatalf("%q: %q", vary, name)
			}
			one.Header[name], two.Header[name], spaced.Header[name] = []string{value}, []string{other}, []string{" \t" + value + " "}
		}
		if !match(one, one) && !TooHeavy(names, one) {
			t.Fatalf("%q: %q does not match itself", vary, value)
		}
		ab, ba := match(one, two), match(two, one)
		if ab != ba {
			t.Fatalf("%q: %q, %q: one way only", vary, value, other)
		}
		if ab && !strings.EqualFold(squeeze(value), squeeze(other)) {
			t.Fatalf("%q: %q is taken for %q", vary, value, other)
		}
		if strings.Count(value, `"`) == 0 && !match(one, spaced) && !TooHeavy(names, spaced) {
			t.Fatalf("%q: blanks around %q", vary, value)
		}
	})
}

// squeeze takes out what may differ between values that are the same.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == ',' {
			return -1
		}
		return r
	}, s)
}

// FuzzDate compares with the standard library, which takes more than the three
// forms, but must agree where both take something.
func FuzzDate(f *testing.F) {
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Thu, 18 Aug 2050 2:01:18 GMT", "0", "Sat, 29 Feb 2020 00:00:60 GMT",
		"Sun, 06 Nov 0000 00:00:00 GMT", "Sunday, 06-Nov-94 08:49:37 GMt",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s, testNow)
		if !ok {
			return
		}
		if len(s) < 24 || len(s) > 33 {
			t.Fatalf("%q is no date", s)
		}
		// It knows no leap seconds, puts years of two digits elsewhere, and takes
		// the zone in capitals alone.
		if zone := max(len(s)-3, 0); strings.EqualFold(s[zone:], "GMT") {
			s = s[:zone] + "GMT"
		}
		want, err := http.ParseTime(s)
		if err != nil {
			if !strings.Contains(s, ":60") {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if got.Sub(want)%(time.Hour*24) != 0 || strings.IndexByte(s, ',') <= 3 && !got.Equal(want) {
			t.Fatalf("%q: %v, not %v", s, got, want)
		}
	})
}

// FuzzRange checks that parts are parts of the body, and that an answer of many
// is as long as it says.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-4", "bytes=-5", "bytes=5-", "bytes=0-1,4-5,-1", "bytes=9223372036854775807-", "bytes=-9223372036854775808", "bytes= 0-1", "bytes=0-0,0-0,0-0"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, v string, length int64) {
		specs, ok := ParseRange(http.Header{"Range": {v}})
		if !ok || length < 0 {
			return
		}
		if len(specs) == 0 || len(specs) > maxRanges {
			t.Fatalf("%q: %v", v, specs)
		}
		parts, _ := Resolve(specs, length)
		for _, p := range parts {
			if p.Start < 0 || p.Start >= p.End || p.End > length {
				t.Fatalf("%q of %d: %v", v, length, p)
			}
			got, n, ok := ParseContentRange(http.Header{"Content-Range": {ContentRange(p, length)}})
			if length < 1<<62 && (!ok || got != p || n != length) {
				t.Fatalf("%v of %d: %v", p, length, got)
			}
		}
		m := &store.Meta{Length: length, Parts: []store.Part{{Start: 0, End: length / 2}}}
		if stored, _, ok := StoredRanges(m, specs); ok {
			for _, p := range stored {
				if !covered(m.Parts, p) || OffsetOf(m.Parts, p.Start) < 0 {
					t.Fatalf("%q: %v is not stored", v, p)
				}
			}
		}
		if len(parts) > 0 && length < 1<<16 {
			var b bytes.Buffer
			mp := NewMultipart(parts, length, "a/b", "x")
			for i, p := range parts {
				b.WriteString(mp.Heads[i])
				b.Write(make([]byte, p.End-p.Start))
			}
			b.WriteString(mp.Tail)
			if int64(b.Len()) != mp.Length {
				t.Fatalf("%q: %d bytes, not %d", v, b.Len(), mp.Length)
			}
		}
	})
}

// FuzzContentRange checks what a 206 may claim.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-4/10", "bytes 0-4/*", "bytes */10", "bytes 9223372036854775806-9223372036854775807/*", "bytes 5-4/10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		p, n, ok := ParseContentRange(http.Header{"Content-Range": {v}})
		if ok && (p.Start < 0 || p.Start >= p.End || n >= 0 && p.End > n || n < -1) {
			t.Fatalf("%q: %v of %d", v, p, n)
		}
	})
}

// FuzzETag checks that a list is walked through to its end, and that what is
// taken for a tag is one.
func FuzzETag(f *testing.F) {
	for _, s := range []string{`"a"`, `W/"a", "b"`, `a, "b"`, `"a`, `"a"b, "c"`, `*`, `"a,b"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		for rest, n := v, 0; rest != ""; n++ {
			var tag string
			before := len(rest)
			if tag, rest = nextETag(rest); len(rest) >= before {
				t.Fatalf("%q: no progress at %q", v, rest)
			}
			inner, found := strings.CutPrefix(strings.TrimPrefix(tag, "W/"), `"`)
			if tag != "" && (!found || strings.IndexByte(inner, '"') != len(inner)-1 || oneETag([]string{tag}) != tag) {
				t.Fatalf("%q: %q is no tag", v, tag)
			}
		}
	})
}

// FuzzCacheStatus checks that whatever is put into the field is read back as
// structured.
func FuzzCacheStatus(f *testing.F) {
	f.Add("modproxy", "http://example.org/", "stale")
	f.Add("a b", "\"\\\x00ü", "")
	f.Fuzz(func(t *testing.T, name, key, detail string) {
		s := CacheStatus{Name: name, Fwd: FwdMiss, Key: key, Detail: detail}
		p := sfParser{string(s.Append(nil))}
		if _, ok := p.bareItem(); !ok || !p.parameters() || p.rest != "" {
			t.Fatalf("%q", s.Append(nil))
		}
	})
}
