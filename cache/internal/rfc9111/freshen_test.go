package rfc9111

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// Whether a 304 speaks of the stored response that the origin was asked about.
func TestRFC9111_4_3_4_SelectingWhatIsUpdated(t *testing.T) {
	p := &Policy{}
	strong, weak := storedAt(p, `ETag: "a"`), storedAt(p, `ETag: W/"a"`)
	dated, bare := storedAt(p, "Last-Modified: "+date(-3000)), storedAt(p)
	for _, c := range []struct {
		name   string
		h      http.Header
		stored *Facts
		want   bool
	}{
		{"strong: the same", fields(`ETag: "a"`), strong, true},
		{"strong: another", fields(`ETag: "c"`), strong, false},
		{"strong: a weak one is another", fields(`ETag: "a"`), weak, false},
		{"strong: there was none", fields(`ETag: "a"`), dated, false},
		{"strong: whatever the date", fields(`ETag: "a"`, "Last-Modified: "+date(-1)), strong, true},
		{"weak: the same", fields(`ETag: W/"a"`), weak, true},
		{"weak: also one that is strong here", fields(`ETag: W/"a"`), strong, true},
		{"weak: another", fields(`ETag: W/"c"`), weak, false},
		{"weak: there was none", fields(`ETag: W/"a"`), bare, false},
		{"date: the same", fields("Last-Modified: " + date(-3000)), dated, true},
		{"date: another", fields("Last-Modified: " + date(-3001)), dated, false},
		{"date: there was none", fields("Last-Modified: " + date(-3000)), strong, false},
		{"none", nil, bare, true},
		{"none: the origin left it out", nil, strong, true},
		{"none: two that differ", fields(`ETag: "a"`, `ETag: "b"`), strong, false},
		{"none: no tag, but a date", fields("ETag: a", "Last-Modified: "+date(-3000)), dated, true},
	} {
		require.Equal(t, c.want, c.stored.ConfirmedBy(c.h, testNow), c.name)
	}
}

func TestRFC9111_3_2_UpdatingStoredFields(t *testing.T) {
	p := &Policy{}
	m := &store.Meta{
		Status: 200, Length: 5, Vary: http.Header{"Foo": {"1"}}, Invalid: true, RequestTime: testNow, ResponseTime: testNow,
		Header: fields("Cache-Control: max-age=1", `ETag: "a"`, "Kept: 1", "Changed: 1", "Many: 1", "Many: 2", "Age: 50", "Date: "+date(0),
			"Content-Type: text/plain", "Content-Length: 5", "Content-Encoding: gzip", "Vary: Foo"),
	}
	old := m.Header.Clone()
	n := p.Freshened(m, requestWith("Foo: 1"), fields("Cache-Control: max-age=60", `ETag: "a"`, "Changed: 2", "Many: 3", "New: 4", "Date: "+date(100),
		"Content-Type: text/html", "Content-Length: 0", "Content-Encoding: br", "Content-Range: bytes 0-1/2", "Set-Cookie: a=b",
		"Connection: x", "X: 1", "Keep-Alive: 1", "Transfer-Encoding: chunked"), after(99), after(100))
	require.Equal(t, fields("Cache-Control: max-age=60", `ETag: "a"`, "Kept: 1", "Changed: 2", "Many: 3", "New: 4", "Date: "+date(100),
		"Content-Type: text/html", "Content-Length: 5", "Content-Encoding: gzip", "Vary: Foo"), n.Header)
	require.Equal(t, after(99), n.RequestTime)
	require.Equal(t, after(100), n.ResponseTime)
	require.False(t, n.Invalid)
	require.Equal(t, m.Vary, n.Vary)
	require.EqualValues(t, 5, n.Length)
	require.Equal(t, old, m.Header, "the old one stays as it is")
	// A second of the lifetime went by on the way.
	require.Equal(t, UseFresh, p.Decide(ReadFacts(n, p), &RequestDirectives{}, after(158.9)).Verdict)
	require.Equal(t, mustValidate, p.Decide(ReadFacts(n, p), &RequestDirectives{}, after(159)).Verdict)
}

func TestRFC9111_4_3_4_AgeAndDateOf304(t *testing.T) {
	p := &Policy{}
	m := &store.Meta{Status: 200, Header: fields("Cache-Control: max-age=60", "Age: 50", "Date: "+date(-9)), RequestTime: testNow, ResponseTime: testNow}
	n := p.Freshened(m, requestWith(), fields("Age: 7", "Date: "+date(100)), after(100), after(100))
	require.Equal(t, "7", n.Header.Get("Age"))
	age, _ := ReadFacts(n, p).Age(after(101))
	require.EqualValues(t, 8e9, age)
}

// A 304 may name other fields in Vary than the response did.
func TestRFC9111_4_1_VaryOf304(t *testing.T) {
	p := &Policy{}
	m := &store.Meta{Status: 200, Header: fields("Vary: Foo"), Vary: http.Header{"Foo": {"1"}}, ResponseTime: testNow}
	n := p.Freshened(m, requestWith("Foo: 1", "Bar: 2"), fields("Vary: Foo, Bar"), testNow, testNow)
	require.Equal(t, http.Header{"Foo": {"1"}, "Bar": {"2"}}, n.Vary)
	require.False(t, n.Invalid)
	require.Equal(t, []string{"Foo", "Bar"}, n.Header["Vary"])
	n = p.Freshened(m, requestWith("Foo: 1"), fields("Foo: x"), testNow, testNow)
	require.Equal(t, m.Vary, n.Vary)
	for _, line := range []string{"Vary: ", "Vary: Bar"} { // the stored bytes were chosen by Foo
		n = p.Freshened(m, requestWith("Foo: 1"), fields(line), testNow, testNow)
		require.Equal(t, []string{"1"}, n.Vary["Foo"])
		require.Equal(t, "Foo", n.Header["Vary"][0])
	}
}

// Fields that no-cache or private of the stored response name stay out, although
// the 304 does not say so again.
func TestRFC9111_5_2_2_4_FieldsStayOutAfter304(t *testing.T) {
	p := &Policy{Targets: cdn}
	m := &store.Meta{Status: 200, Header: fields(`Cache-Control: no-cache="a", private="b", max-age=60`), ResponseTime: testNow}
	n := p.Freshened(m, requestWith(), fields("A: 1", "B: 1", "C: 1"), testNow, testNow)
	require.NotContains(t, n.Header, "A")
	require.NotContains(t, n.Header, "B")
	require.Contains(t, n.Header, "C")
	n = p.Freshened(m, requestWith(), fields("A: 1", "Cache-Control: max-age=60"), testNow, testNow)
	require.Contains(t, n.Header, "A")
	m.Header = fields(`CDN-Cache-Control: max-age=60, no-cache="a"`)
	n = p.Freshened(m, requestWith(), fields("A: 1", "Cache-Control: max-age=60"), testNow, testNow)
	require.NotContains(t, n.Header, "A")
}

func TestMayFreshen(t *testing.T) {
	for _, c := range []struct {
		name              string
		stored            []string
		request, response http.Header
		refused           string
		gone              bool
	}{
		{"plain", []string{"Cache-Control: max-age=60"}, nil, fields("Cache-Control: max-age=60"), "", false},
		{"no-store in the request", nil, fields("Cache-Control: no-store"), nil, "no-store in the request", false},
		{"no-store", nil, nil, fields("Cache-Control: no-store"), "no-store in the response", true},
		{"no-store, must-understand", nil, nil, fields("Cache-Control: no-store, must-understand"), "", false},
		{"private", nil, nil, fields("Cache-Control: private"), "private", true},
		{"Vary: *", nil, nil, fields("Vary: *"), "Vary", true},
		{"Authorization", nil, fields("Authorization: x"), nil, "Authorization", false},
		{"Authorization, public as stored", []string{"Cache-Control: public"}, fields("Authorization: x"), nil, "Authorization", false},
		{"Authorization, public", nil, fields("Authorization: x"), fields("Cache-Control: public"), "", false},
		{"Authorization, not public any more", []string{"Cache-Control: public"}, fields("Authorization: x"), fields("Cache-Control: max-age=1"), "Authorization", false},
		{"a field that splits", nil, nil, http.Header{"A": {"b\nc"}}, "not valid", false},
	} {
		p := &Policy{}
		x := transactionOf(p, 304, c.request, c.response)
		why, gone := p.MayFreshen(&store.Meta{Status: 200, Header: fields(c.stored...)}, x)
		if c.refused == "" {
			require.Empty(t, why, c.name)
		} else {
			require.Contains(t, string(why), c.refused, c.name)
		}
		require.Equal(t, c.gone, gone, c.name)
	}
}

func TestRFC9111_4_3_5_FresheningWithHead(t *testing.T) {
	m := &store.Meta{Status: 200, Length: 5, Header: fields(`ETag: "a"`, "Last-Modified: "+date(-3000)), ResponseTime: testNow}
	for _, c := range []struct {
		name   string
		status int
		h      http.Header
		want   headVerdict
	}{
		{"nothing to compare", 200, fields("Cache-Control: max-age=60"), HeadFreshens},
		{"all the same", 200, fields(`ETag: "a"`, "Last-Modified: "+date(-3000), "Content-Length: 5"), HeadFreshens},
		{"another tag", 200, fields(`ETag: "b"`), HeadInvalidates},
		{"a weak tag", 200, fields(`ETag: W/"a"`), HeadInvalidates},
		{"a tag that is none", 200, fields(`ETag: a`), HeadInvalidates},
		{"another date", 200, fields("Last-Modified: " + date(-3001)), HeadInvalidates},
		{"another length", 200, fields(`ETag: "a"`, "Content-Length: 6"), HeadInvalidates},
		{"not found", 404, fields(`ETag: "a"`), headNothing},
		{"not modified", 304, fields(`ETag: "a"`), headNothing},
		{"gone", 410, nil, headNothing},
	} {
		require.Equal(t, c.want, ByHead(ReadFacts(m, &Policy{}), m, c.status, c.h, testNow), c.name)
	}
	other := &store.Meta{Status: 404, Header: fields(`ETag: "a"`)}
	require.Equal(t, headNothing, ByHead(ReadFacts(other, &Policy{}), other, 200, fields(`ETag: "b"`), testNow))
	unknown := &store.Meta{Status: 206, Length: -1, Parts: []store.Part{{Start: 0, End: 5}}, Header: fields(`ETag: "a"`)}
	require.Equal(t, HeadFreshens, ByHead(ReadFacts(unknown, &Policy{}), unknown, 200, fields(`ETag: "a"`, "Content-Length: 9"), testNow))
}
