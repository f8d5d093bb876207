package apache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEffects has a row for directives whose effect the comparison with httpd
// does not show.
func TestEffects(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/stall"):
			select {
			case <-r.Context().Done():
			case <-stop:
			}
		case r.URL.Path == "/long":
			w.Header().Set("X-Long", strings.Repeat("x", 300))
		case r.URL.Path == "/upgrade" && r.Header.Get("Upgrade") != "":
			w.Header().Set("X-Asked", r.Header.Get("Upgrade"))
		default:
			fmt.Fprintf(w, "%s %s from %s, close %t, expect %q", r.Host, r.RequestURI, hostOf(r.RemoteAddr), r.Close, r.Header.Get("Expect"))
		}
	})
	set := func(fields ...string) func(r *http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(fields); i += 2 {
				r.Header.Set(fields[i], fields[i+1])
			}
		}
	}
	expecting := func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader("body")), 4
		r.Header.Set("Expect", "100-continue")
	}
	t.Setenv("PASSED", "from outside")
	list := filepath.Join(t.TempDir(), "proxies")
	const servlet = "<Location /srv/admin>\nRequire all denied\n</Location>\nProxyPass /srv http://backend.test/srv mapping=servlet"
	require.NoError(t, os.WriteFile(list, []byte("# ours\n127.0.0.0/8 10.0.0.1\n"), 0o644))
	for name, tc := range map[string]struct {
		config string
		url    string
		change func(r *http.Request)
		status int
		want   string // of the body or the fields, an expression
	}{
		"ProxyTimeout":               {"ProxyTimeout 100ms\nProxyPass / http://backend.test/", "/stall", nil, 504, ""},
		"Timeout":                    {"Timeout 100ms\nProxyPass / http://backend.test/", "/stall", nil, 504, ""},
		"timeout over Timeout":       {"Timeout 100ms\nProxyTimeout 60\nProxyPass / http://backend.test/ timeout=1", "/stall", nil, 504, ""},
		"responsefieldsize":          {"ProxyPass / http://backend.test/ responsefieldsize=100", "/long", nil, 502, ""},
		"ProxySet":                   {"ProxyPass / http://backend.test/\nProxySet http://backend.test/ responsefieldsize=100", "/long", nil, 502, ""},
		"ProxySet in Location":       {"<Location />\nProxyPass http://backend.test/\nProxySet responsefieldsize=100\n</Location>", "/long", nil, 502, ""},
		"Proxy with parameters":      {"ProxyPass / http://backend.test/\n<Proxy http://backend.test/ responsefieldsize=100>\n</Proxy>", "/long", nil, 502, ""},
		"ProxySet of a handler's":    {"ProxyPass / http://backend.test/\nProxySet http://backend.test/ upgrade=foo", "/upgrade", set("Connection", "Upgrade", "Upgrade", "foo"), 200, "X-Asked: foo"},
		"Proxy of a handler's":       {"ProxyPass / http://backend.test/\n<Proxy http://backend.test/ upgrade=foo>\n</Proxy>", "/upgrade", set("Connection", "Upgrade", "Upgrade", "foo"), 200, "X-Asked: foo"},
		"ProxySet of a member's":     {"<Proxy balancer://b>\nBalancerMember http://backend.test\n</Proxy>\nProxyPass / balancer://b/\nProxySet http://backend.test upgrade=foo", "/upgrade", set("Connection", "Upgrade", "Upgrade", "foo"), 200, "X-Asked: foo"},
		"Header on server-status":    {"<Location />\nSetHandler server-status\nHeader set X-Set yes\n</Location>", "/", nil, 200, "X-Set: yes"},
		"Header on balancer-manager": {"<Proxy balancer://b>\nBalancerMember http://backend.test\n</Proxy>\n<Location />\nSetHandler balancer-manager\nHeader always set X-Set yes\n</Location>", "/", nil, 200, "X-Set: yes"},
		"source of the virtual host": {"ProxySourceAddress 127.0.0.9\n<VirtualHost *:80>\nProxySourceAddress 127.0.0.8\nProxyPass / http://backend.test/\n</VirtualHost>\n<VirtualHost *:80>\nServerName other.test\nProxySourceAddress 127.0.0.7\nProxyPass / http://backend.test/\n</VirtualHost>", "/x", nil, 200, "from 127.0.0.8"},
		"ProxySourceAddress":         {"ProxySourceAddress 127.0.0.9\nProxyPass / http://backend.test/", "/x", nil, 200, "from 127.0.0.9"},
		"disablereuse":               {"ProxyPass / http://backend.test/ disablereuse=On", "/x", nil, 200, "close true"},
		"upgrade":                    {"ProxyPass / http://backend.test/ upgrade=foo", "/upgrade", set("Connection", "Upgrade", "Upgrade", "foo"), 200, "X-Asked: foo"},
		"Proxy100Continue On":        {"Proxy100Continue On\nProxyPass / http://backend.test/", "/x", expecting, 200, `expect "100-continue"`},
		"Proxy100Continue Off":       {"Proxy100Continue Off\nProxyPass / http://backend.test/", "/x", expecting, 200, `expect ""`},
		"ProxyBadHeader":             {"ProxyBadHeader IsError\nProxyPass / http://backend.test/", "/x", nil, 200, ""},
		"KeepAlive":                  {"KeepAlive Off\nProxyPass / http://backend.test/", "/x", nil, 200, "Closed: true"},
		"nokeepalive":                {"SetEnvIf X-Old . nokeepalive\nProxyPass / http://backend.test/", "/x", set("X-Old", "1"), 200, "Closed: true"},
		"proxy-nokeepalive":          {"SetEnv proxy-nokeepalive 1\nProxyPass / http://backend.test/", "/x", nil, 200, "close true"},
		"SetEnv, UnsetEnv":           {"SetEnv A 1\nSetEnv B 2\nUnsetEnv A\nHeader set X-A yes env=A\nHeader set X-B %{B}e\nProxyPass / http://backend.test/", "/x", nil, 200, "(?s)^[^A]*X-B: 2"},
		"PassEnv":                    {"PassEnv PASSED\nHeader set X-P %{PASSED}e\nProxyPass / http://backend.test/", "/x", nil, 200, "X-P: from outside"},
		"BrowserMatchNoCase":         {"BrowserMatchNoCase ^OLD old\nHeader set X-Old yes env=old\nProxyPass / http://backend.test/", "/x", set("User-Agent", "older"), 200, "X-Old: yes"},
		"SetEnvIf in Location":       {"<Location /x>\nSetEnvIf Request_Method ^(.*)$ m=$1\nHeader set X-M %{m}e\n</Location>\nProxyPass / http://backend.test/", "/x", nil, 200, "X-M: GET"},
		"trusted list":               {"RemoteIPHeader X-Real\nRemoteIPTrustedProxyList " + list + "\n<Location />\nRequire ip 192.0.2.7\n</Location>\nProxyPass / http://backend.test/", "/x", set("X-Real", "192.0.2.7"), 200, ""},
		"internal proxy":             {"RemoteIPHeader X-Real\nRemoteIPInternalProxy 127.0.0.1\n<Location />\nRequire ip 192.0.2.7\n</Location>\nProxyPass / http://backend.test/", "/x", set("X-Real", "192.0.2.7"), 200, ""},
		"internal list":              {"RemoteIPHeader X-Real\nRemoteIPInternalProxyList " + list + "\n<Location />\nRequire ip 192.0.2.7\n</Location>\nProxyPass / http://backend.test/", "/x", set("X-Real", "192.0.2.7"), 200, ""},
		"other proxies":              {"RemoteIPHeader X-Real\nRemoteIPTrustedProxy 10.0.0.1\n<Location />\nRequire ip 192.0.2.7\n</Location>\nProxyPass / http://backend.test/", "/x", set("X-Real", "192.0.2.7"), 403, ""},
		"everyone trusted":           {"RemoteIPHeader X-Real\n<Location />\nRequire ip 192.0.2.7\n</Location>\nProxyPass / http://backend.test/", "/x", set("X-Real", "192.0.2.7"), 200, ""},
		"slashes refused":            {"ProxyPass / http://backend.test/", "/a%2Fb", nil, 404, ""},
		"slashes decoded":            {"AllowEncodedSlashes On\nProxyPass / http://backend.test/", "/a%2Fb", nil, 200, "backend.test /a/b "},
		"slashes kept":               {"AllowEncodedSlashes NoDecode\nProxyPass / http://backend.test/", "/a%2Fb", nil, 200, "backend.test /a%2Fb "},
		"decoded, then Location":     {"AllowEncodedSlashes On\n<Location /in/side>\nRequire all denied\n</Location>\nProxyPass / http://backend.test/", "/in%2Fside", nil, 403, ""},
		"decoded, then dots":         {"AllowEncodedSlashes On\n<Location /inside>\nRequire all denied\n</Location>\nProxyPass / http://backend.test/", "/x%2F..%2Finside", nil, 403, ""},
		"kept, then Location":        {"AllowEncodedSlashes NoDecode\n<Location /in/side>\nRequire all denied\n</Location>\nProxyPass / http://backend.test/", "/in%2Fside", nil, 200, ""},
		"servlet, then Location":     {servlet, "/srv/x/..;/admin/y", nil, 403, ""},
		"servlet, parameters":        {servlet, "/srv;p=1/;q/admin;r/y", nil, 403, ""},
		"servlet, escaped semicolon": {servlet, "/srv/admin%3B/y", nil, 200, "backend.test /srv/admin%3B/y"},
		"servlet, kept":              {servlet, "/srv/x;p=1/y", nil, 200, "backend.test /srv/x;p=1/y"},
		"ErrorDocument text":         {"ErrorDocument 404 \"not <b>here</b>\"", "/x", nil, 404, "not <b>here</b>"},
		"ErrorDocument path":         {"ErrorDocument 403 /page?code=403\n<Location /x>\nRequire all denied\n</Location>\nProxyPass / http://backend.test/", "/x", nil, 403, "backend.test /page\\?code=403 "},
		"ErrorDocument URL":          {"ErrorDocument 404 http://elsewhere.test/", "/x", nil, 302, "Location: http://elsewhere.test/"},
		"ErrorDocument default":      {"ErrorDocument 404 text\n<Location /x>\nErrorDocument 404 default\n</Location>", "/x", nil, 404, "404 Not Found"},
		"ErrorDocument of itself":    {"ErrorDocument 403 /page\n<Location />\nRequire all denied\n</Location>\nProxyPass / http://backend.test/", "/x", nil, 403, "403 Forbidden"},
		"ErrorDocument of a failure": {"ErrorDocument 504 \"too slow\"\nProxyTimeout 100ms\nProxyPass / http://backend.test/", "/stall", nil, 504, "too slow"},
		"ServerRoot, Directory":      {"ServerRoot /nowhere\n<Directory />\nAllowOverride None\n</Directory>\nProxyPass / http://backend.test/", "/x", nil, 200, ""},
		"IfModule":                   {"<IfModule mod_headers.c>\nHeader set X-Module yes\n</IfModule>\n<IfVersion >= 2.4>\nHeader set X-Version yes\n</IfVersion>\nProxyPass / http://backend.test/", "/x", nil, 200, "(?s)X-Module: yes.*X-Version: yes"},
		"Define":                     {"Define B backend.test\nProxyPass / http://${B}/", "/x", nil, 200, "backend.test /x"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "Listen 80\nErrorLog /dev/null\n"+tc.config+"\n", backend)
			var change []func(r *http.Request)
			if tc.change != nil {
				change = append(change, tc.change)
			}
			resp, text := p.get("80", "front.test"+tc.url, change...)
			require.Equal(t, tc.status, resp.StatusCode, text)
			var all strings.Builder
			_ = resp.Header.Write(&all)
			fmt.Fprintf(&all, "Closed: %t\r\n%s", resp.Close, text)
			require.Regexp(t, tc.want, all.String())
		})
	}
}

// TestConditionalLogs: CustomLog … env=, notes and variables in formats.
func TestConditionalLogs(t *testing.T) {
	dir := t.TempDir()
	p := start(t, `
Listen 80
ServerRoot `+dir+`
SetEnvIf Request_URI ^/health quiet
SetEnvIf Request_URI ^/(a) letter=$1
LogFormat "%U %{letter}e"
TransferLog all.log
CustomLog some.log "%U" env=!quiet
CustomLog few.log "%U" env=quiet
ProxyPass / http://backend.test/
`, echo)
	for _, path := range []string{"/a", "/health", "/b"} {
		p.get("80", "front.test"+path)
	}
	p.stop()
	for name, want := range map[string]string{"all.log": "/a a\n/health -\n/b -\n", "some.log": "/a\n/b\n", "few.log": "/health\n"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(b), name)
	}
}

// TestLogLevels: a word for all modules counts for those behind it, sections
// have levels of their own, and of the proxy's modules the more talkative one
// decides.
func TestLogLevels(t *testing.T) {
	for words, want := range map[string][3]bool{ // debug, trace1, trace4
		"warn":                         {},
		"debug":                        {true, false, false},
		"warn proxy:trace1":            {true, true, false},
		"proxy:trace1 warn":            {},
		"warn mod_proxy.c:trace4":      {true, true, true},
		"warn proxy_module:debug":      {true, false, false},
		"proxy:warn proxy_http:trace4": {true, true, true},
		"warn ssl:trace4":              {},
	} {
		p := start(t, "Listen 80\nLogLevel "+words+"\nProxyPass / http://backend.test/", echo)
		p.get("80", "front.test/x")
		p.stop()
		log := p.stderr.String()
		require.Equal(t, want, [3]bool{strings.Contains(log, "level=DEBUG"), strings.Contains(log, "level=TRACE1"), strings.Contains(log, "level=TRACE4")}, "%s: %s", words, log)
	}
	p := start(t, "Listen 80\nLogLevel warn\n<Location /in>\nLogLevel trace1\n</Location>\nProxyPass / http://backend.test/", echo)
	p.get("80", "front.test/x")
	p.get("80", "front.test/in")
	p.stop()
	require.Equal(t, 1, strings.Count(p.stderr.String(), "request mapped"))
}

// TestKeepAliveTimeout: an idle client is let go.
func TestKeepAliveTimeout(t *testing.T) {
	p := start(t, "Listen 80\nKeepAliveTimeout 50ms\nProxyPass / http://backend.test/", echo)
	c, err := net.Dial("tcp", p.server.addresses()["80"])
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	_, err = in.ReadByte()
	require.Equal(t, io.EOF, err)
}

// TestStopWaitsForRequests: what is running when SIGTERM comes may finish.
func TestStopWaitsForRequests(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	p := start(t, "Listen 80\nProxyPass / http://backend.test/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(w, "finished")
	}))
	addr := p.server.addresses()["80"]
	text := make(chan string, 1)
	go func() {
		_, got := p.get("80", "front.test/x")
		text <- got
	}()
	<-arrived
	stopped := make(chan struct{})
	go func() { p.stop(); close(stopped) }()
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, 20*time.Second, 5*time.Millisecond, "nobody new is accepted")
	select {
	case <-stopped:
		t.Fatal("stopped before the request was done")
	default:
	}
	close(finish)
	require.Equal(t, "finished", <-text)
	<-stopped
}

// TestEveryDirectiveIsTested: the tests and their configurations name each
// directive that has an effect.
func TestEveryDirectiveIsTested(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "testdata/*.conf", "../conf/*.conf", "internal/conf/*_test.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			all.Write(b)
		}
	}
	text, missing := all.String(), []string(nil)
	for _, d := range table() {
		if d.apply == nil || d.refused {
			continue
		}
		// In the text of a Go file a line ends with the letter n.
		if ok, _ := regexp.MatchString("(?m)(^\\s*|[<\"`n])"+regexp.QuoteMeta(d.name)+`[\s>]`, text); !ok {
			missing = append(missing, d.name)
		}
	}
	require.Empty(t, missing)
}
