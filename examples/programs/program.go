package programs

import (
	"os/exec"
	"testing"
)

// Program is a server that ends with its test. Its methods are for the
// goroutine of the test.
type Program struct {
	*Process
	Dir string // what it serves, if it serves files

	t testing.TB
}

// Serve is [Start] for a test.
func Serve(t testing.TB, command func(addr string) (*exec.Cmd, error)) *Program {
	t.Helper()
	p, err := Start(t.Context(), command)
	return started(t, p, err)
}

// ServeAt is [StartAt] for a test.
func ServeAt(t testing.TB, network, addr string, cmd *exec.Cmd) *Program {
	t.Helper()
	p, err := StartAt(t.Context(), network, addr, cmd)
	return started(t, p, err)
}

func started(t testing.TB, p *Process, err error) *Program {
	t.Helper()
	need(t, err)
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.cmd.Path, p.Output.String())
		}
	})
	return &Program{Process: p, t: t}
}

// Restart runs the program again at the same address, once it has ended.
func (p *Program) Restart() {
	p.t.Helper()
	need(p.t, p.Process.Restart(p.t.Context()))
}

// AddFile writes a file below Dir, and returns its path.
func (p *Program) AddFile(name, text string) string {
	p.t.Helper()
	path, err := write(p.Dir, name, text)
	need(p.t, err)
	return path
}

// FreeAddr returns an address of 127.0.0.1 that was free just now.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := freeAddr()
	need(t, err)
	return addr
}
