package ftpproxy

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// realServers start real servers that are written to as well, and return their
// address.
var realServers = map[string]func(t *testing.T, o programs.FTPOptions) string{
	"vsftpd": func(t *testing.T, o programs.FTPOptions) string {
		o.More += `write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
connect_from_port_20=NO
utf8_filesystem=YES
ascii_upload_enable=YES
require_ssl_reuse=YES
`
		return programs.Vsftpd(t, o).Addr
	},
	"proftpd":   func(t *testing.T, o programs.FTPOptions) string { return programs.ProFTPD(t, o).Addr },
	"pure-ftpd": func(t *testing.T, o programs.FTPOptions) string { return programs.PureFTPd(t, o).Addr },
}

// TestSheetOfRealServers holds three real servers to the same table.
func TestSheetOfRealServers(t *testing.T) {
	for name, start := range realServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one of them sleeps after each login that it refuses
			s := server{root: plant(t)}
			s.addr = start(t, programs.FTPOptions{Root: s.root, Password: DefaultAnonymousPassword})
			s.auth = start(t, programs.FTPOptions{Root: s.root, User: testUser, Password: testPassword})
			testSheet(t, s)
		})
	}
}

// TestTLSOfRealServers: two of them refuse data connections that do not resume
// the session of the control connection.
func TestTLSOfRealServers(t *testing.T) {
	id := newIdentity(t)
	for name, start := range realServers {
		for version, text := range map[uint16]string{0: "TLS 1.3", tls.VersionTLS12: "TLS 1.2"} {
			t.Run(name+" "+text, func(t *testing.T) {
				addr := start(t, programs.FTPOptions{Root: plant(t), Password: DefaultAnonymousPassword, Cert: id.file})
				f := newSecureFront(t, "ftpes", addr, &tls.Config{RootCAs: id.pool, MaxVersion: version})
				testSecure(t, f)
				if name != "pure-ftpd" { // which may say nothing more when a transfer ends early
					require.EqualValues(t, 1, f.transport.Backend.Stats().Created)
				}
				f = newSecureFront(t, "ftpes", addr, nil)
				require.Equal(t, 503, f.get("/ftp/hello.txt").status)
				f = newSecureFront(t, "ftp", addr, nil)
				require.Contains(t, []int{401, 403, 502, 503}, f.get("/ftp/hello.txt").status, "in the clear")
			})
		}
	}
}
