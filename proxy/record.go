package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Record is what happened to one request. Transports fill in their part while
// they work; a handler completes it when the request is done.
type Record struct {
	Start         time.Time
	Duration      time.Duration // from the request's arrival to the end of its answer
	Connected     time.Duration // from Start to having a connection, of the last attempt
	FirstByte     time.Duration // from Start to the head of the answer
	Backend       string        // where it was sent last, or would have been; empty if none was chosen
	Attempts      int           // how often it was sent
	Reused        bool          // the last attempt used a connection that was open before
	Status        int           // what the client got; 499 if it had left
	BackendStatus int           // what the backend answered; 0 if it did not
	Sent          int64         // bytes of the body sent to the client
	Upgraded      bool          // the connection became a tunnel
	Err           error         // why it failed; nil if it did not

	Balancer string // the balancer that chose; empty without one
	Member   string // its member that was chosen last
	Why      string // why that one: the session's, or the name of the method
	Skipped  []Skip // members that could not be chosen; not to be changed

	untraced bool // nobody but the handler has hooks in the context
}

// Skip is a member of a balancer that was passed over, and why.
type Skip struct{ Member, Why string }

// RecordFrom returns the record of the request that ctx belongs to, or nil if
// it does not pass through a [Handler]. Only the goroutine that handles the
// request may use it.
func RecordFrom(ctx context.Context) *Record {
	r, _ := ctx.Value(recordKey{}).(*Record)
	return r
}

// Attempt notes that the request was given a connection.
func (r *Record) Attempt(backend string, reused bool) {
	if r == nil {
		return
	}
	r.Backend, r.Reused, r.Connected = backend, reused, time.Since(r.Start)
	r.Attempts++
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
		slog.String("backend", r.Backend),
		slog.Int("attempts", r.Attempts),
		slog.Bool("reused", r.Reused),
		slog.Int64("sent", r.Sent),
		slog.Duration("duration", r.Duration),
		slog.Duration("connected", r.Connected),
		slog.Duration("first_byte", r.FirstByte),
	}
	if r.Balancer != "" {
		attrs = append(attrs, slog.String("balancer", r.Balancer), slog.String("member", r.Member), slog.String("why", r.Why))
		if len(r.Skipped) > 0 {
			attrs = append(attrs, slog.Any("skipped", r.Skipped))
		}
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
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

// finish completes the record, and answers or aborts if err says that the
// request failed.
func (p *passage) finish(err error) {
	if err != nil {
		p.record.Err = err
		var e *Error
		if p.record.Backend == "" && errors.As(err, &e) {
			p.record.Backend = e.Backend
		}
		if StatusOf(err) == StatusClientClosedRequest {
			p.record.Status = StatusClientClosedRequest
		} else if !p.sent {
			p.answerError(err)
		}
	}
	if p.body != nil && !p.record.Upgraded {
		p.body.finish(err == nil || !p.sent && p.record.Status != StatusClientClosedRequest)
	}
	p.report()
	if err != nil && (p.sent || p.record.Status == StatusClientClosedRequest) {
		p.abort(err)
	}
}

// answerError tells the client of a failure.
func (p *passage) answerError(err error) {
	p.mu.Lock()
	p.final = true // no interim answer may come in between any more
	p.mu.Unlock()
	if p.body.unread() && p.in.ProtoMajor == 1 {
		p.w.Header()["Connection"] = []string{"close"}
	}
	status := StatusOf(err)
	p.record.Status = status
	addErrorFields(p.w.Header(), err)
	if p.h.ErrorHandler != nil {
		p.h.ErrorHandler(p.w, p.in, err)
		return
	}
	writeErrorPage(p.w, p.in, status)
}

// addErrorFields adds what an error wants the client to know.
func addErrorFields(h http.Header, err error) {
	var e *Error
	if !errors.As(err, &e) {
		return
	}
	if e.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10)}
	}
	maps.Copy(h, e.Header)
}

// report gives the record to those who want it.
func (p *passage) report() {
	rec := &p.record
	rec.Duration = time.Since(rec.Start)
	level := LevelTrace1
	switch {
	case rec.Err == nil:
	case rec.Status == StatusClientClosedRequest:
		level = slog.LevelDebug
	case rec.Status >= 400 && rec.Status < 500 && rec.BackendStatus == 0:
		level = slog.LevelInfo // of the client's making: it must not fill the log
	default:
		level = slog.LevelError
	}
	if p.logs(level) {
		p.h.Logger.Log(p.Context, level, "proxy: request done", "method", p.in.Method, "host", p.in.Host, "path", p.in.URL.Path, "result", rec)
	}
	if p.h.OnRecord != nil {
		p.h.OnRecord(p.in, rec)
	}
}

// logs reports whether something is logged at a level, so that what is not
// need not be put together.
func (p *passage) logs(level slog.Level) bool {
	return p.h.Logger != nil && p.h.Logger.Enabled(p.Context, level)
}

// logAnswer logs the head of the backend's answer: the status at trace3, and
// at trace4 the names of its fields, whose values may be secrets.
func (p *passage) logAnswer() {
	p.h.Logger.Log(p.Context, LevelTrace3, "proxy: backend answered", "backend", p.record.Backend, "status", p.resp.StatusCode, "reused", p.record.Reused)
	if p.logs(LevelTrace4) {
		p.h.Logger.Log(p.Context, LevelTrace4, "proxy: fields of the answer", "names", slices.Sorted(maps.Keys(p.resp.Header)))
	}
}

// abort cuts the client's connection, since its answer cannot be completed.
func (p *passage) abort(err error) {
	if p.h.Abort != nil {
		p.h.Abort(p.w, p.in, err)
		return
	}
	if p.sent && !p.in.ProtoAtLeast(1, 1) && p.w.Header()["Content-Length"] == nil {
		resetClient(p.w)
	}
	if p.Context.Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler)
	}
}

// resetClient closes the client's connection in a way that is no clean end:
// where nothing else marks the end of an answer, as in HTTP/1.0, the client
// could take a part for the whole.
func resetClient(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tc, ok := c.(*tls.Conn); ok {
		c = tc.NetConn() // without a close_notify
	}
	if lc, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = lc.SetLinger(0)
	}
	_ = c.Close()
}
