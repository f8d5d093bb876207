package apache

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSourcesOfScripts: what is for a handler that is not here is never served as
// it is.
func TestSourcesOfScripts(t *testing.T) {
	root := writeFiles(t, map[string]string{"a.cgi": "secret", "a.php": "secret", "a.cgi.txt": "secret", "a.txt": "text", "in/.htaccess": "AddHandler x-script .txt\n", "in/a.txt": "secret",
		"php/.htaccess": "AddHandler application/x-httpd-php .txt\n", "php/a.txt": "secret", "set/.htaccess": "SetHandler cgi-script\n", "set/a.txt": "secret", "exec/a": "secret"})
	p := start(t, `
DocumentRoot `+root+`
<Directory `+root+`>
AllowOverride All
Options +ExecCGI +Indexes
</Directory>
AddHandler cgi-script .cgi
AddHandler fcgid-script .php
ScriptAlias /cgi-bin/ `+root+`/exec/
ScriptAliasMatch ^/run/(.*) `+root+`/exec/$1
`, echo)
	for path, status := range map[string]int{"/a.cgi": 403, "/a.php": 403, "/a.cgi.txt": 403, "/a.cgi/x": 403, "/in/a.txt": 403, "/php/a.txt": 403, "/set/a.txt": 403, "/cgi-bin/a": 403, "/run/a": 403, "/cgi-bin/none": 404, "/exec/a": 200, "/a.txt": 200} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			resp, body := p.get("80", "h.test"+path, func(r *http.Request) { r.Method = method })
			require.Equal(t, status, resp.StatusCode, "%s %s", method, path)
			if status != 200 {
				require.NotContains(t, body, "secret", path)
			}
		}
	}
}

// TestHandlersThatAreNone: what cannot work is told at the start, with what would.
func TestHandlersThatAreNone(t *testing.T) {
	for config, want := range map[string]string{
		"AddType application/x-httpd-php .php":                              "php-fpm",
		"AddHandler application/x-httpd-php .php":                           "php-fpm",
		"<FilesMatch x>\nSetHandler application/x-httpd-php\n</FilesMatch>": "php-fpm",
		"<Location /x>\nSetHandler cgi-script\n</Location>":                 "FastCGI",
		"<Location /x>\nSetHandler proxy:nonsense\n</Location>":             "not supported",
		"<Location /x>\nSetHandler proxy:gopher://x\n</Location>":           "gopher",
		"<Location /x>\nSetHandler proxy:balancer://none\n</Location>":      "no balancer",
		"AddHandler proxy:balancer://none .x":                               "no balancer",
		"Alias /x":                                                          "want a path",
		"<Location /x>\nAlias /a /b\n</Location>":                           "section's",
		"AliasMatch ( /x":                                                   "AliasMatch",
		"Options +Indexes None":                                             "do not mix",
		"Options Nonsense":                                                  "not known",
		"ExpiresDefault soon":                                               "none of access",
		"ExpiresByType text/css \"access plus 1\"":                          "no unit",
		"ExpiresByType text/css \"access plus x days\"":                     "no number",
		"FileETag Nonsense":                                                 "not known",
		"DirectoryIndexRedirect 200":                                        "no redirect",
		"FallbackResource x":                                                "slash",
		"ModMimeUsePathInfo On":                                             "not supported",
		"<Directory /x>\nAllowOverride Everything\n</Directory>":            "not known",
		"<Directory /x>\nAllowOverride Options=Nonsense\n</Directory>":      "not known",
		"AccessFileName a/b":                                                "no name",
		"AcceptPathInfo Maybe":                                              "Default",
		"Action a b":                                                        "slash",
	} {
		_, err := Parse("Listen 80\n"+config+"\n", "x.conf", Options{})
		require.ErrorContains(t, err, want, config)
		require.ErrorContains(t, err, "x.conf:", config)
	}
}

// TestHandlersThatHaveNoEffect: what httpd takes and nothing comes of is a warning.
func TestHandlersThatHaveNoEffect(t *testing.T) {
	for config, want := range map[string]string{
		"<Location /x>\nSetHandler whatever\n</Location>":                         "as they are",
		"<Location /x>\nSetHandler perl-script\n</Location>":                      "403",
		"AddHandler whatever .x":                                                  "403",
		"<Files x>\nAllowOverride All\n</Files>":                                  "no effect",
		"<Proxy *>\nAllowOverride All\n</Proxy>":                                  "no effect",
		"<Location /x>\nAllowOverrideList Header\n</Location>":                    "no effect",
		"<DirectoryMatch x>\nAllowOverride All\n</DirectoryMatch>":                "no effect",
		"DefaultType text/plain":                                                  "no effect",
		"ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/":                                 "403",
		"TypesConfig /no/such/file":                                               "without it",
		"Action whatever /x\nAddHandler whatever .x":                              "",
		"UserDir disabled":                                                        "",
		"<Directory />\nAllowOverride None\nAllowOverrideList None\n</Directory>": "",
		"AliasMatch ^/(?!x)(.*) /srv/$1":                                          "",
	} {
		s, err := Parse("Listen 80\n"+config+"\n", "x.conf", Options{})
		require.NoError(t, err, config)
		warnings := fmt.Sprint(s.Warnings())
		require.Contains(t, warnings, want, config)
		require.Equal(t, want == "", len(s.Warnings()) == 0, "%s: %s", config, warnings)
		require.NoError(t, s.Close())
	}
}

// TestLists: what stands around the list of a folder, and what is not in it.
func TestLists(t *testing.T) {
	root := writeFiles(t, map[string]string{"in/HEAD.html": "<h2>head</h2>", "in/foot.html": "<i>foot</i>", "in/a.txt": "a", "in/no.txt": "n", "in/.htaccess": "<Files no.txt>\nRequire all denied\n</Files>\n", "in/closed/.htaccess": "Require all denied\n", "in/open/x": "x"})
	p := start(t, `
DocumentRoot `+root+`
DefaultType none
ModMimeUsePathInfo Off
<Directory `+root+`>
AllowOverride All
Options +Indexes
HeaderName HEAD.html
ReadmeName foot.html
IndexIgnore HEAD* foot*
IndexOptions FancyIndexing
</Directory>
<Files ".ht*">
Require all denied
</Files>
`, echo)
	resp, body := p.get("80", "h.test/in/")
	require.Equal(t, 200, resp.StatusCode)
	for _, want := range []string{"<h2>head</h2>", "<i>foot</i>", ">a.txt<", ">open/<"} {
		require.Contains(t, body, want)
	}
	for _, not := range []string{"HEAD.html", "htaccess", "no.txt", "closed"} {
		require.NotContains(t, body, not)
	}
}

// TestOverridesChange: a .htaccess counts as it is at each request, and one that
// goes or cannot be read is not forgotten.
func TestOverridesChange(t *testing.T) {
	root := writeFiles(t, map[string]string{"in/a.txt": "a"})
	p := start(t, "DocumentRoot "+root+"\n<Directory "+root+">\nAllowOverride All\n</Directory>\n", echo)
	file := filepath.Join(root, "in/.htaccess")
	then := time.Now().Add(-time.Hour)
	write := func(text string) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		require.NoError(t, os.Chtimes(file, then, then))
		then = then.Add(time.Second)
	}
	status := func() int {
		resp, _ := p.get("80", "h.test/in/a.txt")
		return resp.StatusCode
	}
	require.Equal(t, 200, status())
	write("Require all denied\n")
	require.Equal(t, 403, status())
	require.Equal(t, 403, status())
	write("Require all granted\n")
	require.Equal(t, 200, status())
	write("Nonsense\n")
	require.Equal(t, 500, status())
	require.Contains(t, p.stderr.String(), "in/.htaccess:1")
	require.NoError(t, os.Remove(file))
	require.Equal(t, 200, status())
	write("# " + strings.Repeat("x", maxOverride) + "\n")
	require.NotEqual(t, 200, status())
	for i := range 20 { // written again and again within one tick of the clock
		text := []string{"Require all denied\n", "Require all granted\n"}[i%2]
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		require.Equal(t, []int{403, 200}[i%2], status())
	}
}

// TestIncludesAreNotShown: a page that mod_include would put together is no file.
func TestIncludesAreNotShown(t *testing.T) {
	root := writeFiles(t, map[string]string{"a.shtml": "<!--#exec cmd=\"x\" -->", "a.txt": "a", "b.shtml.txt": "b"})
	p := start(t, "DocumentRoot "+root+"\nOptions +Includes\nAddType text/html .shtml\nAddOutputFilter INCLUDES;DEFLATE .shtml\n", echo)
	require.Contains(t, p.stderr.String(), "server-side includes")
	for path, want := range map[string]int{"/a.shtml": 403, "/a.shtml/x": 403, "/b.shtml.txt": 403, "/a.txt": 200} {
		resp, body := p.get("80", "h.test"+path)
		require.Equal(t, want, resp.StatusCode, path)
		require.NotContains(t, body, "exec")
	}
}

// TestOverrideListBesideClasses: AllowOverrideList of an inner folder adds to the
// AllowOverride of an outer one, and takes nothing from it.
func TestOverrideListBesideClasses(t *testing.T) {
	root := writeFiles(t, map[string]string{"in/a.txt": "a", "in/.htaccess": "Require all denied\n", "list/a.txt": "a", "list/.htaccess": "Header set X-List 1\n", "both/a.txt": "a", "both/.htaccess": "Header set X-Both 1\nRequire all granted\n", "off/a.txt": "a", "off/.htaccess": "Nonsense\n"})
	p := start(t, `
DocumentRoot `+root+`
<Directory `+root+`>
    AllowOverride AuthConfig
</Directory>
<DirectoryMatch never>
</DirectoryMatch>
<Directory `+root+`/in>
    AllowOverrideList Header
</Directory>
<Directory `+root+`/list>
    AllowOverride None
    AllowOverrideList Header
</Directory>
<Directory `+root+`/both>
    AllowOverrideList Header
</Directory>
<Directory `+root+`/off>
    AllowOverride None
</Directory>
`, echo)
	for path, want := range map[string]int{"/in/a.txt": 403, "/list/a.txt": 200, "/both/a.txt": 200, "/off/a.txt": 200} {
		resp, _ := p.get("80", "h.test"+path)
		require.Equal(t, want, resp.StatusCode, path)
		require.Equal(t, path == "/list/a.txt", resp.Header.Get("X-List") == "1", path)
		require.Equal(t, path == "/both/a.txt", resp.Header.Get("X-Both") == "1", path)
	}
}

// TestOverridesAtOnce: requests that come while a .htaccess is being written find
// what it said before or says now.
func TestOverridesAtOnce(t *testing.T) {
	root := writeFiles(t, map[string]string{"in/a.txt": "a", "in/.htaccess": "Header set X-N 0\n"})
	p := start(t, "DocumentRoot "+root+"\n<Directory "+root+">\nAllowOverride All\n</Directory>\n", echo)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				resp, err := http.Get("http://" + p.addr() + "/in/a.txt")
				if !assert.NoError(t, err) {
					return
				}
				_ = resp.Body.Close()
				assert.Equal(t, 200, resp.StatusCode)
				assert.NotEmpty(t, resp.Header.Get("X-N"))
			}
		})
	}
	for i := range 50 {
		next := filepath.Join(root, "in/next")
		require.NoError(t, os.WriteFile(next, fmt.Appendf(nil, "SetHandler \"None\"\n<If \"true\">\nHeader set X-N %d\n</If>\n", i), 0o644))
		require.NoError(t, os.Rename(next, filepath.Join(root, "in/.htaccess")))
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
}
