package cache

import "context"

// A request that a cache has sent on may come back to the same cache: that is
// wrapped twice, or is around a handler and its RoundTripper. It would wait for
// its own answer then, or get what it is to validate. So it passes by.

// sent is a key that a cache has sent a request on for, and those for which it had
// sent the ones before that this belongs to.
type sent struct {
	key    string
	before *sent
}

// sentBy is the key of a Cache's sent in a context.
type sentBy struct{ c *Cache }

// sending returns the context of a request that is sent on for v.
func (v *visit) sending(ctx context.Context) context.Context {
	before, _ := ctx.Value(sentBy{v.c}).(*sent)
	return context.WithValue(ctx, sentBy{v.c}, &sent{v.result.Key, before})
}

// isBack reports whether the cache itself has sent the request on.
func (v *visit) isBack() bool {
	s, _ := v.r.Context().Value(sentBy{v.c}).(*sent)
	for ; s != nil; s = s.before {
		if s.key == v.result.Key {
			return true
		}
	}
	return false
}
