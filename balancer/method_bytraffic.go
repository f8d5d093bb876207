package balancer

import (
	"math/bits"
	"net/http"
)

// ByTraffic chooses the member that has moved the fewest bytes for its load
// factor, the first of equals, as Apache's mod_lbmethod_bytraffic. Bytes of
// bodies count, in both directions, as they pass. The zero value is ready.
type ByTraffic struct{}

// Pick implements [Method].
func (ByTraffic) Pick(_ *http.Request, usable []*Member) *Member {
	var best *Member
	var low, factor uint64
	for _, m := range usable {
		sent, received := m.Traffic()
		t, f := uint64(sent+received), uint64(m.Factor())
		if best == nil || quotientLess(t, f, low, factor) {
			best, low, factor = m, t, f
		}
	}
	return best
}

// quotientLess reports whether a/b < c/d, without rounding.
func quotientLess(a, b, c, d uint64) bool {
	h1, l1 := bits.Mul64(a, d)
	h2, l2 := bits.Mul64(c, b)
	return h1 < h2 || h1 == h2 && l1 < l2
}

// String returns Apache's name of the method.
func (ByTraffic) String() string { return "bytraffic" }
