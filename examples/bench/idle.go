package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"
)

// measureIdle opens WebSockets, has each echo one message, lets them be, and
// prints by how much the resident memory of the proxies has grown. A proxy is
// started anew for each round: memory that was there before shows no growth.
func measureIdle(ctx context.Context, o *options, w *workload, peers []*peer, dir string, connections int, stdout, stderr io.Writer) error {
	growth := make(map[*peer][]int64) // bytes for each tunnel
	for round := range o.rounds {
		for i := range peers {
			p := peers[(round+i)%len(peers)]
			fmt.Fprintf(stderr, "%s: round %d of %d, %s\n", w.name, round+1, o.rounds, p.name)
			own, err := os.MkdirTemp(dir, "round-*")
			if err != nil {
				return err
			}
			if err := os.Chmod(own, 0o755); err != nil { // workers may be another user's
				return err
			}
			n, err := idleRound(ctx, o, w, p, own, connections)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, errors.Join(err, ctx.Err()))
			}
			growth[p] = append(growth[p], n)
		}
	}
	fmt.Fprintf(stdout, "%s: %d %s, %d rounds, after %v\n", w.name, connections, w.about, o.rounds, o.time)
	return reportIdle(stdout, peers, growth)
}

// idleRound returns the growth of one proxy, in bytes for each connection.
func idleRound(ctx context.Context, o *options, w *workload, p *peer, dir string, connections int) (int64, error) {
	cs, stop, err := startAll(ctx, o, w, []*peer{p}, dir)
	defer stop()
	if err != nil {
		return 0, err
	}
	c := cs[0]
	// A few first, so that what a proxy has but once is there.
	warm, err := openIdle(ctx, c.addr, w, idleWorkers)
	closeAll(warm)
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, c.process.Output.Tail())
	}
	before, err := residentBytes(c.process.PID())
	if err != nil {
		return 0, err
	}
	conns, err := openIdle(ctx, c.addr, w, connections)
	defer closeAll(conns)
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, c.process.Output.Tail())
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(o.time):
	}
	after, err := residentBytes(c.process.PID())
	return (after - before) / int64(connections), err
}

// idleWorkers open connections at the same time.
const idleWorkers = 16

// openIdle opens n WebSockets. Those that it returns with an error are to be
// closed as well.
func openIdle(ctx context.Context, addr string, w *workload, n int) ([]net.Conn, error) {
	conns := make([]net.Conn, n)
	errs := make([]error, idleWorkers)
	var wg sync.WaitGroup
	for worker := range idleWorkers {
		wg.Go(func() {
			for i := worker; i < n && errs[worker] == nil && ctx.Err() == nil; i += idleWorkers {
				conns[i], errs[worker] = openIdleOne(ctx, addr, w)
			}
		})
	}
	wg.Wait()
	conns = slices.DeleteFunc(conns, func(c net.Conn) bool { return c == nil })
	return conns, errors.Join(append(errs, ctx.Err())...)
}

func openIdleOne(ctx context.Context, addr string, w *workload) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: exchangeTime}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(exchangeTime))
	r := bufio.NewReaderSize(c, 512)
	if err = openWebSocket(c, r, addr, w.path); err == nil {
		if _, err = c.Write(wsMessage(w.send)); err == nil {
			err = readWSMessage(r, w.want)
		}
	}
	return c, err
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

// reportIdle prints the medians.
func reportIdle(w io.Writer, peers []*peer, growth map[*peer][]int64) error {
	middle := func(p *peer) int64 {
		values := slices.Sorted(slices.Values(growth[p]))
		return values[(len(values)-1)/2]
	}
	var ours int64
	for _, p := range peers {
		if p.name == modproxyPeer.name {
			ours = middle(p)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "proxy\tKiB/tunnel\tits/ours\tours/its\tleast\tmost\t")
	kib := func(n int64) string { return strconv.FormatFloat(float64(n)/(1<<10), 'f', 1, 64) }
	for _, p := range peers {
		its := middle(p)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", p.name, kib(its), quotient(its, ours), quotient(ours, its), kib(slices.Min(growth[p])), kib(slices.Max(growth[p])))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
