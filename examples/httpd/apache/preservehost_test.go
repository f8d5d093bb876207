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
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/access"
)

// siteAt returns the status for a host, and what the backend says of its site.
func siteAt(t *testing.T, addr, path, host string) string {
	r, err := http.NewRequest("GET", "http://"+addr+path, nil)
	require.NoError(t, err)
	r.Host, r.Close = host, true
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.StatusCode)
	}
	return resp.Header.Get("X-Site")
}

// TestPreserveHostTLS: with ProxyPreserveHost On the client's Host is the name that
// TLS asks for and checks, for rules and members, directly and by another proxy,
// as in the real httpd. The backend is an httpd with sites that have a certificate
// each.
func TestPreserveHostTLS(t *testing.T) {
	a := newAuthority(t)
	dir := programs.Folder(t)
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o644))
		return path
	}
	ca := write("ca.pem", a.pem)
	var sites strings.Builder
	sites.WriteString("Protocols h2 http/1.1\n")
	for _, name := range []string{"localhost", "a.test", "b.test"} {
		pair := write(name+".pem", a.issue(name, time.Now().Add(time.Hour)))
		fmt.Fprintf(&sites, `<VirtualHost *:${PORT}>
ServerName %s
SSLEngine On
SSLCertificateFile %s
Header always set X-Site "%[1]s for %%{SSL_TLS_SNI}s"
</VirtualHost>
`, name, pair)
	}
	back := programs.HTTPD(t, "headers ssl http2", sites.String())
	require.NoError(t, os.WriteFile(filepath.Join(back.Dir, "x"), []byte("x"), 0o644))
	_, port, err := net.SplitHostPort(back.Addr)
	require.NoError(t, err)
	parent := httptest.NewServer(&connect.Handler{Clients: &access.Clients{Access: &access.Access{}}, Ports: []access.PortRange{{First: 1, Last: 65535}}, Destinations: &access.Destinations{AllowPrivate: true}})
	defer parent.Close()

	const (
		on      = "ProxyPreserveHost On\n"
		rule    = "ProxyPass / https://localhost:BACK/\n"
		strict  = "SSLProxyVerify require\n"
		lenient = "SSLProxyVerify none\n"
	)
	hosts := []string{"localhost", "a.test", "b.test", "A.TEST:8443", "a.test", "wrong.test", "127.0.0.1"}
	follows := []string{"localhost for localhost", "a.test for a.test", "b.test for b.test", "a.test for a.test", "a.test for a.test", "", ""}
	stays := []string{"localhost for localhost", "localhost for localhost", "localhost for localhost", "localhost for localhost", "localhost for localhost", "localhost for localhost", "localhost for localhost"}
	for name, tc := range map[string]struct {
		config string
		path   string
		want   []string // for each of hosts; empty for a failure
	}{
		"off":                {strict + rule, "/x", stays},
		"on":                 {strict + on + rule, "/x", follows},
		"unverified":         {lenient + on + rule, "/x", follows},
		"names unchecked":    {strict + "SSLProxyCheckPeerName Off\n" + on + rule, "/x", append(follows[:5:5], "localhost for wrong.test", "localhost for (null)")},
		"common names":       {strict + "SSLProxyCheckPeerName Off\nSSLProxyCheckPeerCN On\n" + on + rule, "/x", follows},
		"a member":           {strict + on + "<Proxy balancer://b>\nBalancerMember https://localhost:BACK\n</Proxy>\nProxyPass / balancer://b/\n", "/x", follows},
		"by a parent":        {strict + on + "ProxyRemote * http://PARENT\n" + rule, "/x", follows},
		"by a parent, off":   {strict + "ProxyRemote * http://PARENT\n" + rule, "/x", stays},
		"HTTP/2":             {strict + on + "ProxyPass / h2://localhost:BACK/\n", "/x", follows},
		"one of two rules":   {strict + rule + "<Location /keep/>\nProxyPass https://localhost:BACK/\nProxyPreserveHost On\n</Location>\n", "/keep/x", follows},
		"the other rule":     {strict + rule + "<Location /keep/>\nProxyPass https://localhost:BACK/\nProxyPreserveHost On\n</Location>\n", "/x", stays},
		"a section of a URL": {strict + rule + "<Proxy https://localhost:BACK/>\nProxyPreserveHost On\n</Proxy>\n", "/x", follows},
	} {
		t.Run(name, func(t *testing.T) {
			config := "SSLProxyEngine On\nSSLProxyCACertificateFile " + ca + "\n" + strings.NewReplacer("BACK", port, "PARENT", parent.Listener.Addr().String()).Replace(tc.config)
			httpd := programs.HTTPD(t, "ssl proxy proxy_http proxy_http2 proxy_balancer lbmethod_byrequests slotmem_shm", config)
			ours := start(t, "Listen 80\n"+config, echo).addr()
			for range 2 {
				for i, host := range hosts {
					theirs, mine := siteAt(t, httpd.Addr, tc.path, host), siteAt(t, ours, tc.path, host)
					if tc.want[i] == "" {
						require.Contains(t, []string{"500", "502", "503"}, theirs, host)
						require.Equal(t, "502", mine, host)
						continue
					}
					require.Equal(t, [2]string{tc.want[i], tc.want[i]}, [2]string{theirs, mine}, host)
				}
			}
		})
	}
}
