package balancer

import "sync"

// budgetBurst is how many further attempts are always allowed in a row.
const budgetBurst = 10

// budget allows further attempts as a share of the requests: each request
// brings a part of a token, each further attempt takes a whole one.
type budget struct {
	mu     sync.Mutex // guards the rest
	missed float64    // tokens below the burst
}

func (b *budget) request(share float64) {
	b.mu.Lock()
	b.missed = max(b.missed-share, 0)
	b.mu.Unlock()
}

func (b *budget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.missed+1 > budgetBurst {
		return false
	}
	b.missed++
	return true
}
