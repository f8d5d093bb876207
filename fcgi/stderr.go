package fcgi

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

// stderrLog logs the error output of one request, line by line.
type stderrLog struct {
	logger  *slog.Logger
	ctx     context.Context
	attrs   []slog.Attr
	left    int // bytes that are still logged
	line    []byte
	dropped int64
}

// maxStderrLine is the length at which a line is logged though it goes on.
const maxStderrLine = 4 << 10

// logStderr takes a piece of error output.
func (x *exchange) logStderr(b []byte) {
	if x.stderr == nil {
		if !x.t.logsStderr(x.r.Context()) {
			return
		}
		x.stderr = x.newStderrLog()
	}
	x.stderr.write(b)
}

func (x *exchange) newStderrLog() *stderrLog {
	attrs := []slog.Attr{
		slog.String("backend", x.c.Backend().String()),
		slog.String("script", x.script.filename),
		slog.String("method", method(x.r)),
	}
	if id := x.r.Header.Get("X-Request-Id"); id != "" {
		attrs = append(attrs, slog.String("request_id", id))
	}
	return &stderrLog{logger: x.t.Logger, ctx: x.r.Context(), attrs: attrs, left: or(x.t.MaxStderrBytes, DefaultMaxStderrBytes)}
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

// flush logs the line.
func (l *stderrLog) flush() {
	text := strings.TrimRight(string(l.line), "\r ")
	l.line = l.line[:0]
	if text != "" {
		l.logger.LogAttrs(l.ctx, stderrLevel(text), "fcgi: stderr", append([]slog.Attr{slog.String("text", text)}, l.attrs...)...)
	}
}

// close logs what is left.
func (l *stderrLog) close() {
	l.flush()
	if l.dropped > 0 {
		l.logger.LogAttrs(l.ctx, slog.LevelWarn, "fcgi: more error output was left out", append([]slog.Attr{slog.Int64("bytes", l.dropped)}, l.attrs...)...)
		l.dropped = 0
	}
}

// stderrLevel is the level that PHP names at the begin of a message.
func stderrLevel(text string) slog.Level {
	text = strings.TrimPrefix(text, "PHP message: ")
	text, isPHP := strings.CutPrefix(text, "PHP ")
	if !isPHP {
		if strings.HasPrefix(text, "Primary script unknown") {
			return slog.LevelError
		}
		return slog.LevelWarn
	}
	kind, _, _ := strings.Cut(text, ":")
	switch kind {
	case "Fatal error", "Parse error", "Recoverable fatal error", "Catchable fatal error", "Core error", "Compile error":
		return slog.LevelError
	case "Notice", "Deprecated", "Strict Standards":
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
