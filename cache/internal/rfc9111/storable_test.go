package rfc9111

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// transactionOf is a GET whose answer came at testNow.
func transactionOf(p *Policy, status int, request http.Header, response http.Header) *Transaction {
	target, _ := url.Parse("http://example.org/a?b")
	return &Transaction{
		Method: http.MethodGet, Target: target, Asked: &http.Request{Header: request}, Request: ParseRequestDirectives(request),
		Status: status, Header: response, Response: ParseResponseDirectives(response, p.Targets),
		RequestTime: testNow, ResponseTime: testNow,
	}
}

func TestRFC9111_3_StoringResponses(t *testing.T) {
	old := date(-100000)
	for _, c := range []struct {
		name     string
		status   int
		request  http.Header
		response http.Header
		refused  string // part of the reason; "" means stored
	}{
		{"max-age", 200, nil, fields("Cache-Control: max-age=60"), ""},
		{"s-maxage", 200, nil, fields("Cache-Control: s-maxage=60"), ""},
		{"Expires", 200, nil, fields("Expires: "+date(60), "Date: "+date(0)), ""},
		{"heuristic by Last-Modified", 200, nil, fields("Last-Modified: " + old), ""},
		{"a validator alone", 200, nil, fields(`ETag: "a"`), ""},
		{"public with a validator", 599, nil, fields("Cache-Control: public", "Last-Modified: "+old), ""},
		{"nothing", 200, nil, nil, "neither a lifetime nor a validator"},
		{"public alone", 200, nil, fields("Cache-Control: public"), "neither a lifetime nor a validator"},
		{"an ETag that is none", 200, nil, fields("ETag: abc"), "neither a lifetime nor a validator"},
		{"interim", 103, nil, fields("Cache-Control: max-age=60"), "final"},
		{"not modified", 304, nil, fields("Cache-Control: max-age=60"), "this request only"},
		{"precondition failed", 412, nil, fields("Cache-Control: max-age=60"), "this request only"},
		{"range not satisfiable", 416, nil, fields("Cache-Control: max-age=60"), "this request only"},

		// §3, third: no-store
		{"no-store", 200, nil, fields("Cache-Control: no-store, max-age=60"), "no-store in the response"},
		{"no-store in the request", 200, fields("Cache-Control: no-store"), fields("Cache-Control: max-age=60"), "no-store in the request"},
		{"Pragma: no-cache does not forbid to store", 200, fields("Pragma: no-cache"), fields("Cache-Control: max-age=60"), ""},

		// §5.2.2.3
		{"must-understand, understood", 200, nil, fields("Cache-Control: must-understand, no-store, max-age=60"), ""},
		{"must-understand, not understood", 299, nil, fields("Cache-Control: must-understand, no-store, max-age=60"), "must-understand"},
		{"must-understand alone, not understood", 299, nil, fields("Cache-Control: must-understand, max-age=60"), "must-understand"},

		// §5.2.2.7
		{"private", 200, nil, fields("Cache-Control: private, max-age=60"), "private"},
		{"private with fields", 200, nil, fields(`Cache-Control: private="set-cookie", max-age=60`, "Set-Cookie: a=b"), ""},

		// §3.5
		{"Authorization", 200, fields("Authorization: x"), fields("Cache-Control: max-age=60"), "Authorization"},
		{"Authorization, Expires", 200, fields("Authorization: x"), fields("Expires: " + date(60)), "Authorization"},
		{"Authorization, public", 200, fields("Authorization: x"), fields("Cache-Control: max-age=60, public"), ""},
		{"Authorization, must-revalidate", 200, fields("Authorization: x"), fields("Cache-Control: max-age=60, must-revalidate"), ""},
		{"Authorization, s-maxage", 200, fields("Authorization: x"), fields("Cache-Control: s-maxage=60"), ""},
		{"Authorization, broken s-maxage", 200, fields("Authorization: x"), fields("Cache-Control: s-maxage=x", `ETag: "a"`), "Authorization"},
		{"Authorization, proxy-revalidate", 200, fields("Authorization: x"), fields("Cache-Control: max-age=60, proxy-revalidate"), "Authorization"},

		// Set-Cookie
		{"Set-Cookie", 200, nil, fields("Cache-Control: max-age=60", "Set-Cookie: a=b"), "Set-Cookie"},
		{"Set-Cookie, public", 200, nil, fields("Cache-Control: max-age=60, public", "Set-Cookie: a=b"), ""},
		{"Set-Cookie, s-maxage", 200, nil, fields("Cache-Control: s-maxage=60", "Set-Cookie: a=b"), ""},
		{"Set-Cookie in no-cache", 200, nil, fields(`Cache-Control: max-age=60, no-cache="Set-Cookie"`, "Set-Cookie: a=b"), ""},
		{"Set-Cookie, targeted", 200, nil, fields("CDN-Cache-Control: max-age=60", "Set-Cookie: a=b"), ""},
		{"Cookie in the request", 200, fields("Cookie: a=b"), fields("Cache-Control: max-age=60"), ""},

		// §4.1
		{"Vary", 200, nil, fields("Cache-Control: max-age=60", "Vary: Foo"), ""},
		{"Vary: *", 200, nil, fields("Cache-Control: max-age=60", "Vary: *"), "Vary"},
		{"Vary: Foo, *", 200, nil, fields("Cache-Control: max-age=60", "Vary: Foo, *"), "Vary"},
		{"Vary: empty line, *", 200, nil, fields("Cache-Control: max-age=60", "Vary: ", "Vary: *"), "Vary"},
		{"Vary: , *", 200, nil, fields("Cache-Control: max-age=60", "Vary: , *"), "Vary"},

		// What cannot be used again.
		{"no-cache with a validator", 200, nil, fields("Cache-Control: no-cache", `ETag: "a"`), ""},
		{"no-cache without", 200, nil, fields("Cache-Control: no-cache, max-age=60"), "no-cache without"},
		{"expired with a validator", 200, nil, fields("Cache-Control: max-age=0", `ETag: "a"`), ""},
		{"expired without", 200, nil, fields("Cache-Control: max-age=0"), "already expired"},
		{"old without", 200, nil, fields("Cache-Control: max-age=60", "Age: 60"), "already expired"},
		{"past Expires", 200, nil, fields("Expires: "+date(-60), "Date: "+date(0)), "already expired"},
		{"broken Expires", 200, nil, fields("Expires: 0"), "broken lifetime"},
		{"broken max-age", 200, nil, fields("Cache-Control: max-age=x"), "broken lifetime"},
		{"broken max-age with a validator", 200, nil, fields("Cache-Control: max-age=x", `ETag: "a"`), ""},
		{"expired but stale-if-error", 200, nil, fields("Cache-Control: max-age=0, stale-if-error=60"), ""},
		{"expired but stale-while-revalidate", 200, nil, fields("Cache-Control: max-age=0, stale-while-revalidate=60"), ""},

		// §3.3
		{"partial", 206, nil, fields("Cache-Control: max-age=60", "Content-Range: bytes 0-4/10"), ""},
		{"partial without Content-Range", 206, nil, fields("Cache-Control: max-age=60", "Content-Type: multipart/byteranges; boundary=x"), "Content-Range"},

		{"a field that splits", 200, nil, http.Header{"Cache-Control": {"max-age=60"}, "A": {"b\r\nc: d"}}, "not valid"},
		{"a name that splits", 200, nil, http.Header{"Cache-Control": {"max-age=60"}, "A: b": {"c"}}, "not valid"},
	} {
		p := &Policy{Targets: cdn}
		got := p.Storable(transactionOf(p, c.status, c.request, c.response))
		if c.refused == "" {
			require.Empty(t, got, c.name)
		} else {
			require.Contains(t, string(got), c.refused, c.name)
		}
	}
}

// Any final status with an explicit lifetime; without, those of RFC 9110
// section 15.1 alone.
func TestRFC9110_15_1_HeuristicallyCacheable(t *testing.T) {
	p := &Policy{}
	explicit, implicit := fields("Cache-Control: max-age=60"), fields("Last-Modified: "+date(-100000))
	heuristic := map[int]bool{200: true, 203: true, 204: true, 300: true, 301: true, 308: true, 404: true, 405: true, 410: true, 414: true, 501: true}
	for _, status := range []int{200, 201, 202, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 451, 499, 500, 501, 502, 503, 504, 599} {
		require.Empty(t, p.Storable(transactionOf(p, status, nil, explicit)), status)
		require.Equal(t, heuristic[status], p.Storable(transactionOf(p, status, nil, implicit)) == "", status)
	}
	require.Empty(t, p.Storable(transactionOf(p, 206, nil, fields("Last-Modified: "+date(-100000), "Content-Range: bytes 0-4/10"))))
}

func TestRFC9111_3_OnlyMethodsThatAreUnderstood(t *testing.T) {
	p := &Policy{}
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "QUERY", "get"} {
		x := transactionOf(p, 200, nil, fields("Cache-Control: max-age=60"))
		x.Method = method
		require.NotEmpty(t, p.Storable(x), method)
	}
}

// Each departure does what its name says, and nothing without it.
func TestDeparturesFromTheRFC(t *testing.T) {
	ttl := time.Minute
	for _, c := range []struct {
		name     string
		with     Policy
		change   func(*Transaction)
		request  http.Header
		response http.Header
	}{
		{"CacheStoreNoStore", Policy{StoreNoStore: true}, nil, nil, fields("Cache-Control: no-store, max-age=60")},
		{"CacheStorePrivate", Policy{StorePrivate: true}, nil, nil, fields("Cache-Control: private, max-age=60")},
		{"CacheStoreExpired", Policy{StoreExpired: true}, nil, nil, fields("Cache-Control: max-age=0")},
		{"CacheStoreExpired, broken", Policy{StoreExpired: true}, nil, nil, fields("Expires: 0")},
		{"CacheIgnoreNoLastMod", Policy{IgnoreNoLastMod: true, DefaultExpire: time.Hour}, nil, nil, nil},
		{"CacheIgnoreCacheControl", Policy{IgnoreCacheControl: true}, nil, fields("Cache-Control: no-store"), fields("Cache-Control: max-age=60")},
		{"storeSetCookie", Policy{StoreSetCookie: true}, nil, nil, fields("Cache-Control: max-age=60", "Set-Cookie: a=b")},
		{"staleIfError", Policy{StaleIfError: time.Hour}, nil, nil, fields("Cache-Control: max-age=0")},
		{"ttl", Policy{}, func(x *Transaction) { x.TTL = &ttl }, nil, nil},
	} {
		x := transactionOf(&c.with, 200, c.request, c.response)
		require.NotEmpty(t, (&Policy{}).Storable(x), c.name)
		if c.change != nil {
			c.change(x)
		}
		require.Empty(t, c.with.Storable(x), c.name)
	}
	require.NotEmpty(t, (&Policy{DefaultExpire: time.Hour}).Storable(transactionOf(&Policy{}, 200, nil, nil)), "CacheDefaultExpire alone")

	p := &Policy{QueryNeedsExpiry: true}
	require.NotEmpty(t, p.Storable(transactionOf(p, 200, nil, fields("Last-Modified: "+date(-100000)))))
	require.Empty(t, p.Storable(transactionOf(p, 200, nil, fields("Cache-Control: max-age=60"))))
	x := transactionOf(p, 200, nil, fields("Last-Modified: "+date(-100000)))
	x.Target = &url.URL{Scheme: "http", Host: "example.org", Path: "/"}
	require.Empty(t, p.Storable(x), "without a query")
}

func TestRFC9111_3_1_FieldsThatAreStored(t *testing.T) {
	p := &Policy{IgnoreHeaders: []string{"X-Ignored"}}
	h := fields("Connection: close, a", "A: 1", "B: 2", "C: 3", "D: 4", "Keep-Alive: x", "Proxy-Connection: x", "Proxy-Authenticate: x",
		"Proxy-Authentication-Info: x", "Proxy-Authorization: x", "TE: x", "Trailer: x", "Transfer-Encoding: chunked", "Upgrade: x",
		"X-Ignored: x", "Content-Type: text/plain", "WWW-Authenticate: x", "Strict-Transport-Security: x", "Clear-Site-Data: x", "Unknown: x", "Age: 3",
		`Cache-Control: no-cache="c", private="d", max-age=60`)
	d := ParseResponseDirectives(h, nil)
	want := fields("B: 2", "Content-Type: text/plain", "WWW-Authenticate: x", "Strict-Transport-Security: x", "Clear-Site-Data: x", "Unknown: x", "Age: 3",
		`Cache-Control: no-cache="c", private="d", max-age=60`)
	require.Equal(t, want, p.StoredHeader(h, &d))
	require.Contains(t, (&Policy{StorePrivate: true}).StoredHeader(h, &d), "D")
}

func TestRFC9110_6_6_1_DateIsAdded(t *testing.T) {
	h := fields("A: b")
	AddDate(h, testNow)
	require.Equal(t, date(0), h.Get("Date"))
	AddDate(h, testNow.Add(time.Hour))
	require.Equal(t, date(0), h.Get("Date"))
}
