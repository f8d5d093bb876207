package apache

import "testing"

// expressionRows try expressions: each of X-E01 to the last is set where one holds.
var expressionRows = []row{
	{name: "conditions", host: "exprs.test", line: "/x%20y?a=1%20b", fields: "User-Agent: agent|Cookie: a=1|X-One: one|X-Many: a, b|X-Off: off|X-Upper: UPPER"},
	{name: "bytes", host: "bytes.test", line: "/"},
	{name: "reach: open", host: "reach.test", line: "/t/open"},
	{name: "reach: closed", host: "reach.test", line: "/t/closed"},
	{name: "reach: perhaps", host: "reach.test", line: "/t/perhaps"},
	{name: "reach: self", host: "reach.test", line: "/t/self"},
	{name: "reach: file", host: "reach.test", line: "/t/file"},
	{name: "reach: nofile", host: "reach.test", line: "/t/nofile"},
	{name: "reach: otherfile", host: "reach.test", line: "/t/otherfile"},
	{name: "reach: nothing", host: "reach.test", line: "/t/nothing"},
	{name: "reach: slash", host: "reach.test", line: "/t/slash"},
	{name: "reach: query", host: "reach.test", line: "/t/query"},
	{name: "reach: sub", host: "reach.test", line: "/t/sub"},
	{name: "reach: closed to subrequests", host: "reach.test", line: "/t/perhaps", fields: "X-Close: 1"},
	{name: "reach: POST", host: "reach.test", line: "POST /t/open", body: "x"},
	{name: "text", host: "text.test", line: "/x%20y?a=%20%3Fb", fields: "X-Odd: /a b?c&d=e;f\"ü<>{}~:$-_.+!*'(),@[]^`#%\\|X-One: one|X-Upper: UPPER", answer: "201 Created|X-Origin: here|Content-Type: text/x"},
	{name: "text, port", host: "text.test:8080", line: "/%C3%BC"},

	{name: "if", host: "ifs.test", line: "/", fields: "X-A: 1"},
	{name: "else if", host: "ifs.test", line: "/", fields: "X-A: 2"},
	{name: "second else if", host: "ifs.test", line: "/", fields: "X-A: 3"},
	{name: "else", host: "ifs.test", line: "/", fields: "X-A: 4"},
	{name: "if in if, else", host: "ifs.test", line: "/", fields: "X-A: 1"},
	{name: "if in if in if", host: "ifs.test", line: "/", fields: "X-A: 1|X-B: 1"},
	{name: "else if in if", host: "ifs.test", line: "/", fields: "X-B: 1"},
	{name: "in a location, behind the server's", host: "ifs.test", line: "/in/deep/x"},
	{name: "in two locations", host: "ifs.test", line: "/in/deep/x", fields: "X-B: 1"},
	{name: "a location alone", host: "ifs.test", line: "/in/x"},
	{name: "access in an if", host: "ifs.test", line: "/in/x", fields: "X-Closed: yes"},
	{name: "page of an if", host: "ifs.test", line: "/x", fields: "X-Never: x"},
	{name: "group in an if", host: "ifs.test", line: "/closed/x"},
	{name: "other group in an if", host: "ifs.test", line: "/open/x"},
	{name: "location closes", host: "ifs.test", line: "/both"},
	{name: "if opens", host: "ifs.test", line: "/both", fields: "X-A: 1"},
}

var expressions = comparison{file: "expressions.conf", modules: "authz_host env setenvif headers proxy proxy_http", rows: expressionRows, meant: expressionsMeant}

func TestExpressionsDifferential(t *testing.T) { expressions.beside(t) }

func TestExpressionsOutcomes(t *testing.T) { expressions.alone(t, "expressions.golden") }

// expressionsMeant are the differences that we mean.
var expressionsMeant = map[string]meantDifference{
	"bytes": {
		why:   "regular expressions read text in UTF-8, not bytes",
		httpd: []string{"< x-two-bytes: yes"},
		ours:  []string{"< x-fold: yes", "< x-one-rune: yes"},
	},
}
