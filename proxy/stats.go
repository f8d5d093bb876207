package proxy

import (
	"cmp"
	"slices"

	"github.com/modproxy/modproxy/proxy/backend"
)

// TunnelsStats are the figures of a registry of tunnels: in Counts, Elected are
// the tunnels that were started, Busy those that run, Errors those that ended
// with a cause of its own, Sent and Received the bytes of all of them, running
// or over.
type TunnelsStats struct {
	Name string `json:"name"` // "tunnels"
	backend.Counts
	Running []TunnelStats `json:"running"` // as [Tunnels.List]
}

// Stats returns the figures.
func (t *Tunnels) Stats() TunnelsStats {
	t.mu.Lock()
	s := TunnelsStats{Name: "tunnels", Counts: t.past, Running: make([]TunnelStats, 0, len(t.running))}
	for r := range t.running {
		one := r.stats()
		s.Busy++
		s.Sent += one.Sent
		s.Received += one.Received
		s.Running = append(s.Running, one)
	}
	t.mu.Unlock()
	slices.SortFunc(s.Running, func(a, b TunnelStats) int { return a.Started.Compare(b.Started) })
	return s
}

// passed adds a tunnel that is over to the figures. The caller holds the lock.
func (t *Tunnels) passed(s TunnelStats) {
	t.past.Sent += s.Sent
	t.past.Received += s.Received
	if s.Err != nil {
		t.past.Errors++
	}
}

// Stats returns the figures of the transport's backends, by their names: those
// it has made that are not forgotten yet, or the one that it was given.
func (t *Transport) Stats() []backend.Stats {
	return t.backends.Stats(t.Backend)
}

// Stats returns the figures of the backends made here, by their names; or of
// all, if it is not nil.
func (s *Backends) Stats(all *backend.Backend) []backend.Stats {
	if all != nil {
		return []backend.Stats{all.Stats()}
	}
	s.mu.Lock()
	list := s.list()
	s.mu.Unlock()
	return StatsOf(list)
}

// StatsOf returns the figures of backends, by their names.
func StatsOf(list []*backend.Backend) []backend.Stats {
	stats := make([]backend.Stats, 0, len(list))
	for _, b := range list {
		stats = append(stats, b.Stats())
	}
	slices.SortFunc(stats, func(a, b backend.Stats) int { return cmp.Compare(a.Name, b.Name) })
	return stats
}

// Stats returns the figures of the backends of the handler's transport, if that
// can tell them by a Stats method as [Transport] has; else nil. A balancer has
// figures of its own kind.
func (h *Handler) Stats() []backend.Stats {
	if h.Transport == nil {
		return h.own.Stats()
	}
	if t, ok := h.Transport.(interface{ Stats() []backend.Stats }); ok {
		return t.Stats()
	}
	return nil
}
