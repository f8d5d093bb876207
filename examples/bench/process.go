package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	startTime = 20 * time.Second // for a program to accept connections
	stopTime  = 5 * time.Second  // for it to end when asked to
)

// process is a program at work, with all that it starts.
type process struct {
	name string
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed when it has ended
	err  error         // how; read it after done
}

// startProcess starts a program that listens on addr, and waits until it
// accepts. It dies with this process where the system can do that.
func startProcess(ctx context.Context, name, path string, args []string, dir, addr string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), tail: &tail{}, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	p.cmd.Stdout, p.cmd.Stderr = p.tail, p.tail
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := p.accepts(ctx, addr); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w\n%s", name, err, p.tail)
	}
	return p, nil
}

// accepts waits until addr can be dialled.
func (p *process) accepts(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("ended before it accepted: %w", errors.Join(p.err, err))
		case <-ctx.Done():
			return fmt.Errorf("does not accept: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process and its children, first by asking.
func (p *process) stop() {
	signalGroup(p.cmd.Process, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTime):
	}
	signalGroup(p.cmd.Process, syscall.SIGKILL) // also children that outlived it
	<-p.done
}

// freeAddr returns an address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// tail keeps the end of what a program says.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - most; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
