package balancer

import (
	"math/rand/v2"
	"net/http"
)

// Random2 draws two members at random, each with a chance of its load factor,
// and takes the less busy for its factor: the "power of two choices". It keeps
// no state, costs two walks over the factors, and does not herd.
type Random2 struct{}

// Pick implements [Method].
func (Random2) Pick(_ *http.Request, usable []*Member) *Member {
	if len(usable) == 0 {
		return nil
	}
	total := 0
	for _, m := range usable {
		total += m.Factor()
	}
	a, b := draw(usable, total), draw(usable, total)
	if a != b && quotientLess(uint64(b.Busy()), uint64(b.Factor()), uint64(a.Busy()), uint64(a.Factor())) {
		return b
	}
	return a
}

// draw returns a member with the chance of its factor in total.
func draw(list []*Member, total int) *Member {
	n := rand.IntN(total)
	for _, m := range list {
		if n -= m.Factor(); n < 0 {
			return m
		}
	}
	return list[len(list)-1] // factors have changed meanwhile
}

// String returns the method's name.
func (Random2) String() string { return "random2" }
