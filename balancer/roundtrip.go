package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// ErrRetryBudget is returned, beside the failure, when RetryBudget allows no
// further attempt.
var ErrRetryBudget = errors.New("the retry budget is spent")

// trail is what a request has tried in vain.
type trail struct {
	tried    map[*Member]bool
	attempts []FailedAttempt
	untold   []exchange.FailedAttempt // that the request's record has not been told of
}

// RoundTrip sends the request to a member. Its URL may be of any scheme and
// host, such as balancer://name: they are replaced by the member's, and the
// path is put behind the member's. As a Handler does, it hands on a request
// without a body with http.NoBody, never nil.
//
// The Request of the answer is the one that the member got. A failure is a
// [*exchange.Error] that wraps a [*Error].
func (b *Balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL == nil { // the rest is for the member's transport to check
		exchange.CloseBody(r)
		return nil, exchange.CheckRequest(r)
	}
	v := b.view.Load()
	if v.config.RetryBudget > 0 {
		b.budget.request(v.config.RetryBudget)
	}
	s := v.session(r)
	var tr trail
	var body *sentBody
	var held *http.Response // of a status that another member may do better
	for {
		var d decision
		var err error
		v, d, err = b.await(r.Context(), v, r, s, tr.tried)
		if err != nil {
			if held != nil {
				return held, nil
			}
			body.abandon(r)
			return nil, b.failure(v, r, &tr, d, err)
		}
		next, err := body.again(r)
		if err != nil {
			d.undo(r.Context())
			if held != nil {
				return held, nil
			}
			return nil, b.failure(v, r, &tr, decision{}, err)
		}
		body = next
		if held != nil {
			_ = held.Body.Close()
			held = nil
		}
		x := newRoundTrip(b, v, d, s, r, body, tr.attempts)
		if err = x.enter(&tr); err == errRemoved {
			d.undo(r.Context())
			v = b.view.Load()
			continue
		}
		var resp *http.Response
		if err == nil {
			resp, err = x.send()
		}
		if err == nil && !v.failsOn(resp.StatusCode) {
			return resp, nil
		}
		tr.add(x, resp, err)
		if stop := b.further(v, r, &tr, resp, err); stop != nil {
			if resp != nil {
				return resp, nil
			}
			body.abandon(r)
			if own := (*exchange.Error)(nil); clientGone(r.Context(), err) && errors.As(err, &own) {
				return nil, err
			}
			if stop == errEnough {
				stop = nil
			}
			return nil, b.failure(v, r, &tr, decision{}, stop)
		}
		held = resp
	}
}

// errEnough is why no further member is tried when the failure says it all.
var errEnough = errors.New("no further attempt")

// undo gives back what choosing took.
func (d *decision) undo(ctx context.Context) {
	if d.trial {
		d.member.endTrial(ctx)
	}
}

func (tr *trail) add(x *roundTrip, resp *http.Response, err error) {
	a := FailedAttempt{Member: x.m.name, Err: err, Duration: time.Since(x.start)}
	if resp != nil {
		a.Status = resp.StatusCode
	}
	if tr.tried == nil {
		tr.tried = make(map[*Member]bool)
	}
	tr.tried[x.m] = true
	tr.attempts = append(tr.attempts, a)
	rec := exchange.RecordFrom(x.Context)
	if rec == nil {
		return
	}
	f := exchange.FailedAttempt{Backend: cmp.Or(rec.Backend, x.m.base.Scheme+"://"+x.m.base.Host), Member: a.Member, Start: x.start.Sub(rec.Start), Duration: a.Duration, Status: a.Status, Err: err}
	var e *exchange.Error
	if errors.As(err, &e) && e.Backend != "" {
		f.Backend = e.Backend
	}
	tr.untold = append(tr.untold, f)
}

// tell tells the record of the attempts that failed, now that another follows.
func (tr *trail) tell(r *http.Request) {
	if len(tr.untold) == 0 {
		return
	}
	rec := exchange.RecordFrom(r.Context())
	for _, f := range tr.untold {
		rec.Fail(f)
	}
	tr.untold = tr.untold[:0]
}

// further returns nil if another member may be tried after a failure, having
// waited for the back-off; else why not.
func (b *Balancer) further(v *view, r *http.Request, tr *trail, resp *http.Response, err error) error {
	ctx := r.Context()
	if v.config.Logger != nil {
		a := tr.attempts[len(tr.attempts)-1]
		v.config.Logger.DebugContext(ctx, "balancer: attempt failed", "balancer", v.config.Name, "member", a.Member, "status", a.Status, "error", a.Err)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case resp != nil && !exchange.IsIdempotent(r):
		return errEnough
	case err != nil && (clientGone(ctx, err) || !v.mayResend(r, err)):
		return errEnough
	case len(tr.tried) >= v.attempts:
		return errEnough
	case v.config.RetryBudget > 0 && !b.budget.take():
		return ErrRetryBudget
	}
	if n := len(tr.tried); v.config.RetryBackoff > 0 && n > 1 {
		const most = math.MaxInt64 >> 10
		pause := min(v.config.RetryBackoff, most) << min(n-2, 10)
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// failure words why a request was not answered. The status is that of the last
// attempt, or 503 when no member could be chosen at all.
func (b *Balancer) failure(v *view, r *http.Request, tr *trail, d decision, cause error) error {
	if ctx := r.Context(); errors.Is(ctx.Err(), context.DeadlineExceeded) {
		cause = exchange.EndError(ctx, &exchange.Error{}, true, nil).Err
	}
	e := &exchange.Error{
		Op: exchange.OpAcquire, Backend: "balancer://" + v.config.Name, Status: http.StatusServiceUnavailable, Resend: true,
		Err: &Error{Balancer: v.config.Name, Attempts: tr.attempts, Skipped: d.skipped, Err: cause},
	}
	if ctx := r.Context(); ctx.Err() != nil {
		e.Op, e.Status, e.Resend = exchange.OpClient, exchange.StatusClientClosedRequest, false
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			e.Op, e.Status = exchange.OpAcquire, http.StatusGatewayTimeout
			return e
		}
		e.Err = fmt.Errorf("%w: %w", exchange.ErrClientGone, e.Err)
		return e
	}
	for _, a := range tr.attempts {
		e.Resend = e.Resend && (exchange.MayResend(a.Err) || isBusy(a.Err) || notSent(a.Err))
	}
	if n := len(tr.attempts); n > 0 {
		last := tr.attempts[n-1].Err
		var pe *exchange.Error
		switch {
		case last == nil: // a status; the answer is gone
			e.Status = http.StatusBadGateway
		case errors.As(last, &pe):
			e.Op, e.Status = pe.Op, exchange.StatusOf(last)
		case !isBusy(last) && !notSent(last):
			e.Op, e.Status = exchange.OpHeader, exchange.StatusOf(last)
		}
	}
	if e.Status == http.StatusServiceUnavailable {
		e.RetryAfter = v.comeAgain(tr, cause)
	}
	return e
}

// comeAgain returns when a request is worth sending again: when the first member
// is tried again, or as soon as the attempts say. What is busy is so for a moment.
func (v *view) comeAgain(tr *trail, cause error) time.Duration {
	soonest, known := v.nextTrial(), v.anyInError()
	busy := isBusy(cause)
	for _, a := range tr.attempts {
		var e *exchange.Error
		if errors.As(a.Err, &e) && e.RetryAfter > 0 {
			soonest, known = min(soonest, e.RetryAfter), true
		} else {
			busy = busy || isBusy(a.Err)
		}
	}
	if busy || !known {
		return time.Second
	}
	return max(soonest, time.Second)
}

// anyInError reports whether a member is in the error state.
func (v *view) anyInError() bool {
	for _, m := range v.members {
		if s, _ := m.State(); s == StateError {
			return true
		}
	}
	return false
}
