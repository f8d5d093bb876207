// Command httpd reads an Apache httpd configuration and serves it with the
// packages of modproxy. Without a file it shows a demonstration.
//
//	go run ./examples/httpd
//	go run ./examples/httpd -f site.conf -listen 80=127.0.0.1:8080 -resolve backend.local:80=127.0.0.1:9001
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache"
)

// gracePeriod is how long requests and tunnels may go on after SIGTERM.
const gracePeriod = 30 * time.Second

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP, syscall.SIGUSR1)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals, nil))
}

// run is the program. started, if not nil, is given the site once it is ready.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal, started func(*apache.Site)) int {
	opt := apache.Options{Stdout: stdout, Stderr: stderr, Logger: slog.New(slog.NewTextHandler(stderr, nil))}
	flags := flag.NewFlagSet("httpd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("f", "", "configuration `file`; without it, a demonstration")
	check := flags.Bool("t", false, "check the configuration and exit")
	opt.Flags(flags)
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "httpd: unknown argument %q\n", flags.Arg(0))
		return 2
	}
	fail := func(err error) int {
		fmt.Fprintf(stderr, "httpd: %v\n", err)
		return 1
	}
	load := func() (*apache.Site, error) { return apache.Load(*file, opt) }
	if *file == "" {
		text, stop, err := startDemonstration(&opt)
		if err != nil {
			return fail(err)
		}
		defer stop()
		load = func() (*apache.Site, error) { return apache.Parse(text, "demonstration", opt) }
	}
	site, err := load()
	if err != nil {
		return fail(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), gracePeriod)
		defer cancel()
		_ = site.Shutdown(ctx)
	}()
	if *check {
		fmt.Fprintln(stderr, "Syntax OK")
		return 0
	}
	if err := site.Start(); err != nil {
		return fail(err)
	}
	for _, l := range site.Listeners() {
		if *file == "" {
			fmt.Fprintf(stdout, "open http://%[1]s/, http://%[1]s/balancer-manager and http://%[1]s/server-status\nstop with Ctrl-C\n", l.Addr)
		} else {
			fmt.Fprintf(stdout, "port %s is http://%s/\n", l.Configured, l.Addr)
		}
	}
	fmt.Fprintln(stderr, "ready")
	if started != nil {
		started(site)
	}
	for sig := range signals {
		if sig != syscall.SIGHUP && sig != syscall.SIGUSR1 {
			break
		}
		if err := site.Reload(); err != nil {
			opt.Logger.Error("configuration is not reloaded", "error", err)
		} else {
			fmt.Fprintln(stderr, "reloaded")
		}
	}
	return 0
}
