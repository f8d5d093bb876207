package apache

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// customLog is a CustomLog or TransferLog.
type customLog struct {
	at     *conf.Directive
	file   string
	format *accesslog.Format
	when   func(v *visit) bool // nil for always
}

// wrap puts the log around next.
func (l customLog) wrap(w io.Writer, next http.Handler) http.Handler {
	log := &accesslog.Handler{
		Output: w, Format: l.format,
		Lookup: func(r *http.Request, directive, name string) (string, bool) {
			return visitOf(r).logged(r, directive, name)
		},
	}
	if l.when != nil {
		log.Skip = func(r *http.Request) bool { return !l.when(visitOf(r)) }
	}
	return log.Wrap(next)
}

// moduleLevel is a word of LogLevel.
type moduleLevel struct {
	module string // "" for all
	level  slog.Level
}

// logDirectives are those of the core's and mod_log_config's logs.
func logDirectives() []directive {
	return []directive{
		{name: "ErrorLog", in: anyServer, min: 1, max: 1, note: "files alone", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			if strings.HasPrefix(d.Args[0], "|") || strings.HasPrefix(d.Args[0], "syslog") {
				return fmt.Errorf("only files are supported")
			}
			s.settings.errorLog, s.settings.errorLogAt = d.Args[0], d
			return nil
		}},
		{name: "LogLevel", in: anywhere, min: 1, max: -1, note: "of modules proxy and proxy_http count; trace1 to trace4 tell rules, connections and answers", apply: applyLogLevel},
		{name: "LogFormat", in: anyServer, min: 1, max: 2, apply: func(b *builder, _ *scope, d *conf.Directive) error {
			if _, err := accesslog.ParseFormat(d.Args[0]); err != nil {
				return err
			}
			name := ""
			if len(d.Args) == 2 {
				name = d.Args[1]
			}
			b.formats[name] = d.Args[0]
			return nil
		}},
		{name: "TransferLog", in: anyServer, min: 1, max: 1, note: "files alone", apply: applyCustomLog},
		{name: "CustomLog", in: anyServer, min: 2, max: 3, note: "files alone; env= as a condition", apply: applyCustomLog},
	}
}

func applyCustomLog(b *builder, s *scope, d *conf.Directive) error {
	if strings.HasPrefix(d.Args[0], "|") {
		return fmt.Errorf("logs to programs are not supported")
	}
	text, ok := b.formats[""]
	if !ok {
		text = accesslog.CommonLogFormat
	}
	l := customLog{at: d, file: d.Args[0]}
	if len(d.Args) == 3 {
		name, ok := strings.CutPrefix(d.Args[2], "env=")
		if !ok {
			return fmt.Errorf("condition %q is not supported: env= is", d.Args[2])
		}
		l.when = variable(name)
	}
	if len(d.Args) >= 2 {
		text = d.Args[1]
		if named, ok := b.formats[text]; ok {
			text = named
		} else if !strings.Contains(text, "%") {
			return fmt.Errorf("no LogFormat is called %q", text)
		}
	}
	var err error
	l.format, err = accesslog.ParseFormat(text)
	s.logs = append(s.logs, l)
	return err
}

// levels are Apache's, in the words of package slog.
var levels = map[string]slog.Level{
	"emerg": slog.LevelError, "alert": slog.LevelError, "crit": slog.LevelError, "error": slog.LevelError,
	"warn": slog.LevelWarn, "notice": slog.LevelInfo, "info": slog.LevelInfo, "debug": slog.LevelDebug,
	"trace1": exchange.LevelTrace1, "trace2": exchange.LevelTrace2, "trace3": exchange.LevelTrace3, "trace4": exchange.LevelTrace4,
	"trace5": exchange.LevelTrace5, "trace6": exchange.LevelTrace6, "trace7": exchange.LevelTrace7, "trace8": exchange.LevelTrace8,
}

// applyLogLevel reads "[module:]level …".
func applyLogLevel(_ *builder, s *scope, d *conf.Directive) error {
	for _, w := range d.Args {
		module, name, ok := strings.Cut(w, ":")
		if !ok {
			module, name = "", w
		}
		level, known := levels[strings.ToLower(name)]
		if !known {
			return fmt.Errorf("level %q is not known", name)
		}
		module = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(module, ".c"), "mod_"), "_module")
		s.settings.logLevels = append(s.settings.logLevels, moduleLevel{module, level})
	}
	return nil
}

// levelOf returns the level of what the proxy says. A word without a module
// sets all modules anew; of proxy and proxy_http the more talkative counts.
func levelOf(words []moduleLevel) slog.Level {
	core, http := slog.LevelWarn, slog.LevelWarn
	for _, w := range words {
		switch w.module {
		case "":
			core, http = w.level, w.level
		case "proxy":
			core = w.level
		case "proxy_http":
			http = w.level
		}
	}
	return min(core, http)
}

// logFiles are the open files of logs; those with one name are shared.
type logFiles struct {
	root           string
	stdout, stderr io.Writer // the program's

	mu   sync.Mutex // guards files
	open map[string]*os.File
}

// writer opens a log for appending.
func (l *logFiles) writer(name string) (io.Writer, error) {
	if name == "" || name == "/dev/stderr" {
		return l.stderr, nil
	}
	if name == "/dev/stdout" {
		return l.stdout, nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(l.root, name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.open[name]; f != nil {
		return f, nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	if l.open == nil {
		l.open = make(map[string]*os.File)
	}
	l.open[name] = f
	return f, nil
}

func (l *logFiles) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, f := range l.open {
		errs = append(errs, f.Close())
	}
	l.open = nil
	return errors.Join(errs...)
}

// logger writes to a log at a level.
func logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if l, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && l < slog.LevelDebug {
			a.Value = slog.StringValue(fmt.Sprintf("TRACE%d", slog.LevelDebug-l))
		}
		return a
	}}))
}
