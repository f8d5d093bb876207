package cache

import (
	"net/http"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
)

// visit is a request on its way through the cache.
type visit struct {
	c      *Cache
	front  front
	r      *http.Request
	told   string // what the origin is told of the place, beside the key
	req    rfc9111.RequestDirectives
	result Result // with the key
	late   bool   // what it wants was being stored already when it came
	leaves bool   // it may be over before the flight that it has sent off
	cut    bool   // the answer is not whole: the client's connection has to end

	w http.ResponseWriter // of a handler; nil behind a RoundTripper
}

// front is what a request comes through: a handler or a RoundTripper. What is done
// with it is the same, but not where the origin is, nor where the answer goes.
type front interface {
	// place notes a request as the origin gets it, and its key.
	place(v *visit, r *http.Request)

	// pass lets the origin answer by itself, and shows the head of that.
	pass(v *visit, r *http.Request, head func(status int, h http.Header))

	// fetch lets the origin answer a flight.
	fetch(v *visit, f *flight)

	// own gives the answer of a flight that has ended to the one that led it,
	// if it is for nobody else, or tells that there is none.
	own(v *visit, f *flight)

	// header is that of the answer, with room for n fields.
	header(v *visit, n int) http.Header

	// respond gives the answer. It ends the source.
	respond(v *visit, h http.Header, p plan, from source)

	// refuse answers that the origin may not be asked.
	refuse(v *visit)
}

// source is what the body of an answer is read from: a stored response, or a
// flight that has it coming in.
type source struct {
	body    store.Body // nil for HEAD
	size    int64
	trailer http.Header

	flight *flight
	stream *streamReader // of the flight
}

func (s *source) close() error {
	if s.stream != nil {
		_ = s.stream.Close()
		s.flight.leaves()
		return nil
	}
	if s.body != nil {
		return s.body.Close()
	}
	return nil
}

// closeUnless closes the source of an answer that was not given, since a hook has
// panicked.
func (s *source) closeUnless(given *bool) {
	if !*given {
		_ = s.close()
	}
}

// trailers are the trailer fields, once the body has been read.
func (s *source) trailers() http.Header {
	if s.stream != nil {
		return s.stream.s.trailers()
	}
	return s.trailer
}

// serve answers a request, which may have a body.
func (v *visit) serve(r *http.Request, body bool) {
	c := v.c
	bypass := c.Bypass != nil && c.Bypass(r)
	v.front.place(v, r)
	r = v.r
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case bypass && rfc9111.Safe(r.Method):
		v.pass(OutcomeBypass, rfc9111.FwdBypass, rfc9111.RefusedBypass)
		return
	case !reads:
		v.pass(OutcomeBypass, rfc9111.FwdMethod, rfc9111.RefusedUnsafe)
		return
	case body: // no key tells what it asks for
		v.pass(OutcomeBypass, rfc9111.FwdBypass, rfc9111.RefusedBody)
		return
	case v.isBack():
		v.front.pass(v, r, func(int, http.Header) {})
		return
	}
	v.req = rfc9111.ParseRequestDirectives(r.Header)
	switch {
	case r.Method == http.MethodHead:
		v.head()
	case rfc9111.WantsOrigin(r.Header):
		v.pass(OutcomeMiss, rfc9111.FwdRequest, rfc9111.RefusedCondition)
	default:
		v.get()
	}
}

// pass lets a request pass that the cache cannot answer, nor store the answer to.
// If it changes things, what is stored for its URI goes.
func (v *visit) pass(o Outcome, why rfc9111.Forwarded, refusal rfc9111.Refusal) {
	v.result.Outcome, v.result.forwarded, v.result.Reason, v.result.NotStored = o, why, string(refusal), refusal.Word(0)
	if o == OutcomeMiss {
		v.c.counters.misses.Add(1)
	} else {
		v.c.counters.bypassed.Add(1)
	}
	v.front.pass(v, v.r, func(status int, h http.Header) {
		v.result.forwardedStatus = uint16(status)
		v.invalidateAfter(status, h)
		v.mark(h, nil)
	})
}

// errand is how a visit gets on with a flight.
type errand uint8

const (
	errandDone  errand = iota // the client has its answer, or has left
	errandAgain               // look again: something was stored
	errandAlone               // the flight is of no use to it
)

// maxWaits is how often a request waits for others before it goes by itself.
const maxWaits = 4

// get answers a GET: with what is stored, with what another request fetches, or
// by a flight of its own.
func (v *visit) get() {
	c, ctx := v.c, v.r.Context()
	alone, plain, waited := false, false, false
	lost := 0 // how often what was found could not be opened
	for tries := 0; ; tries++ {
		landed := c.flights.landed.Load()
		l := lookup{fwd: rfc9111.FwdMiss}
		if lost < 2 {
			l = c.look(ctx, v, time.Now())
		}
		if l.Verdict.Usable() {
			v.result.Collapsed = waited && l.Verdict == rfc9111.UseFresh
			if v.serveStored(&l) {
				return
			}
			lost++ // and gone now, if the store can take it out
			continue
		}
		if v.req.OnlyIfCached {
			v.refuse()
			return
		}
		alone = alone || tries >= maxWaits
		f, leads := v.board(&l, alone, plain)
		if f == nil { // locked, and what is stored will do
			if v.serveStale(&l.found, "stale, while another request fetches it") {
				return
			}
			lost = 2
			continue
		}
		if leads && f.shared && lost < 2 && c.flights.landed.Load() != landed {
			// Somebody may have stored it since we looked.
			if again := c.look(ctx, v, time.Now()); again.Verdict.Usable() {
				f.giveUp()
				continue
			}
		}
		if leads {
			if v.lead(f, &l) == errandDone {
				return
			}
			plain, alone = true, true
			continue
		}
		waited = true
		switch v.await(f, &l) {
		case errandDone:
			return
		case errandAlone:
			alone = true
		}
	}
}

// serveStored answers with what was found usable, unless that is lost, and has it
// validated in the background where that is the condition.
func (v *visit) serveStored(l *lookup) bool {
	body, err := v.open(&l.found)
	if err != nil {
		return false
	}
	if l.Verdict == rfc9111.UseWhileRevalidating {
		v.refresh(l)
	}
	v.countHit(&l.found)
	v.sendFound(&l.found, body)
	return true
}

// serveStale answers with something stale in place of what cannot be had.
func (v *visit) serveStale(f *found, reason string) bool {
	body, err := v.open(f)
	if err != nil {
		return false
	}
	v.countHit(f)
	v.result.Reason = reason
	v.sendFound(f, body)
	return true
}

// refuse answers a request that must not go to the origin: RFC 9111 section
// 5.2.1.7.
func (v *visit) refuse() {
	v.result.Outcome, v.result.Reason = OutcomeMiss, "only-if-cached, and nothing to answer with"
	v.c.counters.misses.Add(1)
	v.front.refuse(v)
}

// open returns the body of a stored response; nil for HEAD.
func (v *visit) open(f *found) (store.Body, error) {
	if v.r.Method == http.MethodHead {
		return nil, nil
	}
	body, err := f.entry.Open()
	if err != nil {
		v.c.storeFailed(v.r.Context(), "open", err)
		_ = v.c.store.Remove(v.r.Context(), f.entry)
		v.c.counters.lost.Add(1)
		return nil, err
	}
	v.c.storeWorked(v.r.Context(), "open")
	return body, nil
}

// countHit notes that a stored response answers without the origin.
func (v *visit) countHit(f *found) {
	res := &v.result
	res.Outcome, res.Age, res.TTL = OutcomeHit, f.Age, f.TTL
	res.Reason = "fresh in the cache"
	if res.Collapsed {
		v.countCollapsed()
		return
	}
	v.c.counters.hits.Add(1)
	switch {
	case f.Verdict == rfc9111.UseWhileRevalidating:
		res.Reason = "stale, and being validated"
	case f.Verdict == rfc9111.UseStale:
		res.Reason = "stale, as the request allows"
	}
	if f.TTL <= 0 {
		res.Stale = true
		v.c.counters.stale.Add(1)
	}
}

// sendFound sends a stored response, or the part of it that was asked for.
func (v *visit) sendFound(f *found, body store.Body) {
	from := source{body: body, size: f.entry.Size(), trailer: f.meta.Trailer}
	given := false
	defer from.closeUnless(&given)
	h := v.front.header(v, len(f.meta.Header)+3)
	p := v.plan(h, f.meta, f.facts)
	setAge(h, f.Age)
	v.mark(h, f.facts)
	given = true
	v.front.respond(v, h, p, from)
}

// sendStream sends a body that is coming in, to one who leaves the flight then.
func (v *visit) sendStream(f *flight, m *store.Meta, r *streamReader) {
	from := source{flight: f, stream: r}
	given := false
	defer from.closeUnless(&given)
	h := v.front.header(v, len(m.Header)+3)
	var p plan
	if m.Status == http.StatusPartialContent { // as the origin has cut it
		for name, values := range m.Header {
			setField(h, name, values)
		}
		p = plan{status: m.Status, whole: true}
	} else {
		p = v.plan(h, m, f.facts)
	}
	if v.result.Collapsed {
		setAge(h, v.result.Age)
	}
	v.mark(h, f.facts)
	given = true
	v.front.respond(v, h, p, from)
}
