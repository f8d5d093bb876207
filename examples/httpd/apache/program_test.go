package apache

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// run does what the command does, but for its demonstration: the tests of this
// package take its words.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal, started func(*Site)) int {
	opt := Options{Stdout: stdout, Stderr: stderr, Logger: slog.New(slog.NewTextHandler(stderr, nil))}
	flags := flag.NewFlagSet("httpd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("f", "", "")
	check := flags.Bool("t", false, "")
	opt.Flags(flags)
	if flags.Parse(args) != nil {
		return 2
	}
	site, err := Load(*file, opt)
	if err == nil && !*check {
		err = site.Start()
	}
	if err != nil {
		fmt.Fprintf(stderr, "httpd: %v\n", err)
		return 1
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = site.Shutdown(ctx)
	}()
	if *check {
		fmt.Fprintln(stderr, "Syntax OK")
		return 0
	}
	fmt.Fprintln(stderr, "ready")
	started(site)
	for sig := range signals {
		if sig == syscall.SIGTERM {
			break
		}
		if err := site.Reload(); err != nil {
			slog.New(slog.NewTextHandler(stderr, nil)).Error("configuration is not reloaded", "error", err)
		} else {
			fmt.Fprintln(stderr, "reloaded")
		}
	}
	return 0
}

// addresses returns where each configured address is listened on.
func (s *Site) addresses() map[string]string {
	m := make(map[string]string)
	for _, l := range s.Listeners() {
		if l.Addr != nil {
			m[l.Configured] = l.Addr.String()
		}
	}
	return m
}
