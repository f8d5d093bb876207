package apache

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// fileTree are the files of the comparison, with their content; "→" makes a link.
var fileTree = map[string]string{
	"www/index.html": "index", "www/a.txt": "hello", "www/noext": "x", "www/.htsecret": "s", "www/.hidden": "h", "www/error.html": "not here",
	"www/sub/index.html": "sub", "www/sub/deep/f.txt": "f", "www/sp ace/a+b;c%.txt": "odd", "www/link.txt": "→a.txt", "www/folder": "→sub",
	"www/nolinks/l.txt": "→../a.txt", "www/nolinks/real.txt": "real", "www/owner/l.txt": "→../a.txt", "www/dangling": "→nowhere",
	"www/list/b.txt": "b", "www/list/a.bak": "bak", "www/list/.htpasswd": "p", "www/list/in/x": "x", "www/nolist/x": "x", "www/noslash/index.html": "i", "www/noslash/x/y": "y",
	"www/many/second.txt": "second", "www/all/x": "x", "www/absolute/x": "x", "www/disabled/index.html": "i", "www/moved/index.html": "i", "www/closed/index.html": "i", "www/info/f.txt": "info", "www/info/index.html": "i",
	"www/glob/a.txt": "glob", "www/glob/b.txt": "b", "www/x.dat": "dat", "www/s/x.srv": "srv", "www/k.act": "act", "www/k.acted": "acted", "www/whole/x": "x", "www/whole/none/x.txt": "none",
	"static/s.css": "css", "static/app.js": "js", "static/index.html": "static",
	"types/a.foo": "x", "types/a.bar": "x", "types/a.html": "x", "types/a.utf8.html": "x", "types/a.en.html": "x", "types/a.de.en.txt": "x", "types/a.html.gz": "x", "types/html": "x", "types/.png": "x",
	"types/a..html": "x", "types/a.HTML": "x", "types/a.unknown": "x", "types/a.html.unknown": "x", "types/a.foo.gz.en.utf8": "x",
	"types/removed/a.foo": "x", "types/removed/a.en.html": "x", "types/removed/a.html.gz": "x", "types/removed/a.utf8.html": "x", "types/removed/a.new": "x",
	"types/forced/a.html": "x", "types/forced/not/a.html": "x", "types/tagged.txt": "x", "types/sized.txt": "x", "types/inode.txt": "x",
	"types/h.css": "x", "types/a.css": "x", "types/a.png": "x", "types/a.json": "{}", "types/off/a.css": "x", "types/dir/index.html": "x",
	"over/.htaccess": "Header set X-Outer 1\n", "over/a.txt": "a", "over/never.txt": "n",
	"over/denied/.htaccess": "Require all denied\n", "over/denied/a.txt": "a", "over/denied/open/.htaccess": "Require all granted\n", "over/denied/open/a.txt": "a",
	"over/unknown/.htaccess": "NoSuchThing 1\n", "over/unknown/a.txt": "a", "over/none/.htaccess": "Require all denied\n", "over/none/a.txt": "a",
	"over/limited/.htaccess": "Options +Indexes\n", "over/limited/a.txt": "a", "over/limited/more/.htaccess": "Options +ExecCGI\n", "over/limited/more/a.txt": "a", "over/limited/info/.htaccess": "SetEnv A b\n", "over/limited/info/a.txt": "a",
	"over/listed/.htaccess": "Header set X-Listed 1\n", "over/listed/a.txt": "a", "over/listed/more/.htaccess": "AddType a/b .c\n", "over/listed/more/a.txt": "a",
	"over/gentle/.htaccess": "NoSuchThing 1\nExpiresActive On\nHeader set X-Gentle 1\n", "over/gentle/a.txt": "a",
	"over/files/.htaccess": "<Files b.txt>\nRequire all denied\n</Files>\n<FilesMatch \"\\.c$\">\nHeader set X-C 1\n</FilesMatch>\nDirectoryIndex i.txt\nErrorDocument 404 \"keep out\"\n", "over/files/i.txt": "i", "over/files/b.txt": "b", "over/files/a.c": "c",
	"over/second/.access": "Header set X-Second 1\n", "over/second/a.txt": "a", "over/section/.htaccess": "<Directory /x>\n</Directory>\n", "over/section/a.txt": "a", "over/include/.htaccess": "Include /etc/passwd\n", "over/include/a.txt": "a",
	"over/module/.htaccess": "<IfModule mod_headers.c>\nHeader set X-Module 1\n</IfModule>\n<IfModule mod_nothing.c>\nNoSuchThing\n</IfModule>\n", "over/module/a.txt": "a",
	"over/proxied/.htaccess": "SetHandler \"proxy:http://ORIGIN\"\n", "over/proxied/a.txt": "a", "over/open/.htaccess": "<Files x\n", "over/open/a.txt": "a", "over/folder/.htaccess/x": "x", "over/folder/a.txt": "a",
	"over/fall/.htaccess": "FallbackResource /a.txt\n", "over/fall/x": "x", "over/server/.htaccess": "DocumentRoot /\n", "over/server/a.txt": "a",
	"over/types/.htaccess": "AddType text/x-c .c\nForceType text/x-f\nSetEnv K v\nHeader set X-K \"%{K}e\"\nSetEnvIf Request_URI a E=1\n", "over/types/a.c": "a",
}

// writeFiles makes the tree below a folder that httpd may read.
func writeFiles(t *testing.T, tree map[string]string, replace ...string) string {
	root := programs.Folder(t)
	writeTree(t, root, tree, replace...)
	return root
}

func writeTree(t *testing.T, root string, tree map[string]string, replace ...string) {
	then := time.Date(2020, 1, 1, 0, 0, 0, 123456000, time.UTC)
	for name, text := range tree {
		name = filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		if to, link := strings.CutPrefix(text, "→"); link {
			require.NoError(t, os.Symlink(to, name))
			continue
		}
		require.NoError(t, os.WriteFile(name, []byte(strings.NewReplacer(replace...).Replace(text)), 0o644))
		require.NoError(t, os.Chtimes(name, then, then))
	}
}

var fileRows = func() (rows []row) {
	add := func(host string, lines ...string) {
		for _, line := range lines {
			line, fields, _ := strings.Cut(line, "|")
			rows = append(rows, row{name: strings.TrimSuffix(host, ".test") + ": " + line + " " + fields, host: host, line: line, fields: fields, disk: true})
		}
	}
	add("plain.test", "/", "/a.txt", "/noext", "/missing", "/missing/more", "/.htsecret", "/.hidden", "/a.txt?q=1", "HEAD /a.txt", "HEAD /missing", "POST /a.txt", "PUT /a.txt", "DELETE /a.txt", "PATCH /missing", "OPTIONS /a.txt", "OPTIONS /missing", "FOO /a.txt",
		"/sub", "/sub?a=b", "/sub/", "HEAD /sub/", "POST /sub", "/sub/index.html", "/sub/index.html/x", "/sub/none", "/sp%20ace/a+b%3Bc%25.txt", "/sp%20ace", "/a.txt/", "/a.txt/x", "/sub/../a.txt", "/%2e%2e/%2e%2e/etc/passwd", "//a.txt", "/sub//deep///f.txt",
		"/link.txt", "/folder/", "/folder", "/nolinks/l.txt", "/nolinks/real.txt", "/owner/l.txt", "/dangling", "/"+strings.Repeat("n", 300),
		"/list/", "/list", "/nolist/", "POST /list/", "OPTIONS /list/", "/noslash", "/noslash/", "/noslash/x", "/many/", "/many/?q", "/all/", "/absolute/", "/disabled/", "/moved/", "/moved/?q=1", "/closed/", "/closed/index.html", "/info/f.txt/more", "/info/",
		"/fall", "/fall/x/y", "/fall/x?q=1", "/fall/not/x", "POST /fall/x", "/glob/a.txt", "/glob/b.txt", "/glob",
		"/a.txt|Range: bytes=0-1", "/a.txt|Range: bytes=-2", "/a.txt|Range: bytes=9-", "/a.txt|Range: lines=1-2", "/a.txt|If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT", "/a.txt|If-Modified-Since: Tue, 31 Dec 2019 00:00:00 GMT",
		"/a.txt|If-None-Match: *", "/a.txt|If-None-Match: \"5-59b08c1fc2240\"", "/a.txt|If-None-Match: \"x\"", "/a.txt|If-Match: \"x\"", "/a.txt|If-Unmodified-Since: Tue, 31 Dec 2019 00:00:00 GMT", "/a.txt|If-Range: \"5-59b08c1fc2240\"|Range: bytes=1-2", "/a.txt|If-Range: \"x\"|Range: bytes=1-2",
		"/app/x", "/app/static/app.js", "/app/static", "/app/static/", "/slash/s.css", "/slash", "/one.txt", "/one.txt/x", "/m/s.css.x", "/m/../a.txt.x", "/out/passwd", "/lib", "/app/static/../x")
	add("types.test", "/a.foo", "/a.bar", "/a.html", "/a.utf8.html", "/a.en.html", "/a.de.en.txt", "/a.html.gz", "/html", "/.png", "/a..html", "/a.HTML", "/a.unknown", "/a.html.unknown", "/a.foo.gz.en.utf8",
		"/removed/a.foo", "/removed/a.en.html", "/removed/a.html.gz", "/removed/a.utf8.html", "/removed/a.new", "/forced/a.html", "/forced/not/a.html", "/tagged.txt", "/sized.txt", "/inode.txt", "HEAD /a.html.gz", "/a.html.gz|Range: bytes=0-0")
	for _, kind := range []string{"text/html", "text/plain", "text/html; charset=x", "text/css", "Text/HTML"} {
		rows = append(rows, row{name: "types: proxied " + kind, host: "types.test", line: "/proxied/x", answer: "200 OK|Content-Type: " + kind})
	}
	add("handlers.test", "/a.txt", "/a.txt/x?q", "/s/x.srv", "/s/missing.srv", "/whole", "/whole/x/y", "/whole/none/x.txt", "/k.act", "/k.act/x", "/k.acted", "/k.acted/x?y=z", "/none.act", "/none.acted", "/x.dat", "POST /x.dat", "/info/", "/app/a.txt")
	add("override.test", "/a.txt", "/never.txt", "/denied/a.txt", "/denied/", "/denied/open/a.txt", "/unknown/a.txt", "/none/a.txt", "/limited/", "/limited/a.txt", "/limited/more/a.txt", "/limited/info/a.txt", "/listed/a.txt", "/listed/more/a.txt", "/gentle/a.txt",
		"/files/", "/files/b.txt", "/files/a.c", "/files/none", "/second/a.txt", "/section/a.txt", "/include/a.txt", "/module/a.txt", "/proxied/a.txt", "/open/a.txt", "/folder/a.txt", "/fall/y", "/server/a.txt", "/types/a.c", "/app/denied", "/unknown", "/unknown/none/x")
	add("expires.test", "/a.css", "/h.css", "/a.png", "/a.html", "/a.json", "/a.unknown", "/missing", "/off/a.css", "/dir", "/dir/", "/a.css|If-None-Match: *", "/a.css|Range: bytes=0-0", "OPTIONS /a.css", "POST /a.css")
	for _, answer := range []string{"200 OK|Content-Type: text/css", "404 Not Found|Content-Type: text/css", "200 OK|Content-Type: text/css|Expires: 0", "200 OK|Content-Type: text/css|Cache-Control: private", "200 OK|Content-Type: text/html", "200 OK"} {
		rows = append(rows, row{name: "expires: proxied " + answer, host: "expires.test", line: "/proxied/x", answer: answer, disk: true})
	}
	add("vary.test", "/s%70", "/a.txt", "/a.txt|X-A: a", "/a.txt|X-A: a|X-S: s", "/a.txt|X-N: n", "/a.txt|X-E: e", "/list/", "/sub/", "/sub/|X-H: h", "/closed/", "/closed/|X-R: r", "/sub", "/a.txt|If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT", "OPTIONS /a.txt", "/none")
	for _, answer := range []string{"200 OK|Vary: Origin", "200 OK", "404 Not Found", "304 Not Modified"} {
		rows = append(rows, row{name: "vary: proxied " + answer, host: "vary.test", line: "/app/x", answer: answer})
	}
	return rows
}()

var fileComparison = comparison{"files.conf", "authz_host env setenvif headers mime dir alias autoindex rewrite actions expires proxy proxy_http", fileRows, filesMeant, func(t *testing.T, origin string) map[string]string {
	return map[string]string{"ROOT": writeFiles(t, fileTree, "ORIGIN", origin)}
}}

var filesMeant = map[string]meantDifference{
	"plain: /a.txt If-Match: \"x\"": {
		why:   "an error has the page of an error, and no fields of the file",
		httpd: []string{"< accept-ranges: bytes", "< content-type: text/plain", `< etag: "5-59b08c1fc2240"`, "< last-modified: Wed, 01 Jan 2020 00:00:00 GMT", "< x-order: outer"},
	},
	"plain: /a.txt If-Unmodified-Since: Tue, 31 Dec 2019 00:00:00 GMT": {
		why:   "an error has the page of an error, and no fields of the file",
		httpd: []string{"< accept-ranges: bytes", "< content-type: text/plain", `< etag: "5-59b08c1fc2240"`, "< last-modified: Wed, 01 Jan 2020 00:00:00 GMT", "< x-order: outer"},
	},
	"plain: OPTIONS /list/ ": {
		why:   "a folder has no media type",
		httpd: []string{"< content-type: httpd/unix-directory"},
	},
	"types: /inode.txt ": {
		why:   "-MTime takes the time away; httpd forgets it without a plain FileETag around",
		httpd: []string{`< etag: "1-59b08c1fc2240"`},
		ours:  []string{`< etag: "1"`},
	},
	"handlers: /whole/x/y ": {
		why:   "slashes are not doubled",
		httpd: []string{"> GET /ROOT/www/whole/x HTTP/1.1"},
		ours:  []string{"> GET ROOT/www/whole/x HTTP/1.1"},
	},
	"handlers: /k.acted/x?y=z ": {
		why:   "what an Action has been for is no type of its answer",
		httpd: []string{"< content-type: text/x-acted"},
	},
	"handlers: POST /x.dat ": {
		why:  "net/http does not tell no length from a length of 0",
		ours: []string{"> content-length: 0"},
	},
}

// treeFolder is where writeFiles puts a tree.
var treeFolder = regexp.MustCompile(`(/[a-z]+)*/modproxy-[0-9]+`)

// ofFiles takes out of an outcome what differs from one run to the next: where
// the files are, when it was, and the order of methods.
func ofFiles(lines, client []string) []string {
	now := time.Now()
	for _, line := range client {
		if text, ok := strings.CutPrefix(line, "< date: "); ok {
			now, _ = http.ParseTime(text)
		}
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		line = treeFolder.ReplaceAllString(line, "ROOT")
		if text, ok := strings.CutPrefix(line, "< expires: "); ok {
			if at, err := http.ParseTime(text); err == nil {
				line = "< expires: in " + about(at.Sub(now))
			}
		}
		if text, ok := strings.CutPrefix(line, "< cache-control: max-age="); ok {
			if n, err := strconv.Atoi(text); err == nil {
				line = "< cache-control: for " + about(time.Duration(n)*time.Second)
			}
		}
		if text, ok := strings.CutPrefix(line, "< allow: "); ok {
			methods := slices.DeleteFunc(strings.Split(text, ","), func(m string) bool { return m == "TRACE" }) // which is not answered here
			slices.Sort(methods)
			line = "< allow: " + strings.Join(methods, ",")
		}
		out[i] = line
	}
	return out
}

// about is a time without what a slow machine adds, and time going by.
func about(d time.Duration) string {
	if d > 365*24*time.Hour {
		return "years"
	}
	return d.Round(20 * time.Second).String()
}

// TestFilesOutcomes is for machines without httpd.
func TestFilesOutcomes(t *testing.T) { fileComparison.alone(t, "files.golden") }

// TestFilesBesideHTTPD: files, folders, types, handlers, .htaccess and Expires.
func TestFilesBesideHTTPD(t *testing.T) { fileComparison.beside(t) }
