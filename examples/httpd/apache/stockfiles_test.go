package apache

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestDebian reads Debian's own apache2.conf with the modules that it enables by
// itself, those of a proxy, all of its conf-available, and a site of ours.
func TestDebian(t *testing.T) {
	const etc = "/etc/apache2"
	programs.NeedFile(t, etc+"/mods-available/proxy.load", "apache2")
	root := t.TempDir()
	for _, folder := range []string{"mods-available", "conf-available", "sites-available"} {
		copyFolder(t, filepath.Join(etc, folder), filepath.Join(root, folder))
	}
	for _, name := range []string{"apache2.conf", "ports.conf"} {
		text, err := os.ReadFile(filepath.Join(etc, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, name), text, 0o644))
	}
	enable := func(kind, name string) {
		from := filepath.Join(root, kind+"-available", name)
		if _, err := os.Stat(from); err != nil {
			return
		}
		require.NoError(t, os.MkdirAll(filepath.Join(root, kind+"-enabled"), 0o755))
		require.NoError(t, os.Symlink("../"+kind+"-available/"+name, filepath.Join(root, kind+"-enabled", name)))
	}
	for m := range strings.FieldsSeq("access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user autoindex deflate dir env filter mime mpm_event negotiation reqtimeout setenvif status proxy proxy_http proxy_balancer proxy_fcgi headers expires cgid") {
		enable("mods", m+".load")
		enable("mods", m+".conf")
	}
	for c := range strings.FieldsSeq("charset localized-error-pages other-vhosts-access-log security serve-cgi-bin") {
		enable("conf", c+".conf")
	}
	enable("sites", "000-default.conf")
	require.NoError(t, os.WriteFile(filepath.Join(root, "sites-enabled/app.conf"), []byte(`<VirtualHost *:80>
	ServerName app.test
	ErrorLog ${APACHE_LOG_DIR}/app-error.log
	CustomLog ${APACHE_LOG_DIR}/app-access.log combined
	ProxyPreserveHost On
	ProxyPass / http://backend.test/
	ProxyPassReverse / http://backend.test/
</VirtualHost>
`), 0o644))
	serves(t, filepath.Join(root, "apache2.conf"), "app.test/x", "-d", root, "-D", "APACHE_LOG_DIR="+t.TempDir())
}

// TestRedHat reads a configuration in the manner of Red Hat's: one file and two
// folders of others.
func TestRedHat(t *testing.T) {
	root := t.TempDir()
	copyFolder(t, "testdata/redhat", root)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "logs"), 0o755))
	serves(t, filepath.Join(root, "conf/httpd.conf"), "app.test/x", "-d", root, "-D", "ROOT="+root)
}

// serves starts a configuration and asks for what it leads to backend.test.
func serves(t *testing.T, file, url string, args ...string) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "asked "+r.Host+r.URL.Path) }))
	t.Cleanup(back.Close)
	p := startFile(t, file, append([]string{"-listen", "80=127.0.0.1:0", "-resolve", "backend.test:80=" + back.Listener.Addr().String()}, args...)...)
	resp, text := p.get("80", url)
	require.Equal(t, 200, resp.StatusCode, text)
	require.Equal(t, "asked "+url, text)
}

func copyFolder(t *testing.T, from, to string) {
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	}))
}
