package fcgi

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// installed returns the path of a program that a test needs. Where it is
// missing the test is skipped, or fails if MODPROXY_INTEROP=require says that
// all programs ought to be there.
func installed(t testing.TB, debianPackage string, patterns ...string) string {
	t.Helper()
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
		if path, err := exec.LookPath(pattern); err == nil {
			return path
		}
	}
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatalf("%s is not installed; it is in the Debian package %s", patterns[0], debianPackage)
	}
	t.Skipf("%s is not installed; it is in the Debian package %s", patterns[0], debianPackage)
	return ""
}

// publicDir returns a new directory that php-fpm's children may enter, which
// they may not with t.TempDir.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "modproxy-fcgi-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o777))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// phpFPM is a running php-fpm.
type phpFPM struct {
	network, addr string
	dir           string // for scripts
	conf          string
	t             testing.TB
	cmd           *exec.Cmd
	ended         chan struct{}
	output        lockedOutput
}

// fpmConfig is what tests want of a pool.
type fpmConfig struct {
	unix        bool
	children    int // zero means 4
	maxRequests int
	extra       string // lines of the pool's section
}

// startPHPFPM starts php-fpm over TCP or a unix-domain socket, and stops it at
// the end of the test.
func startPHPFPM(t testing.TB, c fpmConfig) *phpFPM {
	t.Helper()
	f := &phpFPM{t: t, network: "tcp", dir: publicDir(t)}
	run := publicDir(t)
	if c.children == 0 {
		c.children = 4
	}
	f.conf = filepath.Join(run, "fpm.conf")
	for attempt := 1; ; attempt++ {
		f.addr = freeAddr(t)
		if c.unix {
			f.network, f.addr = "unix", filepath.Join(run, "fpm.sock")
		}
		account := ""
		if os.Getuid() == 0 {
			account = "user = www-data\ngroup = www-data\n"
		}
		text := fmt.Sprintf("[global]\nerror_log = /dev/stderr\ndaemonize = no\n[www]\n%slisten = %s\nlisten.mode = 0666\n"+
			"pm = static\npm.max_children = %d\npm.max_requests = %d\nclear_env = no\ncatch_workers_output = yes\n%s\n",
			account, f.addr, c.children, c.maxRequests, c.extra)
		require.NoError(t, os.WriteFile(f.conf, []byte(text), 0o644))
		if f.start() {
			break
		}
		if attempt == 3 {
			t.Fatalf("php-fpm does not accept connections at %s:\n%s", f.addr, f.output.String())
		}
	}
	t.Cleanup(func() {
		f.stop()
		if t.Failed() {
			t.Logf("php-fpm wrote:\n%s", f.output.String())
		}
	})
	return f
}

// start runs php-fpm, and waits until it accepts connections.
func (f *phpFPM) start() bool {
	program := installed(f.t, "php-fpm", "/usr/sbin/php-fpm*", "php-fpm")
	f.cmd = exec.Command(program, "-F", "-y", f.conf)
	f.cmd.Stdout, f.cmd.Stderr = &f.output, &f.output
	f.cmd.WaitDelay = 5 * time.Second
	f.ended = make(chan struct{})
	require.NoError(f.t, f.cmd.Start())
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(f.cmd, f.ended)
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); {
		if c, err := net.Dial(f.network, f.addr); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-f.ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// stop ends php-fpm, with all that runs in it.
func (f *phpFPM) stop() {
	_ = f.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-f.ended:
	case <-time.After(10 * time.Second):
		_ = f.cmd.Process.Kill()
		<-f.ended
	}
}

// script writes a script, and returns its path.
func (f *phpFPM) script(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// target returns the URL in Apache's notation.
func (f *phpFPM) target() string {
	if f.network == "unix" {
		return "unix:" + f.addr + "|fcgi://localhost"
	}
	return "fcgi://" + f.addr
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
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
