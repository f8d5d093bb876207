package disk

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
)

// testLogger fails the test with what is logged.
func testLogger(t testing.TB) *slog.Logger {
	return slog.New(failingLog{t})
}

type failingLog struct{ t testing.TB }

func (failingLog) Enabled(context.Context, slog.Level) bool { return true }
func (l failingLog) Handle(_ context.Context, r slog.Record) error {
	l.t.Errorf("logged: %s", r.Message)
	r.Attrs(func(a slog.Attr) bool { l.t.Log(a); return true })
	return nil
}
func (l failingLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l failingLog) WithGroup(string) slog.Handler      { return l }

// recordedLog keeps what is logged.
type recordedLog struct {
	mu    sync.Mutex
	lines []string
}

func (*recordedLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *recordedLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Level.String()+" "+r.Message)
	return nil
}
func (l *recordedLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *recordedLog) WithGroup(string) slog.Handler      { return l }

func (l *recordedLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}
