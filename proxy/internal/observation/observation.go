package observation

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// Observation is one request as it is seen from outside. It is the context of
// what is further in as well, and holds its request and writer, so that all of
// it is one allocation.
type Observation struct {
	context.Context
	outer   *Observation // of a second observer around; nil without one
	Request http.Request
	body    observedBody
	Writer  Writer
	Whole   bool // the handler has returned

	mu     sync.Mutex // guards record against what goes on behind the answer
	ended  bool       // record must not be changed any more
	Record exchange.Record
	from   *exchange.Record         // whose facts were taken last
	before []exchange.FailedAttempt // those that were made before it
}

func Begin(w http.ResponseWriter, r *http.Request) *Observation {
	o := &Observation{Context: r.Context(), Writer: Writer{ResponseWriter: w}}
	o.outer = Of(o.Context)
	o.Record.Client = r.RemoteAddr
	if user, ok := o.Context.Value(contextkey.User{}).([2]string); ok {
		o.Record.User = user[0]
	}
	if o.outer != nil {
		o.Record.Start = o.outer.Record.Start
	} else {
		o.Record.Start = time.Now()
	}
	o.Request = *r.WithContext(o)
	if r.Body != nil && r.Body != http.NoBody {
		o.body.ReadCloser = r.Body
		o.Request.Body = &o.body
	}
	return o
}

// Of returns the innermost observation around ctx, or nil.
func Of(ctx context.Context) *Observation {
	o, _ := ctx.Value(contextkey.Observation{}).(*Observation)
	return o
}

// Value answers for what the observation knows, and the client's context for
// the rest.
func (o *Observation) Value(key any) any {
	switch key {
	case contextkey.Observation{}:
		return o
	case contextkey.Record{}:
		return &o.Record
	}
	return o.Context.Value(key)
}

// Take takes over what a handler further in knows: once when the head of the
// backend's answer is in, since a cache may pass that on and be done before the
// handler is, and once at the end. It does nothing once the request is over: who
// goes on behind the answer, such as a cache that fetches in the background, has
// nobody to tell.
func (o *Observation) Take(from *exchange.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	if o.from != from {
		o.from, o.before = from, o.attempts()
	}
	start, cache, notStored := o.Record.Start, o.Record.Cache, o.Record.NotStored
	client, user := o.Record.Client, o.Record.User
	o.Record = *from
	o.Record.Client, o.Record.User = cmp.Or(from.Client, client), cmp.Or(from.User, user)
	o.Record.Start = start
	if len(o.before) > 0 {
		o.Record.Failed = slices.Concat(o.before, from.Failed)
		o.Record.Attempts += len(o.before)
	}
	if cache != "" {
		o.Record.Cache = cache
	}
	o.Record.NotStored = cmp.Or(notStored, o.Record.NotStored)
	if o.outer != nil {
		o.outer.Take(&o.Record)
	}
}

// attempts are those of the record, of which another handler's are the rest.
func (o *Observation) attempts() []exchange.FailedAttempt {
	rec := &o.Record
	if rec.Attempts == 0 {
		return nil
	}
	before := slices.Clip(rec.Failed)
	if rec.Attempts > len(before) {
		begun := rec.Connected - rec.Connect - rec.Acquire
		before = append(before, exchange.FailedAttempt{
			Backend: rec.Backend, Member: rec.Member, Start: begun, Duration: time.Since(rec.Start) - begun,
			Status: rec.BackendStatus, Err: rec.Err,
		})
	}
	return before
}

// End completes the record.
func (o *Observation) End() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	rec := &o.Record
	rec.Duration = time.Since(rec.Start)
	rec.ResponseBytes = o.Writer.Sent
	rec.RequestBytes = o.body.read.Load()
	rec.Upgraded = rec.Upgraded || o.Writer.Hijacked
	rec.Aborted = rec.Aborted || !o.Whole
	if rec.Status != exchange.StatusClientClosedRequest {
		rec.Status = o.Writer.status
		if rec.Status == 0 && o.Whole {
			rec.Status = http.StatusOK // as net/http answers for a handler that says nothing
		}
	}
	if o.outer != nil {
		o.outer.Take(rec)
	}
}

// observedBody counts what is read of a request's body.
type observedBody struct {
	io.ReadCloser
	read atomic.Int64
}

func (b *observedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// NoteClient tells who the client of a trusted peer is.
func (o *Observation) NoteClient(client string) {
	o.note(func(rec *exchange.Record) { rec.Client = client })
}

// NoteUser tells who the client has proved to be.
func (o *Observation) NoteUser(user string) {
	o.note(func(rec *exchange.Record) { rec.User = user })
}

func (o *Observation) note(tell func(*exchange.Record)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		tell(&o.Record)
	}
}

// NoteCache tells of what a cache did, as exchange.NoteCache says.
func (o *Observation) NoteCache(status string) {
	o.note(func(rec *exchange.Record) { rec.Cache = status })
}

// NoteNotStored tells why a cache has not stored the answer.
func (o *Observation) NoteNotStored(why string) {
	o.note(func(rec *exchange.Record) { rec.NotStored = why })
}
