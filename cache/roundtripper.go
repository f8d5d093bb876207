package cache

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy"
)

// transport is a Cache in front of an http.RoundTripper.
type transport struct {
	c    *Cache
	next http.RoundTripper
}

// CloseIdleConnections closes those of the RoundTripper behind the cache.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip answers from the store or else lets next answer.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	c := t.c
	if r.Method == "" {
		clone := *r
		clone.Method = http.MethodGet
		r = &clone
	}
	r = rfc9111.NamedCanonically(r)
	if _, err := proxy.OutgoingHost(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	if passesBy(r) {
		c.counters.bypassed.Add(1)
		return t.next.RoundTrip(r)
	}
	bypass := c.Bypass != nil && c.Bypass(r)
	v := &visit{c: c, leaves: true}
	v.departs(r)
	r = v.r
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case reads && r.Body != nil && r.Body != http.NoBody, bypass && rfc9111.Safe(r.Method):
		return t.pass(v, rfc9111.FwdBypass, bypass)
	case !reads:
		return t.pass(v, rfc9111.FwdMethod, bypass)
	}
	v.req = rfc9111.ParseRequestDirectives(r.Header)
	switch {
	case r.Method == http.MethodHead:
		return t.head(v)
	case rfc9111.WantsOrigin(r.Header):
		return t.pass(v, rfc9111.FwdRequest, bypass)
	}
	return t.get(v)
}

// pass lets a request pass. If it changes things, what is stored goes.
func (t *transport) pass(v *visit, why rfc9111.Forwarded, bypass bool) (*http.Response, error) {
	v.result.Outcome, v.result.forwarded = OutcomeBypass, why
	switch {
	case why == rfc9111.FwdRequest:
		v.result.Outcome, v.result.Reason = OutcomeMiss, "a condition that only the origin can judge"
	case why == rfc9111.FwdMethod:
		v.result.Reason = "the method is not one that is cached"
	case bypass:
		v.result.Reason = "the cache is passed by"
	default:
		v.result.Reason = reasonBody
	}
	t.c.counters.bypassed.Add(1)
	resp, err := t.next.RoundTrip(v.r)
	if err != nil {
		return nil, err
	}
	v.invalidateAfter(resp.StatusCode, resp.Header, (*visit).departs)
	v.mark(resp.Header, nil)
	return resp, nil
}

func (t *transport) head(v *visit) (*http.Response, error) {
	c := t.c
	l := lookup{fwd: rfc9111.FwdRequest}
	if !rfc9111.WantsOrigin(v.r.Header) {
		if l = c.look(v.r.Context(), v, time.Now()); l.Verdict.Usable() {
			return t.stored(v, &l)
		}
		if v.req.OnlyIfCached {
			return v.onlyIfCachedResponse(), nil
		}
	}
	v.result.Outcome, v.result.forwarded, v.result.Reason = OutcomeMiss, l.fwd, l.why()
	c.counters.misses.Add(1)
	sent := time.Now()
	f, out := v.standIn()
	defer c.flights.land(f)
	resp, err := t.next.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if resp.Request == out {
		resp.Request = v.r
	}
	v.result.forwardedStatus = resp.StatusCode
	v.learn(f, resp.StatusCode, resp.Header, sent)
	v.mark(resp.Header, nil)
	return resp, nil
}

// get answers a GET, in the steps of handler.miss.
func (t *transport) get(v *visit) (*http.Response, error) {
	c, ctx := v.c, v.r.Context()
	alone, plain, waited, lost := false, false, false, false
	for tries := 0; ; tries++ {
		landed := c.flights.landings()
		l := lookup{fwd: rfc9111.FwdMiss}
		if !lost {
			l = c.look(ctx, v, time.Now())
		}
		if l.Verdict.Usable() {
			v.result.Collapsed = waited && l.Verdict == rfc9111.UseFresh
			if resp, err := t.stored(v, &l); err == nil {
				return resp, nil
			}
			lost = true // and gone now, if the store can take it out
			continue
		}
		if v.req.OnlyIfCached {
			return v.onlyIfCachedResponse(), nil
		}
		f, leads := v.board(&l, alone || tries >= maxWaits, plain)
		if f == nil {
			if resp, err := v.staleResponse(&l.found, "stale, while another request fetches it"); err == nil {
				return resp, nil
			}
			lost = true
			continue
		}
		if leads && f.shared && !lost && c.flights.landings() != landed {
			if again := c.look(ctx, v, time.Now()); again.Verdict.Usable() {
				f.giveUp()
				continue
			}
		}
		if leads {
			resp, err, again := t.lead(v, f, &l)
			if !again {
				return resp, err
			}
			plain, alone = true, true
			continue
		}
		waited = true
		resp, do, err := t.await(v, f, &l)
		switch do {
		case errandDone:
			return resp, err
		case errandAlone:
			alone = true
		}
	}
}

// stored answers with what was found usable.
func (t *transport) stored(v *visit, l *lookup) (*http.Response, error) {
	body, err := v.open(&l.found)
	if err != nil {
		return nil, err
	}
	if l.Verdict == rfc9111.UseWhileRevalidating {
		t.refresh(v, l)
	}
	v.countHit(&l.found)
	return v.foundResponse(&l.found, body), nil
}

func (t *transport) refresh(v *visit, l *lookup) {
	if f := v.background(l); f != nil {
		v.c.fly(f, func() { t.fetch(f) })
	}
}

func (v *visit) staleResponse(f *found, reason string) (*http.Response, error) {
	body, err := v.open(f)
	if err != nil {
		return nil, err
	}
	v.countHit(f)
	v.result.Reason = reason
	return v.foundResponse(f, body), nil
}

// lead sends a flight's request off and returns what comes of it.
func (t *transport) lead(v *visit, f *flight, l *lookup) (resp *http.Response, err error, again bool) {
	ctx := v.r.Context()
	f.hasClient = true
	v.result.forwarded, v.result.Reason = l.fwd, l.why()
	v.c.counters.fetches.Add(1)
	f.sent = time.Now()
	stop := context.AfterFunc(v.c.closing, f.cancelIfIdle)
	v.c.tasks.Go(func() {
		defer f.cancelUnlessLent()
		defer stop()
		f.run(func() { t.fetch(f) })
		if f.panicked != nil {
			v.c.logPanic(f)
		}
	})
	select {
	case <-f.decided:
	case <-ctx.Done():
		if f.dismiss() {
			f.leaves()
			return nil, context.Cause(ctx), false
		}
	}
	resp, err, again = v.answerResponse(f)
	if f.outcome != outcomeStored || resp == nil {
		f.leaves()
	}
	return resp, err, again
}

// answerResponse is the response to the leader of a flight.
func (v *visit) answerResponse(f *flight) (resp *http.Response, err error, again bool) {
	c, res := v.c, &v.result
	res.forwardedStatus = f.status
	switch f.outcome {
	case outcomeStored:
		v.countStored(f)
		return v.streamResponse(f, f.leadsMeta(), f.leads), nil, false
	case outcomeFreshened:
		body, err := v.openFresh(f)
		if err != nil {
			return nil, nil, true
		}
		c.counters.revalidated.Add(1)
		res.Outcome, res.Age, res.TTL = OutcomeRevalidated, f.fresh.Age, f.fresh.Ttl
		res.Reason = "still the same, says the origin"
		return v.foundResponse(&f.fresh, body), nil, false
	case outcomeStale:
		resp, err := v.staleResponse(f.stale, "stale, because the origin failed")
		return resp, nil, err != nil
	case outcomeDirect:
		c.counters.misses.Add(1)
		res.Outcome, res.Reason = OutcomeMiss, string(f.why)
		resp := f.borrow()
		v.mark(resp.Header, nil)
		resp.Request = v.r
		return resp, nil, false
	case outcomeAgain:
		return nil, nil, true
	}
	if f.err == nil {
		f.err = errAborted
	}
	return nil, f.err, false
}

// await waits for another's flight.
func (t *transport) await(v *visit, f *flight, l *lookup) (*http.Response, errand, error) {
	switch do := v.wait(f, l); do {
	case waitCancelled:
		f.leaves()
		return nil, errandDone, context.Cause(v.r.Context())
	case waitStale:
		f.leaves()
		resp, err := v.staleResponse(&l.found, "stale, because the origin failed")
		if err != nil {
			return nil, errandAgain, nil
		}
		return resp, errandDone, nil
	case waitAgain:
		f.leaves()
		return nil, errandAgain, nil
	case waitFollow:
		if r := f.body.reader(v.r.Context()); r != nil {
			v.countFollow(f, time.Now())
			return v.streamResponse(f, f.meta, r), errandDone, nil
		}
		if f.body.complete() {
			f.leaves()
			return nil, errandAgain, nil
		}
	}
	f.leaves()
	return nil, errandAlone, nil
}

// fetch lets next answer a flight's request.
func (t *transport) fetch(f *flight) {
	resp, err := t.next.RoundTrip(f.out)
	if err != nil {
		f.err = err
		if f.mayAnswer(time.Now()) {
			f.decide(outcomeStale)
			return
		}
		f.decide(outcomeFailed)
		return
	}
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	f.response = resp
	length := resp.ContentLength
	if resp.Uncompressed {
		length = -1
	}
	if length >= 0 && resp.StatusCode == http.StatusOK {
		resp.Header["Content-Length"] = lengthField(length)
	}
	switch f.head(resp.StatusCode, resp.Header, length) {
	case modeStore:
		f.take(resp, length)
	case modeDirect:
		f.lend(resp)
	default:
		_ = resp.Body.Close()
	}
}

// take reads the body of a response into the store.
func (f *flight) take(resp *http.Response, length int64) {
	defer resp.Body.Close()
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	n, err := io.CopyBuffer(struct{ io.Writer }{f.body}, struct{ io.Reader }{resp.Body}, lent[:])
	if err == nil && length >= 0 && n != length && bodyAllowed(resp.StatusCode) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		f.fail(err)
		return
	}
	f.finish(resp.Trailer.Clone())
}

// lend leaves the response to the leader, or closes it if there is none any
// more.
func (f *flight) lend(resp *http.Response) {
	f.mu.Lock()
	f.lent = f.hasClient
	f.mu.Unlock()
	if !f.lent {
		_ = resp.Body.Close()
	}
}

// borrow returns the response itself, for the leader. Its request lives on
// until the body is closed, or the leader's context ends.
func (f *flight) borrow() *http.Response {
	resp := f.response
	stop := context.AfterFunc(f.leader, f.cancel)
	done := func() { stop(); f.cancel() }
	if rw, ok := resp.Body.(io.ReadWriteCloser); ok {
		resp.Body = &lentConn{rw, done}
	} else {
		resp.Body = &lentBody{resp.Body, done}
	}
	return resp
}

// cancelUnlessLent frees a flight's context, unless its response is still being
// read.
func (f *flight) cancelUnlessLent() {
	f.mu.Lock()
	lent := f.lent
	f.mu.Unlock()
	if !lent {
		f.cancel()
	}
}

// lentBody ends its request when it is closed.
type lentBody struct {
	io.ReadCloser
	done func()
}

func (b *lentBody) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}

// WriteTo keeps what the body can do by itself.
func (b *lentBody) WriteTo(w io.Writer) (int64, error) {
	if wt, ok := b.ReadCloser.(io.WriterTo); ok {
		return wt.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{b.ReadCloser})
}

// lentConn is the body of a 101.
type lentConn struct {
	io.ReadWriteCloser
	done func()
}

func (b *lentConn) Close() error {
	err := b.ReadWriteCloser.Close()
	b.done()
	return err
}

// foundResponse is a response with what is stored.
func (v *visit) foundResponse(f *found, body store.Body) *http.Response {
	h := make(http.Header, len(f.meta.Header)+3)
	p := v.plan(h, f.meta, f.facts)
	setAge(h, f.Age)
	v.mark(h, f.facts)
	resp := v.response(p, h)
	if body == nil || p.empty {
		if body != nil {
			_ = body.Close()
		}
		return resp
	}
	resp.Trailer = f.meta.Trailer.Clone()
	resp.Body = &planReader{p: p, body: body, size: f.entry.Size(), stop: body.Close}
	return resp
}

// streamResponse is a response whose body is coming in.
func (v *visit) streamResponse(f *flight, m *store.Meta, r *streamReader) *http.Response {
	h := make(http.Header, len(m.Header)+3)
	var p plan
	if m.Status == http.StatusPartialContent {
		for name, values := range m.Header {
			h[name] = values
		}
		p = plan{status: m.Status, whole: true}
	} else {
		p = v.plan(h, m, f.facts)
	}
	if v.result.Collapsed {
		setAge(h, v.result.Age)
	}
	resp := v.response(p, h)
	v.mark(h, f.facts)
	stop := func() error {
		_ = r.Close()
		f.leaves()
		return nil
	}
	if p.empty {
		_ = stop()
		return resp
	}
	body := &planReader{p: p, stream: r, stop: stop}
	if p.whole {
		resp.Trailer = make(http.Header)
		body.atEnd = func() {
			for name, values := range r.s.trailers() {
				resp.Trailer[name] = values
			}
		}
	}
	resp.Body = body
	return resp
}

// response is one without a body yet.
func (v *visit) response(p plan, h http.Header) *http.Response {
	resp := &http.Response{
		Status: strconv.Itoa(p.status) + " " + http.StatusText(p.status), StatusCode: p.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: http.NoBody, Request: v.r, ContentLength: declaredLength(h),
	}
	if ct, ok := h["Content-Type"]; ok && ct == nil {
		delete(h, "Content-Type")
	}
	if p.empty && v.r.Method != http.MethodHead {
		resp.ContentLength = 0
	}
	return resp
}

// onlyIfCachedResponse refuses a request that must not go to the origin.
func (v *visit) onlyIfCachedResponse() *http.Response {
	v.result.Outcome, v.result.Reason = OutcomeMiss, "only-if-cached, and nothing to answer with"
	v.c.counters.misses.Add(1)
	h := make(http.Header)
	resp := v.response(plan{status: http.StatusGatewayTimeout, empty: true}, h)
	v.mark(h, nil)
	return resp
}
