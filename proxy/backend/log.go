package backend

import (
	"context"
	"log/slog"
)

// levelTrace2 is Apache's trace2, as exchange.LevelTrace2.
const levelTrace2 = slog.LevelDebug - 2

// note logs what became of a connection. Nothing is put together unless the
// level is on.
func (b *Backend) note(ctx context.Context, level slog.Level, msg string, c *Conn) {
	if b.Logger == nil || !b.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 3)
	attrs = append(attrs, slog.String("backend", b.String()))
	if c != nil {
		attrs = append(attrs, slog.String("local", c.LocalAddr().String()), slog.String("remote", c.RemoteAddr().String()))
	}
	b.Logger.LogAttrs(ctx, level, msg, attrs...)
}
