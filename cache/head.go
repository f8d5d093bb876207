package cache

import (
	"context"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// head answers a HEAD: as a GET would be answered, without the body, or by the
// origin.
func (v *visit) head() {
	c, r := v.c, v.r
	l := lookup{fwd: rfc9111.FwdRequest}
	if !rfc9111.WantsOrigin(r.Header) {
		if l = c.look(r.Context(), v, time.Now()); l.Verdict.Usable() && v.serveStored(&l) {
			return
		}
		if v.req.OnlyIfCached {
			v.refuse()
			return
		}
	}
	v.result.Outcome, v.result.forwarded, v.result.Reason, v.result.NotStored = OutcomeMiss, l.fwd, l.why(), rfc9111.RefusedUnsafe.Word(0)
	c.counters.misses.Add(1)
	sent := time.Now()
	f, out := v.standIn()
	defer c.flights.land(f)
	v.front.pass(v, out, func(status int, header http.Header) {
		v.result.forwardedStatus = uint16(status)
		v.learn(f, status, header, sent)
		v.mark(header, nil)
	})
}

// standIn stands for a HEAD in the table of flights, and returns the request as
// the origin gets it.
func (v *visit) standIn() (*flight, *http.Request) {
	f := &flight{c: v.c, key: v.result.Key}
	ctx, own := exchange.CollectOwnFields(v.sending(v.r.Context()))
	f.own = own
	return v.c.flights.add(f), v.r.WithContext(ctx)
}

// learn brings what is stored up to date by a response to HEAD: RFC 9111
// section 4.3.5. f stands for the request in the table of flights.
func (v *visit) learn(f *flight, status int, header http.Header, sent time.Time) {
	c, now := v.c, time.Now()
	header = f.own.Without(rfc9111.CanonicalNames(header))
	ctx := context.WithoutCancel(v.r.Context())
	f.storing.Lock()
	defer f.storing.Unlock()
	entries, err := c.store.Get(ctx, v.result.Key)
	if err != nil {
		c.storeFailed(ctx, "get", err)
		return
	}
	for _, e := range entries {
		m := e.Meta()
		if !v.serves(m) {
			continue
		}
		switch rfc9111.ByHead(c.policy.FactsOf(m), m, status, header, now) {
		case rfc9111.HeadFreshens:
			if !f.outOfDate(m.Tags) { // else it may be older than what was changed
				v.learnFrom(ctx, e, m, header, sent, now)
			}
		case rfc9111.HeadInvalidates:
			c.soften(ctx, e)
		}
	}
}

func (v *visit) learnFrom(ctx context.Context, e store.Entry, m *store.Meta, header http.Header, sent, now time.Time) {
	c := v.c
	header = header.Clone()
	rfc9111.AddDate(header, now)
	x := &rfc9111.Transaction{
		Method: http.MethodHead, Target: c.targetOf(v.r), Asked: v.r, User: c.isOfUser(v.r), Request: v.req,
		Status: http.StatusOK, Header: header, Response: rfc9111.ParseResponseDirectives(header, c.policy.Targets),
		RequestTime: sent, ResponseTime: now,
	}
	var err error
	switch why, gone := c.policy.MayFreshen(m, x); {
	case gone:
		err = c.store.Remove(ctx, e)
	case why == "":
		err = c.store.Update(ctx, e, c.freshened(m, v.r, header, sent, now))
	}
	c.noted(ctx, "update", err)
}
