package apache

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
)

// TestRewriteToEachProtocol: [P] leads to whatever ProxyPass leads to, from a
// server and from a section, whether the rule or the request names the host.
func TestRewriteToEachProtocol(t *testing.T) {
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s for %s", r.URL.RequestURI(), r.Host) })
	socket := filepath.Join(t.TempDir(), "http.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	over := &httptest.Server{Listener: l, Config: &http.Server{Handler: tell}}
	over.Start()
	t.Cleanup(over.Close)
	secure := httptest.NewTLSServer(tell)
	t.Cleanup(secure.Close)
	app := fcgiChild(t, "tcp", "127.0.0.1:0").Addr().String()
	container := startAJP(t, &ajp.Server{Handler: tell})
	p := start(t, `
SSLProxyEngine On
SSLProxyVerify none
SSLProxyCheckPeerName Off
<Proxy balancer://pool>
    BalancerMember http://backend.test/member
</Proxy>
RewriteEngine On
RewriteRule ^/http/(.*)$ http://backend.test/$1 [P]
RewriteRule ^/https/(.*)$ https://secure.test/$1 [P]
RewriteRule ^/unix/(.*)$ unix:`+socket+`|http://inside/$1 [P]
<Proxy "unix:`+socket+`|http://worker">
    ProxySet timeout=20
</Proxy>
RewriteRule ^/worker/(.*)$ http://worker/$1 [P]
RewriteRule ^/fcgi/(.*)$ fcgi://app.test:9000/srv/$1 [P]
RewriteRule ^/ajp/(.*)$ ajp://container.test:8009/$1 [P]
RewriteRule ^/balancer/(.*)$ balancer://pool/$1 [P]
RewriteRule ^/named/([a-z]+)/([^/]*)/(.*)$ $1://$2/$3 [P]
RewriteRule ^/scgi/(.*)/(.*)$ $1://backend.test/$2 [P]
<Location /section>
    RewriteRule ^ http://backend.test/section [P]
</Location>
ProxyPassMatch ^/(?!no)perl/(.*)$ http://backend.test/perl/$1
ProxyPassMatch ^/(?!no)whole/ http://backend.test/below
ProxyPassMatch ^/(?=no)no !
`, tell, "-resolve", "secure.test:443="+secure.Listener.Addr().String(), "-resolve", "app.test:9000="+app, "-resolve", "container.test:8009="+container)
	for path, want := range map[string]string{
		"/http/a?b=c":                      "/a?b=c for backend.test",
		"/https/a%20b":                     "/a%20b for secure.test",
		"/unix/a?b":                        "/a?b for inside",
		"/worker/a?b":                      "/a?b for worker",
		"/named/http/worker/x":             "/x for worker",
		"/ajp/a?b=c":                       "/a?b=c for",
		"/balancer/a?b":                    "/member/a?b for backend.test",
		"/fcgi/x/a.php?b":                  "/srv/x/a.php\n",
		"/section/x":                       "/section for backend.test",
		"/named/http/backend.test/x?y":     "/x?y for backend.test",
		"/named/https/secure.test/x":       "/x for secure.test",
		"/named/fcgi/app.test:9000/a.php":  "/a.php\n",
		"/named/ajp/container.test:8009/x": "/x for",
		"/named/balancer/pool/x":           "/member/x for backend.test",
		"/perl/a%20b?c":                    "/perl/a%20b?c for backend.test",
		"/whole/x":                         "/below/whole/x for backend.test",
	} {
		resp, text := p.get("80", "rewrite.test"+path)
		require.Equal(t, 200, resp.StatusCode, "%s: %s", path, text)
		require.Contains(t, text, want, path)
	}
	for path, code := range map[string]int{"/named/balancer/other/x": 500, "/scgi/gopher/x": 403, "/scgi/scgi/x": 503, "/named/http/user@backend.test/x": 400, "/no": 404} {
		resp, _ := p.get("80", "rewrite.test"+path)
		require.Equal(t, code, resp.StatusCode, path)
	}
}

// TestRewriteWebSocket is the pair of conditions that most configurations have:
// handshakes go to ws://, all else to http://.
func TestRewriteWebSocket(t *testing.T) {
	for name, config := range map[string]string{
		"in a server":  "RewriteEngine On\n%s\nProxyPass / http://backend.test/\n",
		"in a section": "ProxyPass / http://backend.test/\n<Location />\nRewriteEngine On\n%s\n</Location>\n",
	} {
		rules := "RewriteCond %{HTTP:Upgrade} websocket [NC]\nRewriteCond %{HTTP:Connection} upgrade [NC]\nRewriteRule ^/?(.*) ws://backend.test/$1 [P,L]"
		if strings.Contains(name, "section") {
			rules = strings.Replace(rules, "^/?(.*) ws://backend.test/$1", ". ws://backend.test%{REQUEST_URI}", 1)
		}
		t.Run(name, func(t *testing.T) {
			p := start(t, fmt.Sprintf(config, rules), echoSockets)
			c, resp, err := p.dial("ws.test/ws/room?x=1", nil)
			require.NoError(t, err)
			defer c.Close()
			require.Equal(t, "/ws/room?x=1", resp.Header.Get("X-Path"))
			requireEcho(t, c, websocket.TextMessage, "hello")
			_, text := p.get("80", "ws.test/plain")
			require.Contains(t, text, "/plain")
		})
	}
	t.Run("by http:// with upgrade", func(t *testing.T) {
		p := start(t, "RewriteEngine On\nRewriteRule ^/(.*) http://backend.test/$1 [P]\nProxyPass /other http://backend.test/ upgrade=websocket\n", echoSockets)
		c, _, err := p.dial("ws.test/ws", nil)
		require.NoError(t, err)
		defer c.Close()
		requireEcho(t, c, websocket.BinaryMessage, "hello")
	})
}

// TestRewriteManyBackends: who may name sockets fills no table.
func TestRewriteManyBackends(t *testing.T) {
	p := start(t, "RewriteEngine On\nRewriteRule ^/(.*)$ unix:/nowhere/$1|http://x/ [P]\n", echo)
	codes := make(map[int]int)
	for i := range maxOnDemand + 20 {
		resp, _ := p.get("80", fmt.Sprintf("rewrite.test/%d", i))
		codes[resp.StatusCode]++
	}
	h := p.server.current.Load().hosts[0]
	require.Len(t, h.demand.rules, maxOnDemand)
	require.Equal(t, map[int]int{http.StatusServiceUnavailable: maxOnDemand + 20}, codes)
}

// TestRewriteHandler: H says what answers for a file, and T of which type it is, in
// a server and in a folder.
func TestRewriteHandler(t *testing.T) {
	app := fcgiChild(t, "tcp", "127.0.0.1:0").Addr().String()
	root := writeFiles(t, map[string]string{"a.php": "", "d/a.php": "", "d/b.txt": "b", "b.txt": "b"})
	p := start(t, `
DocumentRoot `+root+`
RewriteEngine On
RewriteRule ^/a\.php$ - [H=proxy:fcgi://app.test:9000]
RewriteRule ^/b\.txt$ - [T=text/x-server]
<Directory `+root+`/d>
    Require all granted
    RewriteRule \.php$ - [H=proxy:fcgi://app.test:9000]
    RewriteRule \.txt$ - [T=text/x-folder]
</Directory>
`, echo, "-resolve", "app.test:9000="+app)
	for path, want := range map[string]string{"/a.php": "SCRIPT_FILENAME=proxy:fcgi://app.test:9000" + root + "/a.php\n", "/d/a.php": "SCRIPT_FILENAME=proxy:fcgi://app.test:9000" + root + "/d/a.php\n"} {
		resp, text := p.get("80", "rewrite.test"+path)
		require.Equal(t, 200, resp.StatusCode, path)
		require.Contains(t, text, want)
	}
	for path, want := range map[string]string{"/b.txt": "text/x-server", "/d/b.txt": "text/x-folder"} {
		resp, _ := p.get("80", "rewrite.test"+path)
		require.Equal(t, want, resp.Header.Get("Content-Type"), path)
	}
}
