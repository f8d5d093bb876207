package programs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
	dir := Folder(t)
	p := Serve(t, func(addr string) (*exec.Cmd, error) {
		args, err := o.Args(dir, addr)
		return exec.Command(program, args...), err
	})
	p.Dir = o.Root
	return p
}

// Args writes the configuration into a folder, and returns the arguments.
func (o VsftpdOptions) Args(dir, addr string) ([]string, error) {
	if err := needRoot("vsftpd"); err != nil {
		return nil, err
	}
	empty := filepath.Join(dir, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, err
	}
	list := ""
	if o.Password != "" {
		passwords, err := write(dir, "passwords", o.Password+"\n")
		if err != nil {
			return nil, err
		}
		list = "secure_email_list_enable=YES\nemail_password_file=" + passwords
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	file, err := write(dir, "vsftpd.conf", fmt.Sprintf(`listen=YES
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
%s`, port, o.Root, empty, list, o.More))
	return []string{file}, err
}
