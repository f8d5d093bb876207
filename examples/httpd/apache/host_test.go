package apache

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHostsThatAreNone: a virtual host, a cache, a redirect and a log are chosen
// and made by valid Hosts alone.
func TestHostsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	asked := make(chan string, 16)
	p := start(t, `ServerName main.test
<VirtualHost *:80>
ServerName first.test
ErrorDocument 400 "no such host"
CustomLog `+filepath.Join(dir, "log")+` "%>s %V %{Host}i"
CacheEnable memory /
ProxyPass / http://backend.test/
ProxyPassReverse / http://backend.test/
ProxyPreserveHost On
Header set X-Name "expr=%{HTTP_HOST}"
</VirtualHost>
<VirtualHost *:80>
ServerName other.test
ProxyPass / http://backend.test/other/
</VirtualHost>
`, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host + " " + r.Header.Get("X-Forwarded-Host") + " " + r.URL.Path
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Location", "http://backend.test/there")
		w.WriteHeader(http.StatusMovedPermanently)
		_, _ = io.WriteString(w, "moved")
	}))
	addr := p.server.addresses()["80"]
	for _, host := range []string{"a:b:c", "other.test:80.evil", "other.test:x", "[::1", "::1", "%zz", "other.test@x", "first.test/x", `first.test"`, ":80"} {
		for _, request := range []string{
			"GET /x HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n",
			"GET http://" + host + "/x HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n",
		} {
			if strings.HasPrefix(request, "GET http") && strings.ContainsAny(host, "@/") {
				continue // which then ends the host, or begins it
			}
			lines := ask(t, addr, request)
			require.Equal(t, "< 400", lines[0], request)
			require.Empty(t, asked, request)
		}
	}
	require.Contains(t, ask(t, addr, "GET /x HTTP/1.1\r\nHost: a:b:c\r\nConnection: close\r\n\r\n"), `< "no such host"`)

	// Of one key, the backend is told one Host, and so is the client.
	for _, host := range []string{"FIRST.test:80", "first.test", "First.Test:"} {
		lines := ask(t, addr, "GET /y HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		require.Equal(t, "< 301", lines[0])
		require.Contains(t, lines, "< location: http://first.test/there", host)
	}
	require.Equal(t, "first.test first.test /y", <-asked)
	require.Empty(t, asked)

	p.stop()
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "400 a:b:c a:b:c\n")
	require.Contains(t, string(log), "301 first.test FIRST.test:80\n")
}

// TestPortOfTheServer: clients of a server that listens on another port than they
// ask for, behind a router or a container's mapping, are led to that of their Host,
// or of ServerName, or else of the scheme.
func TestPortOfTheServer(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p := start(t, `Listen 81
CustomLog `+log+` "%p %{canonical}p %V"
<VirtualHost *:81>
ServerName first.test
RedirectMatch ^/from$ /to
RewriteEngine On
RewriteRule ^/there$ /here [R]
ProxyPass /tell http://backend.test/
RequestHeader set X-Said "expr=%{SERVER_PORT}"
</VirtualHost>
<VirtualHost *:81>
ServerName second.test:8443
UseCanonicalName On
RedirectMatch ^/from$ /to
ProxyPass /tell http://backend.test/
RequestHeader set X-Said "expr=%{SERVER_PORT}"
</VirtualHost>
`, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Said", r.Header.Get("X-Said"))
	}))
	for _, row := range []struct{ host, path, want string }{
		{"first.test", "/from", "< location: http://first.test/to"},
		{"First.test.", "/from", "< location: http://first.test/to"},
		{"first.test:8080", "/from", "< location: http://first.test:8080/to"},
		{"first.test", "/there", "< location: http://first.test/here"},
		{"first.test:8080", "/there", "< location: http://first.test:8080/here"},
		{"first.test", "/tell", "< x-said: 80"},
		{"first.test:8080", "/tell", "< x-said: 8080"},
		{"second.test", "/from", "< location: http://second.test:8443/to"},
		{"second.test:8080", "/from", "< location: http://second.test:8443/to"},
		{"second.test:8080", "/tell", "< x-said: 8443"},
	} {
		lines := ask(t, p.server.addresses()["81"], "GET "+row.path+" HTTP/1.1\r\nHost: "+row.host+"\r\nConnection: close\r\n\r\n")
		require.Contains(t, lines, row.want, "%+v: %q", row, lines)
	}
	p.stop()
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(text), "80 80 first.test\n")
	require.Contains(t, string(text), "8443 8443 second.test\n")
	require.NotContains(t, string(text), "81")
}

// TestSchemeOfServerName: where ServerName says https, a backend is told so by an
// expression as well, and by UseCanonicalName the name.
func TestSchemeOfServerName(t *testing.T) {
	p := start(t, `ServerName main.test
<VirtualHost *:80>
ServerName https://first.test:8443
ServerAlias also.test
UseCanonicalName On
ProxyPass / http://backend.test/
RequestHeader set X-Said "expr=%{REQUEST_SCHEME} %{SERVER_NAME} %{HTTPS}"
</VirtualHost>
<VirtualHost *:80>
ServerName second.test:81
ProxyPass / http://backend.test/
RequestHeader set X-Said "expr=%{REQUEST_SCHEME} %{SERVER_NAME} %{HTTPS}"
</VirtualHost>
`, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Said", r.Header.Get("X-Said"))
	}))
	for host, want := range map[string]string{"first.test": "https first.test off", "also.test:99": "https first.test off", "second.test": "http second.test off"} {
		lines := ask(t, p.server.addresses()["80"], "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		require.Contains(t, lines, "< x-said: "+want, "%q", lines)
	}
}
