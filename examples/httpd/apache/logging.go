package apache

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/accesslog"
)

// logWords are what a server or a virtual host says of its access logs.
type logWords struct {
	formats map[string]string // LogFormat, by nickname; that without one by ""
	list    []customLog       // CustomLog, TransferLog, GlobalLog
}

// customLog is a CustomLog, TransferLog or GlobalLog.
type customLog struct {
	at     *conf.Directive
	file   string
	text   string // a nickname or a format; "" for that without a nickname
	global bool
	when   func(v *visit, r *http.Request) bool // nil for always

	format *accesslog.Format // once all nicknames are known
}

// usualFormats are those by which distributions of httpd name them. A configuration
// that is part of one uses them without saying what they are.
var usualFormats = map[string]string{
	"CLF": accesslog.CommonLogFormat, "common": accesslog.CommonLogFormat, "combined": accesslog.CombinedLogFormat,
	"vhost_combined": `%v:%p ` + accesslog.CombinedLogFormat, "combinedio": accesslog.CombinedLogFormat + ` %I %O`,
	"referer": `%{Referer}i -> %U`, "agent": `%{User-agent}i`,
}

// logDirectives are those of the core's, mod_log_config's and mod_logio's logs.
func logDirectives() []directive {
	const targets = "a file, \"|program\" or \"|$command\""
	return []directive{
		{name: "ErrorLog", in: anyServer, min: 1, max: 1, note: targets + ", or syslog:facility:tag; lines are those of package slog", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.errorLog, s.settings.errorLogAt = d.Args[0], d
			return nil
		}},
		{name: "LogLevel", in: anywhere, min: 1, max: -1, note: "of modules proxy and proxy_http count; trace1 to trace4 tell rules, connections and answers", apply: applyLogLevel},
		{name: "LogFormat", in: anyServer, min: 1, max: 2, note: "all of mod_log_config and mod_logio; the usual nicknames are known, and each may be defined behind its use", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			if _, err := parseLogFormat(d.Args[0]); err != nil && s.accessLogs.formats[d.Args[0]] == "" {
				return err
			}
			if s.accessLogs.formats == nil {
				s.accessLogs.formats = make(map[string]string)
			}
			s.accessLogs.formats[strings.Join(d.Args[1:], "")] = d.Args[0]
			return nil
		}},
		{name: "TransferLog", in: anyServer, min: 1, max: 1, note: targets, apply: applyCustomLog},
		{name: "CustomLog", in: anyServer, min: 2, max: 3, note: targets + "; env= or expr= as a condition", apply: applyCustomLog},
		{name: "GlobalLog", in: inServer, min: 2, max: 3, note: targets, apply: applyCustomLog},
		{name: "LogIOTrackTTFB", in: anywhere, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.trackFirstByte })},
		{name: "BufferedLogs", in: inServer, min: 1, max: 1, note: "each line is written at once"},
		{name: "ErrorLogFormat", in: anyServer, min: 1, max: 2, note: "no effect: lines are those of package slog", apply: withoutEffect("lines of the error log are those of package slog")},
		{name: "ForensicLog", in: anyServer, min: 1, max: 1, note: "no effect: use CustomLog", apply: withoutEffect("requests are logged when they are done: use CustomLog")},
	}
}

// withoutEffect accepts a directive that can be left out, and says why it has no
// effect.
func withoutEffect(why string) func(*builder, *scope, *conf.Directive) error {
	return func(b *builder, _ *scope, d *conf.Directive) error {
		b.warn(d.Errorf("%s has no effect: %s", d.Name, why))
		return nil
	}
}

// parseLogFormat reads a format as httpd does: a backslash before other letters than
// n, t and itself stands for itself.
func parseLogFormat(text string) (*accesslog.Format, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			if i+1 == len(text) || strings.IndexByte(`nt\`, text[i+1]) < 0 {
				b.WriteString(`\\`)
				continue
			}
			b.WriteByte(text[i])
			i++
		}
		b.WriteByte(text[i])
	}
	return accesslog.ParseFormat(b.String())
}

func applyCustomLog(_ *builder, s *scope, d *conf.Directive) error {
	l := customLog{at: d, file: d.Args[0], global: d.Is("GlobalLog")}
	if len(d.Args) > 1 {
		l.text = d.Args[1]
		if _, err := parseLogFormat(l.text); err != nil {
			return err
		}
	}
	if len(d.Args) == 3 {
		var err error
		if l.when, err = logCondition(d.Args[2]); err != nil {
			return err
		}
	}
	s.accessLogs.list = append(s.accessLogs.list, l)
	return nil
}

// logCondition reads env=name, env=!name or expr=….
func logCondition(text string) (func(v *visit, r *http.Request) bool, error) {
	kind, rest, _ := strings.Cut(text, "=")
	switch strings.ToLower(kind) {
	case "env":
		if strings.TrimPrefix(rest, "!") == "" {
			return nil, errors.New("env= names no variable")
		}
		holds := variable(rest)
		return func(v *visit, _ *http.Request) bool { return holds(v) }, nil
	case "expr":
		c, err := parseCondition(rest)
		if err != nil {
			return nil, err
		}
		return c.holds, nil
	}
	return nil, fmt.Errorf("condition %q is neither env= nor expr=", text)
}

// logsOf are the access logs of a virtual host: its own, or else those of the main
// server, and always the global ones. Formats are looked up once all are known: those
// of the virtual host first.
func logsOf(main, s *scope, warn func(error)) ([]customLog, error) {
	formats := []map[string]string{s.accessLogs.formats, main.accessLogs.formats}
	list := s.accessLogs.list
	if s != main {
		inherited := slices.Clone(main.accessLogs.list)
		if len(list) > 0 {
			inherited = slices.DeleteFunc(inherited, func(l customLog) bool { return !l.global })
		}
		list = behind(list, inherited)
	}
	var all conf.Errors
	list = slices.Clone(list)
	for i := range list {
		l := &list[i]
		text, known := findFormat(formats, l.text)
		if !known && l.text != "" && !strings.ContainsAny(l.text, "% ") {
			var names []string
			for _, f := range append(formats, usualFormats) {
				for name := range f {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			err := l.at.Errorf("%s: no LogFormat is called %q: each line is that word, as in httpd", l.at.Name, l.text)
			if near, ok := conf.Nearest(l.text, names); ok {
				err = conf.WithHint(err, "did you mean "+near+"?")
			}
			warn(err)
		}
		var err error
		if l.format, err = parseLogFormat(text); err != nil {
			all.Add(locate(l.at, err))
		}
	}
	return list, all.Err()
}

// findFormat returns the format that a nickname, or a format, stands for.
func findFormat(formats []map[string]string, name string) (string, bool) {
	for range 2 { // the format without a nickname may name another
		found := false
		for _, f := range append(formats, usualFormats) {
			if text, ok := f[name]; ok {
				if name != "" {
					return text, true
				}
				name, found = text, true
				break
			}
		}
		if !found {
			break
		}
	}
	if name == "" {
		return accesslog.CommonLogFormat, true
	}
	return name, false
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
		log.Skip = func(r *http.Request) bool { return !l.when(visitOf(r), r) }
	}
	return log.Wrap(next)
}
