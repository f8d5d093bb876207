package balancer

import "net/http"

// ByRequests spreads requests by load factor: a smooth weighted round robin,
// exactly as Apache's mod_lbmethod_byrequests. It costs one short lock and one
// addition for each member. The zero value is ready for use.
type ByRequests struct {
	// RandomStart begins at a random place of the cycle, so that many proxies
	// that start at once do not all send their first request to one member.
	RandomStart bool

	rotation rotation
}

// Pick implements [Method].
func (b *ByRequests) Pick(_ *http.Request, usable []*Member) *Member {
	if b.RandomStart {
		b.rotation.scatter(usable)
	}
	return b.rotation.next(usable, nil)
}

// Load returns Apache's lbstatus of a member.
func (b *ByRequests) Load(m *Member) int64 { return b.rotation.load(m) }

// String returns Apache's name of the method.
func (b *ByRequests) String() string { return "byrequests" }
