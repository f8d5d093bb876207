package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Observer is middleware that tells what happened to each request, whoever
// answered it: a [Handler] further in, a cache on the way to it, or access
// control that refused it. It is what metrics, traces and logs of one's own are
// made from; where the requests of one Handler are enough, its OnRecord costs
// less. See [Record] for what is known.
//
// Each request costs one allocation. The Record's times count from the
// outermost Observer or [AccessLog].
type Observer struct {
	// Done is called when a request is done or its connection was taken over,
	// on the goroutine that has handled it, even if that panics. r is the
	// request as it was passed on: with its Pattern, if next is a ServeMux. The
	// Record must not be kept. If nil, Wrap returns next as it is.
	Done func(r *http.Request, rec *Record)
}

// Wrap puts the Observer around next.
func (o *Observer) Wrap(next http.Handler) http.Handler {
	if o.Done == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ob := observe(w, r)
		defer func() {
			ob.end()
			o.Done(&ob.request, &ob.record)
		}()
		next.ServeHTTP(&ob.writer, &ob.request)
		ob.whole = true
	})
}

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

type observationKey struct{}

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

// NoteCache tells the record of the request that ctx belongs to what a cache
// did with it: a word such as "hit", "miss" or "revalidate", for
// [Record].Cache. It is for caches, or for the hook in which one tells of its
// results, and may be called from any goroutine; after the request it does
// nothing.
func NoteCache(ctx context.Context, status string) {
	if o := observationOf(ctx); o != nil {
		o.mu.Lock()
		if !o.ended {
			o.record.Cache = status
		}
		o.mu.Unlock()
	}
	if p := passageOf(ctx); p != nil {
		p.mu.Lock()
		p.cache = status
		p.mu.Unlock()
	}
}

// Detached returns a context for work that goes on behind the request that ctx
// belongs to, or for several requests at once, such as a fetch of a cache: it
// does not end with ctx, and what is done under it is told to no record. Hooks
// of an httptrace.ClientTrace are kept; those of a [Handler] do nothing once it
// has its answer.
func Detached(ctx context.Context) context.Context {
	free := context.WithoutCancel(ctx)
	if passageOf(ctx) == nil && observationOf(ctx) == nil {
		return free
	}
	return detached{free}
}

type detached struct{ context.Context }

func (d detached) Value(key any) any {
	switch key {
	case observationKey{}, recordKey{}, passageKey{}:
		return nil
	}
	return d.Context.Value(key)
}
