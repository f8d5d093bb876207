// Package ftpd runs FTP servers for the tests of examples: one in this process,
// and the real vsftpd.
package ftpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/require"
)

// User and Password are let in by servers that refuse who is anonymous.
const (
	User     = "ftp"
	Password = "s3cret@example.com"
)

// Written is when the files of [Plant] were changed last.
var Written = time.Date(2024, 3, 2, 3, 4, 5, 0, time.UTC)

// Plant writes files, by name, to a folder that every server may read.
func Plant(t testing.TB, files map[string]string) string {
	t.Helper()
	root, err := os.MkdirTemp("", "modproxy-test-") // one that others than root may enter
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	require.NoError(t, os.Chmod(root, 0o755))
	for name, text := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		require.NoError(t, os.Chtimes(file, Written, Written))
	}
	return root
}

// Serve runs a server in this process until the test ends, and returns its
// address. With login, who is anonymous is refused.
func Serve(t testing.TB, root string, login bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := ftpserver.NewFtpServer(&driver{l, root, login})
	require.NoError(t, s.Listen())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve()
	}()
	t.Cleanup(func() {
		_ = s.Stop()
		<-done
	})
	return l.Addr().String()
}

type driver struct {
	listener net.Listener
	root     string
	login    bool
}

// GetSettings is asked for at the start.
func (d *driver) GetSettings() (*ftpserver.Settings, error) {
	return &ftpserver.Settings{Listener: d.listener}, nil
}

// ClientConnected returns the greeting.
func (d *driver) ClientConnected(ftpserver.ClientContext) (string, error) { return "hello", nil }

// ClientDisconnected has nothing to do.
func (d *driver) ClientDisconnected(ftpserver.ClientContext) {}

// GetTLSConfig says that there is no TLS.
func (d *driver) GetTLSConfig() (*tls.Config, error) { return nil, errors.New("no TLS here") }

// AuthUser lets in who may.
func (d *driver) AuthUser(_ ftpserver.ClientContext, user, password string) (ftpserver.ClientDriver, error) {
	if d.login && (user != User || password != Password) {
		return nil, errors.New("refused")
	}
	return afero.NewBasePathFs(afero.NewOsFs(), d.root), nil
}

// Vsftpd runs the real vsftpd as [Serve] does. Without it, or without the
// rights of root that it needs, the test is skipped, or fails under
// MODPROXY_INTEROP=require.
func Vsftpd(t testing.TB, root string, login bool) string {
	t.Helper()
	program, err := exec.LookPath("/usr/sbin/vsftpd")
	if err == nil && os.Getuid() != 0 {
		err = errors.New("it must be started by root")
	}
	if err != nil {
		if os.Getenv("MODPROXY_INTEROP") == "require" {
			t.Fatalf("vsftpd (Debian package vsftpd): %v", err)
		}
		t.Skipf("vsftpd (Debian package vsftpd): %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().(*net.TCPAddr)
	require.NoError(t, l.Close())
	dir := t.TempDir()
	text := fmt.Sprintf("listen=YES\nlisten_address=127.0.0.1\nlisten_port=%d\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root=%s\nftp_username=daemon\nsecure_chroot_dir=%s/empty\nseccomp_sandbox=NO\nascii_download_enable=YES\n", addr.Port, root, dir)
	if login { // who is anonymous needs one of the passwords in a list
		text += "secure_email_list_enable=YES\nemail_password_file=" + dir + "/passwords\ndelay_failed_login=0\n"
	}
	require.NoError(t, os.Mkdir(dir+"/empty", 0o755))
	require.NoError(t, os.WriteFile(dir+"/passwords", []byte(Password+"\n"), 0o600))
	require.NoError(t, os.WriteFile(dir+"/conf", []byte(text), 0o600))
	cmd := exec.Command(program, dir+"/conf")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it forks
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond, "vsftpd does not listen")
	return addr.String()
}
