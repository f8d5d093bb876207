// Command bench measures what a request costs a reverse proxy, ours and its
// peers, each a process of its own in front of the same origin:
//
//	go run ./examples/bench -workload get1k,get10m -time 5s -rounds 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := 0
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		code = serve(ctx, os.Args[2:], os.Stderr)
	} else {
		code = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	workloads   []*workload
	peers       []string // nil: all that are installed
	time        time.Duration
	rounds      int
	connections int // 0: as the workload says
	load        string
	cpuProfile  string
}

// Bounds of the flags: a run must end.
const (
	maxTime        = 10 * time.Minute
	maxRounds      = 100
	maxConnections = 4096
)

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	for _, w := range o.workloads {
		if err := measure(ctx, o, w, stdout, stderr); err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", w.name, err)
			return 1
		}
	}
	return 0
}

func parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	names := f.String("workload", "get1k", "`names` of workloads, with commas, or all")
	peers := f.String("peers", "", "`names` of the proxies to run, with commas; empty for all that are installed")
	f.DurationVar(&o.time, "time", 5*time.Second, "how long each proxy is loaded in each round")
	f.IntVar(&o.rounds, "rounds", 3, "how often each proxy is loaded; the figures are medians")
	f.IntVar(&o.connections, "connections", 0, "keep-alive connections of the load; 0 for the workload's own number")
	f.StringVar(&o.load, "load", "auto", "what makes the load: wrk, builtin, or auto for wrk where it is installed")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "`file` for a CPU profile of modproxy's process, which costs it a little")
	f.Usage = func() {
		fmt.Fprintf(stderr, "Usage: bench [flags]\n\n")
		f.PrintDefaults()
		fmt.Fprintf(stderr, "\nWorkloads:\n")
		for _, w := range workloads {
			fmt.Fprintf(stderr, "  %-8s %s, %d connections; proxies: %s\n", w.name, w.about, w.connections, strings.Join(w.family.names(), " "))
		}
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	switch {
	case o.time <= 0 || o.time > maxTime:
		return nil, fmt.Errorf("-time must be positive and at most %v", maxTime)
	case o.rounds < 1 || o.rounds > maxRounds:
		return nil, fmt.Errorf("-rounds must be 1 to %d", maxRounds)
	case o.connections < 0 || o.connections > maxConnections:
		return nil, fmt.Errorf("-connections must be at most %d", maxConnections)
	}
	if *peers != "" {
		o.peers = strings.Split(*peers, ",")
	}
	var err error
	o.workloads, err = chooseWorkloads(*names)
	return o, err
}
