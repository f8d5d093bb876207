// Command httpd reads an Apache httpd configuration and serves it with the
// packages of modproxy. Without a file it shows a demonstration.
//
//	go run ./examples/httpd
//	go run ./examples/httpd -f site.conf -listen 80=127.0.0.1:8080 -resolve backend.local:80=127.0.0.1:9001
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache"
)

// gracePeriod is how long requests and tunnels may go on after SIGTERM.
const gracePeriod = 30 * time.Second

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals, nil))
}

// run is the program. started, if not nil, is given the site once it is ready.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal, started func(*apache.Site)) int {
	listeners, err := newHandover()
	if err != nil {
		fmt.Fprintf(stderr, "httpd: %v\n", err)
		return 1
	}
	var line commandLine
	opt := apache.Options{Stdout: stdout, Stderr: stderr, ListenFunc: listeners.listen}
	flags := flag.NewFlagSet("httpd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	line.flags(flags)
	opt.Flags(flags)
	if err := flags.Parse(apart(args)); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "httpd: unknown argument %q\n", flags.Arg(0))
		return 2
	}
	fail := func(err error) int {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(stderr, "httpd: %s\n", line)
		}
		return 1
	}
	line.dumps(opt.Define)
	if line.tellAbout(stdout) {
		return 0
	}
	opt.Before, opt.After = line.before, line.after
	if !line.check { // else warnings are told with the errors
		opt.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: line.level}))
	}
	if line.explain && line.file != "" {
		text, err := apache.Explain(line.file, opt)
		if err != nil {
			return fail(err)
		}
		fmt.Fprint(stdout, text)
		return 0
	}
	load := func() (*apache.Site, error) { return apache.Load(line.file, opt) }
	if line.file == "" {
		text, stop, err := startDemonstration(&opt)
		if err != nil {
			return fail(err)
		}
		defer stop()
		load = func() (*apache.Site, error) { return apache.Parse(text, "demonstration", opt) }
	}
	site, err := load()
	if line.check && line.json {
		return tell(stdout, site, err)
	}
	if err != nil {
		return fail(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), gracePeriod)
		defer cancel()
		_ = site.Shutdown(ctx)
	}()
	if line.check {
		for _, w := range site.Warnings() {
			_ = fail(w)
		}
		if line.hosts {
			_ = site.WriteVirtualHosts(stdout)
		}
		fmt.Fprintln(stderr, "Syntax OK")
		return 0
	}
	if err := site.Start(); err != nil {
		return fail(err)
	}
	for _, l := range site.Listeners() {
		if line.file == "" {
			fmt.Fprintf(stdout, "open http://%[1]s/, http://%[1]s/balancer-manager and http://%[1]s/server-status\nstop with Ctrl-C\n", l.Addr)
		} else {
			scheme := "http"
			if l.TLS {
				scheme = "https"
			}
			fmt.Fprintf(stdout, "port %s is %s://%s/\n", l.Configured, scheme, l.Addr)
		}
	}
	listeners.serving()
	fmt.Fprintln(stderr, "ready")
	if started != nil {
		started(site)
	}
	for sig := range signals {
		if sig == syscall.SIGUSR2 {
			if err := listeners.replace(args); err != nil {
				opt.Logger.Error("no new process has taken over", "error", err)
				continue
			}
			// What has begun may end here, for as long as nobody says otherwise.
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				defer cancel()
				for sig := range signals {
					if sig == syscall.SIGTERM || sig == os.Interrupt {
						return
					}
				}
			}()
			_ = site.Drain(ctx)
			return 0
		}
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

// tell writes what is wrong with a configuration as JSON, and ends the site.
func tell(w io.Writer, site *apache.Site, err error) int {
	code, all := 0, apache.Problems{}
	if err == nil {
		all = append(all, site.Warnings()...)
		_ = site.Close()
	} else if code = 1; !errors.As(err, &all) {
		all = apache.Problems{{Message: err.Error(), Severity: apache.SeverityError}}
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	_ = out.Encode(all)
	return code
}
