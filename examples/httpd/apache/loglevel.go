package apache

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// moduleLevel is a word of LogLevel.
type moduleLevel struct {
	module string // "" for all
	level  slog.Level
}

// levels are Apache's, in the words of package slog.
var levels = map[string]slog.Level{
	"emerg": slog.LevelError, "alert": slog.LevelError, "crit": slog.LevelError, "error": slog.LevelError,
	"warn": slog.LevelWarn, "notice": slog.LevelInfo, "info": slog.LevelInfo, "debug": slog.LevelDebug,
	"trace1": exchange.LevelTrace1, "trace2": exchange.LevelTrace2, "trace3": exchange.LevelTrace3, "trace4": exchange.LevelTrace4,
	"trace5": exchange.LevelTrace5, "trace6": exchange.LevelTrace6, "trace7": exchange.LevelTrace7, "trace8": exchange.LevelTrace8,
}

// applyLogLevel reads "[module:]level …".
func applyLogLevel(b *builder, s *scope, d *conf.Directive) error {
	for _, w := range d.Args {
		module, name, ok := strings.Cut(w, ":")
		if !ok {
			module, name = "", w
		}
		level, known := levels[strings.ToLower(name)]
		if !known {
			return fmt.Errorf("level %q is not known: emerg, alert, crit, error, warn, notice, info, debug and trace1 to trace8 are", name)
		}
		module = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(module, ".c"), "mod_"), "_module")
		if _, known := b.modules.names[strings.ToLower(module)]; module != "" && !known {
			err := d.Errorf("LogLevel: module %q is none of httpd's, and says nothing here", module)
			if near, ok := conf.Nearest(module, slices.Sorted(maps.Keys(b.modules.names))); ok {
				err = conf.WithHint(err, "did you mean "+near+"?")
			}
			b.warn(err)
		}
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

// logger writes to a log at a level.
func logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if l, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && l < slog.LevelDebug {
			a.Value = slog.StringValue(fmt.Sprintf("TRACE%d", slog.LevelDebug-l))
		}
		return a
	}}))
}
