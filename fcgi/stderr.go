package fcgi

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"strings"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
)

// stderrLog logs the error output of one request, line by line.
type stderrLog struct {
	logger  *slog.Logger
	ctx     context.Context
	attrs   []slog.Attr
	left    int // bytes that are still logged
	line    []byte
	dropped int64
	level   slog.Level // of the last message
	within  bool       // it was one of PHP
}

// maxStderrLine is the length at which a line is logged though it goes on.
const maxStderrLine = 4 << 10

// logStderr takes a piece of error output.
func (x *attempt) logStderr(b []byte) {
	if x.stderr == nil {
		if !x.t.logsStderr(x.r.Context()) {
			return
		}
		x.stderr = x.newStderrLog()
	}
	x.stderr.write(b)
}

func (x *attempt) newStderrLog() *stderrLog {
	attrs := []slog.Attr{
		slog.String("backend", x.c.Backend().String()),
		slog.String("script", x.script.filename),
		slog.String("method", cgi.Method(x.r)),
	}
	if id := x.r.Header.Get("X-Request-Id"); id != "" {
		attrs = append(attrs, slog.String("request_id", id))
	}
	return &stderrLog{logger: x.t.Logger, ctx: x.r.Context(), attrs: attrs, left: cmp.Or(x.t.MaxStderrBytes, DefaultMaxStderrBytes)}
}

func (l *stderrLog) write(b []byte) {
	if n := l.left; len(b) > n {
		l.dropped += int64(len(b) - n)
		b = b[:n]
	}
	l.left -= len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			l.line = append(l.line, b...)
			if len(l.line) >= maxStderrLine {
				l.flush()
			}
			return
		}
		l.line = append(l.line, b[:end]...)
		l.flush()
		b = b[end+1:]
	}
}

// messageBegin is what php-fpm writes before each message. It joins those that
// come together to one line.
const messageBegin = "PHP message: "

// flush logs the line, or the messages in it.
func (l *stderrLog) flush() {
	const between = "; "
	text := strings.TrimRight(string(l.line), "\r ")
	l.line = l.line[:0]
	for text != "" {
		end := strings.Index(text, between+messageBegin)
		if end < 0 {
			l.log(text)
			return
		}
		l.log(text[:end])
		text = text[end+len(between):]
	}
}

// log logs one message. A line that begins none goes on with the one before it,
// as a stack trace does.
func (l *stderrLog) log(text string) {
	if level, ok := stderrLevel(text); ok || !l.within {
		l.level, l.within = level, ok
	}
	l.logger.LogAttrs(l.ctx, l.level, "fcgi: stderr", append([]slog.Attr{slog.String("text", text)}, l.attrs...)...)
}

// close logs what is left.
func (l *stderrLog) close() {
	l.flush()
	if l.dropped > 0 {
		l.logger.LogAttrs(l.ctx, slog.LevelWarn, "fcgi: more error output was left out", append([]slog.Attr{slog.Int64("bytes", l.dropped)}, l.attrs...)...)
		l.dropped = 0
	}
}

// stderrLevel is the level that PHP names at the begin of a message, and
// whether it is a message of PHP at all.
func stderrLevel(text string) (level slog.Level, isPHP bool) {
	text, isMessage := strings.CutPrefix(text, messageBegin)
	text, isPHP = strings.CutPrefix(text, "PHP ")
	if !isPHP {
		if strings.HasPrefix(text, "Primary script unknown") {
			return slog.LevelError, true
		}
		return slog.LevelWarn, isMessage
	}
	kind, _, _ := strings.Cut(text, ":")
	switch kind {
	case "Fatal error", "Parse error", "Recoverable fatal error", "Catchable fatal error", "Core error", "Compile error":
		return slog.LevelError, true
	case "Notice", "Deprecated", "Strict Standards":
		return slog.LevelInfo, true
	}
	return slog.LevelWarn, true
}
