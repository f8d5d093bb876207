package programs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	startTime = time.Minute      // to accept connections, on a busy machine
	stopTime  = 10 * time.Second // to end when asked to
	attempts  = 3                // at free addresses
)

// Program is a running server. Its methods are for the goroutine of the test.
type Program struct {
	Network string // "tcp" or "unix"
	Addr    string // where it listens
	Dir     string // what it serves, if it serves files
	Output  Output // what it wrote

	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{}
}

// Serve starts a server and waits until it accepts connections at the address
// that it was told. command makes the command for a free address of 127.0.0.1;
// it is called again for another when somebody was faster to take the first.
func Serve(t testing.TB, command func(addr string) *exec.Cmd) *Program {
	t.Helper()
	for attempt := 1; ; attempt++ {
		addr := FreeAddr(t)
		p := newProgram(t, "tcp", addr, command(addr))
		if p.start() || attempt == attempts {
			p.mustAccept()
			return p
		}
		p.Stop()
	}
}

// ServeAt is [Serve] at an address of the caller's.
func ServeAt(t testing.TB, network, addr string, cmd *exec.Cmd) *Program {
	t.Helper()
	p := newProgram(t, network, addr, cmd)
	p.start()
	p.mustAccept()
	return p
}

func newProgram(t testing.TB, network, addr string, cmd *exec.Cmd) *Program {
	p := &Program{Network: network, Addr: addr, t: t, cmd: cmd}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", cmd.Path, p.Output.String())
		}
	})
	return p
}

// start runs the program, and reports whether it accepts connections.
func (p *Program) start() bool {
	p.t.Helper()
	p.cmd.Stdout, p.cmd.Stderr = &p.Output, &p.Output
	p.cmd.WaitDelay = 5 * time.Second // for children that hold the output open
	p.cmd.SysProcAttr = ownGroup()
	require.NoError(p.t, p.cmd.Start())
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(p.cmd, p.ended)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(startTime); ; {
		if c, err := net.Dial(p.Network, p.Addr); err == nil {
			_ = c.Close()
			return p.running() // and it is not somebody else who listens
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return false
		case <-late:
			return false
		}
	}
}

func (p *Program) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *Program) mustAccept() {
	p.t.Helper()
	if !p.running() {
		p.t.Fatalf("%s has ended", p.cmd.Path)
	}
	c, err := net.Dial(p.Network, p.Addr)
	require.NoError(p.t, err, "%s does not accept connections", p.cmd.Path)
	_ = c.Close()
}

// Stop asks the program to end, and kills it and its children if they do not.
func (p *Program) Stop() {
	if p.ended == nil {
		return
	}
	if p.running() {
		signalGroup(p.cmd.Process, syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(stopTime):
		}
	}
	p.Kill()
}

// Kill ends the program and its children without a word.
func (p *Program) Kill() {
	signalGroup(p.cmd.Process, syscall.SIGKILL)
	<-p.ended
}

// Restart runs the program again at the same address, once it has ended.
func (p *Program) Restart() {
	p.t.Helper()
	p.Stop()
	p.cmd = &exec.Cmd{Path: p.cmd.Path, Args: p.cmd.Args, Env: p.cmd.Env, Dir: p.cmd.Dir}
	p.start()
	p.mustAccept()
}

// FreeAddr returns an address of 127.0.0.1 that was free just now. Its port is
// below those that systems give to whoever does not ask for one (from 32768 on),
// lest a connection or a server of another test gets it first, and is taken for
// the program.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		require.NoError(t, err)
		defer l.Close()
		return l.Addr().String()
	}
}
