package ftpproxy

import (
	"crypto/tls"
	"os/user"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// lookup returns the uid and the gid of a user.
func lookup(t *testing.T, name string) [2]int {
	t.Helper()
	u, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.Atoi(u.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(t, err)
	return [2]int{uid, gid}
}

// TestSheetOfRealServers holds three real servers to the same table.
func TestSheetOfRealServers(t *testing.T) {
	for name, start := range map[string]func(*testing.T, daemon) string{
		"vsftpd": startVsftpd, "proftpd": startProftpd, "pure-ftpd": startPureFTPd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one of them sleeps after each login that it refuses
			s := server{root: plant(t)}
			s.addr = start(t, daemon{root: s.root})
			s.auth = start(t, daemon{root: s.root, login: true})
			testSheet(t, s)
		})
	}
}

// TestTLSOfRealServers: two of them refuse data connections that do not resume
// the session of the control connection.
func TestTLSOfRealServers(t *testing.T) {
	id := newIdentity(t)
	for name, start := range map[string]func(*testing.T, daemon) string{
		"vsftpd": startVsftpd, "proftpd": startProftpd, "pure-ftpd": startPureFTPd,
	} {
		for version, text := range map[uint16]string{0: "TLS 1.3", tls.VersionTLS12: "TLS 1.2"} {
			t.Run(name+" "+text, func(t *testing.T) {
				d := daemon{root: plant(t), cert: id.file}
				if name == "vsftpd" {
					d.more = "require_ssl_reuse=YES\n"
				}
				addr := start(t, d)
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
