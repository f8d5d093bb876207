package rfc9111

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRFC9110_8_8_3_EntityTags(t *testing.T) {
	for v, want := range map[string]string{
		`"abc"`: `"abc"`, `W/"abc"`: `W/"abc"`, `""`: `""`, ` "abc" `: `"abc"`, `"a,b"`: `"a,b"`, "\"abc\xfc\"": "\"abc\xfc\"", `"a\b"`: `"a\b"`,
		``: "", `abc`: "", `w/"abc"`: "", `W\"abc"`: "", `W"abc"`: "", `"abc`: "", `abc"`: "", `"a b"`: "", `"a" b`: "", `"a", "b"`: "", `W/`: "", `*`: "",
		`"a"b"`: "", "\"a\x7f\"": "", `W/ "a"`: "",
	} {
		require.Equal(t, want, oneETag([]string{v}), "%q", v)
	}
	require.Equal(t, `"a"`, oneETag([]string{`"a"`, `"a"`}))
	require.Empty(t, oneETag([]string{`"a"`, `"b"`}))
	require.Empty(t, oneETag(nil))
}

func TestRFC9110_8_8_3_2_Comparison(t *testing.T) {
	for _, c := range []struct {
		a, b         string
		strong, weak bool
	}{
		{`W/"1"`, `W/"1"`, false, true},
		{`W/"1"`, `W/"2"`, false, false},
		{`W/"1"`, `"1"`, false, true},
		{`"1"`, `"1"`, true, true},
		{`"1"`, `"2"`, false, false},
	} {
		require.Equal(t, c.strong, strongEqual(c.a, c.b), "%s %s", c.a, c.b)
		require.Equal(t, c.weak, weakEqual(c.a, c.b), "%s %s", c.a, c.b)
	}
	require.False(t, strongEqual("", ""))
}

// Conditions of a client, answered by what is stored.
func TestRFC9111_4_3_2_ReceivedConditions(t *testing.T) {
	tagged := []string{`ETag: "a"`, "Last-Modified: " + date(-3000), "Date: " + date(0)}
	for _, c := range []struct {
		name    string
		stored  []string
		request http.Header
		want    bool
	}{
		{"none", tagged, nil, false},
		{"If-None-Match", tagged, fields(`If-None-Match: "a"`), true},
		{"another tag", tagged, fields(`If-None-Match: "b"`), false},
		{"weak in the request", tagged, fields(`If-None-Match: W/"a"`), true},
		{"weak in the response", []string{`ETag: W/"a"`}, fields(`If-None-Match: "a"`), true},
		{"first of many", tagged, fields(`If-None-Match: "a", "1", "2"`), true},
		{"middle of many", tagged, fields(`If-None-Match: "1","a" ,, "2"`), true},
		{"last of many", tagged, fields(`If-None-Match: "1", W/"2", "a"`), true},
		{"on another line", tagged, fields(`If-None-Match: "1"`, `If-None-Match: "a"`), true},
		{"behind one that is none", tagged, fields(`If-None-Match: x, "a"`), true},
		{"inside another tag", []string{`ETag: "b"`}, fields(`If-None-Match: "a,b"`), false},
		{"unquoted", tagged, fields(`If-None-Match: a`), false},
		{"obs-text", []string{"ETag: \"\xfc\""}, fields("If-None-Match: \"\xfc\""), true},
		{"*", tagged, fields(`If-None-Match: *`), true},
		{"* without an ETag", []string{"Date: " + date(0)}, fields(`If-None-Match: *`), true},
		{"no ETag stored", []string{"Date: " + date(0)}, fields(`If-None-Match: "a"`), false},

		{"If-Modified-Since, the same", tagged, fields("If-Modified-Since: " + date(-3000)), true},
		{"If-Modified-Since, later", tagged, fields("If-Modified-Since: " + date(-2000)), true},
		{"If-Modified-Since, earlier", tagged, fields("If-Modified-Since: " + date(-4000)), false},
		{"If-Modified-Since, RFC 850", tagged, fields("If-Modified-Since: Sunday, 01-Mar-26 11:10:00 GMT"), true},
		{"If-Modified-Since, asctime", tagged, fields("If-Modified-Since: Sun Mar  1 11:10:00 2026"), true},
		{"If-Modified-Since that is none", tagged, fields("If-Modified-Since: yesterday"), false},
		{"two of If-Modified-Since", tagged, fields("If-Modified-Since: "+date(0), "If-Modified-Since: "+date(1)), false},
		{"against Date, earlier", []string{"Date: " + date(0)}, fields("If-Modified-Since: " + date(-3000)), false},
		{"against Date, the same", []string{"Date: " + date(0)}, fields("If-Modified-Since: " + date(0)), true},
		{"against the time it came", nil, fields("If-Modified-Since: " + date(0)), true},
		{"against the time it came, earlier", nil, fields("If-Modified-Since: " + date(-1)), false},

		// RFC 9110 section 13.2.2: If-Modified-Since does not count beside it.
		{"If-None-Match first, true", tagged, fields(`If-None-Match: "a"`, "If-Modified-Since: "+date(-9999)), true},
		{"If-None-Match first, false", tagged, fields(`If-None-Match: "b"`, "If-Modified-Since: "+date(0)), false},
		{"If-None-Match that is none first", tagged, fields(`If-None-Match: `, "If-Modified-Since: "+date(0)), false},
	} {
		require.Equal(t, c.want, storedAt(&Policy{}, c.stored...).NotModified(c.request), c.name)
	}
}

func TestRFC9110_13_2_1_ConditionsOfSuccessOnly(t *testing.T) {
	for status, want := range map[int]bool{200: true, 203: true, 206: true, 301: false, 404: false, 500: false} {
		f := storedAt(&Policy{}, `ETag: "a"`)
		f.status = status
		require.Equal(t, want, f.NotModified(fields(`If-None-Match: "a"`)), status)
	}
}

func TestRFC9111_4_3_2_ConditionsForTheOrigin(t *testing.T) {
	require.True(t, WantsOrigin(fields(`If-Match: "a"`)))
	require.True(t, WantsOrigin(fields("If-Unmodified-Since: "+date(0))))
	require.False(t, WantsOrigin(fields(`If-None-Match: "a"`, "If-Modified-Since: "+date(0), `If-Range: "a"`)))
}

func TestRFC9110_13_1_5_IfRange(t *testing.T) {
	modified := "Last-Modified: " + date(-3000)
	for _, c := range []struct {
		name    string
		stored  []string
		request string
		want    bool
	}{
		{"the tag", []string{`ETag: "a"`}, `"a"`, true},
		{"another tag", []string{`ETag: "a"`}, `"b"`, false},
		{"a weak tag", []string{`ETag: W/"a"`}, `W/"a"`, false},
		{"weak and strong", []string{`ETag: W/"a"`}, `"a"`, false},
		{"two tags", []string{`ETag: "a"`}, `"a", "a"`, false},
		{"no tag stored", nil, `"a"`, false},
		{"the date", []string{modified, "Date: " + date(0)}, date(-3000), true},
		{"a later date", []string{modified, "Date: " + date(0)}, date(-2000), false},
		{"an earlier date", []string{modified, "Date: " + date(0)}, date(-4000), false},
		{"a date that is weak: RFC 9110 section 8.8.2.2", []string{modified, "Date: " + date(-3000)}, date(-3000), false},
		{"no date stored", []string{`ETag: "a"`}, date(0), false},
		{"neither", []string{`ETag: "a"`, modified}, "a", false},
		{"empty", []string{`ETag: "a"`, modified}, "", false},
	} {
		require.Equal(t, c.want, storedAt(&Policy{}, c.stored...).IfRange(fields("If-Range: "+c.request)), c.name)
	}
	f := storedAt(&Policy{}, `ETag: "a"`)
	require.True(t, f.IfRange(nil), "without If-Range")
	require.False(t, f.IfRange(fields(`If-Range: "a"`, `If-Range: "a"`)), "two lines")
}

func TestRFC9111_4_3_1_SendingAValidationRequest(t *testing.T) {
	p := &Policy{}
	both := storedAt(p, `ETag: "a"`, "Last-Modified: Sunday, 01-Mar-26 11:10:00 GMT")
	tag := storedAt(p, `ETag: W/"b"`)
	dated := storedAt(p, "Last-Modified: "+date(-3000))
	for _, c := range []struct {
		name string
		of   *Facts
		want http.Header
	}{
		{"both validators, as they were sent", both, fields("Foo: 1", `If-None-Match: "a"`, "If-Modified-Since: Sunday, 01-Mar-26 11:10:00 GMT")},
		{"a weak tag", tag, fields("Foo: 1", `If-None-Match: W/"b"`)},
		{"a date alone", dated, fields("Foo: 1", "If-Modified-Since: "+date(-3000))},
		{"nothing to offer", storedAt(p, "Last-Modified: foo", "ETag: foo"), fields("Foo: 1")},
	} {
		h := fields("Foo: 1", `If-None-Match: "client"`, "If-Modified-Since: "+date(0), `If-Match: "x"`, "If-Unmodified-Since: "+date(0), `If-Range: "x"`)
		SetValidation(h, c.of)
		require.Equal(t, c.want, h, c.name)
	}
}
