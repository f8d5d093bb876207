package mirror

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy"
)

// Defaults of the fields of a [Transport].
const (
	DefaultMaxBody     = 64 << 10
	DefaultMaxInFlight = 64
	DefaultTimeout     = 30 * time.Second
)

// Transport sends requests to Next, and copies of some of them to To. The zero
// value sends all to their URLs, and no copies. The fields must not be changed
// after first use; the methods may be called from any goroutine.
type Transport struct {
	// Next answers the client. If nil, a [proxy.Transport] of its own.
	Next http.RoundTripper

	// To gets the copies. If nil, there are none. It may be slow, fail or panic:
	// nobody notices but Stats and Logger.
	To http.RoundTripper

	// Share of the requests is copied, from 0 to 1, by chance. Zero means all;
	// negative, or not a number, means none.
	Share float64

	// Choose, if not nil, says which requests may be copied; Share is of those.
	// It must not change the request nor read its body. If nil, all: methods that
	// change something, too, and credentials. It is called by the goroutine of
	// the request.
	Choose func(*http.Request) bool

	// Rewrite, if not nil, may change the copy, which is nobody else's: its URL,
	// Host and Header, for example to take credentials out of it. It is called by
	// the goroutine of the copy. If nil, the copy has the URL of the request,
	// which a To with a Backend of its own does not go by.
	Rewrite func(copy *http.Request)

	// MaxBody is how many bytes of a body are kept for the copy; requests with
	// longer ones are not copied. Zero means 65536; negative means that no request
	// with a body is copied.
	MaxBody int64

	// MaxInFlight is how many copies are held at a time: those whose body is
	// being collected, and those that are being sent. Further ones are left out.
	// Zero means 64, negative no limit.
	MaxInFlight int

	// Timeout is how long the sending of a copy may take, with its answer. Zero
	// means 30 s, negative no limit.
	Timeout time.Duration

	// Logger is told when copies begin to fail or to be left out, at WARN, and
	// when they are answered again, at INFO. If nil, nothing is logged.
	Logger *slog.Logger

	own proxy.Transport // used when Next is nil

	chosen, sent, failed, busy, tooLarge atomic.Int64

	mu      sync.Mutex // guards the rest
	held    int        // copies that are collected or sent
	flying  int        // copies that are sent
	cut     context.Context
	cutAll  context.CancelFunc
	idle    chan struct{} // closed when none is sent, after Shutdown; nil before
	trouble trouble
}

// RoundTrip sends r to Next, and maybe a copy of it to To. The answer, the error
// and all that is told of the request are Next's.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.Next
	if next == nil {
		next = &t.own
	}
	if !t.chooses(r) {
		return next.RoundTrip(r)
	}
	t.chosen.Add(1)
	d := newDuplicate(t, r)
	if r.Body == nil || r.Body == http.NoBody {
		if t.take(r.Context()) {
			d.send(nil)
		}
		return next.RoundTrip(r)
	}
	if limit := t.maxBody(); limit < 0 || r.ContentLength > limit {
		t.tooLarge.Add(1)
		return next.RoundTrip(r)
	}
	out := *r
	out.Body = d.collect(r.Body)
	if r.GetBody != nil {
		out.GetBody = func() (io.ReadCloser, error) {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			return d.collect(body), nil
		}
	}
	returned := false
	defer func() {
		if !returned { // Next has panicked, and may close nothing any more
			d.abandon()
		}
	}()
	resp, err := next.RoundTrip(&out)
	returned = true
	if err == nil && resp.Request == &out {
		resp.Request = r
	}
	return resp, err
}

// chooses reports whether r is to be copied.
func (t *Transport) chooses(r *http.Request) bool {
	if t.To == nil || r.URL == nil || r.Method == http.MethodConnect {
		return false
	}
	for name := range r.Header {
		if strings.EqualFold(name, "Upgrade") || name == ":protocol" {
			return false
		}
	}
	if t.Choose != nil && !t.Choose(r) {
		return false
	}
	return t.Share == 0 || rand.Float64() < t.Share
}

func (t *Transport) maxBody() int64 { return cmp.Or(t.MaxBody, DefaultMaxBody) }

// take makes room for a copy, if there is some.
func (t *Transport) take(ctx context.Context) bool {
	limit := cmp.Or(t.MaxInFlight, DefaultMaxInFlight)
	t.mu.Lock()
	stopped := t.idle != nil
	ok := !stopped && (limit < 0 || t.held < limit)
	if ok {
		t.held++
	}
	t.mu.Unlock()
	if !ok {
		t.busy.Add(1)
		if !stopped {
			t.report(ctx, errBusy)
		}
	}
	return ok
}

// give is the end of what take began.
func (t *Transport) give() {
	t.mu.Lock()
	t.held--
	t.mu.Unlock()
}

// launch counts a copy, for which there is room, as one that is sent. It returns
// the context that Shutdown ends, or nil after Shutdown.
func (t *Transport) launch() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle != nil {
		t.held--
		return nil
	}
	if t.cut == nil {
		t.cut, t.cutAll = context.WithCancel(context.Background())
	}
	t.flying++
	return t.cut
}

// land is the end of what launch began.
func (t *Transport) land() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held--
	t.flying--
	if t.flying == 0 && t.idle != nil {
		close(t.idle)
	}
}

// Shutdown makes no more copies, and waits for those that are being sent. When ctx
// ends before they do, they are cut, and the error is that of ctx. Requests go on
// to be sent to Next.
func (t *Transport) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	if t.idle == nil {
		t.idle = make(chan struct{})
		if t.flying == 0 {
			close(t.idle)
		}
	}
	idle, cutAll := t.idle, t.cutAll
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	default:
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		cutAll()
		return ctx.Err()
	}
}

// CloseIdleConnections closes those of Next and of To.
func (t *Transport) CloseIdleConnections() {
	t.own.CloseIdleConnections()
	for _, rt := range []http.RoundTripper{t.Next, t.To} {
		if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// Stats are the figures of a [Transport]. What was chosen and is in none of the
// others had a body that was not read to its end.
type Stats struct {
	Chosen   int64 `json:"chosen"`    // requests that were to be copied
	Sent     int64 `json:"sent"`      // copies that were sent, or are being sent
	Failed   int64 `json:"failed"`    // of those, without a whole answer
	Busy     int64 `json:"busy"`      // left out: MaxInFlight, or after Shutdown
	TooLarge int64 `json:"too_large"` // left out: MaxBody
	InFlight int   `json:"in_flight"` // that are being sent
}

// Stats returns the figures.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	flying := t.flying
	t.mu.Unlock()
	return Stats{
		Chosen: t.chosen.Load(), Sent: t.sent.Load(), Failed: t.failed.Load(),
		Busy: t.busy.Load(), TooLarge: t.tooLarge.Load(), InFlight: flying,
	}
}

var errBusy = errors.New("as many copies as may be are held")

// calm is how many copies in a row must be answered for trouble to be over.
const calm = 10

// trouble is whether copies fail or are left out. Nothing but its begin and its
// end is logged.
type trouble struct {
	on   bool
	well int   // answers in a row since the last failure
	lost int64 // copies since it began
}

// report notes what became of a copy.
func (t *Transport) report(ctx context.Context, err error) {
	t.mu.Lock()
	begins := err != nil && !t.trouble.on
	ends := false
	switch {
	case begins:
		t.trouble = trouble{on: true, lost: 1}
	case err != nil:
		t.trouble.lost++
		t.trouble.well = 0
	case t.trouble.on:
		t.trouble.well++
		ends = t.trouble.well == calm
		t.trouble.on = !ends
	}
	lost := t.trouble.lost
	t.mu.Unlock()
	switch {
	case t.Logger == nil:
	case begins:
		t.Logger.WarnContext(ctx, "mirror: copies fail or are left out", "error", err)
	case ends:
		t.Logger.InfoContext(ctx, "mirror: copies are answered again", "lost", lost)
	}
}
