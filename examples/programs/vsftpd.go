package programs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// VsftpdOptions say how vsftpd runs.
type VsftpdOptions struct {
	Root     string // what it serves to whoever is anonymous
	Password string // what he must give, if not empty: of a list, since no account here has it
	More     string // lines for its configuration
}

// Vsftpd runs vsftpd, which must be started by root.
func Vsftpd(t testing.TB, o VsftpdOptions) *Program {
	t.Helper()
	program := Find(t, "vsftpd", "vsftpd")
	NeedRoot(t, "vsftpd")
	dir := Folder(t)
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	list := ""
	if o.Password != "" {
		list = "secure_email_list_enable=YES\nemail_password_file=" + write(t, dir, "passwords", o.Password+"\n")
	}
	p := Serve(t, func(addr string) *exec.Cmd {
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		return exec.Command(program, write(t, dir, "vsftpd.conf", fmt.Sprintf(`listen=YES
listen_address=127.0.0.1
listen_port=%s
background=NO
anonymous_enable=YES
local_enable=NO
anon_root=%s
ftp_username=daemon
secure_chroot_dir=%s
seccomp_sandbox=NO
ascii_download_enable=YES
delay_failed_login=0
%s
%s`, port, o.Root, empty, list, o.More)))
	})
	p.Dir = o.Root
	return p
}
