package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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

	Backend string // where it was sent, or would have been; empty if none was chosen

	// Attempts is how often it was tried at a backend: each time that a
	// connection was asked for, whether one was got or not (the dial is refused,
	// there is no place in line, the backend is in the error state), and each
	// time that a balancer chose a member. Choosing a member and asking it for
	// a connection are one attempt. It is len(Failed)+1 where something was
	// tried at last, and 0 where nothing was: a cache had the answer, or the
	// request was refused.
	Attempts int
	Failed   []FailedAttempt // the attempts before the last, in order

	Reused        bool   // the connection was open before
	Status        int    // what the client got; 499 if it had left, 0 if nothing was sent
	BackendStatus int    // what the backend answered; 0 if it did not
	RequestBytes  int64  // of the body, read from the client
	ResponseBytes int64  // of the body, sent to the client
	Upgraded      bool   // the connection became a tunnel, which [tunnel.Registry] counts
	Aborted       bool   // the answer broke off, or the handler has panicked
	Cache         string // what a cache did, by [NoteCache]; empty without one
	NotStored     string // why that has not stored the answer, in a word of [cache.Result]; empty if it has, or had one
	Err           error  // why it failed; nil if it did not

	Balancer string // the balancer that chose; empty without one
	Member   string // its member
	Why      string // why that one: the session's, or the name of the method
	Skipped  []Skip // members that could not be chosen; not to be changed

	tried error // why the last attempt failed, as its transport says
}

// FailedAttempt is an attempt that was followed by another: a member of a
// balancer that failed, a connection that turned out to be closed, or an answer
// that was not taken.
type FailedAttempt struct {
	Backend  string        // where it was sent, or should have been; empty if that is not known
	Member   string        // of the balancer; empty without one
	Start    time.Duration // from the Record's
	Duration time.Duration
	Status   int   // what the backend answered; 0 if it did not
	Err      error // why it failed; nil if the status says it
}

// Skip is a member of a balancer that was passed over, and why.
type Skip struct {
	Member string `json:"member"`
	Why    string `json:"why"`
}

// String is the member and why, for a log line.
func (s Skip) String() string { return s.Member + ": " + s.Why }

// RecordFrom returns the record of the request that ctx belongs to, or nil if
// it does not pass through a [proxy.Handler]. Only the goroutine that handles the
// request may use it.
func RecordFrom(ctx context.Context) *Record {
	r, _ := ctx.Value(contextkey.Record{}).(*Record)
	return r
}

// begun is when the attempt under way began.
func (r *Record) begun() time.Duration {
	if n := len(r.Failed); r.Connected == 0 && n > 0 {
		return r.Failed[n-1].Start + r.Failed[n-1].Duration
	}
	return r.Connected - r.Connect - r.Acquire
}

// begin counts an attempt. One before it that nobody has called failed has
// answered, and the answer was not taken, or was sent by one who tries again.
func (r *Record) begin() {
	if r.Attempts > len(r.Failed) {
		r.Resent(r.tried)
	}
	r.Attempts, r.tried = len(r.Failed)+1, nil
}

// Choose notes that a balancer has chosen a member, which begins an attempt: why
// it, and who was passed over.
func (r *Record) Choose(balancer, member, why string, skipped []Skip) {
	if r == nil {
		return
	}
	if !r.chosen() { // else by a balancer that is a member itself
		r.begin()
	}
	r.Balancer, r.Member, r.Why, r.Skipped = balancer, member, why, skipped
}

// chosen reports whether a member was chosen and no connection asked for yet.
func (r *Record) chosen() bool {
	return r.balanced() && r.Backend == "" && r.Attempts > len(r.Failed)
}

// balanced reports whether a balancer had a part in it, which need not have a name.
func (r *Record) balanced() bool { return r.Balancer != "" || r.Member != "" }

// Ask notes that a connection of a backend is asked for, which begins an attempt
// if choosing it has not. [Hooks] does so.
func (r *Record) Ask(backend string) {
	if r == nil {
		return
	}
	if !r.chosen() {
		r.begin()
	}
	r.Backend = backend
}

// Attempt notes that the request was given a connection. [Hooks] does so, and
// knows more.
func (r *Record) Attempt(backend string, reused bool) {
	if r == nil {
		return
	}
	if asked := r.Backend != "" && r.Connected == 0; !asked && !r.chosen() {
		r.begin()
	}
	r.Backend, r.Reused, r.Connected = backend, reused, time.Since(r.Start)
	r.Acquire, r.Connect = 0, 0
}

// Resent notes that the attempt has failed because of err, and that the same
// backend is tried again.
func (r *Record) Resent(err error) {
	if r == nil {
		return
	}
	begun := r.begun()
	r.Fail(FailedAttempt{Backend: r.Backend, Member: r.Member, Start: begun, Duration: time.Since(r.Start) - begun, Err: err})
}

// Fail notes an attempt that is followed by another, and forgets what is known
// of that attempt alone.
func (r *Record) Fail(a FailedAttempt) {
	if r == nil {
		return
	}
	r.Failed = append(r.Failed, a)
	r.Attempts = max(r.Attempts, len(r.Failed))
	r.Backend, r.Reused, r.tried = "", false, nil
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
	if r.balanced() {
		attrs = append(attrs, slog.String("balancer", r.Balancer), slog.String("member", r.Member), slog.String("why", r.Why))
		if len(r.Skipped) > 0 {
			attrs = append(attrs, slog.Any("skipped", r.Skipped))
		}
	}
	if r.Cache != "" {
		attrs = append(attrs, slog.String("cache", r.Cache))
	}
	if r.NotStored != "" {
		attrs = append(attrs, slog.String("not_stored", r.NotStored))
	}
	if len(r.Failed) > 0 {
		attrs = append(attrs, slog.Any("failed", r.Failed))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// MarshalJSON makes an object of the facts, with the error in words.
func (a FailedAttempt) MarshalJSON() ([]byte, error) {
	facts := struct {
		Backend  string        `json:"backend"`
		Member   string        `json:"member,omitempty"`
		Start    time.Duration `json:"start"` // in nanoseconds, as slog writes them
		Duration time.Duration `json:"duration"`
		Status   int           `json:"status,omitempty"`
		Error    string        `json:"error,omitempty"`
	}{Backend: a.Backend, Member: a.Member, Start: a.Start, Duration: a.Duration, Status: a.Status}
	if a.Err != nil {
		facts.Error = a.Err.Error()
	}
	return json.Marshal(facts)
}

// String is who failed and why, for a log line.
func (a FailedAttempt) String() string {
	who := a.Backend
	if a.Member != "" && a.Member != a.Backend {
		who = strings.TrimSpace(a.Member + " " + a.Backend)
	}
	why := "not taken"
	switch {
	case a.Err != nil:
		why = a.Err.Error()
	case a.Status != 0:
		why = "status " + strconv.Itoa(a.Status)
	}
	return fmt.Sprintf("%s after %v: %s", who, a.Duration, why)
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
	noteCache(ctx, func(n cacheNotes) { n.NoteCache(status) })
}

// NoteNotStored tells the record of the request that ctx belongs to why a cache
// has not stored the answer, for [Record].NotStored, as [NoteCache] does; it may
// come later than that.
func NoteNotStored(ctx context.Context, why string) {
	noteCache(ctx, func(n cacheNotes) { n.NoteNotStored(why) })
}

// cacheNotes takes what is told of caches.
type cacheNotes interface {
	NoteCache(status string)
	NoteNotStored(why string)
}

func noteCache(ctx context.Context, tell func(cacheNotes)) {
	for _, key := range [...]any{contextkey.Observation{}, contextkey.Passage{}} {
		if n, ok := ctx.Value(key).(cacheNotes); ok {
			tell(n)
		}
	}
}
