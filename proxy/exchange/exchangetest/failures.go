package exchangetest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// what is done where an exchange is made to fail.
type what int

const (
	closes    what = iota // the backend closes the connection
	stalls                // the backend does nothing more
	leaves                // the client is gone, and the backend does nothing more
	overtakes             // the request's own time is over before the backend's
)

// phase is a place in an exchange where it may fail.
type phase struct {
	name   string
	at     place // nil: while the connection is being made
	upload bool  // the request has a body
	size   int64 // of that
	body   bool  // the answer has begun: it is reading its body that fails
	ops    []exchange.Op
	resend may // whether the request may be sent again when the backend closes
}

// may is when a request may be sent again.
type may int

const (
	never may = iota
	ifIdempotent
	always
)

// big is more than any buffer holds.
const big = 8 << 20

var phases = []phase{
	{name: "connecting", ops: []exchange.Op{exchange.OpDial}, resend: always},
	{name: "connecting for an upload", upload: true, size: 100, ops: []exchange.Op{exchange.OpDial}, resend: always},
	{name: "in an upload", at: inUpload, upload: true, size: big, ops: []exchange.Op{exchange.OpWrite, exchange.OpHeader}, resend: ifIdempotent},
	{name: "before the head", at: beforeHead, ops: []exchange.Op{exchange.OpHeader}, resend: ifIdempotent},
	{name: "before the head, after an upload", at: beforeHead, upload: true, size: 100_000, ops: []exchange.Op{exchange.OpHeader}, resend: ifIdempotent},
	{name: "in the head", at: inHead, ops: []exchange.Op{exchange.OpHeader}},
	{name: "in the body", at: inBody, body: true, ops: []exchange.Op{exchange.OpBody}},
	{name: "in a body of unknown length", at: inUnknownBody, body: true, ops: []exchange.Op{exchange.OpBody}},
}

// failureChecks are each way to fail in each phase.
func failureChecks() []check {
	var list []check
	for _, p := range phases {
		for _, w := range []struct {
			name string
			what what
		}{
			{"backend closes", closes},
			{"backend stalls", stalls},
			{"client leaves", leaves},
			{"request's time is over", overtakes},
		} {
			list = append(list, check{name: w.name + " " + p.name, run: func(k *kit) { p.run(k, w.what) }})
		}
	}
	return append(list,
		check{name: "client has left before", run: gone},
		check{name: "nonsense", run: nonsense},
		check{name: "client breaks off its body", run: brokenUpload},
		check{name: "client breaks off its body over TCP", run: brokenUpload, lonely: true},
		check{name: "client stalls in its body, and leaves", run: stalledUpload},
		check{name: "nothing can be sent any more in an upload", run: silencedUpload},
		check{name: oneForEach, run: busy},
	)
}

var (
	errRefused    = errors.New("refused by the check")
	errBrokenBody = errors.New("broken by the check")
	errSilenced   = errors.New("silenced by the check")
	errOvertaken  = errors.New("overtaken by the check")
)

// run makes an exchange fail.
func (p phase) run(k *kit, w what) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w == overtakes {
		late, stop := context.WithTimeoutCause(ctx, limit/2, errOvertaken)
		defer stop()
		ctx = late
	}
	p.arrange(k, w)
	r := k.request(ctx, http.MethodGet)
	if p.upload {
		r = k.upload(ctx, p.size)
	}
	begun := time.Now()
	done := k.send(r)
	var resp *http.Response
	if p.body {
		var err error
		if resp, err = k.result(done); err != nil {
			k.fail("the head of the answer was sent, but: %w", err)
		}
	}
	read := k.reading(resp)
	if w == leaves {
		k.await()
		begun = time.Now()
		cancel()
	}
	var err error
	if p.body {
		err = read()
		_ = resp.Body.Close()
	} else {
		resp, err = k.result(done)
		if err == nil {
			_ = resp.Body.Close()
			k.fail("there is an answer: %s", resp.Status)
		}
	}
	took := time.Since(begun)
	k.check(r, err, p.expected(r, w))
	k.inTime(took, w, p.upload)
	if n := k.times(r); n > 1 {
		k.fail("the backend has seen the request %d times", n)
	}
	k.goesOn()
}

// arrange tells the backend what to do.
func (p phase) arrange(k *kit, w what) {
	if p.at != nil {
		if w == closes {
			k.set(closesAt(p.at))
		} else {
			k.set(stallsAt(p.at))
		}
		return
	}
	k.dials = func(ctx context.Context) error {
		if w == closes {
			return errRefused
		}
		k.at()
		<-ctx.Done()
		return ctx.Err()
	}
}

// reading reads the body of an answer, and returns what waits for that.
func (k *kit) reading(resp *http.Response) func() error {
	if resp == nil {
		return nil
	}
	type got struct {
		n   int64
		err error
	}
	done := make(chan got, 1)
	k.work.Go(func() {
		n, err := io.Copy(io.Discard, resp.Body)
		done <- got{n, err}
	})
	return func() error {
		select {
		case g := <-done:
			if g.err == nil {
				k.fail("a part of the body, %d bytes of %d, passes for the whole", g.n, BodySize)
			}
			if g.n > BodySize/2 {
				k.fail("the body has %d bytes, of which %d were sent", g.n, BodySize/2)
			}
			return g.err
		case <-time.After(patience):
			k.fail("reading the body does not end")
		}
		return nil
	}
}

// expected is what an error has to be like.
type expected struct {
	ops     []exchange.Op
	status  int
	resend  bool
	timeout bool
	cause   error // nil: any
}

// expected is what becomes of a request in this phase.
func (p phase) expected(r *http.Request, w what) expected {
	e := expected{ops: p.ops, status: http.StatusBadGateway}
	switch w {
	case closes:
		e.resend = p.resend == always || p.resend == ifIdempotent && exchange.IsIdempotent(r)
		if p.at == nil {
			e.status, e.cause = http.StatusServiceUnavailable, errRefused
		}
	case stalls:
		e.status, e.timeout = http.StatusGatewayTimeout, true
		if p.at == nil {
			e.status, e.resend = http.StatusServiceUnavailable, true
		}
	case overtakes:
		e.status, e.timeout, e.cause = http.StatusGatewayTimeout, true, errOvertaken
		e.resend = p.at == nil
	case leaves:
		e.ops, e.status, e.cause = []exchange.Op{exchange.OpClient}, exchange.StatusClientClosedRequest, exchange.ErrClientGone
	}
	return e
}

// check compares an error with what it has to be like.
func (k *kit) check(r *http.Request, err error, want expected) {
	var e *exchange.Error
	if !errors.As(err, &e) {
		k.fail("the error is no *exchange.Error: %T: %w", err, err)
	}
	if !slices.Contains(want.ops, e.Op) {
		k.fail("the phase is %q, not %q: %w", e.Op, want.ops, err)
	}
	if status := exchange.StatusOf(err); status != want.status {
		k.fail("the status is %d, not %d: %w", status, want.status, err)
	}
	switch may := exchange.MayResend(err); {
	case may && !want.resend:
		k.fail("the error says that the %s may be sent again, which may do its work twice: %w", r.Method, err)
	case !may && want.resend:
		k.fail("the error does not say that the %s may be sent again: %w", r.Method, err)
	}
	if e.Timeout() != want.timeout {
		k.fail("Timeout() of the error is %t: %w", e.Timeout(), err)
	}
	var ne net.Error
	if !errors.As(err, &ne) || ne.Timeout() != want.timeout || os.IsTimeout(err) != want.timeout {
		k.fail("the error is no net.Error that tells whether a time limit was met: %T: %w", err, err)
	}
	if want.timeout && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		k.fail("a time limit was met, but the error wraps neither os.ErrDeadlineExceeded nor context.DeadlineExceeded: %w", err)
	}
	if want.cause != nil && !errors.Is(err, want.cause) {
		k.fail("the error does not wrap %q: %w", want.cause, err)
	}
	if e.Backend != k.b.String() && (e.Backend == "" || e.Backend != k.p.names) {
		k.fail("the error names the backend %q, not %q: %w", e.Backend, k.b, err)
	}
}

// inTime checks how long a failure took.
func (k *kit) inTime(took time.Duration, w what, upload bool) {
	least, most := time.Duration(0), limit/10
	switch w {
	case stalls:
		least, most = limit, limit*3/2
	case overtakes:
		least, most = limit/2, limit*6/10
	}
	if upload && (w == leaves || w == overtakes) {
		most += k.p.Undo
	}
	if took < least || took > most {
		k.fail("that took %v, not between %v and %v", took, least, most)
	}
}

// goesOn checks that the next request is served, and by its own answer.
func (k *kit) goesOn() {
	k.set(answersWhole)
	k.once.Do(func() { close(k.on) })
	k.mu.Lock()
	k.dials = nil
	k.mu.Unlock()
	k.whole(k.request(context.Background(), http.MethodGet))
}

// gone: nothing is sent for a client that has left, be there a connection or not.
func gone(k *kit) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 2 {
		for _, r := range []*http.Request{k.request(ctx, http.MethodGet), k.upload(ctx, 100), k.upload(ctx, 100_000)} {
			_, err := k.roundTrip(r)
			if err == nil {
				k.fail("there is an answer to a client that has left")
			}
			k.check(r, err, expected{ops: []exchange.Op{exchange.OpClient}, status: exchange.StatusClientClosedRequest, cause: exchange.ErrClientGone})
			if n := k.times(r); n > 0 {
				k.fail("the backend has seen the request of a client that had left")
			}
		}
		k.goesOn()
	}
}

// nonsense: what cannot be read is refused.
func nonsense(k *kit) {
	k.set(talksNonsense)
	r := k.request(context.Background(), http.MethodGet)
	_, err := k.roundTrip(r)
	if err == nil {
		k.fail("nonsense passes for an answer")
	}
	k.check(r, err, expected{ops: []exchange.Op{exchange.OpHeader}, status: http.StatusBadGateway, cause: exchange.ErrMalformed})
	k.goesOn()
}

// brokenUpload: half a body does not pass for a whole one, and it is not the
// backend's fault.
func brokenUpload(k *kit) {
	for _, b := range []struct {
		size int64
		ends error // nil: it is short of its length
	}{{100, errBrokenBody}, {100_000, errBrokenBody}, {100, nil}, {100_000, nil}} {
		whole := make(chan bool, 1)
		k.set(func(_ *kit, c *farConn, r *http.Request) bool {
			n, err := io.Copy(io.Discard, r.Body)
			whole <- err == nil && (r.ContentLength < 0 || n == r.ContentLength)
			return false
		})
		r := k.uploadOf(context.Background(), b.size, &requestBody{left: b.size / 2, fails: b.ends})
		_, err := k.roundTrip(r)
		if err == nil {
			k.fail("there is an answer to half a request")
		}
		var e *exchange.Error
		if !errors.As(err, &e) || e.Op != exchange.OpClient || e.Resend || b.ends != nil && !errors.Is(err, b.ends) {
			k.fail("the error is not the client's: %w", err)
		}
		k.pause()
		select {
		case w := <-whole:
			if w {
				k.fail("half a body has reached the backend as a whole one")
			}
		default: // the backend was not asked
		}
		k.goesOn()
	}
}

// stalledUpload: a client that sends half a body is waited for, until it leaves.
func stalledUpload(k *kit) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := k.uploadOf(ctx, 100_000, &requestBody{left: 50_000, stalls: make(chan struct{})})
	done := k.send(r)
	select {
	case e := <-done:
		k.fail("a slow client is not waited for: %w", e.err)
	case <-time.After(2 * limit):
	}
	cancel()
	_, err := k.result(done)
	if err == nil {
		k.fail("there is an answer to half a request")
	}
	k.check(r, err, expected{ops: []exchange.Op{exchange.OpClient}, status: exchange.StatusClientClosedRequest, cause: exchange.ErrClientGone})
	k.goesOn()
}

// silencedUpload: an upload that cannot go on is not waited for.
func silencedUpload(k *kit) {
	k.set(func(k *kit, c *farConn, r *http.Request) bool {
		if inUpload(c, r) != nil {
			return false
		}
		k.silence()
		_, _ = io.Copy(io.Discard, r.Body)
		return k.stall(c)
	})
	r := k.upload(context.Background(), big)
	begun := time.Now()
	_, err := k.roundTrip(r)
	if err == nil {
		k.fail("there is an answer to a part of a request")
	}
	k.check(r, err, expected{
		ops: []exchange.Op{exchange.OpWrite, exchange.OpHeader}, status: http.StatusBadGateway,
		resend: exchange.IsIdempotent(r), cause: errSilenced,
	})
	if took := time.Since(begun); took > limit/5 {
		k.fail("that took %v", took)
	}
	k.goesOn()
}

// oneForEach is the check that those lack whose exchanges share connections.
const oneForEach = "no connection is free"

// busy: at MaxConns a request waits for AcquireTimeout, and fails.
func busy(k *kit) {
	k.b.MaxConns, k.b.AcquireTimeout = 1, limit/2
	k.set(stallsAt(inBody))
	first, err := k.roundTrip(k.request(context.Background(), http.MethodGet))
	if err != nil {
		k.fail("%w", err)
	}
	defer first.Body.Close()
	for _, r := range []*http.Request{k.request(context.Background(), http.MethodGet), k.upload(context.Background(), 100)} {
		_, err = k.roundTrip(r)
		if err == nil {
			k.fail("there are more connections than MaxConns")
		}
		k.check(r, err, expected{ops: []exchange.Op{exchange.OpAcquire}, status: http.StatusServiceUnavailable, resend: true, timeout: true, cause: backend.ErrBusy})
	}
	_ = first.Body.Close()
	k.goesOn()
}
