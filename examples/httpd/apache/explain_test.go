package apache

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// explained is a configuration with all that Explain writes.
const explained = `
Listen 80
Listen 443
ProxyVia On
ProxyTimeout 30
Header set X-Main "100%%"
<Proxy balancer://pool>
    BalancerMember http://127.0.0.1:8001 loadfactor=2 route=a hcmethod=GET hcuri=/up hcinterval=5
    BalancerMember http://127.0.0.1:8002 route=b retry=10 status=+H ping=1
    ProxySet lbmethod=bytraffic stickysession=ID|id maxattempts=1 failontimeout=On growth=4
</Proxy>
<VirtualHost *:80>
    ServerName one.test
    ServerAlias www.one.test *.one.test
    ProxyPreserveHost On
    ProxyPass /app/static !
    ProxyPass /app/ http://127.0.0.1:8001/ timeout=5 max=10 acquire=500ms disablereuse=On nocanon
    ProxyPassReverse /app/ http://127.0.0.1:8001/
    ProxyPassReverseCookieDomain int.test one.test
    ProxyPassReverseCookiePath /int /app
    ProxyPassMatch ^/php/(.*\.php)$ fcgi://127.0.0.1:9000/srv/$1 timeout=9
    ProxyPass /ws/ ws://127.0.0.1:8003/
    ProxyPass /ftp/ ftp://127.0.0.1/
    ProxyPass /java/ ajp://127.0.0.1:8009/java/ secret=x
    ProxyPass /unix/ unix:/run/x.sock|http://localhost/ connectiontimeout=2
    ProxyPass /pool balancer://pool
    ProxyPass /strange gopher://127.0.0.1:1/
    ProxyPass /py/ unix:/run/py.sock|uwsgi://py/ timeout=3
    ProxyPass /rb/ scgi://127.0.0.1:4000/
    DocumentRoot /srv/www
    ProxyErrorOverride On 404 500
    RequestHeader set X-Forwarded-Proto http
    RequestHeader unset Cookie
    Header always set X-Frame-Options DENY
    Header edit Location ^http: https:
    Redirect permanent /old https://one.test/new
    Redirect gone /gone
    RewriteRule ^/x$ /y [R]
    <Location /app/admin>
        Require ip 10.1 192.168.0.0/16 2001:db8::1
    </Location>
    <Location /app/closed>
        Require all denied
    </Location>
    <Location /app/users>
        AuthType Basic
        AuthName "Staff only"
        AuthUserFile USERS
        Require valid-user
    </Location>
    <Location /app/ldap>
        Require ldap-group cn=x */
    </Location>
    <LocationMatch "^/re/">
        ProxyPass http://127.0.0.1:8004
    </LocationMatch>
</VirtualHost>
<VirtualHost *:443>
    ServerName two.test
    SSLEngine on
    SSLCertificateFile /etc/ssl/two.pem
    SSLCertificateKeyFile /etc/ssl/two.key
    <Location />
        ProxyPass http://127.0.0.1:8002/
        ProxyPassReverse http://127.0.0.1:8002/
        Require local
    </Location>
</VirtualHost>
`

// buildExplained builds what Explain writes for configurations, and returns the folder
// of the programs.
func buildExplained(t *testing.T, texts map[string]string) (bin string) {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	tmp := t.TempDir()
	overlay, folders := make(map[string]string), []string(nil)
	bin = filepath.Join(tmp, "bin")
	for name, text := range texts {
		file := filepath.Join(tmp, name+".go")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		folder := filepath.Join(root, "examples", "httpd", "internal", "explained", name)
		overlay[filepath.Join(folder, "main.go")] = file
		folders = append(folders, folder)
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	replace := filepath.Join(tmp, "overlay.json")
	require.NoError(t, os.WriteFile(replace, list, 0o644))
	args := []string{"build", "-overlay", replace}
	if len(folders) == 1 { // else they are packages, and no programs
		args = append(args, "-o", bin+string(filepath.Separator))
	}
	build := exec.Command("go", append(args, folders...)...)
	build.Dir = root
	out, err := build.CombinedOutput()
	for name, text := range texts {
		if err != nil && strings.Contains(string(out), "/"+name+"/") {
			t.Log(text)
		}
	}
	require.NoError(t, err, "go build: %s", out)
	return bin
}

// TestExplain: what is printed for the configurations of conf and for one with all
// directives is compiled; nothing that says who may come in is lost.
func TestExplain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "all.conf")
	require.NoError(t, os.WriteFile(file, []byte(explained), 0o644))
	files, err := filepath.Glob("../conf/*.conf")
	require.NoError(t, err)
	texts := make(map[string]string)
	for _, name := range append(files, file) {
		text, err := Explain(name, Options{})
		require.NoError(t, err, name)
		text = strings.Replace(text, "package main\n", "package explained\n", 1) // not linked, which takes longest
		texts[strings.TrimSuffix(filepath.Base(name), ".conf")] = text
	}
	buildExplained(t, texts)
	all := strings.ReplaceAll(texts["all"], file, "x.conf")
	for _, want := range []string{
		`// x.conf:16: ProxyPass /app/static !`, "h.PreserveHost = true", "set(app2)", "Timeout: 5 * time.Second", "AcquireTimeout: 500 * time.Millisecond", "DisableReuse: true", "MaxConns: 10",
		`proxy.NewMatchHandler("^/php/(.*\\.php)$", "fcgi://127.0.0.1:9000/srv/$1")`, "ajp.NewHandler(", `os.Getenv("AJP_SECRET")`, `Socket: "/run/x.sock"`, "ftpproxy.NewHandler(", "wstunnel.NewHandler(",
		"Method: balancer.ByTraffic{}", `Sticky: balancer.ParseSticky("ID|id")`, "Flags: balancer.HotStandby", "/* not written here: ping */", "// Not written here: growth=4",
		`resp.Header.Set("X-Main", "100%")`, `pr.Out.Header.Del("Cookie")`, "// Not written here: x.conf:35: Header edit Location", "// Not written here: x.conf:38: RewriteRule", "// Not written here: x.conf:37: Redirect gone",
		"// Not written here: the scheme gopher", "&uwsgi.Transport{}", "&scgi.Transport{}", "// Not written here: x.conf:30: DocumentRoot", `netip.MustParsePrefix("10.1.0.0/16")`, `netip.MustParsePrefix("2001:db8::1/128")`, `access.OpenHtpasswd("USERS")`, `Realm: "Staff only"`,
		"// Write who may come in, in place of refuse: x.conf:52: Require ldap-group cn=x */", "refuse(app2)", `redirect("/old", "https://one.test/new", 301)`, `ListenAndServeTLS("", "")`, `{"/etc/ssl/two.pem", "/etc/ssl/two.key"}`,
		`Hosts: []string{"one.test", "www.one.test", "*.one.test"}`, `ErrorOverride{Codes: []int{404, 500}}`, `Via = proxy.ViaOn`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("there is no %q", want)
		}
	}
	_, err = Explain(file+"none", Options{})
	require.Error(t, err)
}

// TestExplainedServes: a program that was printed answers as the configuration does.
func TestExplainedServes(t *testing.T) {
	back := httptest.NewServer(echo)
	defer back.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "x.conf")
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\nProxyPreserveHost On\nProxyPass /app/no !\nProxyPass /app/ "+back.URL+"/app/\nProxyPassReverse /app/ http://backend.test/app/\nRedirect /old /app/\n<Location /app/closed>\nRequire all denied\n</Location>\n"), 0o644))
	text, err := Explain(file, Options{})
	require.NoError(t, err)
	text = strings.Replace(text, "func main() {", "func unused() {", 1) + `
func main() {
	h, err := handler()
	if err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/app/x", "/app/moved", "/app/no/x", "/app/closed/x", "/old/y?z=1", "/other"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://site.test"+path, nil))
		fmt.Println(path, w.Code, w.Header().Get("Location"))
	}
}
`
	text = strings.Replace(text, "import (", "import (\n\"fmt\"\n\"net/http/httptest\"", 1)
	bin := buildExplained(t, map[string]string{"served": text})
	out, err := exec.Command(filepath.Join(bin, "served")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "/app/x 200 \n/app/moved 302 http://site.test/app/there\n/app/no/x 404 \n/app/closed/x 403 \n/old/y?z=1 302 /app/y?z=1\n/other 404 \n", string(out))
	config, err := os.ReadFile(file)
	require.NoError(t, err)
	site, err := Parse(strings.Replace(string(config), "Redirect ", "# ", 1), "x.conf", Options{})
	require.NoError(t, err)
	defer site.Close()
	for path, code := range map[string]int{"/app/x": 200, "/app/no/x": 404, "/app/closed/x": 403, "/other": 404} {
		w := httptest.NewRecorder()
		site.Handler("80").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://site.test"+path, nil))
		require.Equal(t, code, w.Code, path)
	}
}
