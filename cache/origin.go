package cache

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
)

// errAborted ends a body whose handler gave up.
var errAborted = errors.New("cache: answer broke off")

// mode is what becomes of the body of an answer.
type mode uint8

const (
	modeUndecided mode = iota
	modeStore          // to the store, from which all read
	modeDirect         // to the leader
	modeDiscard        // nowhere
)

// run carries a flight out, on a goroutine of its own.
func (f *flight) run(do func()) {
	defer close(f.ended)
	defer f.landed()
	defer func() {
		if f.panicked = recover(); f.panicked != nil {
			if f.panicked != http.ErrAbortHandler {
				f.stack = debug.Stack()
			}
			f.fail(errAborted)
		}
	}()
	do()
}

// landed takes back what the flight has taken.
func (f *flight) landed() {
	if !f.isDecided() {
		f.decide(outcomeFailed)
	}
	f.c.flights.land(f)
	if f.unlock != nil {
		f.unlock()
	}
	f.mu.Lock()
	if f.lingering != nil {
		f.lingering.Stop()
	}
	f.client, f.hasClient = nil, false
	f.mu.Unlock()
}

// giveUp ends a flight that was never sent off; who waits for it looks again.
func (f *flight) giveUp() {
	f.c.flights.land(f)
	close(f.decided)
	f.cancel()
	close(f.ended)
	if f.unlock != nil {
		f.unlock()
	}
}

// head decides what becomes of an answer when its head is in. h is the flight's
// own from now on; length is -1 if it is not known.
func (f *flight) head(status int, h http.Header, length int64) mode {
	c, now := f.c, time.Now()
	if !bodyAllowed(status) {
		length = 0
	}
	rfc9111.AddDate(h, now)
	f.status, f.header, f.received = status, h, now
	f.told = f.own.Without(rfc9111.CanonicalNames(h))
	x := &rfc9111.Transaction{
		Method: http.MethodGet, Target: c.targetOf(f.out), Asked: f.asked, User: c.isOfUser(f.asked), Request: f.req,
		Status: status, Header: f.told, Response: rfc9111.ParseResponseDirectives(f.told, c.policy.Targets),
		RequestTime: f.sent, ResponseTime: now,
	}
	x.TTL = c.ttlOf(f.out, x)
	switch {
	case status == http.StatusNotModified && f.validates:
		if !f.freshen(x) {
			f.decide(outcomeAgain)
			return modeDiscard
		}
		f.decide(outcomeFreshened)
		return modeDiscard
	case rfc9111.IsServerError(status) && f.mayAnswer(now):
		f.decide(outcomeStale)
		return modeDiscard
	}
	tags := rfc9111.SurrogateKeys(f.told)
	switch f.why = c.policy.Storable(x); {
	case f.why != "":
		f.retry = f.why == c.policy.RefusedByRequest(x)
		f.outdate(x)
		if f.shared && f.why != rfc9111.RefusedTooHeavy {
			c.alone.add(f.loner, now)
		}
	case f.carry(tags):
		f.why, f.retry = rfc9111.RefusedPurged, true
	case f.locked:
		f.why = rfc9111.RefusedLocked
	case c.MaxFileSize > 0 && length > c.MaxFileSize:
		f.why = rfc9111.RefusedLarge
	case length >= 0 && length < c.MinFileSize:
		f.why = rfc9111.RefusedSmall
	case f.beginStore(x, length, tags):
		if length == 0 {
			f.commit(0, nil)
		}
		f.decide(outcomeStored)
		return modeStore
	}
	c.counters.refused.Add(1)
	f.decide(outcomeDirect)
	return modeDirect
}

// mayAnswer reports whether what is stored may answer in place of an error.
func (f *flight) mayAnswer(now time.Time) bool {
	if f.stale == nil || !f.c.policy.MayAnswerError(f.stale.facts, &f.req, now) {
		return false
	}
	f.stale.Age, _ = f.stale.facts.Age(now)
	f.stale.TTL = f.stale.facts.Lifetime - f.stale.Age
	return true
}

// ttlOf is the lifetime that the cache's own rules give an answer; nil if they
// give none.
func (c *Cache) ttlOf(r *http.Request, x *rfc9111.Transaction) *time.Duration {
	if c.TTL != nil {
		if d, ok := c.TTL(r, x.Status, x.Header); ok {
			return &d
		}
	}
	if d, ok := c.StatusTTL[x.Status]; ok && rfc9111.ExplicitLifetime(&x.Response, x.Header, x.ResponseTime).Source == rfc9111.LifeNone {
		return &d
	}
	return nil
}

// beginStore begins to store an answer. It is false if the store cannot; then
// the answer passes by.
func (f *flight) beginStore(x *rfc9111.Transaction, length int64, tags []string) bool {
	c := f.c
	m := &store.Meta{
		Key: f.key, Status: x.Status, Header: c.policy.StoredHeader(x.Header, &x.Response),
		RequestTime: f.sent, ResponseTime: f.received, Length: length, TTL: x.TTL, Tags: tags,
	}
	vary, _ := rfc9111.Nominated(m.Header["Vary"])
	m.Vary = rfc9111.WithTold(rfc9111.VaryValues(vary, f.asked), f.place)
	if x.Status == http.StatusPartialContent {
		part, total, _ := rfc9111.ParseContentRange(x.Header)
		m.Parts, m.Length = []store.Part{part}, total
		if length >= 0 && length != part.End-part.Start {
			f.why = rfc9111.RefusedContradiction
			return false
		}
	}
	f.meta, f.facts = m, rfc9111.ReadFacts(m, &c.policy)
	writer, err := c.store.Create(f.out.Context(), m)
	if err == nil {
		f.body, err = newStream(writer, length, c.MaxFileSize)
		if err != nil {
			writer.Abort()
		}
	}
	if err != nil {
		c.storeFailed(f.out.Context(), "create", err)
		f.why = byStore(err)
		return false
	}
	f.body.readSize, f.body.readTime = c.ReadSize, c.ReadTime
	f.body.onWhole = func() { f.commit(length, nil) }
	f.body.onFail = func(err error) {
		f.notStored(byStore(err))
		c.storeFailed(context.WithoutCancel(f.out.Context()), "write", err)
	}
	f.mu.Lock()
	if f.hasClient {
		f.leads = f.body.reader(f.leader)
	}
	f.mu.Unlock()
	return true
}

// finish ends the body of an answer that came in whole.
func (f *flight) finish(trailer http.Header) {
	if len(trailer) > 0 {
		trailer = f.c.policy.StoredTrailer(rfc9111.CanonicalNames(trailer), f.header, &f.facts.Directives)
	}
	switch {
	case f.committed:
	case f.out.Context().Err() != nil:
		f.fail(errAbandoned) // it may have been ended for that
		return
	default:
		f.commit(f.body.n, trailer)
	}
	f.body.finish(nil, trailer)
}

// fail ends the body of an answer that broke off. It is not stored.
func (f *flight) fail(err error) {
	switch {
	case f.body == nil:
		return
	case f.committed: // all of the body had come
		err = nil
	default:
		f.notStored(rfc9111.RefusedCut)
		f.c.counters.broken.Add(1)
		f.body.writer.Abort()
	}
	f.body.finish(err, nil)
}

// commit makes a whole answer of n bytes visible to all. Of a body whose length
// was told, that is before its last byte goes to any client, so that whoever
// asks next finds it stored.
func (f *flight) commit(n int64, trailer http.Header) {
	c, s := f.c, f.body
	f.committed = true
	ctx := context.WithoutCancel(f.out.Context())
	if !s.whole() || n < c.MinFileSize {
		if s.whole() {
			f.notStored(rfc9111.RefusedSmall)
		}
		s.writer.Abort()
		return
	}
	if part := f.meta.Parts; len(part) > 0 && n != part[0].End-part[0].Start {
		f.notStored(rfc9111.RefusedContradiction)
		c.counters.broken.Add(1)
		s.writer.Abort() // its Content-Range told something else
		return
	}
	f.storing.Lock()
	defer f.storing.Unlock()
	if f.purged {
		f.notStored(rfc9111.RefusedPurged)
		s.writer.Abort()
		return
	}
	m := f.meta.Clone()
	m.Trailer = trailer
	var err error
	if f.status == http.StatusPartialContent {
		err = f.commitPart(ctx, m)
	} else {
		m.Length = n
		if len(trailer) == 0 && bodyAllowed(m.Status) {
			m.Header["Content-Length"] = lengthField(n)
		} else {
			delete(m.Header, "Content-Length")
		}
		err = s.writer.Commit(m, f.superseded(ctx)...)
	}
	if err == errNotWorth {
		f.notStored(rfc9111.RefusedSmallPart)
		s.writer.Abort()
		c.counters.refused.Add(1)
		return
	}
	if err != nil {
		f.notStored(byStore(err))
		s.writer.Abort()
		c.storeFailed(ctx, "commit", err)
		return
	}
	c.storeWorked(ctx, "commit")
	c.counters.stored.Add(1)
}

// superseded are the stored responses that a new one makes useless: those that
// would have answered its request, and the longest unused where there are too
// many.
func (f *flight) superseded(ctx context.Context) (old []store.Entry) {
	c := f.c
	entries, err := c.store.Get(ctx, f.key)
	if err != nil {
		return nil
	}
	limit := c.MaxVariants
	if limit <= 0 {
		limit = 64
	}
	var others []store.Entry
	for _, e := range entries {
		m := e.Meta()
		if f.serves(m) {
			old = append(old, e)
		} else {
			others = append(others, e)
		}
	}
	if len(others) >= limit {
		slices.SortStableFunc(others, func(a, b store.Entry) int { return cmp.Compare(b.Meta().LastUse(), a.Meta().LastUse()) })
		old = append(old, others[limit-1:]...)
	}
	return old
}

// outdate takes out the response that an answer of another kind shows to be
// out of date, although that cannot be stored.
func (f *flight) outdate(x *rfc9111.Transaction) {
	switch {
	case f.stale == nil, f.retry, x.Status >= 500, x.Status == http.StatusPartialContent,
		x.Status == http.StatusPreconditionFailed, x.Status == http.StatusRequestedRangeNotSatisfiable,
		x.User: // it may be another one for others
		return
	}
	ctx := f.out.Context()
	f.c.noted(ctx, "remove", f.c.store.Remove(ctx, f.stale.entry))
}

// lengthField is the value of Content-Length.
func lengthField(n int64) []string { return []string{strconv.FormatInt(n, 10)} }

// logPanic tells of a handler that panicked where no client's connection could
// end by it.
func (c *Cache) logPanic(f *flight) {
	if c.Logger != nil {
		c.Logger.LogAttrs(f.out.Context(), slog.LevelError, "cache: handler panicked in the background",
			slog.String("key", f.key), slog.Any("panic", f.panicked), slog.String("stack", string(f.stack)))
	}
}
