package apache

import (
	"strings"
	"testing"
)

// headerRows are the requests for headers.conf.
var headerRows = []row{
	// What values are made of.
	{name: "values", host: "values.test", line: "/x"},
	{name: "values: kind", host: "values.test", line: "/cond/x", fields: "X-Kind: CAT"},
	{name: "values: condition does not hold", host: "values.test", line: "/x", fields: "X-Kind: cat"},
	{name: "values: main server's variable", host: "values.test", line: "/x", fields: "X-Kind: main"},
	{name: "values: POST", host: "values.test", line: "POST /x", body: "b"},

	// What happens to fields of requests.
	{name: "edit: nothing there", host: "edits.test", line: "/x"},
	{name: "edit: all", host: "edits.test", line: "/x", fields: "X-Amp: abc|X-Back: abc|X-Case: xabcx|X-Look: maybe|X-Start: aaa|X-Words: one two|X-All: v|X-End: v|X-Blank:|X-List: a, b|X-Quoted: \"a, b\", c|X-Gone: x|X-Sometimes: s|X-Maybe: m|X-Set: theirs|Accept-Encoding: gzip|Authorization: Basic eDp5"},
	{name: "edit: others", host: "edits.test", line: "/x", fields: "X-Look: not|X-Start: ba|X-Gone: y|X-Sometimes: s|X-List: a,b|X-Forwarded-For: 198.51.100.1|X-Forwarded-Host: h|Connection: X-Hop|X-Hop: 1|Via: 1.1 client"},
	{name: "edit: upgrade", host: "edits.test", line: "/x", fields: "Upgrade: websocket"},
	{name: "early", host: "early.test", line: "/x", fields: "X-Remove: 1"},
	{name: "early: in a section", host: "early.test", line: "/in/x"},
	{name: "early: our error", host: "early.test", line: "/closed/x"},
	{name: "Host set", host: "host.test", line: "/set/x"},
	{name: "Host unset", host: "host.test", line: "/unset/x"},
	{name: "Host edited", host: "host.test", line: "/edit/x"},
	{name: "Host set, redirect of the backend", host: "host.test", line: "/set/x", answer: "302 Found|Location: http://ORIGIN/set/y"},
	{name: "Host edited, redirect of the backend", host: "host.test:81", line: "/edit/x", answer: "302 Found|Location: http://ORIGIN/edit/y"},

	// Names that much software takes for others.
	{name: "spelling", host: "spelling.test", line: "/x"},
	{name: "spelling: the client's, too", host: "spelling.test", line: "/x", fields: "X_FORWARDED_PROTO: http|X-User: client|X_User: client|x.real.ip: 203.0.113.1|Content_Length: 9|X_Edited: a|X-Edited-Not: a|Connection: X_Forwarded_Proto, X_User"},

	// Fields of answers.
	{name: "answer", host: "answers.test", line: "/x", fields: "X-Forwarded-Proto: https|X-Echo-A: 1|X-Echo-B: 2|X-Other: 3",
		answer: "200 OK|X-Backend: b|X-Both: theirs|X-Powered-By: php|X-Powered-By-2: php|Vary: Accept-Encoding|X-Empty:|Set-Cookie: a=1|Set-Cookie: b=2; SameSite=None|Content-Type: text/html; charset=utf-8"},
	{name: "answer: of nothing", host: "answers.test", line: "/x"},
	{name: "answer: Location", host: "answers.test", line: "/x", answer: "302 Found|Location: http://elsewhere.test/"},
	{name: "answer: 404", host: "answers.test", line: "/x", answer: "404 Not Found|X-Powered-By: php"},
	{name: "answer: 304", host: "answers.test", line: "/x", answer: "304 Not Modified|ETag: \"x\"|Vary: Cookie"},
	{name: "answer: HEAD", host: "answers.test", line: "HEAD /x"},
	{name: "answer: no answer", host: "answers.test", line: "POST /x", body: "b", answer: "none"},
	{name: "answer: type", host: "answers.test", line: "/type", answer: "200 OK|Content-Type: text/plain"},
	{name: "answer: type always", host: "answers.test", line: "/always-type", answer: "200 OK|Content-Type: text/plain"},
	{name: "answer: no type", host: "answers.test", line: "/no-type", answer: "200 OK|Content-Type: text/plain"},
	{name: "answer: type edited", host: "answers.test", line: "/edit-type", answer: "200 OK|Content-Type: text/plain; charset=utf-8"},
	{name: "answer: type edited always", host: "answers.test", line: "/always-edit-type", answer: "200 OK|Content-Type: text/plain"},
	{name: "answer: type unset always", host: "answers.test", line: "/unset-always-type", answer: "200 OK|Content-Type: text/plain"},
	{name: "answer: Location set", host: "answers.test", line: "/location", answer: "302 Found|Location: /x"},
	{name: "answer: no length", host: "answers.test", line: "/no-length"},
	{name: "answer: no validators", host: "answers.test", line: "/tag", answer: "200 OK|ETag: \"x\"|Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"},
	{name: "answer: our error", host: "answers.test", line: "/closed/x"},
	{name: "answer: page of our error", host: "answers.test", line: "/page/x"},
	{name: "answer: URL of our error", host: "answers.test", line: "/away/x"},

	// Variables.
	{name: "attributes", host: "attributes.test", line: "/x.gif", fields: "X-Any-1: abc|X-Lower: l|User-Agent: A Robot|X-Name: ROBOT|X-Amp: b|X-Again: 1"},
	{name: "attributes: none", host: "attributes.test", line: "POST /x", body: "b"},
	{name: "attributes: old", host: "attributes.test", line: "/x.gif", fields: "User-Agent: Older|X-Any: a"},
	{name: "attributes: remote user", host: "attributes.test", line: "/x.png", fields: "Remote_User: u"},
	{name: "attributes: HTTP/1.0", host: "attributes.test", line: "GET /x HTTP/1.0"},
	{name: "variables: section", host: "attributes.test", line: "/loc/x", fields: "X-Again: 1"},
	{name: "variables: inner section", host: "attributes.test", line: "/loc/deep/x", fields: "X-Again: 1"},
	{name: "special: force-no-vary", host: "special.test", line: "/x", fields: "X-Special: novary", answer: "200 OK|Vary: Cookie"},
	{name: "special: vary", host: "special.test", line: "/x", answer: "200 OK|Vary: Cookie"},
	{name: "special: proxy-sendcl", host: "special.test", line: "POST /x", fields: "X-Special: sendcl|Transfer-Encoding: chunked", body: "5\r\nhello\r\n0\r\n\r\n"},
	{name: "special: proxy-sendcl, length", host: "special.test", line: "POST /x", fields: "X-Special: sendcl", body: "hello"},
	{name: "special: proxy-sendchunked", host: "special.test", line: "POST /x", fields: "X-Special: parts", body: "hello"},
	{name: "special: proxy-sendchunked, long", host: "special.test", line: "POST /x", fields: "X-Special: parts", body: strings.Repeat("x", 40000)},
	{name: "special: proxy-sendchunks, long", host: "special.test", line: "POST /x", fields: "X-Special: pieces", body: strings.Repeat("x", 40000)},
	{name: "special: proxy-sendchunked, no body", host: "special.test", line: "/x", fields: "X-Special: parts"},
	{name: "special: force-proxy-request-1.0", host: "special.test", line: "POST /x", fields: "X-Special: force10|Transfer-Encoding: chunked", body: "5\r\nhello\r\n0\r\n\r\n"},
	{name: "special: Proxy-Chain-Auth", host: "special.test", line: "/x", fields: "X-Special: chain|Proxy-Authorization: Basic eDp5"},
	{name: "special: proxy-initial-not-pooled", host: "special.test", line: "/x", fields: "X-Special: pooled"},
	{name: "special: quiet", host: "special.test", line: "/x", fields: "X-Special: quiet"},

	// ProxyPassReverse.
	{name: "reverse: in Location", host: "reverse.test", line: "/in/x", answer: "302 F|Location: http://ORIGIN/b/y"},
	{name: "reverse: interpolate", host: "reverse.test", line: "/interp/x", answer: "302 F|Location: http://ORIGIN/i/y|Set-Cookie: a=1; Domain=int.test; Path=/"},
	{name: "reverse: trailing parameter", host: "reverse.test", line: "/k/x", answer: "302 F|Location: http://ORIGIN/k/y"},
	{name: "reverse: own name, preserved", host: "reverse.test:8080", line: "/k/x", answer: "302 F|Location: http://reverse.test/k/y"},
}

var headerComparison = comparison{file: "headers.conf", modules: "authz_host env setenvif headers proxy proxy_http ssl", rows: headerRows, meant: headersMeant}

// headersMeant are the differences that we mean.
var headersMeant = map[string]meantDifference{
	"answer: page of our error": {
		why:   "the page of an error has the status of the error, whoever makes the page",
		httpd: []string{"< 200"},
		ours:  []string{"< 403"},
	},
	"spelling: the client's, too": {
		why:  "a client's Connection takes out nothing that RequestHeader has set",
		ours: []string{"> x_forwarded_proto: https", "> x_user: operator"},
	},
	"answer: type edited always": {
		why:  "there is one Content-Type, which is what was edited; httpd has it twice until the end",
		ours: []string{"< x-html: yes"},
	},
	"attributes": {
		why:   "each SetEnvIf sees what the one before has set",
		httpd: []string{"> x-order: 1 b 2 (null) vhost here"},
		ours:  []string{"> x-order: 1 b 3 (null) vhost here"},
	},
	"variables: section": {
		why:   "each SetEnvIf sees what the one before has set",
		httpd: []string{"> x-order: 1 (null) 2 loc loc (null)"},
		ours:  []string{"> x-order: 1 (null) 4 loc loc (null)"},
	},
	"variables: inner section": {
		why:   "as above; and UnsetEnv in a section means all outer ones, not sections alone",
		httpd: []string{"> x-order: 1 (null) 2 loc vhost back"},
		ours:  []string{"> x-order: 1 (null) 4 loc (null) back"},
	},
	"special: force-proxy-request-1.0": {
		why:   "backends are spoken to in HTTP/1.1, on a connection that is closed",
		httpd: []string{"> POST /x HTTP/1.0"},
		ours:  []string{"> POST /x HTTP/1.1", "> connection: close"},
	},
}

func TestHeadersOutcomes(t *testing.T) { headerComparison.alone(t, "headers.golden") }

func TestHeadersDifferential(t *testing.T) { headerComparison.beside(t) }
