package apache

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestClosedAsInHTTPD: what httpd 2.4 does not let in is not let in here. Where
// httpd is installed, it is asked the same.
func TestClosedAsInHTTPD(t *testing.T) {
	set := func(name, value string) func(r *http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	const pass, ten = "ProxyPass / http://backend.test/\n", "<Location />\nRequire ip 10.0.0.0/8\n</Location>\n"
	for name, tc := range map[string]struct {
		config, path string
		change       func(r *http.Request)
		status       int
	}{
		"private address of anybody":       {"RemoteIPHeader X-Real\n" + ten, "/x", set("X-Real", "10.1.2.3"), 403},
		"private address of a trusted":     {"RemoteIPHeader X-Real\nRemoteIPTrustedProxy 127.0.0.1\nRemoteIPInternalProxy 127.0.0.0/8\n" + ten, "/x", set("X-Real", "10.1.2.3"), 403},
		"private address of an internal":   {"RemoteIPHeader X-Real\nRemoteIPInternalProxy 127.0.0.1\n" + ten, "/x", set("X-Real", "10.1.2.3"), 200},
		"local, of anybody":                {"RemoteIPHeader X-Real\nRemoteIPTrustedProxy 127.0.0.1\n<Location />\nRequire ip ::1\n</Location>\n", "/x", set("X-Real", "::1"), 403},
		"newline and LocationMatch":        {"<LocationMatch ^/admin/.*$>\nRequire all denied\n</LocationMatch>\n", "/admin/%0Ax", nil, 403},
		"newline and ProxyMatch":           {"<ProxyMatch ^http://backend\\.test/admin/.*$>\nRequire all denied\n</ProxyMatch>\n", "/admin/%0Ax", nil, 403},
		"Files behind Location":            {"<Location /in>\nRequire all denied\n</Location>\n<FilesMatch \\.css$>\nRequire all granted\n</FilesMatch>\n", "/in/x.css", nil, 403},
		"Files behind Location, in a name": {"<Location /in>\nRequire all denied\n</Location>\n<FilesMatch \\.css$>\nRequire all granted\n</FilesMatch>\n", "/in/x.css/y", nil, 403},
		"Files and Proxy":                  {"<Proxy *>\nRequire all denied\n</Proxy>\n<FilesMatch \\.css$>\nRequire all granted\n</FilesMatch>\n", "/in/x.css", nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "ErrorLog /dev/null\n"+pass+tc.config, echo)
			change := []func(r *http.Request){}
			if tc.change != nil {
				change = append(change, tc.change)
			}
			resp, _ := p.get("80", "x.test"+tc.path, change...)
			require.Equal(t, tc.status, resp.StatusCode)
			t.Run("httpd", func(t *testing.T) {
				require.Equal(t, tc.status, realHTTPD(t, pass+tc.config)(tc.path, change...))
			})
		})
	}
}

// realHTTPD starts httpd with the same configuration, and returns what asks it
// for a status.
func realHTTPD(t *testing.T, config string) func(path string, change ...func(*http.Request)) int {
	back := httptest.NewServer(echo)
	t.Cleanup(back.Close)
	at := back.Listener.Addr().String()
	config = strings.NewReplacer(`backend\.test`, regexp.QuoteMeta(at), "backend.test", at).Replace(config)
	httpd := programs.HTTPD(t, "authz_host remoteip proxy proxy_http", config)
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return func(path string, change ...func(*http.Request)) int {
		r, err := http.NewRequest("GET", "http://"+httpd.Addr+path, nil)
		require.NoError(t, err)
		for _, c := range change {
			c(r)
		}
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
}

// TestLocationsOfForward: paths of sections are none of other servers.
func TestLocationsOfForward(t *testing.T) {
	const config = `
ProxyRequests On
<Proxy *>
  Require all granted
</Proxy>
<Proxy http://CLOSED.test:80/>
  Require all denied
</Proxy>
<Proxy http://CLOSED*.test/in>
  Require all denied
</Proxy>
<ProxyMatch cmd=x>
  Require all denied
</ProxyMatch>
<ProxyMatch /none>
  Require all denied
</ProxyMatch>
<LocationMatch ^http://plain\.test/inner>
  Require all denied
</LocationMatch>
<Location />
  Require all granted
</Location>
<FilesMatch .>
  Require all granted
</FilesMatch>
`
	back := httptest.NewServer(echo)
	t.Cleanup(back.Close)
	at := back.Listener.Addr().String()
	p := start(t, config, echo, "-resolve", "plain.test:80="+at, "-resolve", "closed.test:80="+at, "-resolve", "closed2.test:80="+at)
	for url, want := range map[string]string{
		"http://plain.test/x": "200", "http://plain.test/none": "403", "http://plain.test/?cmd=x": "403", "http://plain.test/inner": "403",
		"http://closed.test/x": "403", "http://Closed.test:80/x": "403", "http://closed2.test/x": "200", "http://closed2.test/in": "403",
	} {
		host := strings.Split(url, "/")[2]
		got := ask(t, p.server.addresses()["80"], "GET "+url+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		require.Contains(t, got, "< "+want, url)
	}
}

func TestNotThisUser(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("carl:$apr1$NVI4ZKEl$0TDxYdGXHHSM4FA7IRCsk1\n"), 0o600))
	auth := "AuthType Basic\nAuthUserFile " + users + "\n<RequireAll>\nRequire valid-user\n"
	p := start(t, "ProxyPass / http://backend.test/\n"+
		"<Location /not>\n"+auth+"Require not user bob\n</RequireAll>\n</Location>\n"+
		"<Location /none>\n"+auth+"<RequireNone>\nRequire user bob\n</RequireNone>\n</RequireAll>\n</Location>\n"+
		"<Location /carl>\n"+auth+"Require not user carl\n</RequireAll>\n</Location>\n", echo)
	for path, want := range map[string]int{"/not": 200, "/none": 200, "/carl": 401} {
		resp, _ := p.get("80", "x.test"+path)
		require.Equal(t, 401, resp.StatusCode, path)
		resp, _ = p.get("80", "x.test"+path, withUser("Authorization", "carl", ""))
		require.Equal(t, want, resp.StatusCode, path)
	}
}

// TestUserReachesApplications: they do not see credentials, but who it is.
func TestUserReachesApplications(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("carl:$apr1$NVI4ZKEl$0TDxYdGXHHSM4FA7IRCsk1\n"), 0o600))
	app := fcgiChild(t, "tcp", "127.0.0.1:0")
	var seen atomic.Value
	container := startAJP(t, &ajp.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f := exchange.FactsOf(r, nil)
		seen.Store([2]string{f.User, f.AuthType})
	})})
	p := start(t, "ProxyPass /f fcgi://app.test:9000/srv\nProxyPass /a ajp://"+container+"/\n<Location />\nAuthType Basic\nAuthUserFile "+users+"\nRequire valid-user\n</Location>\n", echo,
		"-resolve", "app.test:9000="+app.Addr().String())
	_, text := p.get("80", "x.test/f/a.php", withUser("Authorization", "carl", ""))
	require.Contains(t, text, "REMOTE_USER=carl\n")
	require.Contains(t, text, "AUTH_TYPE=Basic\n")
	resp, _ := p.get("80", "x.test/a", withUser("Authorization", "carl", ""))
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, [2]string{"carl", "Basic"}, seen.Load())
}

// TestNoCacheVariable: a quick handler obeys SetEnvIf, too.
func TestNoCacheVariable(t *testing.T) {
	var asked atomic.Int32
	p := start(t, "CacheEnable memory /\nSetEnvIf Request_URI ^/env no-cache\nProxyPass / http://backend.test/\n", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = w.Write([]byte("kept"))
	}))
	for range 2 {
		p.get("80", "x.test/env")
	}
	require.EqualValues(t, 2, asked.Load())
	for range 2 {
		p.get("80", "x.test/other")
	}
	require.EqualValues(t, 3, asked.Load())
}

// TestDirectoriesOfScripts: what <Directory> says holds for scripts of SetHandler,
// in httpd's order: the shorter paths first, then patterns, then <Files>, and
// <Location> last.
func TestDirectoriesOfScripts(t *testing.T) {
	root := writeFiles(t, map[string]string{"srv/www/admin/x.php": "", "srv/other/x": ""})
	const scripts = "Listen 80\nDocumentRoot /srv/www\n<FilesMatch \\.php$>\nSetHandler \"proxy:fcgi://app.test:9000\"\n</FilesMatch>\n"
	const denied, granted = ">\nRequire all denied\n</Directory>\n", ">\nRequire all granted\n</Directory>\n"
	for config, open := range map[string]bool{
		"<Directory /" + denied:                                                                         false,
		"<Directory /srv" + granted + "<Directory /" + denied:                                           true,
		"<Directory /" + granted + "<Directory /srv/www/admin" + denied:                                 false,
		"<Directory /srv/www/adm" + denied:                                                              true,
		"<Directory /srv/www>\n<FilesMatch ^x>\nRequire ip 10.0.0.0/8\n</FilesMatch>\n</Directory>\n":   false,
		"<Directory /srv/other>\n<FilesMatch ^x>\nRequire ip 10.0.0.0/8\n</FilesMatch>\n</Directory>\n": true,
		"<Directory /elsewhere" + denied:                                                                true,
		"<Directory /srv/*/admin" + denied:                                                              false,
		"<Directory ~ adm" + denied + "<Directory /srv/www/admin" + granted:                             false,
		"<DirectoryMatch ^/srv/www/adm>\nRequire all denied\n</DirectoryMatch>\n":                       false,
		"<DirectoryMatch ^/admin>\nRequire all denied\n</DirectoryMatch>\n":                             true,
		"<Directory /srv/www>\n<RequireAny>\nRequire all granted\n</RequireAny>\n</Directory>\n":        true,
		"<Directory /" + denied + "<Location /admin>\nRequire all granted\n</Location>\n":               true,
		"<Directory /" + denied + "ProxyPass /admin http://backend.test/":                               true,
		"<Files x.php>\nRequire all denied\n</Files>\n<Directory /srv/www" + granted:                    false,
		"<Files x.php>\nRequire all denied\n</Files>\nProxyPass /admin http://backend.test/":            true,
	} {
		p := start(t, strings.ReplaceAll(scripts+config, "/srv", root+"/srv"), echo, "-resolve", "app.test:9000=127.0.0.1:1")
		resp, _ := p.get("80", "h.test/admin/x.php")
		require.Equal(t, open, resp.StatusCode != http.StatusForbidden, "%d: %s", resp.StatusCode, config)
		p.stop()
	}
}

// TestCheckOfPeers: SSLProxyCheckPeerCN alone, and what has expired.
func TestCheckOfPeers(t *testing.T) {
	a := newAuthority(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, a.pem, 0o600))
	at := a.secure(a.issue("good.test", time.Now().Add(time.Hour)), tls.NoClientCert)
	old := a.secure(a.issue("old.test", time.Now().Add(-time.Hour)), tls.NoClientCert)
	args := []string{"-resolve", "good.test:443=" + at, "-resolve", "wrong.test:443=" + at, "-resolve", "old.test:443=" + old}
	for _, tc := range []struct {
		host, config string
		status       int
	}{
		{"wrong.test", "SSLProxyVerify none\nSSLProxyCheckPeerName Off\nSSLProxyCheckPeerCN On\n", 503},
		{"good.test", "SSLProxyVerify none\nSSLProxyCheckPeerName Off\nSSLProxyCheckPeerCN On\n", 200},
		{"old.test", "SSLProxyCACertificateFile " + ca + "\nSSLProxyVerify require\nSSLProxyCheckPeerExpire Off\n", 503},
	} {
		p := start(t, "ErrorLog /dev/null\n"+tc.config+"ProxyPass / https://"+tc.host+"/\n", echo, args...)
		resp, _ := p.get("80", "x.test/")
		require.Equal(t, tc.status, resp.StatusCode, tc)
	}
	_, _, err := read("Listen 80\nSSLProxyProtocol \"\"\n")
	require.ErrorContains(t, err, "is not known")
	_, _, err = read("Listen 80\n<Location /x>\n<RequireAll>\nRequire all granted\nRequire not method put\n</RequireAll>\n</Location>\n")
	require.ErrorContains(t, err, "capital letters")
}

// TestAddressesOfAnybody: which addresses a proxy that is not internal may name.
func TestAddressesOfAnybody(t *testing.T) {
	addresses := map[string]int{
		"8.8.8.8": 200, "10.1.2.3": 403, "172.16.0.1": 403, "172.31.0.1": 403, "172.32.0.1": 200, "192.168.1.1": 403, "192.169.1.1": 200, "169.254.1.1": 403,
		"100.64.0.1": 200, "127.0.0.2": 403, "2001:db8::1": 200, "fc00::1": 403, "fe80::1": 403, "::1": 403,
	}
	config := "ProxyPass / http://backend.test/\nRemoteIPHeader X-Real\n"
	from := func(a string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Real", a) }
	}
	paths := map[string]string{}
	for a := range addresses {
		paths[a] = "/" + strings.ReplaceAll(a, ":", "-") + "/"
		config += "<Location " + paths[a] + ">\nRequire ip " + a + "\n</Location>\n"
	}
	p := start(t, "ErrorLog /dev/null\n"+config, echo)
	for a, want := range addresses {
		resp, _ := p.get("80", "x.test"+paths[a], from(a))
		require.Equal(t, want, resp.StatusCode, a)
	}
	t.Run("httpd", func(t *testing.T) {
		ask := realHTTPD(t, config)
		for a, want := range addresses {
			require.Equal(t, want, ask(paths[a], from(a)), a)
		}
	})
}
