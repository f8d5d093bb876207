package manager

import (
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/balancer"
)

const (
	historySize = 60
	historyStep = time.Second // at least, between two samples
)

// history is how often a member was elected, whenever somebody looked. Nobody
// looking costs nothing.
type history struct {
	at      time.Time
	elected int64
	rates   []float64 // requests a second, the oldest first
}

// rates notes a sample and returns the history of a member.
func (m *Handler) rates(member *balancer.Member, elected int64, now time.Time) []float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.history[member]
	if h == nil {
		m.history[member] = &history{at: now, elected: elected}
		return nil
	}
	if gone := now.Sub(h.at); gone >= historyStep {
		h.rates = append(h.rates, float64(elected-h.elected)/gone.Seconds())
		if len(h.rates) > historySize {
			h.rates = h.rates[1:]
		}
		h.at, h.elected = now, elected
	}
	return append([]float64(nil), h.rates...)
}

// forget drops the history of members that are gone.
func (m *Handler) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for member := range m.history {
		if member.Removed() {
			delete(m.history, member)
		}
	}
}

const (
	chartWidth  = 120
	chartHeight = 20
)

// chartPoints draws rates as the points of an SVG polyline in a box of
// chartWidth and chartHeight, the newest at the right edge.
func chartPoints(rates []float64) string {
	top := 1.0
	for _, r := range rates {
		top = max(top, r)
	}
	var b strings.Builder
	for i, r := range rates {
		if i > 0 {
			b.WriteByte(' ')
		}
		x := chartWidth - (len(rates)-1-i)*chartWidth/(historySize-1)
		b.WriteString(strconv.Itoa(x))
		b.WriteByte(',')
		b.WriteString(strconv.FormatFloat(chartHeight-1-r/top*(chartHeight-2), 'f', 1, 64))
	}
	return b.String()
}
