// Command httpd reads an Apache httpd configuration and serves it with the
// packages of modproxy. Without a file it shows a demonstration.
//
//	go run ./examples/httpd
//	go run ./examples/httpd -f site.conf -listen 80=127.0.0.1:8080 -resolve backend.local:80=127.0.0.1:9001
package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// gracePeriod is how long requests and tunnels may go on after SIGTERM.
const gracePeriod = 30 * time.Second

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP, syscall.SIGUSR1)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals, nil))
}

// run is the program. started, if not nil, is given the server once it is
// ready.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal, started func(*server)) int {
	opt := options{listen: make(map[string]string), resolve: make(map[string]string), defines: make(map[string]string)}
	flags := flag.NewFlagSet("httpd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("f", "", "configuration `file`; without it, a demonstration")
	check := flags.Bool("t", false, "check the configuration and exit")
	flags.Func("listen", "really listen on an address for a port of the configuration, as in `80=127.0.0.1:8080`; may be repeated", pairs(opt.listen))
	flags.Func("resolve", "really connect to an address for a host of the configuration, as in `name:80=127.0.0.1:9001`; may be repeated", pairs(opt.resolve))
	flags.BoolVar(&opt.noPrivate, "no-private", false, "let no forward request reach a private address; httpd lets them")
	flags.Func("D", "define a `name` for <IfDefine> and ${name}; may be repeated", func(s string) error {
		name, value, _ := strings.Cut(s, "=")
		opt.defines[name] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "httpd: unknown argument %q\n", flags.Arg(0))
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	fail := func(err error) int {
		fmt.Fprintf(stderr, "httpd: %v\n", err)
		return 1
	}
	read := func() (*builder, error) {
		opt.root = filepath.Dir(*file)
		return load(*file, opt, log)
	}
	stopBackends := func() {}
	if *file == "" {
		read = func() (b *builder, err error) {
			stopBackends()
			b, stopBackends, err = startDemonstration(opt, log)
			return b, err
		}
	}
	b, err := read()
	if err != nil {
		return fail(err)
	}
	defer func() { stopBackends() }()
	if *check {
		st, err := newSite(b, &logFiles{root: b.opt.root, stdout: stdout, stderr: stderr}, nil)
		if err != nil {
			return fail(err)
		}
		st.close()
		fmt.Fprintln(stderr, "Syntax OK")
		return 0
	}
	s := &server{log: log, stdout: stdout, stderr: stderr}
	if err := s.start(b); err != nil {
		return fail(err)
	}
	for name, addr := range s.addresses() {
		if *file == "" {
			fmt.Fprintf(stdout, "open http://%[1]s/, http://%[1]s/balancer-manager and http://%[1]s/server-status\nstop with Ctrl-C\n", addr)
		} else {
			fmt.Fprintf(stdout, "port %s is http://%s/\n", name, addr)
		}
	}
	fmt.Fprintln(stderr, "ready")
	if started != nil {
		started(s)
	}
	for sig := range signals {
		if sig != syscall.SIGHUP && sig != syscall.SIGUSR1 {
			break
		}
		if *file == "" {
			continue // the demonstration does not change
		}
		if b, err := read(); err != nil {
			log.Error("configuration is not reloaded", "error", err)
		} else if err := s.start(b); err != nil {
			log.Error("configuration is not reloaded", "error", err)
		} else {
			fmt.Fprintln(stderr, "reloaded")
		}
	}
	s.stop(gracePeriod)
	return 0
}

// pairs collects from=to.
func pairs(m map[string]string) func(string) error {
	return func(s string) error {
		from, to, ok := strings.Cut(s, "=")
		if !ok || from == "" || to == "" {
			return fmt.Errorf("want from=to")
		}
		m[from] = to
		return nil
	}
}
