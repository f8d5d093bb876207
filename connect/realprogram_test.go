package connect

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// installed returns the path of a program that a test needs. Where it is
// missing the test is skipped, or fails if MODPROXY_INTEROP=require says that
// all programs ought to be there.
func installed(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin/", "/usr/local/sbin/"} { // not in everybody's PATH
		if path, err := exec.LookPath(dir + program); err == nil {
			return path
		}
	}
	missing(t, program, debianPackage)
	return ""
}

// missing skips the test, or fails it.
func missing(t *testing.T, what, debianPackage string) {
	t.Helper()
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatalf("%s is not installed; it is in the Debian package %s", what, debianPackage)
	}
	t.Skipf("%s is not installed; it is in the Debian package %s", what, debianPackage)
}

// publicDir returns a new directory that a program may enter after it has given
// up the rights of root, which it may not with t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "modproxy-test-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o777))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// runServer starts a server program and waits until it accepts connections at
// the address that it was told. command makes the command for a free address;
// another address is tried when somebody was faster to take the first. The
// program is stopped at the end of the test, and what it wrote is shown if the
// test has failed.
func runServer(t *testing.T, command func(addr string) *exec.Cmd) (addr string) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		addr = freeAddr(t)
		p := startProgram(t, command(addr))
		if p.accepts(addr) {
			return addr
		}
		if attempt == 3 {
			t.Fatalf("%s does not accept connections at %s", p.cmd.Path, addr)
		}
		p.stop()
	}
}

// freeAddr returns an address of the loopback interface that was free just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// realProgram is a running program.
type realProgram struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	output lockedOutput
	once   sync.Once // stops it
}

func startProgram(t *testing.T, cmd *exec.Cmd) *realProgram {
	t.Helper()
	p := &realProgram{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.WaitDelay = 5 * time.Second // for children that hold the output open
	require.NoError(t, cmd.Start())
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", cmd.Path, p.output.String())
		}
	})
	return p
}

// accepts waits until the program listens at addr. It reports false when the
// program ends before, or takes too long.
func (p *realProgram) accepts(addr string) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		select {
		case <-p.ended:
			return false
		case <-limit:
			return false
		case <-tick.C:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return true
		}
	}
}

// stop asks the program to end, and kills it if it does not.
func (p *realProgram) stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	})
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
