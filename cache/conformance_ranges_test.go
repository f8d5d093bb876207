package cache

import "testing"

// Section 3.3 of RFC 9111 and section 14 of RFC 9110: ranges of what is stored.
func TestRFC9110_14_RangesFromTheCache(t *testing.T) {
	whole := act{answer: []string{"Cache-Control: max-age=60", `ETag: "a"`, "Last-Modified: @-3000"}, content: "0123456789A"}
	get := func(value string, want int, text string, fields ...string) act {
		return act{send: []string{"Range: " + value}, by: byCache, want: want, text: text, fields: fields}
	}
	play(t, []scene{
		{"first and last", nil, []act{whole, get("bytes=0-1", 206, "01", "Content-Range: bytes 0-1/11", "Content-Length: 2", `ETag: "a"`, "Content-Type: text/plain", "Age: 0")}},
		{"open", nil, []act{whole, get("bytes=1-", 206, "123456789A", "Content-Range: bytes 1-10/11")}},
		{"suffix", nil, []act{whole, get("bytes=-1", 206, "A", "Content-Range: bytes 10-10/11")}},
		{"longer suffix than there is", nil, []act{whole, get("bytes=-100", 206, "0123456789A", "Content-Range: bytes 0-10/11")}},
		{"end beyond the end", nil, []act{whole, get("bytes=9-100", 206, "9A", "Content-Range: bytes 9-10/11")}},
		{"not satisfiable", nil, []act{whole, get("bytes=11-", 416, "", "Content-Range: bytes */11")}},
		{"broken", nil, []act{whole, get("bytes=5-4", 200, "0123456789A", "-Content-Range")}},
		{"another unit", nil, []act{whole, get("lines=0-1", 200, "0123456789A")}},
		{"many", nil, []act{whole, get("bytes=0-0,-1", 206, "*", "-Content-Range", `ETag: "a"`)}},
		{"too many", nil, []act{whole, get("bytes=0-0,0-0,0-0,0-0", 200, "0123456789A")}},
		{"15.3.7 the fields of 206", nil, []act{
			{answer: []string{"Cache-Control: max-age=60", "Expires: @60", "Content-Location: /x", "Vary: Foo", `ETag: "a"`, "Date: @0"}, content: "0123456789A"},
			get("bytes=0-1", 206, "01", "Cache-Control: max-age=60", "Expires: @60", "Content-Location: /x", "Vary: Foo", `ETag: "a"`, "Date: @0")}},
		{"HEAD", nil, []act{whole, {method: "HEAD", send: []string{"Range: bytes=0-1"}, by: byCache, want: 200, fields: []string{"Content-Length: 11", "-Content-Range"}}}},
		{"If-None-Match first", nil, []act{whole, {send: []string{"Range: bytes=0-1", `If-None-Match: "a"`}, by: byCache, want: 304}}},
		{"If-Range, the tag", nil, []act{whole, {send: []string{"Range: bytes=0-1", `If-Range: "a"`}, by: byCache, want: 206, text: "01"}}},
		{"If-Range, another tag", nil, []act{whole, {send: []string{"Range: bytes=0-1", `If-Range: "b"`}, by: byCache, want: 200, text: "0123456789A"}}},
		{"If-Range, a weak tag", nil, []act{whole, {send: []string{"Range: bytes=0-1", `If-Range: W/"a"`}, by: byCache, want: 200, text: "0123456789A"}}},
		{"If-Range, the date", nil, []act{whole, {send: []string{"Range: bytes=0-1", "If-Range: @-3000"}, by: byCache, want: 206, text: "01"}}},
		{"If-Range, another date", nil, []act{whole, {send: []string{"Range: bytes=0-1", "If-Range: @-2000"}, by: byCache, want: 200, text: "0123456789A"}}},
		{"of an error there are none", nil, []act{{status: 404, answer: whole.answer, content: "x"}, {send: []string{"Range: bytes=0-0"}, by: byCache, want: 404, text: "x"}}},
		{"stale: the whole is validated", nil, []act{whole,
			{wait: 61, send: []string{"Range: bytes=0-1"}, status: 304, answer: whole.answer, by: checked, asked: []string{"-Range", `If-None-Match: "a"`}, want: 206, text: "01"}}},
		{"an origin that does not know ranges", nil, []act{
			{send: []string{"Range: bytes=0-1"}, answer: whole.answer, content: whole.content, want: 206, text: "01"}, {by: byCache, text: whole.content}}},
	}, onDisk)
}

func TestRFC9111_3_3_PartialContent(t *testing.T) {
	part := func(send, contentRange, content string, more ...string) act {
		return act{send: []string{"Range: " + send}, status: 206, answer: append([]string{"Cache-Control: max-age=60", "Content-Range: " + contentRange}, more...), content: content,
			by: byOrigin, asked: []string{"Range: " + send}, fields: []string{"Content-Range: " + contentRange}, text: content}
	}
	get := func(value, text string) act {
		return act{send: []string{"Range: " + value}, by: byCache, want: 206, text: text}
	}
	tag := `ETag: "a"`
	all := act{answer: []string{"Cache-Control: max-age=60", tag}, content: "0123456789", by: either, text: "0123456789"}
	play(t, []scene{
		{"the same range again", nil, []act{part("bytes=-5", "bytes 5-9/10", "56789"), get("bytes=-5", "56789")}},
		{"a part of it", nil, []act{part("bytes=-5", "bytes 5-9/10", "56789"), get("bytes=6-8", "678"), get("bytes=6-", "6789"), get("bytes=-1", "9")}},
		{"more than it", nil, []act{part("bytes=-5", "bytes 5-9/10", "56789"), part("bytes=4-6", "bytes 4-6/10", "456")}},
		{"never for the whole", nil, []act{part("bytes=0-4", "bytes 0-4/10", "01234", tag), all, {by: byCache, text: "0123456789"}}},
		{"HEAD does not get 206", nil, []act{part("bytes=0-4", "bytes 0-4/10", "01234", tag), {method: "HEAD", by: byOrigin}}},
		{"length unknown", nil, []act{part("bytes=0-4", "bytes 0-4/*", "01234", tag), get("bytes=1-2", "12")}},
		{"length unknown, open", nil, []act{part("bytes=0-4", "bytes 0-4/*", "01234", tag), part("bytes=1-", "bytes 1-5/6", "12345", `ETag: "b"`)}},
		{"stale", nil, []act{part("bytes=0-4", "bytes 0-4/10", "01234", tag), {wait: 61, send: []string{"Range: bytes=0-1"}, by: checked, status: 304, answer: []string{"Cache-Control: max-age=60", tag}, asked: []string{`If-None-Match: "a"`}, want: 206, text: "01"}}},

		// Section 3.4.
		{"3.4 two parts make the whole", nil, []act{
			part("bytes=0-4", "bytes 0-4/10", "01234", tag), part("bytes=5-", "bytes 5-9/10", "56789", tag),
			{by: byCache, want: 200, text: "0123456789", fields: []string{"Content-Length: 10", "-Content-Range"}}, get("bytes=3-6", "3456")}},
		{"3.4 in another order, overlapping", nil, []act{
			part("bytes=5-", "bytes 5-9/10", "56789", tag), part("bytes=0-6", "bytes 0-6/10", "0123456", tag), {by: byCache, want: 200, text: "0123456789"}}},
		{"3.4 with a gap", nil, []act{
			part("bytes=0-1", "bytes 0-1/10", "01", tag), part("bytes=8-9", "bytes 8-9/10", "89", tag), get("bytes=0-1", "01"), get("bytes=-2", "89"),
			{send: []string{"Range: bytes=0-1,8-9"}, by: byCache, want: 206, text: "*"}}},
		{"3.4 not with another tag", nil, []act{
			part("bytes=0-4", "bytes 0-4/10", "01234", tag), part("bytes=5-", "bytes 5-9/10", "vwxyz", `ETag: "b"`), {by: either, answer: []string{"Cache-Control: max-age=60"}, content: "whole", text: "whole"}}},
		{"3.4 not without one", nil, []act{
			part("bytes=0-4", "bytes 0-4/10", "01234"), part("bytes=5-", "bytes 5-9/10", "vwxyz"), {answer: []string{"Cache-Control: max-age=60"}, content: "whole", text: "whole"}}},
		{"3.4 not with weak ones", nil, []act{
			part("bytes=0-4", "bytes 0-4/10", "01234", `ETag: W/"a"`), part("bytes=5-", "bytes 5-9/10", "vwxyz", `ETag: W/"a"`), {by: either, answer: []string{"Cache-Control: max-age=60"}, content: "whole", text: "whole"}}},
		{"a part does not take the whole's place", nil, []act{
			all, {wait: 61, send: []string{"Range: bytes=0-1", "Cache-Control: no-cache"}, by: either, answer: []string{"Cache-Control: max-age=60", tag}, content: "0123456789", want: 206, text: "01"}, {by: byCache, text: "0123456789"}}},
		{"multipart/byteranges of the origin is passed on", nil, []act{
			{send: []string{"Range: bytes=0-0,2-2"}, status: 206, answer: []string{"Cache-Control: max-age=60"}, content: "--x"}, {send: []string{"Range: bytes=0-0,2-2"}, status: 206, content: "--x"}}},
	}, onDisk)
}
