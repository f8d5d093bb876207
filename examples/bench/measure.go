package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/modproxy/modproxy/examples/programs"
)

// contender is a proxy at work, and what was measured of it.
type contender struct {
	peer    *peer
	process *programs.Process
	addr    string
	origin  string // for tunnels; else empty
	samples []sample
}

// sample is the outcome of one round.
type sample struct {
	cpu  time.Duration // of the proxy's processes, for each request; 0 if unknown
	rate float64       // requests per second
	p99  time.Duration
}

// measure runs one workload against all proxies and prints the table.
func measure(ctx context.Context, o *options, w *workload, stdout, stderr io.Writer) error {
	generate, generator, err := chooseLoader(o.load)
	if err != nil {
		return err
	}
	if w.family.tunnels || w.family.webSockets { // which wrk knows nothing of
		generate, generator = builtin, "built-in load"
	}
	peers, err := choosePeers(w.family, o.peers)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // workers may be another user's
		return err
	}
	connections := o.connections
	if connections == 0 {
		connections = w.connections
	}
	if w.idle {
		return measureIdle(ctx, o, w, peers, dir, connections, stdout, stderr)
	}
	contenders, stop, err := startAll(ctx, o, w, peers, dir)
	defer stop()
	if err != nil {
		return err
	}
	for round := range o.rounds {
		for i := range contenders {
			c := contenders[(round+i)%len(contenders)] // each is first once in a while
			fmt.Fprintf(stderr, "%s: round %d of %d, %s\n", w.name, round+1, o.rounds, c.peer.name)
			s, err := c.round(ctx, generate, dir, w, connections, o.time)
			if err != nil {
				return fmt.Errorf("%s: %w", c.peer.name, errors.Join(err, ctx.Err()))
			}
			c.samples = append(c.samples, s)
		}
	}
	fmt.Fprintf(stdout, "%s: %s, %d keep-alive connections, %d rounds of %v, %s\n", w.name, w.about, connections, o.rounds, o.time, generator)
	return report(stdout, contenders, w.want+int64(w.send))
}

// startAll starts the origin and the proxies. stop ends all that was started,
// also after an error.
func startAll(ctx context.Context, o *options, w *workload, peers []*peer, dir string) (cs []*contender, stop func(), err error) {
	var processes []*programs.Process
	stop = func() {
		for _, p := range slices.Backward(processes) {
			p.Stop()
		}
	}
	origin, err := startPeer(ctx, &w.family.origin, filepath.Join(dir, "origin"), "", "")
	if err != nil {
		return nil, stop, err
	}
	processes = append(processes, origin.process)
	profile := o.cpuProfile
	if profile != "" {
		if profile, err = filepath.Abs(profile); err != nil {
			return nil, stop, err
		}
	}
	for _, peer := range peers {
		c, err := startPeer(ctx, peer, filepath.Join(dir, peer.name), origin.addr, profile)
		if err != nil {
			return nil, stop, err
		}
		if w.family.tunnels && !peer.relays {
			c.origin = origin.addr
		}
		processes = append(processes, c.process)
		cs = append(cs, c)
	}
	return cs, stop, nil
}

func startPeer(ctx context.Context, p *peer, dir, origin, profile string) (*contender, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	process, err := programs.Start(ctx, func(addr string) (*exec.Cmd, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		args, err := p.command(job{dir: dir, listen: addr, port: port, origin: origin})
		if profile != "" && p.name == "modproxy" {
			args = append(args, "-cpuprofile", profile)
		}
		cmd := exec.Command(p.find(), args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		return cmd, err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return &contender{peer: p, process: process, addr: process.Addr}, nil
}

// round loads the proxy once: a moment unmeasured, so that its connections are
// open and its memory is warm, and then for the time d.
func (c *contender) round(ctx context.Context, generate loader, dir string, w *workload, connections int, d time.Duration) (sample, error) {
	own := *w
	own.origin, w = c.origin, &own
	warm := func() error {
		l, err := builtin(ctx, dir, c.addr, w, connections, min(d/4, 500*time.Millisecond))
		if err == nil {
			err = l.check()
		}
		return err
	}
	if err := warm(); err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, c.process.Output.Tail())
	}
	before, cpuErr := cpuTime(c.process.PID())
	l, err := generate(ctx, dir, c.addr, w, connections, d)
	if err == nil {
		err = l.check()
	}
	if err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, c.process.Output.Tail())
	}
	s := sample{rate: float64(l.requests) / l.took.Seconds(), p99: l.p99}
	if after, err := cpuTime(c.process.PID()); cpuErr == nil && err == nil {
		s.cpu = (after - before) / time.Duration(l.requests)
	}
	return s, nil
}
