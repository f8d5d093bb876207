package balancer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

var (
	// errRemoved is returned when the member was taken out since it was chosen.
	errRemoved  = errors.New("member was removed")
	errPanicked = errors.New("transport of the member panicked")
)

// roundTrip is one attempt: a request on its way to a member, and the answer. It
// is the context of the member's request and the body of its answer as well,
// so that neither costs an allocation.
type roundTrip struct {
	context.Context
	b     *Balancer
	view  *view
	m     *Member
	trial bool
	r     *http.Request // the client's
	sent  *sentBody
	facts Facts
	url   url.URL

	start    time.Time
	latency  time.Duration
	status   int
	gated    bool
	body     io.ReadCloser // of the answer
	received atomic.Int64
	bodyErr  error
	ended    atomic.Bool
}

func newRoundTrip(b *Balancer, v *view, d decision, s session, r *http.Request, body *sentBody, before []FailedAttempt) *roundTrip {
	x := &roundTrip{Context: r.Context(), b: b, view: v, m: d.member, trial: d.trial, r: r, sent: body, start: time.Now()}
	route := x.m.Route()
	x.facts = Facts{
		Balancer: v.config.Name, Worker: x.m, Sticky: s.name, SessionRoute: s.route,
		Changed: route != "" && route != s.route, Why: d.why, Skipped: d.skipped, Attempts: before,
	}
	if body != nil {
		body.m = x.m
	}
	return x
}

// Value answers for the facts, and the client's context for the rest.
func (x *roundTrip) Value(key any) any {
	if key == (factsKey{}) {
		return &x.facts
	}
	return x.Context.Value(key)
}

// Within lets [exchange.HooksOf] look past x, which has no hooks.
func (x *roundTrip) Within() context.Context { return x.Context }

// enter counts the request among those of the member, once there is room. It is
// an attempt from here on, which ends those before it.
func (x *roundTrip) enter(tr *trail) error {
	m := x.m
	m.busy.Add(1)
	if m.removed.Load() {
		x.leave()
		return errRemoved
	}
	m.elected.Add(1)
	tr.tell(x.r)
	x.note()
	if m.gate.max.Load() > 0 && !backend.IsCheck(x.Context) {
		wait := m.config.Load().WaitTimeout
		if wait == 0 {
			wait = DefaultWaitTimeout
		}
		if err := m.gate.enter(x.Context, wait); err != nil {
			if x.trial {
				m.endTrial(x.Context)
			}
			x.leave()
			return err
		}
		x.gated = true
		x.start = time.Now()
	}
	return nil
}

// leave is the end of what enter began.
func (x *roundTrip) leave() {
	m := x.m
	if x.gated {
		m.gate.leave()
		x.b.wakeHoping()
	}
	if m.busy.Add(-1) == 0 {
		m.becameIdle()
	}
}

// send sends the request. An error has been held against the member, if
// it says anything about it.
func (x *roundTrip) send() (*http.Response, error) {
	returned := false
	defer func() {
		if !returned { // the transport has panicked, or a hook
			if x.trial {
				x.m.endTrial(x.Context)
			}
			x.bodyErr = errPanicked
			x.end()
		}
	}()
	resp, err := x.m.rt.RoundTrip(x.request())
	returned = true
	x.latency = time.Since(x.start)
	if err != nil {
		x.failed(err)
		return nil, err
	}
	x.sent.settle()
	x.answered(resp)
	return resp, nil
}

// note tells those who want to know who was chosen.
func (x *roundTrip) note() {
	exchange.RecordFrom(x.Context).Choose(x.facts.Balancer, x.m.name, x.facts.Why, x.facts.Skipped)
	if h, ok := x.Context.Value(factsHolderKey{}).(factsHolder); ok {
		*h.Facts = x.facts
	}
}

// request is the client's request as the member gets it.
func (x *roundTrip) request() *http.Request {
	r := x.r
	out := r.WithContext(x)
	x.url = *r.URL
	u := &x.url
	base := &x.m.base
	if u.Host == out.Host && strings.EqualFold(u.Scheme, "balancer") {
		out.Host = "" // the balancer's name is no host
	}
	if out.Host == "" {
		out.Host = x.m.config.Load().Host
	}
	u.Scheme, u.Host, u.User, u.Opaque, u.OmitHost = base.Scheme, base.Host, nil, "", false
	if base.Path != "" {
		if u.RawPath != "" || x.m.rawBase != base.Path {
			u.RawPath = x.m.rawBase + slashed(r.URL.EscapedPath())
		}
		u.Path = base.Path + slashed(u.Path)
	}
	out.URL = u
	if out.Body = http.NoBody; x.sent != nil {
		out.Body = x.sent
		if r.GetBody != nil {
			out.GetBody = func() (io.ReadCloser, error) {
				x.sent.renew()
				body, err := r.GetBody()
				if err != nil {
					return nil, err
				}
				return &sentBody{r: body, m: x.m}, nil
			}
		}
	}
	return out
}

// slashed puts a slash before a path that has none.
func slashed(path string) string {
	if path == "" || path[0] != '/' {
		return "/" + path
	}
	return path
}

// failed draws the conclusions of a failure without an answer.
func (x *roundTrip) failed(err error) {
	m := x.m
	b := judge(x.Context, err, x.view.config.FailOnTimeout)
	if b != exchange.Blameless {
		m.errors.Add(1)
	}
	switch {
	case b == exchange.Down || b == exchange.Faulty && x.trial:
		m.markError(x.Context, err)
	case b == exchange.Faulty:
		x.strike()
	case x.trial:
		m.endTrial(x.Context)
	}
	x.bodyErr = err
	x.end()
}

// answered draws the conclusions of an answer and makes its body ours.
func (x *roundTrip) answered(resp *http.Response) {
	m, v := x.m, x.view
	x.status = resp.StatusCode
	m.latency.add(x.latency)
	switch {
	case v.failsOn(resp.StatusCode):
		m.errors.Add(1)
		m.markError(x.Context, &StatusError{Status: resp.StatusCode})
	case x.trial:
		m.markOK(x.Context)
	case resp.StatusCode >= http.StatusInternalServerError:
		x.strike()
	case m.failures.Load() != 0:
		m.failures.Store(0)
	}
	if m.outage().state.On() && resp.StatusCode < http.StatusInternalServerError {
		if s, _ := m.State(); s == StateUsable { // it was forgiven, and works
			m.backAgain(x.Context)
		}
	}
	if resp.Request == nil {
		resp.Request = x.request()
	}
	if c := v.config.Sticky.SetCookie; c != nil && x.facts.Changed {
		cookie := v.config.Sticky.cookie(m.Route(), exchange.FactsOf(x.r, nil).Scheme == "https").String()
		resp.Header.Add("Set-Cookie", cookie)
		exchange.NoteOwnField(x.Context, "Set-Cookie", cookie)
	}
	if v.config.OnAnswer != nil {
		v.config.OnAnswer(resp, &x.facts)
	}
	x.take(resp)
}

// take puts x in the place of the answer's body.
func (x *roundTrip) take(resp *http.Response) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// The connection itself: whoever relays it wants to take it apart.
		if c, ok := resp.Body.(interface {
			OnClose(func(sent, received int64))
		}); ok {
			c.OnClose(func(sent, received int64) {
				x.m.sent.Add(sent)
				x.m.received.Add(received)
				x.received.Add(received)
				x.end()
			})
			return
		}
		x.end()
		return
	}
	if resp.Body == nil || resp.Body == http.NoBody {
		x.end()
		return
	}
	x.body = resp.Body
	if wt, ok := x.body.(io.WriterTo); ok {
		resp.Body = &writingBody{roundTrip: x, wt: wt}
	} else {
		resp.Body = readBody{x}
	}
}

// end counts the request as done, once.
func (x *roundTrip) end() {
	if !x.ended.CompareAndSwap(false, true) {
		return
	}
	x.leave()
	if o := x.view.feedback; o != nil {
		out := Outcome{Status: x.status, Err: x.bodyErr, Latency: x.latency, Duration: time.Since(x.start), Received: x.received.Load()}
		if x.sent != nil {
			out.Sent = x.sent.sent.Load()
		}
		o.Done(x.m, out)
	}
}

// count notes bytes of the answer's body, and its end.
func (x *roundTrip) count(n int64, err error) {
	if n > 0 {
		x.received.Add(n)
		x.m.received.Add(n)
	}
	if err == nil {
		return
	}
	if err != io.EOF && !x.ended.Load() {
		x.bodyErr = err
		if judge(x.Context, err, false) == exchange.Faulty {
			x.m.errors.Add(1)
			x.strike()
		}
	}
	x.end()
}

// readBody is the body of an answer.
type readBody struct{ *roundTrip }

func (b readBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.count(int64(n), err)
	return n, err
}

func (b readBody) Close() error {
	err := b.body.Close()
	b.end()
	return err
}

// writingBody is the body of an answer that knows how to write itself.
type writingBody struct {
	*roundTrip
	wt io.WriterTo
	to passingReaderFrom
}

func (b *writingBody) Read(p []byte) (int, error) { return readBody{b.roundTrip}.Read(p) }
func (b *writingBody) Close() error               { return readBody{b.roundTrip}.Close() }

func (b *writingBody) WriteTo(w io.Writer) (int64, error) {
	b.to.passing = passing{w: w, x: b.roundTrip}
	var to io.Writer = &b.to.passing
	if rf, ok := w.(io.ReaderFrom); ok {
		b.to.rf, to = rf, &b.to
	}
	n, err := b.wt.WriteTo(to)
	ended := err
	var e *exchange.Error
	if err == nil {
		ended = io.EOF
	} else if b.to.failed && !errors.As(err, &e) {
		ended = exchange.ErrClientGone // w failed, not the member
	}
	b.count(0, ended)
	return n, err
}

// passing counts the bytes of an answer as they pass to w, and knows whether that
// has failed.
type passing struct {
	w      io.Writer
	x      *roundTrip
	failed bool
}

func (p *passing) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.x.count(int64(n), nil)
	p.failed = p.failed || err != nil
	return n, err
}

func (p *passing) FlushError() error {
	err := exchange.FlushWriter(p.w)
	p.failed = p.failed || err != nil
	return err
}

// passingReaderFrom is passing to a w that can splice.
type passingReaderFrom struct {
	passing
	rf io.ReaderFrom
}

// ReadFrom lets w splice a part of a body, which is a LimitedReader. What else
// there is to read passes through Write, which tells whose an error is.
func (p *passingReaderFrom) ReadFrom(r io.Reader) (int64, error) {
	if _, ok := r.(*io.LimitedReader); !ok {
		return io.Copy(&p.passing, struct{ io.Reader }{r})
	}
	n, err := p.rf.ReadFrom(r)
	p.x.count(n, nil)
	p.failed = p.failed || err != nil
	return n, err
}
