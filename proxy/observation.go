package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// observation is one request as it is seen from outside. It is the context of
// what is further in as well, and holds its request and writer, so that all of
// it is one allocation.
type observation struct {
	context.Context
	outer   *observation // of a second observer around; nil without one
	request http.Request
	body    observedBody
	writer  countingWriter
	whole   bool // the handler has returned

	mu     sync.Mutex // guards record against what goes on behind the answer
	ended  bool       // record must not be changed any more
	record Record
	from   *Record // whose facts were taken last
	before int     // attempts of those before it
}

func observe(w http.ResponseWriter, r *http.Request) *observation {
	o := &observation{Context: r.Context(), writer: countingWriter{ResponseWriter: w}}
	o.outer = observationOf(o.Context)
	if o.outer != nil {
		o.record.Start = o.outer.record.Start
	} else {
		o.record.Start = time.Now()
	}
	o.request = *r.WithContext(o)
	if r.Body != nil && r.Body != http.NoBody {
		o.body.ReadCloser = r.Body
		o.request.Body = &o.body
	}
	return o
}

// observationOf returns the innermost observation around ctx, or nil.
func observationOf(ctx context.Context) *observation {
	o, _ := ctx.Value(observationKey{}).(*observation)
	return o
}

// Value answers for what the observation knows, and the client's context for
// the rest.
func (o *observation) Value(key any) any {
	switch key {
	case observationKey{}:
		return o
	case recordKey{}:
		return &o.record
	}
	return o.Context.Value(key)
}

// take takes over what a handler further in knows: once when the head of the
// backend's answer is in, since a cache may pass that on and be done before the
// handler is, and once at the end. It does nothing once the request is over: who
// goes on behind the answer, such as a cache that fetches in the background, has
// nobody to tell.
func (o *observation) take(from *Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	if o.from != from {
		o.from, o.before = from, o.record.Attempts
	}
	start, cache := o.record.Start, o.record.Cache
	o.record = *from
	o.record.Start = start
	o.record.Attempts += o.before
	if cache != "" {
		o.record.Cache = cache
	}
	if o.outer != nil {
		o.outer.take(&o.record)
	}
}

// end completes the record.
func (o *observation) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	rec := &o.record
	rec.Duration = time.Since(rec.Start)
	rec.ResponseBytes = o.writer.sent
	rec.RequestBytes = o.body.read.Load()
	rec.Upgraded = rec.Upgraded || o.writer.hijacked
	rec.Aborted = rec.Aborted || !o.whole
	if rec.Status != StatusClientClosedRequest {
		rec.Status = o.writer.status
		if rec.Status == 0 && o.whole {
			rec.Status = http.StatusOK // as net/http answers for a handler that says nothing
		}
	}
	if o.outer != nil {
		o.outer.take(rec)
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

// NoteCache tells of what a cache did, as exchange.NoteCache says.
func (o *observation) NoteCache(status string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.record.Cache = status
	}
}
