package ftpproxy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// unpacked names the folder of packages that are not installed, since Debian
// installs only one FTP server at a time.
const unpacked = "MODPROXY_FTPD_DIR"

// orUnpacked follows the name of a package in the message that it is missing.
const orUnpacked = ", which may also be unpacked into the folder that " + unpacked + " names"

// found returns where a program is: in the folder of unpacked, or installed.
func found(t *testing.T, program, debianPackage string) string {
	t.Helper()
	if dir := os.Getenv(unpacked); dir != "" {
		for _, bin := range []string{"usr/sbin", "usr/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, bin, program)); err == nil {
				return path
			}
		}
	}
	return programs.Find(t, debianPackage+orUnpacked, program)
}

// withLibraries lets a program that was not installed find its libraries.
func withLibraries(cmd *exec.Cmd) *exec.Cmd {
	if dir := os.Getenv(unpacked); dir != "" {
		if dirs, _ := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu")); len(dirs) > 0 {
			cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(dirs, ":"))
		}
	}
	return cmd
}

// daemon is how a real server is to run.
type daemon struct {
	root  string
	login bool   // anonymous is refused, testUser is let in
	cert  string // of TLS: a file with certificate and key
	more  string // lines for the configuration
}

// configuration writes a file into a new folder, and returns both.
func configuration(t *testing.T, name, text string) (file, dir string) {
	t.Helper()
	dir = programs.Folder(t)
	require.NoError(t, os.Chmod(dir, 0o755)) // proftpd reads no passwords where others may write
	file = filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600))
	return file, dir
}

// startVsftpd runs vsftpd, and returns its address.
func startVsftpd(t *testing.T, d daemon) string {
	t.Helper()
	o := programs.VsftpdOptions{Root: d.root, More: `write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
connect_from_port_20=NO
utf8_filesystem=YES
ascii_upload_enable=YES
` + d.more}
	if d.login {
		o.Password = testPassword
	}
	if d.cert != "" {
		o.More += "ssl_enable=YES\nallow_anon_ssl=YES\nrsa_cert_file=" + d.cert + "\nssl_tlsv1=YES\nssl_ciphers=HIGH\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\n"
	}
	return programs.Vsftpd(t, o).Addr
}

// hashed returns the entry of a password file.
func hashed(t *testing.T, password string) string {
	t.Helper()
	hash, err := exec.Command(found(t, "openssl", "openssl"), "passwd", "-6", password).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(hash))
}

// startProftpd runs proftpd, and returns its address.
func startProftpd(t *testing.T, d daemon) string {
	t.Helper()
	program := found(t, "proftpd", "proftpd-core")
	programs.NeedRoot(t, "proftpd")
	text := `ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port PORT
PidFile DIR/pid
ScoreboardFile DIR/score
DelayTable none
SystemLog none
WtmpLog off
UseIPv6 off
UseReverseDNS off
User nobody
Group nogroup
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile DIR/passwd
AuthGroupFile DIR/group
AllowOverwrite on
AllowRetrieveRestart on
DefaultRoot ~
`
	if d.cert != "" {
		module := filepath.Join("/", os.Getenv(unpacked), "usr/lib/proftpd/mod_tls.so")
		programs.NeedFile(t, module, "proftpd-mod-crypto"+orUnpacked)
		text = "ModulePath " + filepath.Dir(module) + "\nLoadModule mod_tls.c\n" + text + "TLSEngine on\nTLSRequired on\nTLSRSACertificateFile " + d.cert + "\nTLSRSACertificateKeyFile " + d.cert + "\n"
	}
	name := "anonymous"
	if d.login {
		name = testUser
	} else {
		text += "<Anonymous " + d.root + ">\nUser anonymous\nGroup nogroup\nRequireValidShell off\n</Anonymous>\n"
	}
	nobody := lookup(t, "nobody")
	users := fmt.Sprintf("%s:%s:%d:%d::%s:/bin/false\n", name, hashed(t, testPassword), nobody[0], nobody[1], d.root)
	return programs.Serve(t, func(addr string) (*exec.Cmd, error) {
		file, dir := configuration(t, "proftpd.conf", strings.ReplaceAll(text+d.more, "PORT", port(addr)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte(users), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "group"), []byte(fmt.Sprintf("nogroup:*:%d:\n", nobody[1])), 0o600))
		return withLibraries(exec.Command(program, "-n", "-q", "-c", file)), nil
	}).Addr
}

// port is that of an address.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// startPureFTPd runs pure-ftpd, and returns its address.
func startPureFTPd(t *testing.T, d daemon) string {
	t.Helper()
	program := found(t, "pure-ftpd", "pure-ftpd")
	admin := found(t, "pure-pw", "pure-ftpd-common")
	programs.NeedRoot(t, "pure-ftpd")
	_, dir := configuration(t, "empty", "")
	name, password := "anonymous", DefaultAnonymousPassword
	if d.login {
		name, password = testUser, testPassword
	}
	nobody := lookup(t, "nobody")
	// Written by hand: pure-pw makes hashes that take seconds.
	line := fmt.Sprintf("%s:%s:%d:%d::%s/./::::::::::::\n", name, hashed(t, password), nobody[0], nobody[1], d.root)
	require.NoError(t, os.WriteFile(dir+"/passwd", []byte(line), 0o600))
	out, err := withLibraries(exec.Command(admin, "mkdb", dir+"/db", "-f", dir+"/passwd")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return programs.Serve(t, func(addr string) (*exec.Cmd, error) {
		args := []string{"-S", "127.0.0.1," + port(addr), "-H", "-4", "-E", "-A", "-D", "-u", "1", "-g", dir + "/pid", "-l", "puredb:" + dir + "/db"}
		if d.cert != "" {
			args = append(args, "-Y", "2", "-2", d.cert)
		}
		return withLibraries(exec.Command(program, append(args, strings.Fields(d.more)...)...)), nil
	}).Addr
}
