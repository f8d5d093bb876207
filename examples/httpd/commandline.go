package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache"
)

// commandLine is what httpd's own command line has beside the configuration.
type commandLine struct {
	file                        string
	check, json, explain        bool
	hosts, modules              bool // -S, -M
	compiled, version, settings bool // -l, -v, -V
	level                       slog.Level
	before, after               []string // -C, -c
}

func (c *commandLine) flags(flags *flag.FlagSet) {
	flags.StringVar(&c.file, "f", "", "configuration `file`; without it, a demonstration")
	flags.BoolVar(&c.check, "t", false, "check the configuration and exit")
	flags.BoolVar(&c.json, "json", false, "with -t, write what is wrong as JSON on standard output")
	flags.BoolVar(&c.explain, "explain", false, "print the Go program that does what the configuration says, and exit")
	flags.BoolVar(&c.hosts, "S", false, "check the configuration, and write its virtual hosts; as -t -D DUMP_VHOSTS")
	flags.BoolVar(&c.modules, "M", false, "write the modules for which <IfModule> holds; as -t -D DUMP_MODULES")
	flags.BoolVar(&c.compiled, "l", false, "as -M, by the names of their files")
	flags.BoolVar(&c.version, "v", false, "write the version of httpd whose configurations are read")
	flags.BoolVar(&c.settings, "V", false, "as -v")
	flags.Bool("X", false, "without effect: there is one process, and it does not detach")
	flags.Bool("T", false, "without effect")
	flags.Func("e", "tell what concerns the server as a whole from a `level` on: debug, info, warn, error and httpd's other levels", func(s string) error {
		level, ok := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "notice": slog.LevelInfo, "warn": slog.LevelWarn,
			"error": slog.LevelError, "crit": slog.LevelError, "alert": slog.LevelError, "emerg": slog.LevelError}[strings.ToLower(s)]
		if strings.HasPrefix(s, "trace") {
			level, ok = slog.LevelDebug, true
		}
		if !ok {
			return fmt.Errorf("no level")
		}
		c.level = level
		return nil
	})
	flags.Func("C", "process a `directive` before the configuration; may be repeated", func(s string) error {
		c.before = append(c.before, s)
		return nil
	})
	flags.Func("c", "process a `directive` behind the configuration; may be repeated", func(s string) error {
		c.after = append(c.after, s)
		return nil
	})
	flags.Func("k", "start; all other `words` of httpd are signals to the process", func(s string) error {
		signal, ok := map[string]string{"start": "", "restart": "SIGHUP", "graceful": "SIGUSR1", "graceful-stop": "SIGTERM", "stop": "SIGTERM"}[s]
		switch {
		case !ok:
			return fmt.Errorf("start, restart, graceful, graceful-stop and stop are known")
		case signal != "":
			return fmt.Errorf("send the process %s", signal)
		}
		return nil
	})
}

// apart cuts a name from its flag where httpd lets them stand together, as in
// -DSSL and -kstart.
func apart(args []string) (all []string) {
	for _, a := range args {
		if len(a) > 2 && (a[:2] == "-D" || a[:2] == "-k") && a[2] != '=' {
			all = append(all, a[:2], a[2:])
		} else {
			all = append(all, a)
		}
	}
	return all
}

// dumps takes what -D DUMP_… asks for out of the names.
func (c *commandLine) dumps(define map[string]string) {
	_, hosts := define["DUMP_VHOSTS"]
	_, modules := define["DUMP_MODULES"]
	c.hosts, c.modules = c.hosts || hosts, c.modules || modules
	c.check = c.check || c.hosts
}

// tellAbout writes what needs no configuration; false if nothing is asked for.
func (c *commandLine) tellAbout(w io.Writer) bool {
	switch {
	case c.version, c.settings:
		fmt.Fprintf(w, "Server version: modproxy, as Apache/%s\n", apache.Version)
	case c.modules:
		fmt.Fprintln(w, "Loaded Modules:")
		for _, name := range apache.Modules() {
			fmt.Fprintf(w, " %s_module (static)\n", name)
		}
	case c.compiled:
		fmt.Fprintln(w, "Compiled in modules:")
		for _, name := range apache.Modules() {
			fmt.Fprintf(w, "  mod_%s.c\n", name)
		}
	default:
		return false
	}
	return true
}
