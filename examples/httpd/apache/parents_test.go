package apache

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// parentProxy is the other proxy of a test. It answers what it is asked, and
// joins each CONNECT to one place.
type parentProxy struct {
	*httptest.Server
	mu    sync.Mutex // guards asked
	asked []string
	ends  []net.Conn // of tunnels
	to    string     // the other end of tunnels
	wg    sync.WaitGroup
}

// down ends it, with its tunnels.
func (p *parentProxy) down() {
	p.Close()
	p.mu.Lock()
	for _, c := range p.ends {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func newParent(t *testing.T, name, to string) *parentProxy {
	p := &parentProxy{to: to}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said := r.Method + " " + r.RequestURI
		if a := r.Header.Get("Proxy-Authorization"); a != "" {
			said += " as " + a
		}
		if a := r.Header.Get("Authorization"); a != "" {
			said += " for " + a
		}
		p.mu.Lock()
		p.asked = append(p.asked, said)
		p.mu.Unlock()
		if r.Method != http.MethodConnect {
			_, _ = io.WriteString(w, name)
			return
		}
		back, err := net.Dial("tcp", p.to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.ends = append(p.ends, c, back)
		p.mu.Unlock()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for _, pair := range [][2]net.Conn{{c, back}, {back, c}} {
			p.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			})
		}
	}))
	t.Cleanup(p.down)
	return p
}

// take returns what was asked since the last time.
func (p *parentProxy) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

// parentSite has the parents one.test and two.test, and origins that nobody may
// reach but by them: what comes there directly is counted.
type parentSite struct {
	*program
	one, two *parentProxy
	past     func() int
}

func startParents(t *testing.T, config string) *parentSite {
	secure, plain := httptest.NewTLSServer(echoSockets), httptest.NewServer(echoSockets)
	direct, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	past := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := direct.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			past++
			mu.Unlock()
			_ = c.Close()
		}
	})
	s := &parentSite{one: newParent(t, "one", secure.Listener.Addr().String()), two: newParent(t, "two", plain.Listener.Addr().String()), past: func() int {
		mu.Lock()
		defer mu.Unlock()
		return past
	}}
	t.Cleanup(func() {
		secure.Close()
		plain.Close()
		_ = direct.Close()
		wg.Wait()
	})
	args := []string{"-resolve", "one.test:3128=" + s.one.Listener.Addr().String(), "-resolve", "two.test:3128=" + s.two.Listener.Addr().String()}
	for _, at := range []string{"origin.test:80", "origin.test:443", "origin.test:8080", "origin.test:21", "member.test:80", "member.test:443"} {
		args = append(args, "-resolve", at+"="+direct.Addr().String())
	}
	s.program = start(t, "Listen 80\nSSLProxyVerify none\nSSLProxyCheckPeerName Off\nSSLProxyCheckPeerCN Off\n"+config, echo, args...)
	return s
}

// parentRules are configurations whose requests go by parents, and what the
// parent is asked for a request of /x?q.
var parentRules = map[string]struct {
	config string
	one    []string
	two    []string
	body   string // in the answer
}{
	"ProxyPass":               {config: "ProxyRemote * http://one.test:3128\nProxyPass / http://origin.test/a/", one: []string{"GET http://origin.test/a/x?q"}, body: "one"},
	"ProxyPassMatch":          {config: "ProxyRemote * http://one.test:3128\nProxyPassMatch ^/(.*)$ http://origin.test:8080/m/$1", one: []string{"GET http://origin.test:8080/m/x?q"}, body: "one"},
	"Location":                {config: "ProxyRemote * http://one.test:3128\n<Location />\nProxyPass http://origin.test/\n</Location>", one: []string{"GET http://origin.test/x?q"}, body: "one"},
	"member":                  {config: "ProxyRemote * http://one.test:3128\n<Proxy balancer://b>\nBalancerMember http://member.test/b\n</Proxy>\nProxyPass / balancer://b/", one: []string{"GET http://member.test/b/x?q"}, body: "one"},
	"https":                   {config: "ProxyRemote * http://one.test:3128\nProxyPass / https://origin.test/a/", one: []string{"CONNECT origin.test:443"}, body: "origin.test /a/x?q"},
	"https member":            {config: "ProxyRemote * http://one.test:3128\n<Proxy balancer://b>\nBalancerMember https://member.test\n</Proxy>\nProxyPass / balancer://b/", one: []string{"CONNECT member.test:443"}, body: "member.test /x?q"},
	"ws, no handshake":        {config: "ProxyRemote * http://two.test:3128\nProxyPass / ws://origin.test/a/", two: []string{"CONNECT origin.test:80"}, body: "origin.test /a/x?q"},
	"wss, no handshake":       {config: "ProxyRemote * http://one.test:3128\nProxyPass / wss://origin.test/a/", one: []string{"CONNECT origin.test:443"}, body: "origin.test /a/x?q"},
	"ftp":                     {config: "ProxyRemote ftp http://one.test:3128\nProxyPass / ftp://me:secret@origin.test/a/", one: []string{"GET ftp://origin.test/a/x?q for Basic bWU6c2VjcmV0"}, body: "one"},
	"the first that fits":     {config: "ProxyRemote http://other.test/ http://one.test:3128\nProxyRemote http://origin.test/ http://two.test:3128\nProxyRemote * http://one.test:3128\nProxyPass / http://origin.test/", two: []string{"GET http://origin.test/x?q"}, body: "two"},
	"the order of lines":      {config: "ProxyRemote * http://one.test:3128\nProxyRemote http://origin.test/ http://two.test:3128\nProxyPass / http://origin.test/", one: []string{"GET http://origin.test/x?q"}, body: "one"},
	"a scheme":                {config: "ProxyRemote https http://one.test:3128\nProxyRemote HTTP http://two.test:3128\nProxyPass / http://origin.test/", two: []string{"GET http://origin.test/x?q"}, body: "two"},
	"a path":                  {config: "ProxyRemote http://origin.test/a/y http://one.test:3128\nProxyRemote http://origin.test/a/x http://two.test:3128\nProxyPass / http://origin.test/a/", two: []string{"GET http://origin.test/a/x?q"}, body: "two"},
	"case and port":           {config: "ProxyRemote http://ORIGIN.test/ http://two.test:3128\nProxyPass / http://Origin.test:80/", two: []string{"GET http://origin.test/x?q"}, body: "two"},
	"an expression":           {config: "ProxyRemoteMatch \"^http://other\" http://one.test:3128\nProxyRemoteMatch \"origin\\.test/a/x\" http://two.test:3128\nProxyPass / http://origin.test/a/", two: []string{"GET http://origin.test/a/x?q"}, body: "two"},
	"credentials":             {config: "ProxyRemote * http://one.test:3128 alice:sesame\nProxyPass / http://origin.test/", one: []string{"GET http://origin.test/x?q as Basic YWxpY2U6c2VzYW1l"}, body: "one"},
	"credentials, tunnel":     {config: "ProxyRemoteMatch . http://one.test:3128 alice:sesame\nProxyPass / https://origin.test/", one: []string{"CONNECT origin.test:443 as Basic YWxpY2U6c2VzYW1l"}, body: "origin.test /x?q"},
	"credentials in the URL":  {config: "ProxyRemote * http://alice:sesame@one.test:3128\nProxyPass / http://origin.test/", one: []string{"GET http://origin.test/x?q as Basic YWxpY2U6c2VzYW1l"}, body: "one"},
	"NoProxy of another":      {config: "ProxyRemote * http://one.test:3128\nNoProxy .else.test 192.0.2.0/24 there.test\nProxyPass / http://origin.test/", one: []string{"GET http://origin.test/x?q"}, body: "one"},
	"virtual host":            {config: "ProxyRemote http://origin.test/a http://one.test:3128\n<VirtualHost *:80>\nServerName host.test\nProxyRemote * http://two.test:3128\nProxyPass / http://origin.test/\n</VirtualHost>", two: []string{"GET http://origin.test/x?q"}, body: "two"},
	"of the main server":      {config: "ProxyRemote * http://one.test:3128\n<VirtualHost *:80>\nServerName host.test\nProxyRemote * http://two.test:3128\nProxyPass / http://origin.test/\n</VirtualHost>", one: []string{"GET http://origin.test/x?q"}, body: "one"},
	"inherited rule":          {config: "ProxyPass / http://origin.test/\n<VirtualHost *:80>\nServerName host.test\nProxyRemote * http://two.test:3128\n</VirtualHost>", two: []string{"GET http://origin.test/x?q"}, body: "two"},
	"inherited balancer":      {config: "<Proxy balancer://b>\nBalancerMember http://member.test\n</Proxy>\n<VirtualHost *:80>\nServerName host.test\nProxyRemote * http://two.test:3128\nProxyPass / balancer://b/\n</VirtualHost>", two: []string{"GET http://member.test/x?q"}, body: "two"},
	"kept connections":        {config: "ProxyRemote * http://one.test:3128\nProxyPass / http://origin.test/ min=2 max=4 ttl=60 timeout=5 connectiontimeout=5", one: []string{"GET http://origin.test/x?q"}, body: "one"},
	"upgrade, and none asked": {config: "ProxyRemote * http://one.test:3128\nProxyPass / http://origin.test/ upgrade=websocket", one: []string{"GET http://origin.test/x?q"}, body: "one"},
	"ErrorDocument":           {config: "ProxyRemote * http://one.test:3128\nErrorDocument 404 /page\nProxyPass /page http://origin.test/page\nProxyPass /none !", one: []string{"GET http://origin.test/page"}, body: "one"},
}

// TestParents: each rule and member goes by its ProxyRemote, and nothing past
// it, be the parent down.
func TestParents(t *testing.T) {
	for name, tc := range parentRules {
		t.Run(name, func(t *testing.T) {
			s := startParents(t, tc.config+"\n")
			resp, body := s.get("80", "host.test/x?q")
			require.Contains(t, body, tc.body, "%d %s", resp.StatusCode, s.stderr)
			require.Equal(t, tc.one, s.one.take())
			require.Equal(t, tc.two, s.two.take())
			s.one.down()
			s.two.down()
			resp, _ = s.get("80", "host.test/x?q")
			if name != "ErrorDocument" {
				require.Contains(t, []int{502, 503}, resp.StatusCode)
			}
			require.Zero(t, s.past(), "%s", s.stderr)
		})
	}
}

// TestWebSocketsByParents: handshakes go through tunnels, whatever the scheme.
func TestWebSocketsByParents(t *testing.T) {
	for rule, want := range map[string]string{
		"ProxyPass /ws ws://origin.test/ws":                                                              "CONNECT origin.test:80",
		"ProxyPass /ws http://origin.test/ws upgrade=websocket":                                          "CONNECT origin.test:80",
		"ProxyPass /ws wss://origin.test/ws":                                                             "CONNECT origin.test:443",
		"ProxyPass /ws https://origin.test/ws upgrade=websocket":                                         "CONNECT origin.test:443",
		"<Proxy balancer://b>\nBalancerMember ws://member.test\n</Proxy>\nProxyPass /ws balancer://b/ws": "CONNECT member.test:80",
	} {
		parent := "two"
		if strings.HasSuffix(want, "443") {
			parent = "one"
		}
		s := startParents(t, "ProxyRemote * http://"+parent+".test:3128 alice:sesame\n"+rule+"\n")
		c, _, err := s.dial("host.test/ws", nil)
		require.NoError(t, err, "%s %s", rule, s.stderr)
		requireEcho(t, c, websocket.TextMessage, "hello")
		require.NoError(t, c.Close())
		require.Equal(t, []string{want + " as Basic YWxpY2U6c2VzYW1l"}, append(s.one.take(), s.two.take()...), rule)
		require.Zero(t, s.past(), rule)
		s.stop()
	}
}

// TestNoProxyOfRules: what is named there is reached without the parent.
func TestNoProxyOfRules(t *testing.T) {
	back := httptest.NewServer(echo)
	defer back.Close()
	addr := back.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	for _, tc := range []struct{ target, noProxy string }{
		{"http://" + addr + "/", "127.0.0.1"}, {"http://" + addr + "/", "127.0.0.0/8"}, {"http://" + addr + "/", "127."},
		{"http://localhost:" + port + "/", "localhost"}, {"http://localhost:" + port + "/", "127.0.0.0/8 ::1/128"}, {"http://backend.test/", ".test"}, {"http://backend.test/", "other.test backend.test"},
	} {
		s := startParents(t, "ProxyRemote * http://one.test:3128\nNoProxy "+tc.noProxy+"\nProxyPass / "+tc.target+"\n")
		if strings.HasSuffix(tc.target, "backend.test/") {
			tc.target = "http://backend.test/" // start has it resolved
		}
		resp, body := s.get("80", "host.test/x?q")
		require.Equal(t, 200, resp.StatusCode, "%v %s", tc, s.stderr)
		require.Contains(t, body, "/x?q", tc)
		require.Empty(t, s.one.take(), tc)
		s.stop()
	}
}

// TestChecksByParents: the health of a member is asked for by its parent, too.
func TestChecksByParents(t *testing.T) {
	for method, want := range map[string]string{"GET": "GET http://member.test/health", "HEAD": "HEAD http://member.test/health", "TCP": ""} {
		s := startParents(t, "ProxyRemote * http://one.test:3128\n<Proxy balancer://b>\nBalancerMember http://member.test hcmethod="+method+" hcinterval=1 hcuri=/health\n</Proxy>\nProxyPass / balancer://b/\n")
		require.Eventually(t, func() bool { return want == "" || slices.Contains(s.one.take(), want) }, 20*time.Second, 10*time.Millisecond)
		_, body := s.get("80", "host.test/x")
		require.Equal(t, "one", body)
		require.Zero(t, s.past(), method)
		s.stop()
	}
}

// TestReloadOfParents: a reload brings another parent, and none.
func TestReloadOfParents(t *testing.T) {
	const rule = "ProxyPass / http://backend.test/\n"
	s := startParents(t, "ProxyRemote * http://one.test:3128\n"+rule)
	_, body := s.get("80", "host.test/x")
	require.Equal(t, "one", body)
	for _, tc := range []struct{ parent, want string }{{"ProxyRemote * http://two.test:3128\n", "two"}, {"", "host.test /x"}} {
		s.write("Listen 80\nProxyPreserveHost On\n" + tc.parent + rule)
		s.signals <- syscall.SIGHUP
		require.Eventually(t, func() bool {
			_, body = s.get("80", "host.test/x")
			return body == tc.want
		}, 20*time.Second, 10*time.Millisecond)
	}
}

// TestParentsAtTheStart: what no parent can carry is refused, or warned of, by -t.
func TestParentsAtTheStart(t *testing.T) {
	root := t.TempDir()
	for config, want := range map[string]string{
		"ProxyPass / fcgi://127.0.0.1:9000/srv/":                                                           "!fcgi:// to one.test:3128, which cannot speak it",
		"ProxyPassMatch ^/(.*\\.php)$ fcgi://127.0.0.1:9000/srv/$1":                                        "!fcgi://",
		"ProxyPass / ajp://127.0.0.1:8009/":                                                                "!ajp://",
		"ProxyPass / ftps://127.0.0.1/":                                                                    "!ftps://",
		"ProxyPass / ftpes://127.0.0.1/":                                                                   "!ftpes://",
		"ProxyPass / ftp://me:secret@127.0.0.1/":                                                           "directives of FTP have no effect",
		"ProxyPass / unix:/run/x.sock|http://localhost/":                                                   "has no effect for unix:/run/x.sock",
		"ProxyPass / unix:/run/x.sock|fcgi://localhost/srv/":                                               "has no effect for unix:/run/x.sock",
		"<Proxy balancer://b>\nBalancerMember ajp://127.0.0.1:8009\n</Proxy>":                              "!BalancerMember",
		"DocumentRoot " + root + "\n<Location />\nSetHandler proxy:fcgi://127.0.0.1:9000\n</Location>":     "!fcgi://",
		"NoProxy 127.0.0.0/8\nProxyPass /a ajp://127.0.0.1:8009/a\nProxyPass / fcgi://127.0.0.1:9000/srv/": "",
		"ProxyPass / http://127.0.0.1/":                                                                    "",
		"<Proxy balancer://b>\nBalancerMember http://a.test\n</Proxy>\n<Proxy balancer://c>\nBalancerMember ajp://127.0.0.1:8009\n</Proxy>\n": "!BalancerMember",
	} {
		file := filepath.Join(t.TempDir(), "x.conf")
		require.NoError(t, os.WriteFile(file, []byte("Listen 80\nProxyRemote * http://one.test:3128 alice:sesame\n"+config+"\n"), 0o600))
		var stderr strings.Builder
		code := run([]string{"-f", file, "-t"}, io.Discard, &stderr, nil, nil)
		want, refused := strings.CutPrefix(want, "!")
		require.Equal(t, refused, code == 1, "%s\n%s", config, &stderr)
		require.Contains(t, stderr.String(), want, config)
		require.Equal(t, want == "" && !refused, stderr.String() == "Syntax OK\n", "%s\n%s", config, &stderr)
		require.NotContains(t, stderr.String(), "s"+"ecret", config)
		require.NotContains(t, stderr.String(), "sesame", config)
	}
	file := filepath.Join(t.TempDir(), "x.conf")
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\n<Proxy balancer://b>\nBalancerMember ajp://127.0.0.1:8009\n</Proxy>\n<VirtualHost *:80>\nServerName a.test\nProxyRemote * http://one.test:3128\nProxyPass / balancer://b/\n</VirtualHost>\n"), 0o600))
	var stderr strings.Builder
	require.Equal(t, 1, run([]string{"-f", file, "-t"}, io.Discard, &stderr, nil, nil), "an inherited balancer")
	require.Contains(t, stderr.String(), "ajp://")
}

// TestParentsOfHTTPD asks the real httpd for the same: what its parent gets is
// what ours gets.
func TestParentsOfHTTPD(t *testing.T) {
	for name, tc := range parentRules {
		if strings.Contains(tc.config, "ws://") || strings.Contains(tc.config, "wss://") || strings.Contains(tc.config, "VirtualHost") || strings.Contains(tc.config, "@one.test") || name == "ftp" || name == "case and port" || name == "upgrade, and none asked" {
			continue // httpd speaks WebSocket to the parent itself, needs a port for each host, takes no credentials in the URL, and leaves a target's in it
		}
		t.Run(name, func(t *testing.T) {
			secure, plain := httptest.NewTLSServer(echo), httptest.NewServer(echo)
			defer secure.Close()
			defer plain.Close()
			one, two := newParent(t, "one", secure.Listener.Addr().String()), newParent(t, "two", plain.Listener.Addr().String())
			config := strings.NewReplacer("one.test:3128", one.Listener.Addr().String(), "two.test:3128", two.Listener.Addr().String()).Replace(tc.config)
			httpd := programs.HTTPD(t, "authz_host proxy proxy_http proxy_ftp proxy_balancer lbmethod_byrequests slotmem_shm ssl socache_shmcb",
				"SSLProxyEngine On\nSSLProxyVerify none\nSSLProxyCheckPeerName Off\nSSLProxyCheckPeerCN Off\n"+config+"\n")
			resp, err := http.Get("http://" + httpd.Addr + "/x?q")
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			_ = resp.Body.Close()
			require.Equal(t, fmt.Sprint(tc.one, tc.two), fmt.Sprint(one.take(), two.take()), "%s", &httpd.Output)
			require.Contains(t, string(body), tc.body)
		})
	}
}
