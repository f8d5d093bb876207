package apache

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// tellingScript tells what it is told.
const tellingScript = `<?php foreach (['SCRIPT_FILENAME', 'SCRIPT_NAME', 'PATH_INFO', 'PATH_TRANSLATED', 'DOCUMENT_ROOT', 'CONTEXT_DOCUMENT_ROOT', 'CONTEXT_PREFIX', 'REQUEST_URI', 'REQUEST_METHOD', 'QUERY_STRING', 'PHP_SELF',
'REDIRECT_URL', 'REDIRECT_STATUS', 'REDIRECT_QUERY_STRING', 'REDIRECT_HANDLER', 'REDIRECT_SITE', 'SITE', 'HTTP_AUTHORIZATION', 'CONTENT_LENGTH', 'SERVER_NAME'] as $k)
if (isset($_SERVER[$k])) echo "$k=", $_SERVER[$k], "\n"; echo file_get_contents('php://input');`

var scriptTree = map[string]string{
	"www/env.php": tellingScript, "www/dir/index.php": tellingScript, "www/plain/index.html": "plain", "www/a.txt": "text", "www/x.phtml": tellingScript, "www/.php": "secret", "www/sp ace/e%41.php": tellingScript,
	"www/front/index.php": tellingScript, "www/front/css/a.css": "css", "www/front/empty/x": "x", "www/auth/e.php": tellingScript, "www/uploads/evil.php": "<?php echo 'evil';", "www/uploads/pic.jpg": "jpg", "www/acted/k.act": "k", "www/acted/k.txt": "text",
	"alias/a.php": tellingScript, "alias/sub/index.php": tellingScript, "www/closed/.htaccess": "Require all denied\n", "www/closed/e.php": tellingScript, "www/env/.htaccess": "SetEnv SITE green\nDirectoryIndex go.php\n", "www/env/go.php": tellingScript,
	"app/public/index.php": tellingScript, "app/secret.php": "secret",
}

// pathTranslated is a variable that in httpd is "redirect:/…" once rules have led a
// request elsewhere, and PATH_INFO where rules have made it empty.
var pathTranslated = regexp.MustCompile(`PATH_(TRANSLATED=.*?|INFO=)\\n`)

// varied is Vary in one form.
func varied(line string) string {
	names := strings.Split(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(line, "< vary: "), " ", "")), ",")
	slices.Sort(names)
	return "< vary: " + strings.Join(slices.Compact(names), ",")
}

// TestScriptsBesideHTTPD: a real php-fpm is told the same by both servers.
func TestScriptsBesideHTTPD(t *testing.T) {
	besidePHP(t, "scripts.conf", "authz_host env setenvif headers mime dir alias autoindex actions proxy proxy_fcgi", scriptTree, map[string][]string{
		"php.test": {"GET /env.php", "GET /env.php/a/b?q=1", "GET /env.php/a%20b%2541", "HEAD /env.php", "POST /env.php", "POST /dir/", "GET /", "GET /dir/", "GET /dir/?z=1", "GET /dir", "GET /plain/", "GET /a.txt", "GET /x.phtml", "GET /.php", "GET /sp%20ace/e%2541.php/x",
			"GET /missing.php", "GET /missing", "GET /missing?a=b", "GET /dir/missing.php/x", "GET /none/missing.php", "GET /al/a.php/pi?x", "GET /al/sub/", "GET /al/none", "GET /front/", "GET /front/css/a.css", "GET /front/x/y?a=b", "POST /front/x", "GET /front/css/none.css", "GET /front/index.php/x",
			"GET /auth/e.php", "GET /uploads/evil.php", "GET /uploads/pic.jpg", "GET /uploads/pic.jpg/x.php", "GET /acted/k.act", "GET /acted/k.act/pi?y", "GET /acted/k.txt", "GET /acted/none.act", "GET /closed/e.php", "GET /closed/", "GET /env/", "GET /env/go.php", "GET /loc/x"},
		"pass.test": {"GET /env.php", "GET /env.php?x=1", "GET /dir/index.php", "GET /missing.php", "GET /a.txt", "POST /env.php"},
		"app.test":  {"GET /index.php", "GET /index.php/x", "GET /none.php", "GET /../secret.php", "GET /"},
	})
}

// besidePHP sends requests to httpd and here, and compares what a real php-fpm is
// told and the client gets. The lines are those of requests, by hosts, with more
// fields behind "|".
func besidePHP(t *testing.T, file, modules string, tree map[string]string, rows map[string][]string) {
	root := writeFiles(t, tree)
	defines := map[string]string{"ROOT": root, "PHP": programs.PHPFPM(t, programs.PHPFPMOptions{}).Addr}
	config, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	text := ""
	args := []string{"-D", "PORT=80", "-listen", "80=127.0.0.1:0"}
	for name, value := range defines {
		text += "Define " + name + " " + value + "\n"
		args = append(args, "-D", name+"="+value)
	}
	httpd := programs.HTTPD(t, modules, text+string(config))
	ours := startFile(t, "testdata/"+file, args...).addr()
	outcome := func(addr, host, line string) string {
		line, fields, _ := strings.Cut(line, "|")
		if fields != "" {
			fields = strings.ReplaceAll(fields, "|", "\r\n") + "\r\n"
		}
		body := ""
		if strings.HasPrefix(line, http.MethodPost) {
			body = "Content-Length: 3\r\n\r\na=1"
		}
		lines := ask(t, addr, fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n%s%s", line, host, fields, cmp.Or(body, "\r\n")))
		var kept []string
		for _, l := range lines {
			switch fieldName(l) {
			case "< date", "< server", "< connection", "< content-length", "< transfer-encoding", "< keep-alive", "< x-content-type-options", "< length":
				continue
			}
			if strings.Contains(l, "<!DOCTYPE") || strings.HasSuffix(l, ` Bad Request\n"`) || strings.HasSuffix(l, ` Not Found\n"`) || strings.HasSuffix(l, ` Forbidden\n"`) || strings.HasSuffix(l, ` Moved Permanently\n"`) {
				l = "page"
			}
			if l != "< content-type: text/html; charset=iso-8859-1" && l != "< content-type: text/plain; charset=utf-8" {
				if fieldName(l) == "< vary" {
					l = varied(l)
				}
				if file == "multiviews.conf" && fieldName(l) == "< etag" {
					continue // httpd adds a tag of the choice
				}
				if file == "frameworks.conf" {
					l = pathTranslated.ReplaceAllString(l, "") // httpd says redirect:/… where rules have looked
				}
				kept = append(kept, strings.NewReplacer(`\n`, "\n  ", "=//", "=/").Replace(l)) // httpd doubles a slash
			}
		}
		return strings.Join(kept, "\n")
	}
	for host, lines := range rows {
		for _, line := range lines {
			t.Run(host+" "+line, func(t *testing.T) {
				require.Equal(t, outcome(httpd.Addr, host, line), outcome(ours, host, line))
			})
		}
	}
}
