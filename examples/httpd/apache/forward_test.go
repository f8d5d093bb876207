package apache

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// curl runs the real curl with a proxy at a configured port, and returns what
// it got.
func (p *program) curl(port string, args ...string) string {
	p.t.Helper()
	return programs.Curl(p.t, append([]string{"--insecure", "-x", "http://" + p.server.addresses()[port]}, args...)...).Out
}

const codes = "%{http_code} %{http_connect}"

// startForwardConf runs a file of conf behind the directives more, of which
// RemoteIPHeader X-Client lets clients tell an address, since a test has but
// loopback; secure.test:443 and plain.test are origins.
func startForwardConf(t *testing.T, name string, more ...string) *program {
	text, err := os.ReadFile("../conf/" + name)
	require.NoError(t, err)
	secure, plain := httptest.NewTLSServer(echo), httptest.NewServer(echo)
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	at := secure.Listener.Addr().String()
	return start(t, strings.Join(more, "")+string(text), echo, "-resolve", "secure.test:443="+at, "-resolve", "secure.test:563="+at, "-resolve", "secure.test:444="+at, "-resolve", "plain.test:80="+plain.Listener.Addr().String())
}

const addressByClient = "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n"

// TestForwardRefusesOthers runs conf/connect.conf and conf/requireip.conf as
// they stand: this machine is in none of their networks.
func TestForwardRefusesOthers(t *testing.T) {
	for _, name := range []string{"connect.conf", "requireip.conf"} {
		p := startForwardConf(t, name)
		for url, want := range map[string]string{"http://plain.test/x": "403 000", "https://secure.test/x": "000 403"} {
			got := p.curl("80", "--proxy-header", "X-Client: 192.168.1.7", "-o", "/dev/null", "-w", codes, url)
			require.Equal(t, want, got, "%s: %s", name, url)
		}
	}
}

// TestConnectConfiguration runs conf/connect.conf.
func TestConnectConfiguration(t *testing.T) {
	p := startForwardConf(t, "connect.conf", addressByClient)
	for _, tc := range []struct {
		client, url, want string
	}{
		{"192.168.1.7", "https://secure.test/x", "200 200"},
		{"192.168.1.255", "https://secure.test:563/x", "200 200"},
		{"192.168.1.7", "https://secure.test:444/x", "000 403"},
		{"192.168.2.7", "https://secure.test/x", "000 403"},
		{"", "https://secure.test/x", "000 403"}, // 127.0.0.1
		{"192.168.1.7", "http://plain.test/x", "200 000"},
		{"192.168.2.7", "http://plain.test/x", "403 000"},
		{"192.168.1.7", "https://nowhere.invalid/x", "000 503"},
		{"192.168.1.7", "http://nowhere.invalid/x", "503 000"},
	} {
		got := p.curl("80", "--proxy-header", "X-Client: "+tc.client, "-o", "/dev/null", "-w", codes, tc.url)
		require.Equal(t, tc.want, got, "%s from %s", tc.url, tc.client)
	}
	text := p.curl("80", "--proxy-header", "X-Client: 192.168.1.7", "https://secure.test/x?y")
	require.Equal(t, "secure.test /x?y", text)
	text = p.curl("80", "--proxy-header", "X-Client: 192.168.1.7", "http://plain.test/x%2Fy?z")
	require.Equal(t, "plain.test /x%2Fy?z", text, "AllowEncodedSlashes has no say in it")
}

// TestRequireIPConfiguration runs conf/requireip.conf.
func TestRequireIPConfiguration(t *testing.T) {
	p := startForwardConf(t, "requireip.conf", addressByClient)
	for client, want := range map[string]string{
		"192.168.1.1": "200 000", "10.1.200.3": "200 000", "2001:db8::7": "200 000", "::ffff:192.168.1.1": "200 000",
		"192.168.0.1": "403 000", "10.2.0.1": "403 000", "2001:db9::7": "403 000", "127.0.0.1": "403 000",
	} {
		got := p.curl("80", "--proxy-header", "X-Client: "+client, "-o", "/dev/null", "-w", codes, "http://plain.test/")
		require.Equal(t, want, got, client)
	}
}

// startForwardSite runs conf/forward.conf. It returns what the parent was
// asked.
func startForwardSite(t *testing.T, more ...string) (*program, chan string) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"users": "# htpasswd\nalice:$2y$05$4/iI97VcNWO9rTLBAOmmX.APUi0dEDnTd1q51PVeHQFK9kGZ44j8q\ncarl:$apr1$NVI4ZKEl$0TDxYdGXHHSM4FA7IRCsk1\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	text, err := os.ReadFile("../conf/forward.conf")
	require.NoError(t, err)
	asked := make(chan string, 16)
	parent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.RequestURI + " " + r.Header.Get("Proxy-Authorization")
		w.Header().Set("X-Parent", "1")
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusPaymentRequired)
		}
		fmt.Fprint(w, "parent")
	}))
	secure, plain := httptest.NewTLSServer(echo), httptest.NewServer(echo)
	for _, s := range []*httptest.Server{parent, secure, plain} {
		t.Cleanup(s.Close)
	}
	args := []string{"-resolve", "parent.local:3128=" + parent.Listener.Addr().String(), "-resolve", "backend.local:80=" + plain.Listener.Addr().String()}
	config := strings.ReplaceAll(string(text), "AuthUserFile users", "AuthUserFile "+filepath.Join(dir, "users"))
	_, port, _ := net.SplitHostPort(plain.Listener.Addr().String())
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())
	config = strings.ReplaceAll(config, "8443-8444", "8443-8444 "+securePort+" "+port)
	t.Setenv("PLAIN", plain.URL)
	t.Setenv("SECURE", secure.URL)
	return start(t, config, echo, append(args, more...)...), asked
}

// TestForwardConfiguration runs conf/forward.conf, with the file of users
// beside it.
func TestForwardConfiguration(t *testing.T) {
	p, asked := startForwardSite(t)
	plain, secure := os.Getenv("PLAIN"), os.Getenv("SECURE")
	const alice, carl = "alice:open sesame", "carl:"
	for _, tc := range []struct {
		user, url, want string
	}{
		{"", plain + "/x", "407 000"},
		{"", secure + "/x", "000 407"},
		{"alice:wrong", plain + "/x", "407 000"},
		{alice, plain + "/x", "200 000"},
		{alice, secure + "/x", "200 200"},
		{carl, plain + "/x", "200 000"},
		{alice, "https://127.0.0.1:22/", "000 403"},      // AllowCONNECT
		{alice, "http://blocked.example/", "403 000"},    // ProxyBlock
		{alice, "http://www.MEADSX.example/", "403 000"}, // a word in the middle
		{alice, "https://www.blocked.example/", "000 403"},
		{alice, "http://forbidden.example/x", "403 000"},
		{alice, "http://FORBIDDEN.example.:80/x", "403 000"},
		{alice, "http://forbidden.example:81/x", "503 000"}, // another place
		{alice, "http://carls.example/", "407 000"},
		{carl, "http://carls.example/", "503 000"},
		{carl, "http://carls.example:8080/", "503 000"},
		{alice, "http://wiki/x?y", "301 000"}, // ProxyDomain
		{alice, "ftp://a.example/", "503 000"},
	} {
		args := []string{"-o", "/dev/null", "-w", codes, tc.url}
		if tc.user != "" {
			args = append(args, "-U", tc.user)
		}
		got := p.curl("80", args...)
		require.Equal(t, tc.want, got, "%s for %s", tc.url, tc.user)
	}
	head := p.curl("80", "-U", alice, "-I", "-X", "GET", "http://wiki/x?y")
	require.Contains(t, head, "Location: http://wiki.example.com/x?y\r\n")
	head = p.curl("80", "-I", plain)
	require.Contains(t, head, "Proxy-Authenticate: Basic realm=\"the proxy\"")

	// The other proxy: ProxyRemote with credentials, ProxyRemoteMatch without.
	text := p.curl("80", "-U", alice, "http://remote.example/x%2Fy?z")
	require.Equal(t, "parent", text)
	require.Equal(t, "GET http://remote.example/x%2Fy?z Basic YWxpY2U6b3BlbnNlc2FtZQ==", <-asked)
	text = p.curl("80", "-U", alice, "-o", "/dev/null", "-w", codes, "https://www.remote.example/")
	require.Equal(t, "000 402", text, "its refusal as it is")
	require.Equal(t, "CONNECT www.remote.example:443 ", <-asked)
	text = p.curl("80", "-U", alice, "-o", "/dev/null", "-w", codes, "http://x.direct.remote.example/")
	require.Equal(t, "503 000", text, "NoProxy: nobody is there")
	require.Empty(t, asked)

	// Through the proxy comes no more than was asked for.
	resp, text := p.get("80", strings.TrimPrefix(plain, "http://")+"/x", func(r *http.Request) { r.URL.Opaque = plain + "/x" }, withUser("Proxy-Authorization", "carl", ""))
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, " /x")
	require.Empty(t, resp.Header.Get("X-Xff"))
	require.Equal(t, "1.1 proxy.example.com", resp.Header.Get("X-Via"))
}

// withUser adds credentials.
func withUser(field, user, password string) func(r *http.Request) {
	return func(r *http.Request) {
		r.SetBasicAuth(user, password)
		value := r.Header.Get("Authorization")
		r.Header.Del("Authorization")
		r.Header.Set(field, value)
	}
}

// TestAccountsForOwnPlaces: Require user in a <Location>.
func TestAccountsForOwnPlaces(t *testing.T) {
	p, _ := startForwardSite(t)
	resp, _ := p.get("80", "proxy.example.com/app/x")
	require.Equal(t, 200, resp.StatusCode)
	for _, path := range []string{"/app/private/x", "/app//private/x", "/app/%70rivate/x"} {
		resp, _ = p.get("80", "proxy.example.com"+path)
		require.Equal(t, 401, resp.StatusCode)
		require.Equal(t, `Basic realm="private"`, resp.Header.Get("WWW-Authenticate"))
	}
	resp, _ = p.get("80", "proxy.example.com/app/private/x", withUser("Authorization", "carl", ""))
	require.Equal(t, 401, resp.StatusCode)
	resp, text := p.get("80", "proxy.example.com/app/private/x", withUser("Authorization", "alice", "open sesame"))
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, "/app/private/x")
	resp, _ = p.get("80", "proxy.example.com/app/private/x", withUser("Proxy-Authorization", "alice", "open sesame"))
	require.Equal(t, 401, resp.StatusCode)
	// Its own name in an absolute URL is no forward request.
	got := ask(t, p.server.addresses()["80"], "GET http://proxy.example.com/app/x HTTP/1.1\r\nHost: proxy.example.com\r\nConnection: close\r\n\r\n")
	require.Contains(t, got, "< 200")
}

// TestNoPrivate: the switch of the command line.
func TestNoPrivate(t *testing.T) {
	p, _ := startForwardSite(t, "-no-private")
	for url, want := range map[string]string{os.Getenv("PLAIN"): "403 000", os.Getenv("SECURE"): "000 403"} {
		got := p.curl("80", "-U", "carl:", "-o", "/dev/null", "-w", codes, url)
		require.Equal(t, want, got)
	}
}

// TestRequirementsWithUsers: addresses and users together.
func TestRequirementsWithUsers(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("carl:$apr1$NVI4ZKEl$0TDxYdGXHHSM4FA7IRCsk1\n"), 0o600))
	auth := "AuthType Basic\nAuthUserFile " + users + "\n"
	p := start(t, `
LogFormat "%u %U" users
CustomLog /dev/stdout users
ProxyPass / http://backend.test/
<Location /any>
  `+auth+`
  Require ip 192.0.2.1
  Require valid-user
</Location>
<Location /local>
  `+auth+`
  Require local
  Require valid-user
</Location>
<Location /all>
  `+auth+`
  <RequireAll>
    Require valid-user
    Require ip 192.0.2.1
  </RequireAll>
</Location>
<Location /both>
  `+auth+`
  <RequireAll>
    Require local
    Require user carl
  </RequireAll>
</Location>
<Location /not>
  `+auth+`
  <RequireAll>
    Require all granted
    Require not user carl
  </RequireAll>
</Location>
<Location /unset>
  Require valid-user
</Location>
<Location /none>
  `+auth+`
  AuthType None
  Require all granted
</Location>
`, echo)
	for path, want := range map[string][2]int{ // without and with carl's credentials
		"/any": {401, 200}, "/local": {200, 200}, "/all": {403, 403}, "/both": {401, 200}, "/not": {200, 200}, "/unset": {500, 500}, "/none": {200, 200},
	} {
		resp, _ := p.get("80", "x.test"+path)
		require.Equal(t, want[0], resp.StatusCode, path)
		resp, _ = p.get("80", "x.test"+path, withUser("Authorization", "carl", ""))
		require.Equal(t, want[1], resp.StatusCode, path)
	}
}

// TestProxyBlockOfReverse: backends of rules, balancers and rewriting are blocked by
// their names, by their addresses, and by the addresses that their names have.
func TestProxyBlockOfReverse(t *testing.T) {
	back := httptest.NewServer(echo)
	defer back.Close()
	_, port, err := net.SplitHostPort(back.Listener.Addr().String())
	require.NoError(t, err)
	const sites = `
ProxyPass /name http://backend.test/
ProxyPass /address http://127.0.0.1:PORT/
ProxyPass /local http://localhost:PORT/
ProxyPass /balanced balancer://b/
<Proxy balancer://b>
BalancerMember http://127.0.0.1:PORT
</Proxy>
RewriteEngine On
RewriteRule ^/to/([^/]+)$ http://$1:PORT/ [P]
`
	for block, want := range map[string]map[string]int{
		"end.t Elsewhere": {"/name": 403, "/address": 200, "/local": 200, "/balanced": 200, "/to/127.0.0.1": 200},
		"192.0.2.0/24":    {"/name": 200, "/address": 200, "/balanced": 200},
		"localhost":       {"/name": 200, "/address": 403, "/local": 403, "/balanced": 403, "/to/127.0.0.1": 403, "/to/localhost": 403},
		"127.0.0.0/8":     {"/address": 403, "/balanced": 403, "/to/127.0.0.1": 403, "/to/localhost": 403},
		"*":               {"/name": 403, "/address": 403, "/to/127.0.0.1": 403},
	} {
		p := start(t, "ProxyBlock "+block+"\n"+strings.ReplaceAll(sites, "PORT", port), echo)
		for path, code := range want {
			resp, _ := p.get("80", "x.test"+path)
			require.Equal(t, code, resp.StatusCode, "%s %s", block, path)
		}
		p.stop()
	}
}

// TestOpenProxy: a forward proxy of which nobody says who may use it serves nobody, and
// the rules beside it work.
func TestOpenProxy(t *testing.T) {
	for _, config := range []string{"ProxyRequests On\n", "ProxyRequests On\n<Proxy *>\n</Proxy>\n", "ProxyRequests On\n<Proxy *>\nProxySet timeout=3\n</Proxy>\n"} {
		for _, around := range []string{"%s", "<VirtualHost *:80>\n%s</VirtualHost>\n"} {
			p := start(t, "Listen 80\n"+fmt.Sprintf(around, config+"AllowCONNECT 80\nProxyPass /a http://backend.test/a\n"), echo)
			require.Contains(t, p.stderr.String(), "says who may use the forward proxy", config)
			resp, _ := p.get("80", "x.test/a")
			require.Equal(t, 200, resp.StatusCode)
			for _, line := range []string{"GET http://backend.test/a HTTP/1.1\r\nHost: backend.test", "CONNECT backend.test:80 HTTP/1.1\r\nHost: backend.test:80"} {
				got := ask(t, p.server.addresses()["80"], line+"\r\nConnection: close\r\n\r\n")
				require.Equal(t, "< 403", got[0], line)
			}
			p.stop()
		}
	}
}

func TestForwardMistakes(t *testing.T) {
	for config, want := range map[string]string{
		"AllowCONNECT x\n":                                    `"x" is no port`,
		"ProxyRemote * socks5://x:1\n":                        "is no http or https URL",
		"ProxyRemote * http://x:1 alice\n":                    "user:password",
		"ProxyRemoteMatch ( http://x:1\n":                     "missing closing )",
		"ProxyDomain example.com\n":                           "does not begin with a dot",
		"<Location /x>\nAuthType Form\n</Location>\n":         "Form is not supported",
		"<Location /x>\nAuthBasicProvider dbm\n</Location>\n": "dbm is not supported",
		"ProxyPass /x http://backend.test/\nAuthType Basic\n": "may not stand here",
	} {
		file := filepath.Join(t.TempDir(), "x.conf")
		require.NoError(t, os.WriteFile(file, []byte("Listen 80\n"+config), 0o600))
		var stderr strings.Builder
		require.Equal(t, 1, run([]string{"-f", file, "-t"}, io.Discard, &stderr, nil, nil), config)
		require.Contains(t, stderr.String(), want, config)
	}
}
