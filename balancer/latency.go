package balancer

import (
	"math"
	"sync"
	"time"
)

// latencyDecay is the time in which a sample loses 63 % of its weight.
const latencyDecay = 10 * time.Second

// latency is an exponentially weighted moving average in which time, not the
// number of samples, makes old ones lose weight.
type latency struct {
	mu   sync.Mutex // guards the rest
	mean float64    // in ns
	at   time.Duration
}

func (l *latency) add(sample time.Duration) {
	now := monotonic()
	l.mu.Lock()
	if l.at == 0 {
		l.mean = float64(sample)
	} else {
		// A burst of samples in no time would have no weight at all without
		// the floor.
		keep := min(math.Exp(-float64(now-l.at)/float64(latencyDecay)), 0.9)
		l.mean = l.mean*keep + float64(sample)*(1-keep)
	}
	l.at = now
	l.mu.Unlock()
}

func (l *latency) value() time.Duration {
	l.mu.Lock()
	mean, at := l.mean, l.at
	l.mu.Unlock()
	if at == 0 {
		return 0
	}
	return time.Duration(mean * math.Exp(-float64(monotonic()-at)/float64(latencyDecay)))
}
