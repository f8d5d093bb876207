package apache

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requestLimitRows try what is refused before anything is looked up for it.
var requestLimitRows = []row{
	{name: "line", host: "first.test", line: "/" + strings.Repeat("a", 45)},
	{name: "line of the size", host: "first.test", line: "/" + strings.Repeat("a", 46)},
	{name: "longest line", host: "first.test", line: "/" + strings.Repeat("a", 47)},
	{name: "line too long", host: "first.test", line: "/" + strings.Repeat("a", 48)},
	{name: "line, another host", host: "second.test", line: "/" + strings.Repeat("a", 45)},
	{name: "line too long, another host", host: "second.test", line: "/" + strings.Repeat("a", 80)},
	{name: "line too long, HEAD", host: "first.test", line: "HEAD /" + strings.Repeat("a", 80)},
	{name: "fields", host: "first.test", line: "/", fields: "A: 1|B: 2|C: 3|D: 4"},
	{name: "fields too many", host: "first.test", line: "/", fields: "A: 1|B: 2|C: 3|D: 4|E: 5"},
	{name: "fields too many, one name", host: "first.test", line: "/", fields: "A: 1|A: 2|A: 3|A: 4|A: 5"},
	{name: "fields too many, another host", host: "second.test", line: "/", fields: "A: 1|B: 2|C: 3|D: 4|E: 5"},
	{name: "fields, another host", host: "second.test", line: "/", fields: "A: 1|B: 2"},
	{name: "field", host: "first.test", line: "/", fields: "A: " + strings.Repeat("a", 98)},
	{name: "field too long", host: "first.test", line: "/", fields: "A: " + strings.Repeat("a", 99)},
	{name: "name too long", host: "first.test", line: "/", fields: strings.Repeat("a", 110) + ": 1"},
	{name: "strict", host: "strict.test", line: "/"},
	{name: "strict, by an alias", host: "www.strict.test", line: "/"},
	{name: "no host at all", host: "nowhere.test", line: "/"},
	{name: "method", host: "methods.test", line: "GET /x"},
	{name: "HEAD is GET", host: "methods.test", line: "HEAD /x"},
	{name: "method is not allowed", host: "methods.test", line: "PUT /x"},
	{name: "method in lower case", host: "methods.test", line: "get /x"},
	{name: "method of nobody", host: "methods.test", line: "BREW /x"},
	{name: "all methods again", host: "methods.test", line: "PUT /all/x", body: "x"},
	{name: "another method", host: "methods.test", line: "PUT /put/x", body: "x"},
	{name: "only another method", host: "methods.test", line: "GET /put/x"},
	{name: "OPTIONS", host: "methods.test", line: "OPTIONS /x"},
}

var limitsOfRequests = comparison{file: "requestlimits.conf", modules: "allowmethods proxy proxy_http", rows: requestLimitRows, meant: requestLimitsMeant}

func TestRequestLimitsDifferential(t *testing.T) { limitsOfRequests.beside(t) }

func TestRequestLimitsOutcomes(t *testing.T) { limitsOfRequests.alone(t, "requestlimits.golden") }

// requestLimitsMeant are the differences that we mean.
var requestLimitsMeant = map[string]meantDifference{}

// TestKeepAliveOfAHost: KeepAlive is that of the host that is asked for, and a name
// that no host has is refused by StrictHostCheck.
func TestKeepAliveOfAHost(t *testing.T) {
	p := start(t, "Listen 80\n<VirtualHost *:80>\nServerName on.test\nStrictHostCheck On\nProxyPass / http://backend.test/\n</VirtualHost>\n<VirtualHost *:80>\nServerName off.test\nKeepAlive Off\nProxyPass / http://backend.test/\n</VirtualHost>", echo)
	for host, want := range map[string]bool{"on.test": false, "off.test": true} {
		resp, _ := p.get("80", host+"/")
		require.Equal(t, want, resp.Close, host)
	}
	resp, _ := p.get("80", "other.test/")
	require.Equal(t, 400, resp.StatusCode)
}
