package ftpproxy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// missing skips the test, or fails it if MODPROXY_INTEROP=require says that all
// programs ought to be there.
func missing(t *testing.T, what, debianPackage string) {
	t.Helper()
	text := fmt.Sprintf("%s is not installed; it is in the Debian package %s, which may also be unpacked into the folder that MODPROXY_FTPD_DIR names", what, debianPackage)
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// found returns where a program is: in MODPROXY_FTPD_DIR, since Debian installs
// only one FTP server at a time, or installed.
func found(t *testing.T, program, debianPackage string) string {
	t.Helper()
	for _, dir := range []string{unpacked(), ""} {
		for _, bin := range []string{"/usr/sbin/", "/usr/bin/"} {
			if path, err := exec.LookPath(filepath.Join("/", dir, bin, program)); err == nil {
				return path
			}
		}
	}
	missing(t, program, debianPackage)
	return ""
}

// unpacked is the folder of packages that are not installed, or "/".
func unpacked() string {
	if dir := os.Getenv("MODPROXY_FTPD_DIR"); dir != "" {
		return dir
	}
	return "/"
}

// withLibraries lets a program that was not installed find its libraries.
func withLibraries(cmd *exec.Cmd) *exec.Cmd {
	if dirs, _ := filepath.Glob(filepath.Join(unpacked(), "usr/lib/*-linux-gnu")); len(dirs) > 0 && unpacked() != "/" {
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(dirs, ":"))
	}
	return cmd
}

// needRoot skips a test whose program changes its user.
func needRoot(t *testing.T, program string) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, program+", which must be started by root,", program)
	}
}

// freePort returns a port of the loopback interface that was free just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// start runs a server and waits until it greets at addr.
func start(t *testing.T, addr string, cmd *exec.Cmd) {
	t.Helper()
	var output lockedOutput
	ended := make(chan struct{})
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the servers fork
	require.NoError(t, cmd.Start())
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s", cmd.Path, output.String())
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, patience, 20*time.Millisecond, "%s does not accept connections at %s", cmd.Path, addr)
}

// lockedOutput collects what a program writes.
type lockedOutput struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *lockedOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *lockedOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
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
	dir, err := os.MkdirTemp("", "modproxy-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	file = filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600))
	return file, dir
}

// startVsftpd runs vsftpd, and returns its address.
func startVsftpd(t *testing.T, d daemon) string {
	t.Helper()
	program := found(t, "vsftpd", "vsftpd")
	needRoot(t, "vsftpd")
	port := freePort(t)
	text := fmt.Sprintf(`listen=YES
listen_address=127.0.0.1
listen_port=%s
background=NO
anonymous_enable=YES
local_enable=NO
anon_root=%s
ftp_username=daemon
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
secure_chroot_dir=DIR/empty
seccomp_sandbox=NO
connect_from_port_20=NO
utf8_filesystem=YES
ascii_download_enable=YES
ascii_upload_enable=YES
delay_failed_login=0
`, port, d.root)
	if d.login {
		// Without an account on this machine: who is anonymous needs one of
		// the passwords in a list.
		text += "secure_email_list_enable=YES\nemail_password_file=DIR/passwords\n"
	}
	if d.cert != "" {
		text += "ssl_enable=YES\nallow_anon_ssl=YES\nrsa_cert_file=" + d.cert + "\nssl_tlsv1=YES\nssl_ciphers=HIGH\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\n"
	}
	file, dir := configuration(t, "vsftpd.conf", text+d.more)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "passwords"), []byte(testPassword+"\n"), 0o600))
	addr := "127.0.0.1:" + port
	start(t, addr, withLibraries(exec.Command(program, file)))
	return addr
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
	needRoot(t, "proftpd")
	port := freePort(t)
	text := fmt.Sprintf(`ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port %s
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
`, port)
	if d.cert != "" {
		module := filepath.Join(unpacked(), "usr/lib/proftpd/mod_tls.so")
		if _, err := os.Stat(module); err != nil {
			missing(t, "mod_tls of proftpd", "proftpd-mod-crypto")
		}
		text = "ModulePath " + filepath.Dir(module) + "\nLoadModule mod_tls.c\n" + text + "TLSEngine on\nTLSRequired on\nTLSRSACertificateFile " + d.cert + "\nTLSRSACertificateKeyFile " + d.cert + "\n"
	}
	name := "anonymous"
	if d.login {
		name = testUser
	} else {
		text += "<Anonymous " + d.root + ">\nUser anonymous\nGroup nogroup\nRequireValidShell off\n</Anonymous>\n"
	}
	nobody := lookup(t, "nobody")
	file, dir := configuration(t, "proftpd.conf", text+d.more)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte(fmt.Sprintf("%s:%s:%d:%d::%s:/bin/false\n", name, hashed(t, testPassword), nobody[0], nobody[1], d.root)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "group"), []byte(fmt.Sprintf("nogroup:*:%d:\n", nobody[1])), 0o600))
	addr := "127.0.0.1:" + port
	start(t, addr, withLibraries(exec.Command(program, "-n", "-q", "-c", file)))
	return addr
}

// startPureFTPd runs pure-ftpd, and returns its address.
func startPureFTPd(t *testing.T, d daemon) string {
	t.Helper()
	program := found(t, "pure-ftpd", "pure-ftpd")
	admin := found(t, "pure-pw", "pure-ftpd-common")
	needRoot(t, "pure-ftpd")
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
	port := freePort(t)
	args := []string{"-S", "127.0.0.1," + port, "-H", "-4", "-E", "-A", "-D", "-u", "1", "-g", dir + "/pid", "-l", "puredb:" + dir + "/db"}
	if d.cert != "" {
		args = append(args, "-Y", "2", "-2", d.cert)
	}
	addr := "127.0.0.1:" + port
	start(t, addr, withLibraries(exec.Command(program, append(args, strings.Fields(d.more)...)...)))
	return addr
}
