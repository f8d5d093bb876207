package exchange

import (
	"context"
	"log/slog"
	"time"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// Record is what happened to one request. Transports fill in their part while
// they work; a [proxy.Handler] completes it when the request is done and gives it to
// OnRecord, and an [proxy.Observer] or [accesslog.Handler] around it takes it over from
// there. Times count from Start. What is said of an attempt is said of the last
// one; those before it are in Failed.
type Record struct {
	Start    time.Time     // when the request arrived
	Duration time.Duration // to the end of its answer, or to the start of a tunnel

	// Acquire is how long the attempt stood in line for a connection, Connect
	// how long one was opened for it (0 if it was open before), and Connected
	// when it had one. FirstByte is when the head of the answer was in.
	Acquire, Connect, Connected, FirstByte time.Duration

	Client string // its address and port, by [Facts]
	User   string // who it has proved to be, by [Facts]; empty for nobody

	Backend       string // where it was sent, or would have been; empty if none was chosen
	Attempts      int    // how often it was given a connection
	Reused        bool   // the connection was open before
	Failed        []FailedAttempt
	Status        int    // what the client got; 499 if it had left, 0 if nothing was sent
	BackendStatus int    // what the backend answered; 0 if it did not
	RequestBytes  int64  // of the body, read from the client
	ResponseBytes int64  // of the body, sent to the client
	Upgraded      bool   // the connection became a tunnel, which [tunnel.Registry] counts
	Aborted       bool   // the answer broke off, or the handler has panicked
	Cache         string // what a cache did, by [NoteCache]; empty without one
	Err           error  // why it failed; nil if it did not

	Balancer string // the balancer that chose; empty without one
	Member   string // its member
	Why      string // why that one: the session's, or the name of the method
	Skipped  []Skip // members that could not be chosen; not to be changed
}

// FailedAttempt is an attempt that was followed by another: a member of a
// balancer that failed, or a connection that turned out to be closed.
type FailedAttempt struct {
	Backend  string        // where it was sent, or should have been
	Member   string        // of the balancer; empty without one
	Start    time.Duration // from the Record's
	Duration time.Duration
	Status   int   // what the backend answered; 0 if it did not
	Err      error // why it failed; nil if the status says it
}

// Skip is a member of a balancer that was passed over, and why.
type Skip struct{ Member, Why string }

// RecordFrom returns the record of the request that ctx belongs to, or nil if
// it does not pass through a [proxy.Handler]. Only the goroutine that handles the
// request may use it.
func RecordFrom(ctx context.Context) *Record {
	r, _ := ctx.Value(contextkey.Record{}).(*Record)
	return r
}

// Attempt notes that the request was given a connection. [Hooks] does so, and
// knows more.
func (r *Record) Attempt(backend string, reused bool) {
	if r == nil {
		return
	}
	r.Backend, r.Reused, r.Connected = backend, reused, time.Since(r.Start)
	r.Acquire, r.Connect = 0, 0
	r.Attempts++
}

// Resent notes that the attempt has failed because of err, and that the same
// backend is tried again.
func (r *Record) Resent(err error) {
	if r == nil {
		return
	}
	begun := r.Connected - r.Connect - r.Acquire
	r.Fail(FailedAttempt{Backend: r.Backend, Member: r.Member, Start: begun, Duration: time.Since(r.Start) - begun, Err: err})
}

// Fail notes an attempt that is followed by another, and forgets what is known
// of that attempt alone.
func (r *Record) Fail(a FailedAttempt) {
	if r == nil {
		return
	}
	r.Failed = append(r.Failed, a)
	r.Backend, r.Reused = "", false
	r.Acquire, r.Connect, r.Connected, r.FirstByte = 0, 0, 0, 0
}

// Answered notes that the head of the answer is in.
func (r *Record) Answered() {
	if r != nil {
		r.FirstByte = time.Since(r.Start)
	}
}

// LogValue groups the facts for a log line.
func (r *Record) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.Int("status", r.Status),
		slog.String("client", r.Client),
		slog.String("backend", r.Backend),
		slog.Int("attempts", r.Attempts),
		slog.Bool("reused", r.Reused),
		slog.Int64("request_bytes", r.RequestBytes),
		slog.Int64("response_bytes", r.ResponseBytes),
		slog.Duration("duration", r.Duration),
		slog.Duration("acquire", r.Acquire),
		slog.Duration("connect", r.Connect),
		slog.Duration("connected", r.Connected),
		slog.Duration("first_byte", r.FirstByte),
	}
	if r.User != "" {
		attrs = append(attrs, slog.String("user", r.User))
	}
	if r.Balancer != "" {
		attrs = append(attrs, slog.String("balancer", r.Balancer), slog.String("member", r.Member), slog.String("why", r.Why))
		if len(r.Skipped) > 0 {
			attrs = append(attrs, slog.Any("skipped", r.Skipped))
		}
	}
	if r.Cache != "" {
		attrs = append(attrs, slog.String("cache", r.Cache))
	}
	for _, a := range r.Failed {
		attrs = append(attrs, slog.Any("failed", a))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// LogValue groups the facts for a log line.
func (a FailedAttempt) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("backend", a.Backend), slog.Duration("duration", a.Duration)}
	if a.Status != 0 {
		attrs = append(attrs, slog.Int("status", a.Status))
	}
	if a.Err != nil {
		attrs = append(attrs, slog.String("error", a.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// Levels of detail below slog.LevelDebug, as in Apache's LogLevel.
const (
	LevelTrace1 = slog.LevelDebug - 1 - iota
	LevelTrace2
	LevelTrace3
	LevelTrace4
	LevelTrace5
	LevelTrace6
	LevelTrace7
	LevelTrace8
)

// NoteCache tells the record of the request that ctx belongs to what a cache
// did with it: a word such as "hit", "miss" or "revalidate", for
// [Record].Cache. It is for caches, or for the hook in which one tells of its
// results, and may be called from any goroutine; after the request it does
// nothing.
func NoteCache(ctx context.Context, status string) {
	for _, key := range [...]any{contextkey.Observation{}, contextkey.Passage{}} {
		if n, ok := ctx.Value(key).(interface{ NoteCache(status string) }); ok {
			n.NoteCache(status)
		}
	}
}
