package cache

import (
	"context"
	"net/http"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
)

// change passes on a request that changes things, and makes what is stored for
// its URI unusable if it succeeds: RFC 9111 section 4.4.
func (h *handler) change(w http.ResponseWriter, v *visit) {
	c := h.c
	v.result.Outcome, v.result.forwarded = OutcomeBypass, rfc9111.FwdMethod
	v.result.Reason = "the method is not one that is cached"
	c.counters.bypassed.Add(1)
	h.observe(w, v.r, func(status int, header http.Header) {
		v.invalidateAfter(status, header, func(other *visit, r *http.Request) { other.arrives(r, h.forward) })
		v.mark(header, nil)
	})
}

// invalidateAfter does what an answer to an unsafe method asks for. goes is how
// requests get their keys.
func (v *visit) invalidateAfter(status int, header http.Header, goes func(*visit, *http.Request)) {
	c, r := v.c, v.r
	v.result.forwardedStatus = status
	if !rfc9111.Invalidates(r.Method, status) {
		return
	}
	ctx := context.WithoutCancel(r.Context())
	n := c.invalidate(ctx, v.key)
	for _, u := range rfc9111.AlsoInvalidated(c.targetOf(r), header) {
		// It is of the same origin: the key is that of a request like this one.
		other, path := *r, *r.URL
		path.Opaque, path.Path, path.RawPath, path.RawQuery, path.ForceQuery = "", u.Path, u.RawPath, u.RawQuery, u.ForceQuery
		other.Method, other.URL = http.MethodGet, &path
		at := &visit{c: c}
		goes(at, &other)
		n += c.invalidate(ctx, at.key)
	}
	if n > 0 {
		v.result.Outcome, v.result.Reason = OutcomeInvalidated, "changed by this request"
	}
}

// invalidate makes what is stored under a key unusable without validation, and
// returns how much that is.
func (c *Cache) invalidate(ctx context.Context, key string) (n int) {
	c.flights.groundKey(key)
	c.alone.drop(key)
	entries, err := c.store.Get(ctx, key)
	if err != nil {
		c.storeFailed(ctx, "get", err)
	}
	for _, e := range entries {
		if c.soften(ctx, e) {
			n++
		}
	}
	c.counters.invalidated.Add(int64(n))
	return n
}

// soften marks a stored response as unusable without validation. If that fails
// it is taken out.
func (c *Cache) soften(ctx context.Context, e store.Entry) bool {
	m := e.Meta()
	if m.Invalid {
		return false
	}
	m = m.Clone()
	m.Invalid = true
	if !c.noted(ctx, "update", c.store.Update(ctx, e, m)) {
		c.noted(ctx, "remove", c.store.Remove(ctx, e))
	}
	return true
}
