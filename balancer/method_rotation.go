package balancer

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// rotation is the smooth weighted round robin of Apache's byrequests: in each
// round every candidate's status grows by its factor, the highest is chosen,
// the first of equals, and pays the sum of all factors. Statuses are integers,
// so that nothing drifts.
//
// The statuses of the candidates lie in one slice in their order, since the
// candidates of one request are nearly always those of the one before.
type rotation struct {
	mu     sync.Mutex // guards the rest
	list   []*Member  // the candidates of the last round
	status []int64    // theirs
	rest   map[*Member]int64
	begun  bool
}

// next plays one round. With a rank, members of lower rank go first and the
// status only decides among equals.
func (ro *rotation) next(usable []*Member, rank func(*Member) int64) *Member {
	if len(usable) == 0 {
		return nil
	}
	ro.mu.Lock()
	ro.align(usable)
	best := ro.round(usable, rank)
	ro.mu.Unlock()
	return best
}

func (ro *rotation) round(usable []*Member, rank func(*Member) int64) *Member {
	status := ro.status[:len(usable)]
	var total, top, low int64
	best := -1
	for i, m := range usable {
		factor := int64(m.Factor())
		s := status[i] + factor
		status[i] = s
		total += factor
		if rank == nil {
			if best < 0 || s > top {
				best, top = i, s
			}
			continue
		}
		if k := rank(m); best < 0 || k < low || k == low && s > top {
			best, top, low = i, s, k
		}
	}
	status[best] -= total
	return usable[best]
}

// scatter plays rounds in advance, so that proxies which start together do not
// all begin with the same member.
func (ro *rotation) scatter(usable []*Member) {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	if ro.begun || len(usable) == 0 {
		return
	}
	ro.begun = true
	ro.align(usable)
	total := 0
	for _, m := range usable {
		total += m.Factor()
	}
	for range rand.IntN(min(max(total/100, len(usable)), 4096)) {
		ro.round(usable, nil)
	}
}

// align makes usable the candidates. A member that was not among them for a
// while comes back with its old status, but no higher and no lower than those
// of the others: it shall not make up for what it missed in a burst.
func (ro *rotation) align(usable []*Member) {
	if slices.Equal(ro.list, usable) {
		return
	}
	if ro.rest == nil {
		ro.rest = make(map[*Member]int64)
	}
	before := make(map[*Member]bool, len(ro.list))
	for i, m := range ro.list {
		ro.rest[m], before[m] = ro.status[i], true
	}
	first := true
	var low, high int64
	for _, m := range usable {
		if s := ro.rest[m]; before[m] {
			if first {
				low, high, first = s, s, false
			}
			low, high = min(low, s), max(high, s)
		}
	}
	ro.list = append(ro.list[:0], usable...)
	ro.status = ro.status[:0]
	for _, m := range usable {
		s := ro.rest[m]
		if !first && !before[m] {
			s = min(max(s, low), high)
		}
		ro.status = append(ro.status, s)
		delete(ro.rest, m)
	}
	for m := range ro.rest {
		if m.Removed() {
			delete(ro.rest, m)
		}
	}
	clear(ro.list[len(ro.list):cap(ro.list)])
}

// load returns the status of a member.
func (ro *rotation) load(m *Member) int64 {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	if i := slices.Index(ro.list, m); i >= 0 {
		return ro.status[i]
	}
	return ro.rest[m]
}
