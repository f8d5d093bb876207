package manager

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/balancer"
)

// status is all that a manager knows, as JSON for machines. Durations
// are in nanoseconds.
type status struct {
	Time      time.Time        `json:"time"`
	Open      bool             `json:"open"` // nobody is kept out
	ReadOnly  bool             `json:"readOnly"`
	Balancers []balancerStatus `json:"balancers"`
}

type balancerStatus struct {
	balancer.Stats
	Nonce         string         `json:"nonce,omitempty"`
	Ready         bool           `json:"ready"`
	Sticky        string         `json:"stickySession,omitempty"`
	Separator     string         `json:"stickySessionSep,omitempty"`
	NoFailover    bool           `json:"noFailover"`
	ForceRecovery bool           `json:"forceRecovery"`
	Timeout       time.Duration  `json:"timeout"`
	MaxAttempts   int            `json:"maxAttempts"`
	FailOnStatus  []int          `json:"failOnStatus,omitempty"`
	Growth        int            `json:"growth"`  // members that may still be added
	Members       []memberStatus `json:"members"` // in place of those of Stats
}

type memberStatus struct {
	balancer.MemberStats
	Config balancer.MemberConfig `json:"config"`
	Rates  []float64             `json:"rates,omitempty"` // requests a second, as far as somebody looked
}

// status looks at everything once.
func (m *Handler) status() status {
	s := status{Time: time.Now(), Open: m.open(), ReadOnly: m.ReadOnly, Balancers: []balancerStatus{}}
	m.forget()
	for _, b := range m.balancers() {
		s.Balancers = append(s.Balancers, m.balancerStatus(b, s.Time))
	}
	return s
}

func (m *Handler) balancerStatus(b *balancer.Balancer, now time.Time) balancerStatus {
	c := b.Config()
	s := balancerStatus{
		Stats: b.Stats(), Ready: b.Ready() == nil,
		Sticky: c.Sticky.String(), Separator: c.Sticky.Separator, NoFailover: c.Sticky.NoFailover,
		ForceRecovery: !c.NoForceRecovery, Timeout: c.Timeout, MaxAttempts: c.MaxAttempts, FailOnStatus: c.FailOnStatus,
		Growth: m.room(b), Members: []memberStatus{},
	}
	if !m.ReadOnly {
		s.Nonce = m.nonce(b)
	}
	for _, st := range s.Stats.Members {
		if member := b.Member(st.Name); member != nil { // else it was removed just now
			s.Members = append(s.Members, memberStatus{st, member.Config(), m.rates(member, st.Elected, now)})
		}
	}
	return s
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}
