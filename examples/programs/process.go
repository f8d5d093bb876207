package programs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startTime = time.Minute      // to accept connections, on a busy machine
	stopTime  = 10 * time.Second // to end when asked to
	attempts  = 3                // at free addresses
)

// Process is a running server with all that it starts. Its methods are for one
// goroutine.
type Process struct {
	Network string // "tcp" or "unix"
	Addr    string // where it listens
	Output  Output // what it wrote

	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how; read it after ended
}

// Start starts a server and waits until it accepts connections at the address
// that it was told. command makes the command for a free address of 127.0.0.1;
// it is called again for another when somebody was faster to take the first.
// The server dies with this process where the system can do that.
func Start(ctx context.Context, command func(addr string) (*exec.Cmd, error)) (*Process, error) {
	for attempt := 1; ; attempt++ {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		cmd, err := command(addr)
		if err != nil {
			return nil, err
		}
		p, err := StartAt(ctx, "tcp", addr, cmd)
		if err == nil || attempt == attempts || ctx.Err() != nil {
			return p, err
		}
	}
}

// StartAt is [Start] at an address of the caller's.
func StartAt(ctx context.Context, network, addr string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Network: network, Addr: addr, cmd: cmd}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// start runs the program until it accepts connections, or ends it.
func (p *Process) start(ctx context.Context) error {
	p.cmd.Stdout, p.cmd.Stderr = &p.Output, &p.Output
	p.cmd.WaitDelay = 5 * time.Second // for children that hold the output open
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	if err := accepts(ctx, p.Network, p.Addr, p.ended); err != nil {
		p.Stop()
		return fmt.Errorf("%s: %w\n%s", filepath.Base(p.cmd.Path), errors.Join(err, p.err), p.Output.Tail())
	}
	return nil
}

// accepts waits until an address can be dialled, or who serves there has ended.
func accepts(ctx context.Context, network, addr string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			_ = c.Close()
		}
		select {
		case <-ended: // so that it is somebody else who listens, if anybody
			return errors.New("ended before it accepted")
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("does not accept: %w", err)
		}
	}
}

func (p *Process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Restart runs the program again at the same address, once it has ended.
func (p *Process) Restart(ctx context.Context) error {
	p.Stop()
	p.cmd = &exec.Cmd{Path: p.cmd.Path, Args: p.cmd.Args, Env: p.cmd.Env, Dir: p.cmd.Dir}
	return p.start(ctx)
}

// PID returns the number of the process; those it has started are its children.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop asks the program to end, and kills it and its children if they do not.
func (p *Process) Stop() {
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
func (p *Process) Kill() {
	signalGroup(p.cmd.Process, syscall.SIGKILL)
	<-p.ended
}

// port is that of an address.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// freeAddr returns an address of 127.0.0.1 that was free just now. Its port is
// below those that systems give to whoever does not ask for one (from 32768 on),
// lest a connection or a server of another test gets it first, and is taken for
// the program.
func freeAddr() (string, error) {
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		return l.Addr().String(), l.Close()
	}
}
