package apache

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// fcgiChild is a FastCGI application that tells the variables it got.
func fcgiChild(t *testing.T, network, addr string) net.Listener {
	l, err := net.Listen(network, addr)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			env := fcgi.ProcessEnv(r)
			for _, name := range slices.Sorted(maps.Keys(env)) {
				fmt.Fprintf(w, "%s=%s\n", name, env[name])
			}
			fmt.Fprintf(w, "URI=%s AUTH=%s on %s\n", r.URL, r.Header.Get("Authorization"), network)
		}))
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l
}

func TestFastCGIDirectives(t *testing.T) {
	tcp := fcgiChild(t, "tcp", "127.0.0.1:0")
	socket := filepath.Join(t.TempDir(), "app.sock")
	fcgiChild(t, "unix", socket)
	root := writeFiles(t, map[string]string{"d/a.php": "", "a.php": "", "run.cgi": "", "a.txt": "text"})
	auth := func(r *http.Request) { r.Header.Set("Authorization", "Basic YTpi") }
	const match = "ProxyPassMatch ^/(.*\\.php(/.*)?)$ fcgi://app.test:9000/srv/$1 enablereuse=on\n"
	for name, tc := range map[string]struct {
		config string
		url    string
		status int
		want   []string // parts of the answer; after "!" parts that are not in it
	}{
		"ProxyPassMatch":               {match, "/sub/a.php/info?x=1", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://app.test:9000/srv/sub/a.php/info\n", "DOCUMENT_ROOT=/srv\n", "!PATH_TRANSLATED", "/sub/a.php/info?x=1 AUTH", "on tcp", "!Basic"}},
		"ProxyPassMatch, other path":   {match, "/a.html", 404, nil},
		"ProxyPass":                    {"ProxyPass /app/ fcgi://app.test:9000/srv/app/ enablereuse=off", "/app/a.php", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://app.test:9000/srv/app/a.php\n"}},
		"unix":                         {"ProxyPassMatch ^/(.*\\.php)$ unix:" + socket + "|fcgi://localhost/srv/$1", "/a.php", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://localhost/srv/a.php\n", "on unix"}},
		"CGIPassAuth":                  {match + "CGIPassAuth On", "/a.php", 200, []string{"AUTH=Basic YTpi"}},
		"ProxyFCGIBackendType GENERIC": {match + "ProxyFCGIBackendType GENERIC", "/a.php", 200, []string{"SCRIPT_FILENAME=/srv/a.php\n"}},
		"ProxyFCGIBackendType FPM":     {match + "ProxyFCGIBackendType FPM", "/a.php", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://app.test:9000/srv/a.php\n"}},
		"ProxyFCGISetEnvIf": {match + `
ProxyFCGISetEnvIf "true" ALWAYS 1
ProxyFCGISetEnvIf "-n reqenv('SCRIPT_NAME')" HAS_INFO yes
ProxyFCGISetEnvIf "%{QUERY_STRING} == 'x=1'" QUERY one
ProxyFCGISetEnvIf "%{REQUEST_METHOD} == 'POST'" QUERY post
ProxyFCGISetEnvIf "%{reqenv:SCRIPT_FILENAME} =~ m#^proxy:fcgi://app.test:9000/srv/#" UNDER srv
ProxyFCGISetEnvIf "true" !CONTEXT_DOCUMENT_ROOT
`, "/a.php/i?x=1", 200, []string{"ALWAYS=1\n", "HAS_INFO=yes\n", "QUERY=one\n", "UNDER=srv\n", "!CONTEXT_DOCUMENT_ROOT"}},
		"SetEnv":                            {match + "SetEnv SITE blue", "/a.php", 200, []string{"SITE=blue\n"}},
		"FilesMatch":                        {"DocumentRoot /srv/www\n<FilesMatch \\.php$>\nSetHandler \"proxy:fcgi://app.test:9000\"\n</FilesMatch>", "/d/a.php/i", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://app.test:9000/srv/www/d/a.php\n", "DOCUMENT_ROOT=/srv/www\n", "PATH_TRANSLATED=/srv/www/i\n"}},
		"FilesMatch, unix":                  {"DocumentRoot /srv/www\n<FilesMatch \\.php$>\nSetHandler \"proxy:unix:" + socket + "|fcgi://localhost/\"\n</FilesMatch>", "/a.php", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://localhost//srv/www/a.php\n", "on unix"}},
		"FilesMatch, a worker's socket":     {"DocumentRoot /srv/www\n<Proxy \"unix:" + socket + "|fcgi://php\">\nProxySet timeout=9\n</Proxy>\n<FilesMatch \\.php$>\nSetHandler \"proxy:fcgi://php\"\n</FilesMatch>", "/a.php", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://php/srv/www/a.php\n", "on unix"}},
		"ProxyPassMatch, a worker's socket": {"<Proxy \"unix:" + socket + "|fcgi://php/\">\n</Proxy>\nProxyPassMatch ^/(.*\\.php)$ fcgi://php/srv/$1", "/a.php", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://php/srv/a.php\n", "on unix"}},
		"FilesMatch, no":                    {"DocumentRoot /srv/www\n<FilesMatch \\.php$>\nSetHandler \"proxy:fcgi://app.test:9000\"\n</FilesMatch>", "/a.txt", 200, []string{"text"}},
		"Files":                             {"DocumentRoot /srv/www\n<Files run.cgi>\nSetHandler \"proxy:fcgi://app.test:9000\"\n</Files>", "/run.cgi", 200, []string{"SCRIPT_FILENAME=proxy:fcgi://app.test:9000/srv/www/run.cgi\n"}},
		"BalancerMember": {"<Proxy balancer://php>\nBalancerMember fcgi://app.test:9000\nBalancerMember unix:" + socket + "|fcgi://two\n</Proxy>\n" +
			"ProxyPassMatch ^/(.*\\.php)$ balancer://php/srv/$1", "/a.php", 200, []string{"/srv/a.php\n", "/a.php AUTH"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, strings.ReplaceAll(tc.config, "/srv/www", root), echo, "-resolve", "app.test:9000="+tcp.Addr().String())
			resp, body := p.get("80", "site.test"+tc.url, auth)
			require.Equal(t, tc.status, resp.StatusCode, body)
			for _, part := range tc.want {
				part = strings.ReplaceAll(part, "/srv/www", root)
				if not, ok := strings.CutPrefix(part, "!"); ok {
					require.NotContains(t, body, not)
				} else {
					require.Contains(t, body, part)
				}
			}
		})
	}
}

// TestFastCGIConfiguration runs conf/fcgi.conf as it stands, with a real
// php-fpm. Where /var/www/html cannot be written, scripts are elsewhere.
func TestFastCGIConfiguration(t *testing.T) {
	text, err := os.ReadFile("../conf/fcgi.conf")
	require.NoError(t, err)
	config, root := string(text), "/var/www/html"
	const page = `<?php echo "page ", $_SERVER['SCRIPT_NAME'], " ", $_SERVER['PATH_INFO'] ?? '', " ", $_SERVER['REQUEST_URI'];`
	f, err := os.CreateTemp(root, "modproxy-*.php")
	if err != nil {
		elsewhere := programs.Folder(t)
		config = strings.ReplaceAll(config, root, elsewhere)
		f, err = os.CreateTemp(elsewhere, "modproxy-*.php")
		require.NoError(t, err)
	}
	t.Cleanup(func() { _ = os.Remove(f.Name()) })
	_, err = f.WriteString(page)
	require.NoError(t, err)
	require.NoError(t, f.Chmod(0o644))
	require.NoError(t, f.Close())
	p := start(t, config, echo, "-resolve", "127.0.0.1:9000="+programs.PHPFPM(t, programs.PHPFPMOptions{}).Addr)
	name := "/" + filepath.Base(f.Name())
	resp, body := p.get("80", "www.example.com"+name+"/more?x=y")
	require.Equal(t, 200, resp.StatusCode, body)
	require.Equal(t, "page "+name+" /more "+name+"/more?x=y", body)
	resp, _ = p.get("80", "www.example.com/missing.php")
	require.Equal(t, 404, resp.StatusCode)
}
