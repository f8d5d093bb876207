package rfc9111

import (
	"fmt"
	"io"
	"math"
	"mime"
	mimepart "mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

func TestRFC9110_14_1_1_RangeSpecifiers(t *testing.T) {
	for v, want := range map[string][]rangeSpec{
		"bytes=0-499":                  {{0, 499}},
		"bytes=0-0":                    {{0, 0}},
		"BYTES=5-":                     {{5, -1}},
		"bytes=-5":                     {{-1, 5}},
		"bytes=-0":                     {{-1, 0}},
		"bytes=0-0,-1":                 {{0, 0}, {-1, 1}},
		"bytes=, 0-1 ,,\t2-3,":         {{0, 1}, {2, 3}},
		"bytes=00-01":                  {{0, 1}},
		"bytes=0-99999999999999999999": {{0, math.MaxInt64}},
		"bytes=99999999999999999999-":  {{math.MaxInt64, -1}},
		"bytes=-99999999999999999999":  {{-1, math.MaxInt64}},
	} {
		got, ok := ParseRange(fields("Range: " + v))
		require.True(t, ok, v)
		require.Equal(t, want, got, v)
	}
}

// A Range that is broken, or of a unit that is not known, is as if it were not
// there: RFC 9110 section 14.2.
func TestRFC9110_14_2_RangesThatAreIgnored(t *testing.T) {
	for _, v := range []string{
		"", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=5", "bytes=a-b", "bytes=0-1-2", "bytes=5-4", "bytes=0 - 1", "bytes=+0-1", "bytes=0-+1",
		"bytes=0x0-1", "bytes =0-1", "items=0-1", "0-1", "bytes=0-1,a", "bytes=0-1;2-3", "bytes=--1", "bytes=1.5-2", "bytes:0-1",
	} {
		_, ok := ParseRange(fields("Range: " + v))
		require.False(t, ok, "%q", v)
	}
	_, ok := ParseRange(nil)
	require.False(t, ok)
	_, ok = ParseRange(fields("Range: bytes=0-1", "Range: bytes=2-3"))
	require.False(t, ok, "two lines")
	many := "bytes=" + strings.Repeat("0-0,", maxRanges)
	_, ok = ParseRange(fields("Range: " + many))
	require.True(t, ok)
	_, ok = ParseRange(fields("Range: " + many + "1-1"))
	require.False(t, ok, "too many")
}

func TestRFC9110_14_1_2_RangesOfABody(t *testing.T) {
	for _, c := range []struct {
		v     string
		n     int64
		want  []store.Part
		whole bool
	}{
		{"0-4", 10, []store.Part{{Start: 0, End: 5}}, false},
		{"5-", 10, []store.Part{{Start: 5, End: 10}}, false},
		{"-3", 10, []store.Part{{Start: 7, End: 10}}, false},
		{"-30", 10, []store.Part{{Start: 0, End: 10}}, false},
		{"0-", 10, []store.Part{{Start: 0, End: 10}}, false},
		{"5-30", 10, []store.Part{{Start: 5, End: 10}}, false},
		{"9-9", 10, []store.Part{{Start: 9, End: 10}}, false},
		{"10-", 10, nil, false},
		{"-0", 10, nil, false},
		{"0-0", 0, nil, false},
		{"-1", 0, nil, false},
		{"10-,0-0", 10, []store.Part{{Start: 0, End: 1}}, false},
		{"8-9,0-1", 10, []store.Part{{Start: 8, End: 10}, {Start: 0, End: 2}}, false},
		{"0-1,1-2", 10, []store.Part{{Start: 0, End: 2}, {Start: 1, End: 3}}, false},
		{"0-,0-", 10, []store.Part{{Start: 0, End: 10}, {Start: 0, End: 10}}, true},
		{"0-1,0-1,0-1", 100, []store.Part{{Start: 0, End: 2}, {Start: 0, End: 2}, {Start: 0, End: 2}}, true},
		{"9223372036854775807-9223372036854775807", 10, nil, false},
		{"0-9223372036854775807", 10, []store.Part{{Start: 0, End: 10}}, false},
	} {
		specs, ok := ParseRange(fields("Range: bytes=" + c.v))
		require.True(t, ok, c.v)
		parts, whole := Resolve(specs, c.n)
		require.Equal(t, c.want, parts, c.v)
		require.Equal(t, c.whole, whole, c.v)
	}
}

func TestRFC9110_14_4_ContentRange(t *testing.T) {
	require.Equal(t, "bytes 0-4/10", ContentRange(store.Part{Start: 0, End: 5}, 10))
	require.Equal(t, "bytes 0-4/*", ContentRange(store.Part{Start: 0, End: 5}, -1))
	require.Equal(t, "bytes */10", Unsatisfied(10))
	for v, want := range map[string]store.Part{"bytes 0-4/10": {Start: 0, End: 5}, "Bytes 4-9/10": {Start: 4, End: 10}, " bytes 0-0/1 ": {Start: 0, End: 1}} {
		p, _, ok := ParseContentRange(fields("Content-Range: " + v))
		require.True(t, ok, v)
		require.Equal(t, want, p, v)
	}
	p, n, ok := ParseContentRange(fields("Content-Range: bytes 0-4/*"))
	require.True(t, ok)
	require.Equal(t, store.Part{Start: 0, End: 5}, p)
	require.EqualValues(t, -1, n)
	for _, v := range []string{
		"", "bytes", "bytes */10", "bytes 0-4", "bytes 5-4/10", "bytes 0-10/10", "bytes 0-4/", "bytes -4/10", "bytes 0-/10", "items 0-4/10", "bytes=0-4/10",
		"bytes 0-4/a", "bytes a-4/10", "bytes 0-99999999999999999999/*", "bytes 0-4/99999999999999999999", "bytes  0-4/10", "bytes 0-4/10 x",
	} {
		_, _, ok := ParseContentRange(fields("Content-Range: " + v))
		require.False(t, ok, "%q", v)
	}
	_, _, ok = ParseContentRange(fields("Content-Range: bytes 0-4/10", "Content-Range: bytes 0-4/10"))
	require.False(t, ok)
}

// What is laid out is read back by somebody else's reader, and is as long as it
// says.
func TestRFC9110_14_6_Multipart(t *testing.T) {
	body := "0123456789"
	m := NewMultipart([]store.Part{{Start: 8, End: 10}, {Start: 0, End: 3}}, 10, "text/plain", "a1b2")
	var b strings.Builder
	for i, p := range m.parts {
		b.WriteString(m.Heads[i] + body[p.Start:p.End])
	}
	b.WriteString(m.Tail)
	require.EqualValues(t, b.Len(), m.Length)

	kind, params, err := mime.ParseMediaType(m.ContentType)
	require.NoError(t, err)
	require.Equal(t, "multipart/byteranges", kind)
	r := mimepart.NewReader(strings.NewReader(b.String()), params["boundary"])
	for _, want := range []string{"bytes 8-9/10 89", "bytes 0-2/10 012"} {
		part, err := r.NextPart()
		require.NoError(t, err)
		data, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, want, part.Header.Get("Content-Range")+" "+string(data))
		require.Equal(t, "text/plain", part.Header.Get("Content-Type"))
	}
	_, err = r.NextPart()
	require.ErrorIs(t, err, io.EOF)
	require.NotContains(t, NewMultipart([]store.Part{{Start: 0, End: 1}}, 10, "", "x").Heads[0], "Content-Type")
}

func TestRFC9111_3_3_PartsThatAreStored(t *testing.T) {
	for _, c := range []struct {
		parts []store.Part
		add   store.Part
		want  []store.Part
	}{
		{nil, store.Part{Start: 0, End: 5}, []store.Part{{Start: 0, End: 5}}},
		{[]store.Part{{Start: 0, End: 5}}, store.Part{Start: 5, End: 7}, []store.Part{{Start: 0, End: 7}}},
		{[]store.Part{{Start: 0, End: 5}}, store.Part{Start: 6, End: 7}, []store.Part{{Start: 0, End: 5}, {Start: 6, End: 7}}},
		{[]store.Part{{Start: 6, End: 7}}, store.Part{Start: 0, End: 5}, []store.Part{{Start: 0, End: 5}, {Start: 6, End: 7}}},
		{[]store.Part{{Start: 0, End: 5}, {Start: 6, End: 7}}, store.Part{Start: 4, End: 6}, []store.Part{{Start: 0, End: 7}}},
		{[]store.Part{{Start: 0, End: 5}, {Start: 6, End: 7}, {Start: 9, End: 10}}, store.Part{Start: 2, End: 3}, []store.Part{{Start: 0, End: 5}, {Start: 6, End: 7}, {Start: 9, End: 10}}},
		{[]store.Part{{Start: 2, End: 3}, {Start: 6, End: 7}, {Start: 9, End: 10}}, store.Part{Start: 0, End: 20}, []store.Part{{Start: 0, End: 20}}},
	} {
		before := fmt.Sprint(c.parts)
		require.Equal(t, c.want, addPart(c.parts, c.add))
		require.Equal(t, before, fmt.Sprint(c.parts), "the old parts stay as they are")
	}
	parts := []store.Part{{Start: 2, End: 4}, {Start: 6, End: 9}}
	require.True(t, covered(parts, store.Part{Start: 6, End: 9}))
	require.True(t, covered(parts, store.Part{Start: 3, End: 4}))
	require.False(t, covered(parts, store.Part{Start: 3, End: 7}))
	require.False(t, covered(parts, store.Part{Start: 0, End: 3}))
	for pos, want := range map[int64]int64{0: -1, 2: 0, 3: 1, 4: -1, 6: 2, 8: 4, 9: -1} {
		require.Equal(t, want, OffsetOf(parts, pos), pos)
	}
}

// A partial response answers only what lies in it: RFC 9111 section 3.3.
func TestRFC9111_3_3_RangesFromPartialContent(t *testing.T) {
	for _, c := range []struct {
		name   string
		length int64
		parts  []store.Part
		v      string
		want   []store.Part
		wanted bool
	}{
		{"inside", 10, []store.Part{{Start: 4, End: 10}}, "6-8", []store.Part{{Start: 6, End: 9}}, true},
		{"to the end", 10, []store.Part{{Start: 4, End: 10}}, "6-", []store.Part{{Start: 6, End: 10}}, true},
		{"suffix", 10, []store.Part{{Start: 4, End: 10}}, "-1", []store.Part{{Start: 9, End: 10}}, true},
		{"suffix, too much", 10, []store.Part{{Start: 4, End: 10}}, "-7", nil, false},
		{"before", 10, []store.Part{{Start: 4, End: 10}}, "0-5", nil, false},
		{"two, both there", 10, []store.Part{{Start: 0, End: 2}, {Start: 4, End: 10}}, "0-1,5-5", []store.Part{{Start: 0, End: 2}, {Start: 5, End: 6}}, true},
		{"two, one there", 10, []store.Part{{Start: 4, End: 10}}, "0-1,5-5", nil, false},
		{"across a gap", 10, []store.Part{{Start: 0, End: 2}, {Start: 4, End: 10}}, "0-5", nil, false},
		{"beyond the end of a body whose end is known", 10, []store.Part{{Start: 4, End: 10}}, "20-30", nil, true},
		{"length unknown, inside", -1, []store.Part{{Start: 4, End: 10}}, "6-8", []store.Part{{Start: 6, End: 9}}, true},
		{"length unknown, outside", -1, []store.Part{{Start: 4, End: 10}}, "6-10", nil, false},
		{"length unknown, open", -1, []store.Part{{Start: 4, End: 10}}, "6-", nil, false},
		{"length unknown, suffix", -1, []store.Part{{Start: 4, End: 10}}, "-1", nil, false},
		{"complete", 10, nil, "0-3", []store.Part{{Start: 0, End: 4}}, true},
	} {
		specs, ok := ParseRange(fields("Range: bytes=" + c.v))
		require.True(t, ok, c.name)
		parts, _, ok := StoredRanges(&store.Meta{Length: c.length, Parts: c.parts}, specs)
		require.Equal(t, c.wanted, ok, c.name)
		require.Equal(t, c.want, parts, c.name)
	}
}

func TestRFC9111_3_4_CombiningPartialContent(t *testing.T) {
	p := &Policy{}
	m := &store.Meta{Status: 206, Header: fields(`ETag: "a"`, "Foo: 1", "Content-Range: bytes 0-4/10", "Content-Length: 5"), Length: 10, Parts: []store.Part{{Start: 0, End: 5}},
		RequestTime: testNow, ResponseTime: testNow}
	f := ReadFacts(m, p)
	next := fields(`ETag: "a"`, "Foo: 2", "Content-Range: bytes 5-9/10", "Content-Length: 5")
	require.True(t, Combinable(f, m, next))
	for name, h := range map[string]http.Header{
		"another tag":            fields(`ETag: "b"`, "Content-Range: bytes 5-9/10"),
		"a weak tag":             fields(`ETag: W/"a"`, "Content-Range: bytes 5-9/10"),
		"no tag":                 fields("Content-Range: bytes 5-9/10"),
		"another length":         fields(`ETag: "a"`, "Content-Range: bytes 5-9/11"),
		"no Content-Range":       fields(`ETag: "a"`),
		"a Content-Range of 416": fields(`ETag: "a"`, "Content-Range: bytes */10"),
	} {
		require.False(t, Combinable(f, m, h), name)
	}
	weak := &store.Meta{Status: 206, Header: fields(`ETag: W/"a"`), Length: 10, Parts: []store.Part{{Start: 0, End: 5}}}
	require.False(t, Combinable(ReadFacts(weak, p), weak, fields(`ETag: W/"a"`, "Content-Range: bytes 5-9/10")), "both weak")

	n := p.Combined(m, requestWith(), next, after(1), after(2))
	require.Equal(t, 200, n.Status)
	require.Empty(t, n.Parts)
	require.EqualValues(t, 10, n.Length)
	require.Equal(t, fields(`ETag: "a"`, "Foo: 2", "Content-Length: 10", "Date: "+date(2)), n.Header)
	require.Equal(t, after(2), n.ResponseTime)

	n = p.Combined(m, requestWith(), fields(`ETag: "a"`, "Content-Range: bytes 7-9/10", "Content-Length: 3"), after(1), after(2))
	require.Equal(t, 206, n.Status)
	require.Equal(t, []store.Part{{Start: 0, End: 5}, {Start: 7, End: 10}}, n.Parts)
	require.NotContains(t, n.Header, "Content-Length")
	require.NotContains(t, n.Header, "Content-Range")
	require.Equal(t, []store.Part{{Start: 0, End: 5}}, m.Parts, "the old one stays as it is")
}
