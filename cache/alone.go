package cache

import (
	"sync"
	"time"
)

// loners remembers keys whose answers were lately for one client only, so that
// requests for them do not wait for each other.
type loners struct {
	mu    sync.Mutex
	until map[string]time.Time
}

const (
	lonerTime = 10 * time.Second
	maxLoners = 8192
)

func (l *loners) add(key string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil || len(l.until) >= maxLoners {
		l.until = make(map[string]time.Time) // to forget one is no harm
	}
	l.until[key] = now.Add(lonerTime)
}

func (l *loners) has(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, ok := l.until[key]
	if ok && time.Now().After(until) {
		delete(l.until, key)
		return false
	}
	return ok
}

func (l *loners) drop(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, key)
}
