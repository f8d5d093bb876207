package apache

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
)

// paragraph is long enough to be packed.
var paragraph = strings.Repeat("a paragraph of text\n", 5)

// typed is one of text/html, and more fields.
func typed(fields string) string { return said200("Content-Type: text/html; charset=utf-8|" + fields) }

// said200 is an answer of 200 with a paragraph.
func said200(fields string) string { return answerOf(fields, paragraph) }

// answerOf is an answer with a body of its own, of 200 unless a status stands first.
func answerOf(fields, body string) string {
	if fields[0] < '0' || fields[0] > '9' {
		fields = "200 OK|" + fields
	}
	return "HTTP/1.1 " + strings.ReplaceAll(strings.Trim(fields, "|"), "|", "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func packed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

// filterTree are the files that both servers serve.
var filterTree = map[string]string{
	"a.html": paragraph, "a.txt": paragraph, "a.css": paragraph, "short.html": "short", "types/a.css": paragraph, "types/a.html": paragraph, "types/sub/index.html": paragraph, "closed/a.html": paragraph,
}

// filterRows are the requests for filters.conf.
var filterRows = []row{
	{name: "deflate", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip, br", answer: typed("ETag: \"x\"|Vary: Cookie")},
	{name: "deflate: no Accept-Encoding", host: "deflate.test", line: "/x", answer: typed("ETag: \"x\"")},
	{name: "deflate: no type", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("X-A: 1")},
	{name: "deflate: short", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Type: text/html", paragraph[:68])},
	{name: "deflate: longer", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Type: text/html", paragraph[:69])},
	{name: "deflate: others accepted", host: "deflate.test", line: "/x", fields: "Accept-Encoding: br, deflate", answer: typed("")},
	{name: "deflate: q=0", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip;q=0", answer: typed("")},
	{name: "deflate: q=0.000", host: "deflate.test", line: "/x", fields: "Accept-Encoding: br, gzip;q=0.000", answer: typed("")},
	{name: "deflate: q=0.5", host: "deflate.test", line: "/x", fields: "Accept-Encoding: br;q=1, gzip;q=0.5", answer: typed("")},
	{name: "deflate: asterisk", host: "deflate.test", line: "/x", fields: "Accept-Encoding: *", answer: typed("")},
	{name: "deflate: upper case", host: "deflate.test", line: "/x", fields: "Accept-Encoding: GZIP", answer: typed("")},
	{name: "deflate: image", host: "deflate.test", line: "/x.gif", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: image/gif")},
	{name: "deflate: no-gzip", host: "deflate.test", line: "/off/x", fields: "Accept-Encoding: gzip", answer: typed("")},
	{name: "deflate: only text/html, yes", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip|User-Agent: Mozilla/4.0", answer: typed("")},
	{name: "deflate: only text/html, no", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip|User-Agent: Mozilla/4.0", answer: said200("Content-Type: text/css")},
	{name: "deflate: only text/html, taken back", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip|User-Agent: Mozilla/4.0 MSIE", answer: said200("Content-Type: text/css")},
	{name: "deflate: forced", host: "deflate.test", line: "/x", fields: "User-Agent: Forced", answer: typed("")},
	{name: "deflate: packed already", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Encoding: gzip|Content-Type: text/html", packed(paragraph))},
	{name: "deflate: br already", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("Content-Encoding: br")},
	{name: "deflate: identity", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("Content-Encoding: identity")},
	{name: "deflate: weak tag", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("ETag: W/\"x\"")},
	{name: "deflate: odd tag", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("ETag: x")},
	{name: "deflate: tag stays", host: "tags.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("ETag: \"x\"")},
	{name: "deflate: tag goes", host: "notags.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("ETag: \"x\"")},
	{name: "deflate: Content-MD5", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("Content-MD5: abc")},
	{name: "deflate: part", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip|Range: bytes=0-99", answer: answerOf("206 Partial Content|Content-Type: text/html|Content-Range: bytes 0-99/1000", paragraph)},
	{name: "deflate: HEAD", host: "deflate.test", line: "HEAD /x", fields: "Accept-Encoding: gzip", answer: "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"x\"\r\nContent-Length: 100\r\n\r\n"},
	{name: "deflate: 204", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: "204 No Content"},
	{name: "deflate: 304", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip|If-None-Match: \"x-gzip\"", answer: "304 Not Modified|ETag: \"x\""},
	{name: "deflate: empty", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Type: text/html", "")},
	{name: "deflate: 404", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("404 Not Found|Content-Type: text/html", paragraph)},
	{name: "deflate: redirect", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("302 Found|Content-Type: text/html|Location: /y", paragraph)},
	{name: "deflate: our error", host: "deflate.test", line: "/closed/x", fields: "Accept-Encoding: gzip"},
	{name: "deflate: chunked", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n4\r\nmore\r\n0\r\n\r\n"},
	{name: "deflate: HTTP/1.0", host: "deflate.test", line: "GET /x HTTP/1.0", fields: "Accept-Encoding: gzip", answer: typed("")},
	{name: "deflate: POST", host: "deflate.test", line: "POST /x", body: "b", fields: "Accept-Encoding: gzip", answer: typed("")},
	{name: "deflate: long", host: "deflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Type: text/html", strings.Repeat("some text\n", 20000))},
	{name: "deflate: twice", host: "deflate.test", line: "/both/x", fields: "Accept-Encoding: gzip", answer: typed("")},
	{name: "deflate: type of Header", host: "deflate.test", line: "/late/x", fields: "Accept-Encoding: gzip", answer: typed("")},

	{name: "types: html", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("")},
	{name: "types: json", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: application/json")},
	{name: "types: css", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: text/css")},
	{name: "types: case", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: TEXT/HTML")},
	{name: "types: no Accept-Encoding", host: "types.test", line: "/x", answer: typed("Accept-Ranges: bytes")},
	{name: "types: HEAD", host: "types.test", line: "HEAD /x", fields: "Accept-Encoding: gzip", answer: "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n"},
	{name: "types: tag", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("ETag: \"x\"|Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")},
	{name: "types: tag, no Accept-Encoding", host: "types.test", line: "/x", answer: typed("ETag: \"x\"|Content-MD5: abc")},
	{name: "types: longer", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: text/html2")},
	{name: "types: none", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("X-A: 1")},
	{name: "types: main server's", host: "types.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: text/x-main")},
	{name: "types: section's", host: "types.test", line: "/css/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: text/css")},
	{name: "types: section's, outer type", host: "types.test", line: "/css/x", fields: "Accept-Encoding: gzip", answer: typed("")},

	{name: "smart: html", host: "smart.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("")},
	{name: "smart: field", host: "smart.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: text/css|X-Pack: yes")},
	{name: "smart: neither", host: "smart.test", line: "/x", fields: "Accept-Encoding: gzip", answer: said200("Content-Type: text/css")},
	{name: "smart: chain emptied", host: "smart.test", line: "/off/x", fields: "Accept-Encoding: gzip", answer: typed("")},

	{name: "substitute", host: "substitute.test", line: "/x", answer: answerOf("Content-Type: text/html|ETag: \"x\"|Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT|Accept-Ranges: bytes", "<a href=\"HTTP://internal.test/x\">bad bed</a>\nline END\nEND line\nlineline END")},
	{name: "substitute: other type", host: "substitute.test", line: "/x", answer: answerOf("Content-Type: text/plain", "bad")},
	{name: "substitute: inner after", host: "substitute.test", line: "/inner/x", answer: answerOf("Content-Type: text/html", "body bad")},
	{name: "substitute: inner before", host: "substitute.test", line: "/before/x", answer: answerOf("Content-Type: text/html", "body bad")},
	{name: "substitute: short lines", host: "substitute.test", line: "/short/x", answer: answerOf("Content-Type: text/html", "bad\nbed\n")},
	{name: "substitute: then packed", host: "substitute.test", line: "/packed/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Type: text/html", "bad\n")},
	{name: "substitute: unpacked first", host: "substitute.test", line: "/unpacked/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Type: text/plain|Content-Encoding: gzip|ETag: \"x\"", packed("bad\n"))},
	{name: "substitute: HEAD", host: "substitute.test", line: "HEAD /x", answer: "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n"},
	{name: "substitute: empty", host: "substitute.test", line: "/x", answer: answerOf("Content-Type: text/html", "")},
	{name: "substitute: long", host: "substitute.test", line: "/x", answer: answerOf("Content-Type: text/html", strings.Repeat("a bad line with a lot of text\n", 10000))},

	{name: "disk: by extension", host: "disk.test", line: "/a.html", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: no Accept-Encoding", host: "disk.test", line: "/a.html", disk: true},
	{name: "disk: two filters", host: "disk.test", line: "/a.txt", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: other extension", host: "disk.test", line: "/a.css", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: short", host: "disk.test", line: "/short.html", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: by type", host: "disk.test", line: "/types/a.css", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: removed", host: "disk.test", line: "/types/a.html", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: HEAD", host: "disk.test", line: "HEAD /a.html", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: range", host: "disk.test", line: "/a.html", fields: "Accept-Encoding: gzip|Range: bytes=0-9", disk: true},
	{name: "disk: unchanged", host: "disk.test", line: "/a.html", fields: "Accept-Encoding: gzip|If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT", disk: true},
	{name: "disk: slash", host: "disk.test", line: "/types/sub", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: closed", host: "disk.test", line: "/closed/a.html", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: missing", host: "disk.test", line: "/none.html", fields: "Accept-Encoding: gzip", disk: true},
	{name: "disk: also of what is proxied", host: "disk.test", line: "/proxied/a.html", fields: "Accept-Encoding: gzip", answer: typed("")},

	{name: "inflate", host: "inflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: answerOf("Content-Type: text/html|Content-Encoding: gzip|ETag: \"x\"", packed(paragraph))},
	{name: "inflate: not packed", host: "inflate.test", line: "/x", fields: "Accept-Encoding: gzip", answer: typed("")},
	{name: "inflate: long", host: "inflate.test", line: "/x", answer: answerOf("Content-Type: text/html|Content-Encoding: gzip", packed(strings.Repeat("some text\n", 300)))},
}

// filtersMeant are the differences that we mean.
var filtersMeant = map[string]meantDifference{
	"disk: HEAD": {
		why:   "how long a packed body is, is not known before it is packed",
		httpd: []string{"< length: 43"},
	},
	"disk: range": {
		why:   "ranges are of the file, and not of what it is packed to",
		httpd: []string{"< content-encoding: gzip", "< content-range: bytes 0-9/43", `< etag: "64-59b08c1fc2240-gzip"`, "< vary: Accept-Encoding,X-Us", `< "\x1f\x8b\b\x00\x00\x00\x00\x00\x00\x03"`},
		ours:  []string{"< content-range: bytes 0-9/100", `< etag: "64-59b08c1fc2240"`, "< vary: X-Us", `< "a paragrap"`},
	},
}

var filterComparison = comparison{file: "filters.conf", modules: "env setenvif headers filter deflate substitute mime dir proxy proxy_http", rows: filterRows, meant: filtersMeant, defines: func(t *testing.T, origin string) map[string]string {
	return map[string]string{"ROOT": writeFiles(t, filterTree, "ORIGIN", origin)}
}}

func TestFiltersDifferential(t *testing.T) { filterComparison.beside(t) }

func TestFiltersOutcomes(t *testing.T) { filterComparison.alone(t, "filters.golden") }
