package apache

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/internal/ftpd"
)

// TestForwardFTP: curl gets ftp:// URLs by a forward proxy, from a server that
// lets everybody in and from one that does not.
func TestForwardFTP(t *testing.T) {
	for name, serve := range map[string]func(t testing.TB, root string, login bool) string{"in process": ftpd.Serve, "vsftpd": vsftpd} {
		t.Run(name, func(t *testing.T) {
			root := ftpd.Plant(t, ftpFiles)
			open, closed := serve(t, root, false), serve(t, root, true)
			log := filepath.Join(t.TempDir(), "log")
			config := `
Listen 80
ProxyRequests On
ProxyFtpDirCharset ISO-8859-1
ProxyBlock blocked.test
LogFormat "%r" line
CustomLog ` + log + ` line
<Proxy *>
    Require all granted
</Proxy>
<Proxy "ftp://closed.test/sub/*">
    Require all denied
</Proxy>
`
			p := start(t, config, echo, "-resolve", "open.test:21="+open, "-resolve", "blocked.test:21="+open, "-resolve", "closed.test:21="+closed)
			user := url.UserPassword(ftpd.User, ftpd.Password).String()
			const code = "%{http_code}"
			for target, want := range map[string]string{
				"ftp://open.test/hello.txt":                                 "hello, world\n",
				"ftp://open.test/sp%20ace/in%20it.txt":                      "blank\n",
				"ftp://" + user + "@closed.test/dir%20%C3%BC/in%20side.txt": "deep\n",
			} {
				got := p.curl("80", target)
				require.Equal(t, want, got, "%s: %s", target, p.stderr.String())
			}
			listing := p.curl("80", "-i", "ftp://open.test/sub/")
			require.Contains(t, listing, "charset=ISO-8859-1")
			require.Contains(t, listing, ">inner.txt</a>")
			for target, want := range map[string]string{
				"ftp://open.test/missing":                      "404",
				"ftp://closed.test/hello.txt":                  "401",
				"ftp://ftp:wrong@closed.test/hello.txt":        "401",
				"ftp://" + user + "@closed.test/sub/inner.txt": "403",
				"ftp://blocked.test/hello.txt":                 "403",
			} {
				got := p.curl("80", "-o", "/dev/null", "-w", code, target)
				require.Equal(t, want, got, "%s: %s", target, p.stderr.String())
			}
			got := p.curl("80", "-r", "7-11", "ftp://open.test/hello.txt")
			require.Equal(t, "world", got)
			p.stop()
			lines, err := os.ReadFile(log)
			require.NoError(t, err)
			require.Contains(t, string(lines), "XXXXXX@closed.test")
			for _, text := range []string{string(lines), p.stderr.String()} {
				require.NotContains(t, text, "s3cret")
			}
		})
	}
}

// TestForwardFTPData: the server is reached directly by its name, and then its
// data must be, too, although its address would be the parent's to reach.
func TestForwardFTPData(t *testing.T) {
	_, port, err := net.SplitHostPort(ftpd.Serve(t, ftpd.Plant(t, ftpFiles), false))
	require.NoError(t, err)
	p := start(t, `
Listen 80
ProxyRequests On
ProxyRemote * http://127.0.0.1:1
NoProxy localhost
<Proxy *>
    Require all granted
</Proxy>
`, echo)
	got := p.curl("80", "ftp://localhost:"+port+"/hello.txt")
	require.Equal(t, "hello, world\n", got)
}
