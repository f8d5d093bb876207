package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Vsftpd runs vsftpd. User must be "ftp", if not empty.
func Vsftpd(t testing.TB, o FTPOptions) *Program {
	t.Helper()
	program := Find(t, "vsftpd", "vsftpd")
	dir := Folder(t)
	p := Serve(t, func(addr string) (*exec.Cmd, error) {
		args, err := VsftpdArgs(dir, addr, o)
		return exec.Command(program, args...), err
	})
	p.Dir = o.Root
	return p
}

// VsftpdArgs writes the configuration into a folder, and returns the arguments.
func VsftpdArgs(dir, addr string, o FTPOptions) ([]string, error) {
	if err := needRoot("vsftpd"); err != nil {
		return nil, err
	}
	empty := filepath.Join(dir, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, err
	}
	more := o.More
	if o.User != "" { // no account here has a password, but who is anonymous can be asked for one of a list
		passwords, err := write(dir, "passwords", o.Password+"\n")
		if err != nil {
			return nil, err
		}
		more += "\nsecure_email_list_enable=YES\nemail_password_file=" + passwords
	}
	if o.Cert != "" {
		more += "\nssl_enable=YES\nallow_anon_ssl=YES\nrsa_cert_file=" + o.Cert + "\nssl_tlsv1=YES\nssl_ciphers=HIGH\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES"
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
`, port(addr), o.Root, empty, more))
	return []string{file}, err
}
