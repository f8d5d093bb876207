package balancer

import (
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Stats are the figures of a balancer at one moment, for managers and metrics.
// Its Counts are the sums of those of the members that it has now, but for
// Waiting: the requests that wait for a member to become usable.
type Stats struct {
	Name string `json:"name"`
	backend.Counts
	Method  string        `json:"method"`
	Usable  int           `json:"usable"` // members that would get requests now
	Members []MemberStats `json:"members"`
}

// MemberStats are the figures of a member at one moment. They are read one
// after another, so that they may differ by what happened in between. Of its
// Counts, Waiting are the requests in line for MaxInFlight, Sent and Received
// the bytes of bodies.
type MemberStats struct {
	Name string `json:"name"`
	backend.Counts
	URL     string        `json:"url"`
	Status  string        `json:"status"` // as [Member.Status]
	Usable  bool          `json:"usable"`
	Load    int64         `json:"load"`    // the method's figure, Apache's lbstatus; 0 without one
	Factor  int           `json:"factor"`  // in hundredths, less during slow start
	Latency time.Duration `json:"latency"` // moving average

	backend.HealthStats
	CheckFailed bool      `json:"checkFailed"`
	Checked     time.Time `json:"checked,omitzero"` // when the last check ended
	CheckError  string    `json:"checkError"`       // of the last check
	Checks      int64     `json:"checks"`
	Passes      int       `json:"passes"` // in a row
	Fails       int       `json:"fails"`  // in a row
}

// Stats returns the figures.
func (b *Balancer) Stats() Stats {
	v := b.view.Load()
	s := Stats{Name: v.config.Name, Method: v.method, Members: make([]MemberStats, 0, len(v.members))}
	s.Waiting = b.hoping.Load()
	loader, _ := v.config.Method.(Loader)
	for _, m := range v.members {
		ms := m.Stats()
		if loader != nil {
			ms.Load = loader.Load(m)
		}
		if ms.Usable {
			s.Usable++
		}
		s.Elected += ms.Elected
		s.Busy += ms.Busy
		s.Errors += ms.Errors
		s.Sent += ms.Sent
		s.Received += ms.Received
		s.Members = append(s.Members, ms)
	}
	return s
}

// Stats returns the member's figures, without those of the method.
func (m *Member) Stats() MemberStats {
	s := MemberStats{
		Name: m.name, URL: m.String(), Status: m.Status(), Usable: m.Usable(),
		Counts: backend.Counts{
			Elected: m.elected.Load(), Busy: m.busy.Load(), Waiting: int64(m.gate.waiting()),
			Errors: m.errors.Load(), Sent: m.sent.Load(), Received: m.received.Load(),
		},
		Factor: m.Factor(), Latency: m.Latency(),
	}
	h := m.health.Condition()
	s.HealthStats, s.CheckFailed = h.Stats(), h.CheckFailed
	if m.b != nil {
		m.b.checks.mu.Lock()
		st := &m.check
		s.Checked, s.Checks, s.Passes, s.Fails = st.last, st.total, st.passes, st.fails
		if st.lastErr != nil {
			s.CheckError = st.lastErr.Error()
		}
		m.b.checks.mu.Unlock()
	}
	return s
}

// Status returns the member's status in the words of Apache's manager: Init
// and Ok or Err, and Dis, Stop, Ign, Drn, Stby, Spar, HcFl where they apply.
func (m *Member) Status() string {
	s := "Init"
	f := m.Flags()
	for i, word := range []string{"Dis", "Stop", "Ign", "Drn", "Stby", "Spar"} {
		if f&(1<<i) != 0 {
			s += " " + word
		}
	}
	h := m.health.Condition()
	if h.CheckFailed {
		s += " HcFl"
	}
	switch {
	case h.State != StateUsable:
		s += " Err"
	case f&(Disabled|Stopped) == 0 && !h.CheckFailed:
		s += " Ok"
	}
	return s
}
