package balancer

import (
	"net/http"
	"sync/atomic"
	"time"
)

// LeastTime chooses the member with the shortest expected wait: its average
// time to the head of an answer ([Member.Latency]), times the requests it would
// have, divided by its load factor. The average decays with time, and a share
// of the requests goes to the members in turn whatever their figures, so that
// a slow start is not held against a member for ever. The zero value is ready.
type LeastTime struct {
	// ProbeEvery is of how many requests one is sent round in turn. Zero means
	// 50; negative means none.
	ProbeEvery int

	picks atomic.Uint64
}

// Pick implements [Method].
func (l *LeastTime) Pick(_ *http.Request, usable []*Member) *Member {
	if len(usable) == 0 {
		return nil
	}
	every := uint64(50)
	if l.ProbeEvery > 0 {
		every = uint64(l.ProbeEvery)
	}
	n := l.picks.Add(1)
	if l.ProbeEvery >= 0 && n%every == 0 {
		return usable[n/every%uint64(len(usable))]
	}
	best, low := usable[0], 0.0
	for i := range usable {
		m := usable[(int(n%uint64(len(usable)))+i)%len(usable)] // equals take turns
		wait := float64(m.Latency()+time.Microsecond) * float64(m.Busy()+1) / float64(m.Factor())
		if i == 0 || wait < low {
			best, low = m, wait
		}
	}
	return best
}

// String returns the method's name.
func (l *LeastTime) String() string { return "leasttime" }
