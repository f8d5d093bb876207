package rfc9111

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// hostile are values of fields, of about n bytes each, that cost most where a
// parser looks at something again and again.
var hostile = map[string]func(n int) string{
	"commas":                    repeated(","),
	"blanks":                    repeated(" "),
	"blanks and commas":         repeated(" ,"),
	"blanks before an end":      func(n int) string { return "a" + strings.Repeat(" ", n) + "b" },
	"quotes":                    repeated(`"`),
	"quotes apart":              repeated(`" `),
	"quotes after commas":       repeated(`",`),
	"an unclosed quote":         func(n int) string { return `a=b c"` + strings.Repeat(`\"`, n/2) },
	"unclosed quotes":           func(n int) string { return `a="` + strings.Repeat(`\",a="`, n/7) },
	"escaped quotes":            func(n int) string { return `a=b c"` + strings.Repeat(`\",`, n/3) },
	"backslashes":               repeated(`\`),
	"quoted backslashes":        func(n int) string { return `"` + strings.Repeat(`\`, n) },
	"quoted commas":             func(n int) string { return `"` + strings.Repeat(`,`, n) },
	"names":                     repeated("a,"),
	"directives":                repeated("max-age=1,"),
	"quoted directives":         repeated(`no-cache="a",`),
	"names in quotes":           func(n int) string { return `no-cache="` + strings.Repeat("a,", n/2) + `"` },
	"semicolons":                repeated(";"),
	"parameters":                func(n int) string { return "a" + strings.Repeat(";a=1", n/4) },
	"equals":                    repeated("="),
	"parentheses":               func(n int) string { return "a=(" + strings.Repeat("(", n) },
	"an inner list":             func(n int) string { return "a=(" + strings.Repeat(`"a" `, n/4) },
	"inner lists":               repeated("a=(1 2),"),
	"byte sequences":            repeated("a=:YQ==:,"),
	"an unclosed byte sequence": func(n int) string { return "a=:" + strings.Repeat("a", n) },
	"display strings":           repeated(`a=%"%c3%a4",`),
	"digits":                    repeated("9"),
	"ranges":                    func(n int) string { return "bytes=" + strings.Repeat("0-0,", n/4) },
	"empty ranges":              func(n int) string { return "bytes=" + strings.Repeat(",", n) },
	"long ranges":               func(n int) string { return "bytes=0-" + strings.Repeat("9", n) },
	"tags":                      repeated(`"a",`),
	"weak tags":                 repeated(`W/"a", `),
	"tags of commas":            repeated(`"a,"a,`),
	"tags without an end":       repeated(`"a`),
	"codings":                   repeated("gzip;q=0, "),
	"languages":                 repeated("de-DE ; q=0.1,"),
	"percent":                   repeated("%41"),
	"stars":                     repeated("*,"),
}

func repeated(what string) func(n int) string {
	return func(n int) string { return strings.Repeat(what, n/len(what)) }
}

// each makes one input of each hostile value.
func each(name string, parse func(value string)) (inputs map[string]parsertest.Input) {
	inputs = make(map[string]parsertest.Input)
	for what, value := range hostile {
		inputs[name+"/"+what] = func(n int) func() {
			v := value(n)
			return func() { parse(v) }
		}
	}
	return inputs
}

// Whatever is in a field, reading it costs no more than its length.
func TestCostOfFields(t *testing.T) {
	p := &Policy{Targets: cdn, NormalizeEncoding: []string{"br", "gzip"}}
	f := storedAt(p, `ETag: "b"`, "Last-Modified: "+date(-100))
	one := func(value string) []string { return []string{value} }
	for name, parse := range map[string]func(value string){
		"Cache-Control of a request":  func(v string) { ParseRequestDirectives(http.Header{"Cache-Control": one(v)}) },
		"Cache-Control of a response": func(v string) { ParseResponseDirectives(http.Header{"Cache-Control": one(v)}, nil) },
		"Pragma":                      func(v string) { ParseRequestDirectives(http.Header{"Pragma": one(v)}) },
		"targeted fields":             func(v string) { ParseResponseDirectives(http.Header{"Cdn-Cache-Control": one(v)}, cdn) },
		"Vary":                        func(v string) { variesOnAll(one(v)) },
		"Range":                       func(v string) { ParseRange(http.Header{"Range": one(v)}) },
		"Content-Range":               func(v string) { ParseContentRange(http.Header{"Content-Range": one("bytes " + v)}) },
		"If-None-Match":               func(v string) { f.noneMatchFails(one(v)) },
		"If-Range":                    func(v string) { f.IfRange(http.Header{"If-Range": one(v)}) },
		"If-Modified-Since":           func(v string) { f.NotModified(http.Header{"If-Modified-Since": one(v)}) },
		"ETag":                        func(v string) { oneETag(one(v)) },
		"Age":                         func(v string) { ageValue(http.Header{"Age": one(v)}) },
		"Surrogate-Key":               func(v string) { SurrogateKeys(http.Header{"Surrogate-Key": one(v)}) },
		"Cache-Tag":                   func(v string) { SurrogateKeys(http.Header{"Cache-Tag": one(v)}) },
		"Connection":                  func(v string) { p.StoredHeader(http.Header{"Connection": one(v)}, &responseDirectives{}) },
		"Accept-Encoding, normalized": func(v string) { p.bestEncoding(one(v)) },
		"Cache-Status":                func(v string) { (&CacheStatus{Name: "c", Key: v, Detail: v}).Append(nil) },
		"Location":                    func(v string) { AlsoInvalidated(&url.URL{Scheme: "http", Host: "a"}, http.Header{"Location": one(v)}) },
	} {
		parsertest.Linear(t, each(name, parse))
	}
}

// A field that Vary names is compared with what is stored on every request.
func TestCostOfSelectingFields(t *testing.T) {
	for _, name := range []string{"Accept-Encoding", "Accept-Language", "Accept", "Cookie", "X-Any", "Host"} {
		p := &Policy{}
		parsertest.Linear(t, each(name, func(v string) {
			r := &http.Request{Header: http.Header{name: {v}}, Host: v}
			split(name, r.Header[name])
			p.Matches([]string{name}, http.Header{name: {"a", "b"}}, r)
			sameValue(name, []string{"a", "b"}, r.Header[name])
		}))
	}
}

// Many fields, and many names of them, do not multiply.
func TestCostOfManyFields(t *testing.T) {
	p := &Policy{Targets: cdn}
	fields := func(n int) (h http.Header, names string) {
		h = make(http.Header)
		var all []string
		for i := range n / 16 {
			name := http.CanonicalHeaderKey("x-" + strings.Repeat("a", i%8) + time.Duration(i).String())
			h[name] = []string{"v"}
			all = append(all, name)
		}
		return h, strings.Join(all, ",")
	}
	parsertest.Linear(t, map[string]parsertest.Input{
		"Connection names all": func(n int) func() {
			h, names := fields(n)
			h["Connection"] = []string{names}
			return func() { p.StoredHeader(h, &responseDirectives{}) }
		},
		"Connection is commas": func(n int) func() {
			h, _ := fields(n)
			h["Connection"] = []string{strings.Repeat(",", n)}
			return func() { p.StoredHeader(h, &responseDirectives{}) }
		},
		"Cache-Control names all": func(n int) func() {
			h, names := fields(n)
			h["Cache-Control"] = []string{`max-age=1, private="` + names + `", no-cache="` + names + `"`}
			return func() { d := ParseResponseDirectives(h, nil); p.StoredHeader(h, &d) }
		},
		"a 304 with all of them": func(n int) func() {
			h, names := fields(n)
			h["Connection"], h["Cache-Control"], h["Vary"] = []string{names}, []string{`private="` + names + `"`}, []string{names}
			m := &store.Meta{Status: 200, Header: h.Clone()}
			return func() { AnswerAfter(p.Freshened(m, requestWith(), h, testNow, testNow), h) }
		},
		"Vary names all": func(n int) func() {
			h, names := fields(n)
			h["Vary"] = []string{names}
			return func() { p.Storable(transactionOf(p, 200, h, h)) }
		},
		"many lines": func(n int) func() {
			lines := make([]string, n/4)
			return func() {
				ParseRequestDirectives(http.Header{"Cache-Control": lines})
				split("X-Any", lines)
				(&Policy{}).Matches([]string{"X-Any"}, http.Header{"X-Any": {"a"}}, &http.Request{Header: http.Header{"X-Any": lines}})
				storedAt(p).noneMatchFails(lines)
				SurrogateKeys(http.Header{"Cache-Tag": lines})
			}
		},
		"names in other cases": func(n int) func() {
			h := make(http.Header)
			for i := range n / 16 {
				name := []byte("xxxxxxxxxxxxxxxxxxxx")
				for bit := range name {
					if i>>bit&1 == 1 {
						name[bit] = 'X'
					}
				}
				h[string(name)] = []string{"v"}
			}
			return func() { CanonicalNames(h) }
		},
		"dates": func(n int) func() {
			return func() {
				for _, before := range []string{"", "Sun, ", "Sunday, ", "Sun Nov "} {
					parseDate(before+strings.Repeat("9", n), testNow)
				}
			}
		},
	})
}
