package apache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// logRows are the requests that TestLogsBesideHTTPD sends.
var logRows = []row{
	{name: "inherited", host: "inherits.test", line: "/p/x"},
	{name: "inherited, quiet", host: "inherits.test", line: "/quiet"},
	{name: "inherited, agent", host: "inherits.test", line: "/p/x", fields: "Referer: http://a\"b\\c/|User-Agent: x\ty\xe9"},
	{name: "own", host: "own.test", line: "/p/x"},
	{name: "POST", host: "inherits.test", line: "POST /p/x", body: "body"},
	{name: "unknown host", host: "unknown.test", line: "/p/x"},
	{name: "words", host: "words.test", line: "/p/a%20b?x=1&y=%22", fields: "X-In: in|X-Empty: |X-Twice: 1|X-Twice: 2|Cookie: a=b; A=c; empty=; eq=x=y", answer: "200 OK|X-Out: out|Content-Type: text/html; charset=utf-8|Set-Cookie: a=1|Set-Cookie: b=2"},
	{name: "words, another port", host: "words.test:99", line: "/p/x"},
	{name: "words, another name", host: "also.test", line: "/p/x", fields: "Cookie: a=\"x y\" ; b"},
	{name: "words, letter", host: "words.test", line: "/letter"},
	{name: "words, 404", host: "words.test", line: "/p/none", fields: "X-In: in", answer: "404 Not Found"},
	{name: "words, 204", host: "words.test", line: "/p/x", answer: "204 No Content"},
	{name: "words, 304", host: "words.test", line: "/p/x", fields: "If-None-Match: x", answer: "304 Not Modified"},
	{name: "words, HEAD", host: "words.test", line: "HEAD /p/x"},
	{name: "words, denied", host: "words.test", line: "/closed"},
	{name: "words, HTTP/1.0", host: "words.test", line: "GET /p/x HTTP/1.0"},
	{name: "words, close", host: "words.test", line: "/p/x", fields: "Connection: close"},
	{name: "words, body", host: "words.test", line: "PUT /p/x", body: "0123456789"},
	{name: "words, absolute", host: "words.test", line: "GET http://words.test/p/x?y HTTP/1.1"},
}

// logLines are what the logs in a folder hold, the name of each before its line.
func logLines(t *testing.T, dir string) (lines []string) {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(b)) {
			lines = append(lines, filepath.Base(name)+": "+line)
		}
	}
	return lines
}

// sendLogRows sends the requests to one server, and returns what it has logged.
func sendLogRows(t *testing.T, addr, dir string, o *recording) string {
	for i, r := range logRows {
		_ = outcome(t, o, addr, r)
		// A log is written behind the answer.
		require.Eventually(t, func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, "last"))
			return strings.Count(string(b), "\n") == i+1
		}, 20*time.Second, time.Millisecond)
	}
	return strings.ReplaceAll(strings.Join(logLines(t, dir), ""), o.addr(), "ORIGIN")
}

func oursForLogs(t *testing.T, o *recording) string {
	dir := t.TempDir()
	ours := startFile(t, "testdata/logs.conf", "-D", "PORT=80", "-D", "LOGS="+dir, "-D", "ORIGIN="+o.addr(), "-listen", "80=127.0.0.1:0")
	return sendLogRows(t, ours.addr(), dir, o)
}

// TestLogsBesideHTTPD: the real httpd and this server write the same lines: which
// format a nickname stands for, which logs a virtual host has, and what each
// directive of a format says.
func TestLogsBesideHTTPD(t *testing.T) {
	config, err := os.ReadFile("testdata/logs.conf")
	require.NoError(t, err)
	o := newRecording(t)
	dir := t.TempDir()
	httpd := programs.HTTPD(t, "authz_host env setenvif proxy proxy_http", "Define ORIGIN "+o.addr()+"\nDefine LOGS "+dir+"\n"+string(config))
	theirs := sendLogRows(t, httpd.Addr, dir, o)
	require.Equal(t, theirs, oursForLogs(t, o))
}

// TestLogLines has what TestLogsBesideHTTPD found, for machines without httpd.
func TestLogLines(t *testing.T) {
	const golden = "testdata/logs.golden"
	got := oursForLogs(t, newRecording(t))
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
