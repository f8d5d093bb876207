package balancer

import "net/http"

// ByBusyness chooses the member with the fewest requests in flight, and among
// equals the one that [ByRequests] would, exactly as Apache's
// mod_lbmethod_bybusyness. The zero value is ready for use.
type ByBusyness struct {
	// PerFactor compares requests in flight divided by the load factor, so
	// that a member with twice the factor may be twice as busy.
	PerFactor bool

	rotation rotation
}

// Pick implements [Method].
func (b *ByBusyness) Pick(_ *http.Request, usable []*Member) *Member {
	if b.PerFactor {
		return b.rotation.next(usable, busyPerFactor)
	}
	return b.rotation.next(usable, (*Member).Busy)
}

// busyPerFactor keeps four more digits than the quotient of integers would.
func busyPerFactor(m *Member) int64 { return m.Busy() * 1_000_000 / int64(m.Factor()) }

// Load returns Apache's lbstatus of a member.
func (b *ByBusyness) Load(m *Member) int64 { return b.rotation.load(m) }

// String returns Apache's name of the method.
func (b *ByBusyness) String() string { return "bybusyness" }
