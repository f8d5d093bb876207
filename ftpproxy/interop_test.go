package ftpproxy

import (
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
