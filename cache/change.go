package cache

import (
	"context"
	"net/http"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
)

// invalidateAfter does what an answer to an unsafe method asks for: RFC 9111
// section 4.4.
func (v *visit) invalidateAfter(status int, header http.Header) {
	c, r := v.c, v.r
	if !rfc9111.Invalidates(r.Method, status) {
		return
	}
	ctx := context.WithoutCancel(r.Context())
	n := c.invalidate(ctx, v.result.Key)
	for _, u := range rfc9111.AlsoInvalidated(c.targetOf(r), header) {
		// It is of the same origin: the key is that of a request like this one.
		other, path := *r, *r.URL
		path.Opaque, path.Path, path.RawPath, path.RawQuery, path.ForceQuery = "", u.Path, u.RawPath, u.RawQuery, u.ForceQuery
		other.Method, other.URL = http.MethodGet, &path
		at := &visit{c: c}
		v.front.place(at, &other)
		n += c.invalidate(ctx, at.result.Key)
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
