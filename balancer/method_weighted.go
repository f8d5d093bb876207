package balancer

import (
	"math"
	"net/http"
	"sync"
)

// Weighted spreads requests by weights that come from elsewhere: backends that
// announce how many more requests they can take, a controller, a table. It is
// what Apache's mod_lbmethod_heartbeat is for, fed by any source: Func, or
// [Weighted.Set]. Within the weights it goes round as smoothly as [ByRequests].
// The zero value gives all members their load factor.
type Weighted struct {
	// Func, if not nil, returns a member's weight, and is asked for each
	// candidate of each request: it must be quick. Weights are relative; zero,
	// or less, means no requests as long as another member has some weight.
	Func func(m *Member) float64

	mu     sync.Mutex // guards the rest
	set    map[string]float64
	status map[*Member]int64 // in thousandths, so that nothing drifts
	rest   rotation          // for when nobody has any weight
}

// Set announces the weight of the member with that name. Members without an
// announcement have their load factor.
func (w *Weighted) Set(name string, weight float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == nil {
		w.set = make(map[string]float64)
	}
	w.set[name] = weight
}

// Unset takes the announcement of a member back.
func (w *Weighted) Unset(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.set, name)
}

// weight returns the weight in thousandths.
func (w *Weighted) weight(m *Member) int64 {
	v, ok := 0.0, false
	if w.Func != nil {
		v, ok = w.Func(m), true
	} else {
		v, ok = w.set[m.Name()]
	}
	if !ok {
		return int64(m.Factor()) * 10
	}
	if !(v > 0) {
		return 0
	}
	return int64(math.Ceil(min(v, 1e9) * 1000))
}

// Pick implements [Method].
func (w *Weighted) Pick(_ *http.Request, usable []*Member) *Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == nil {
		w.status = make(map[*Member]int64)
	}
	var best *Member
	var total, top int64
	for _, m := range usable {
		v := w.weight(m)
		if v == 0 {
			continue
		}
		total += v
		s := w.status[m] + v
		w.status[m] = s
		if best == nil || s > top {
			best, top = m, s
		}
	}
	if best == nil {
		return w.rest.next(usable, nil)
	}
	// Nobody saves up more than a round while weights or members change.
	w.status[best] = min(top, total) - total
	if len(w.status) > 2*len(usable)+16 {
		w.forget()
	}
	return best
}

// forget drops members that are gone.
func (w *Weighted) forget() {
	for m := range w.status {
		if m.Removed() {
			delete(w.status, m)
		}
	}
}

// String returns Apache's name of the method.
func (w *Weighted) String() string { return "heartbeat" }
