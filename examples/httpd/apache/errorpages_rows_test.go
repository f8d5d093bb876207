package apache

import "testing"

// errorPageRows are the requests for errorpages.conf. What the origin answers is
// what it says to the request for the page.
var errorPageRows = []row{
	{name: "page", host: "pages.test", line: "/closed/x?q=1", fields: "Cookie: a=b|Authorization: Basic eDp5|Range: bytes=0-1"},
	{name: "page: POST", host: "pages.test", line: "POST /closed/x", body: "b"},
	{name: "page: HEAD", host: "pages.test", line: "HEAD /closed/x"},
	{name: "page: by a rule", host: "pages.test", line: "/closed/rewritten"},
	{name: "page: with a query", host: "pages.test", line: "/gone?q=1"},
	{name: "page is elsewhere", host: "pages.test", line: "/closed/x", answer: "302 Found|Location: http://elsewhere.test/login|Set-Cookie: a=b"},
	{name: "page is elsewhere: 303", host: "pages.test", line: "POST /closed/x", body: "b", answer: "303 See Other|Location: /login"},
	{name: "page is elsewhere: login", host: "pages.test", line: "/users/x", answer: "302 Found|Location: http://elsewhere.test/login"},
	{name: "page: login", host: "pages.test", line: "/users/x"},
	{name: "page is another error", host: "pages.test", line: "/closed/x", answer: "404 Not Found|X-Page: 1"},
	{name: "page is an error of the backend", host: "pages.test", line: "/closed/x", answer: "503 Service Unavailable|Retry-After: 5"},
	{name: "page is made", host: "pages.test", line: "/closed/x", answer: "201 Created"},
	{name: "page is empty", host: "pages.test", line: "/closed/x", answer: "204 No Content"},
	{name: "page is redirected here", host: "pages.test", line: "/missing"},
	{name: "page is refused here", host: "pages.test", line: "POST /reads/x", body: "b"},
}

var errorPageComparison = comparison{file: "errorpages.conf", modules: "alias allowmethods auth_basic authn_core authn_file authz_host authz_user headers proxy proxy_http rewrite", rows: errorPageRows, meant: errorPagesMeant}

// errorPagesMeant are the differences that we mean.
var errorPagesMeant = map[string]meantDifference{
	"page": {
		why:   "the page of an error has the status of the error where it is a success, and is whole",
		httpd: []string{"> range: bytes=0-1", "< 206", "< content-range: bytes 0-1/4", "< \"bo\""},
		ours:  []string{"< 403", "< \"body\""},
	},
	"page: POST": {
		why:   "the page of an error has the status of the error where it is a success; it is asked for without the body",
		httpd: []string{"> content-length: 1", "> b", "< 200"},
		ours:  []string{"< 403"},
	},
	"page: HEAD": {
		why:   "the page of an error has the status of the error where it is a success; HEAD is asked for by HEAD",
		httpd: []string{"> GET /page/forbidden HTTP/1.1", "< 200", "< length: 4"},
		ours:  []string{"> HEAD /page/forbidden HTTP/1.1", "< 403"},
	},
	"page: by a rule": {
		why:   "the page of an error has the status of the error where it is a success",
		httpd: []string{"< 200"},
		ours:  []string{"< 403"},
	},
	"page is elsewhere: 303": {
		why:   "it is asked for without the body",
		httpd: []string{"> content-length: 1", "> b"},
	},
	"page: login": {
		why:   "the page of an error has the status of the error where it is a success",
		httpd: []string{"< 200"},
		ours:  []string{"< 401"},
	},
	"page is made": {
		why:   "the page of an error has the status of the error where it is a success",
		httpd: []string{"< 201"},
		ours:  []string{"< 403"},
	},
	"page is empty": {
		why:   "the page of an error has the status of the error where it is a success",
		httpd: []string{"< 204"},
		ours:  []string{"< 403"},
	},
}

func TestErrorPagesOutcomes(t *testing.T) { errorPageComparison.alone(t, "errorpages.golden") }

func TestErrorPagesDifferential(t *testing.T) { errorPageComparison.beside(t) }
