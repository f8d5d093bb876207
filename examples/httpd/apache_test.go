package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// apacheModules are those that the configurations of these tests use.
var apacheModules = []string{"mpm_event", "authz_core", "authz_host", "env", "setenvif", "headers", "remoteip", "proxy", "proxy_http"}

// findApache returns the real httpd and the folder of its modules.
func findApache(t *testing.T) (program, modules string) {
	t.Helper()
	for _, name := range []string{"apache2", "httpd", "/usr/sbin/apache2", "/usr/sbin/httpd"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		for _, dir := range []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2"} {
			if _, err := os.Stat(filepath.Join(dir, "mod_proxy_http.so")); err == nil {
				return path, dir
			}
		}
	}
	const text = "httpd is not installed (Debian package apache2)"
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatal(text)
	}
	t.Skip(text)
	return "", ""
}

// startApache runs the real httpd with a configuration on a port of 127.0.0.1
// until the test ends. defines are written before the configuration.
func startApache(t *testing.T, config string, port int, defines map[string]string) {
	t.Helper()
	program, modules := findApache(t)
	dir := t.TempDir()
	var b strings.Builder
	for _, m := range apacheModules {
		fmt.Fprintf(&b, "LoadModule %s_module %s/mod_%s.so\n", m, modules, m)
	}
	for name, value := range defines {
		fmt.Fprintf(&b, "Define %s %s\n", name, value)
	}
	fmt.Fprintf(&b, "ServerRoot %s\nPidFile %s/pid\nDefaultRuntimeDir %s\nErrorLog %s/error.log\nDocumentRoot %s\nStartServers 1\nThreadsPerChild 16\nMaxRequestWorkers 16\n", dir, dir, dir, dir, emptyFolder(t))
	if os.Getuid() == 0 {
		nobody, err := user.Lookup("nobody")
		require.NoError(t, err)
		fmt.Fprintf(&b, "User #%s\nGroup #%s\n", nobody.Uid, nobody.Gid)
	}
	file := filepath.Join(dir, "httpd.conf")
	require.NoError(t, os.WriteFile(file, []byte(b.String()+config), 0o644))
	cmd := exec.Command(program, "-D", "FOREGROUND", "-f", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	accepts := func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	limit := time.After(60 * time.Second)
	for !accepts() {
		select {
		case err := <-ended:
			ended <- err
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("httpd ended: %v\n%s%s", err, out.String(), log)
		case <-limit:
			t.Fatal("httpd does not listen")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// emptyFolder returns a folder that httpd's children may look into, unlike
// those of t.TempDir.
func emptyFolder(t *testing.T) string {
	dir, err := os.MkdirTemp("", "httpd")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
