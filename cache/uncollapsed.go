package cache

import (
	"sync"
	"time"
)

// loners remembers what answers were lately for one client only, so that
// requests for them do not wait for each other.
type loners struct {
	mu    sync.Mutex
	until map[loner]time.Time
}

// loner is a key, as it is asked for with or without Authorization, and what the
// origin is told beside it.
type loner struct {
	key, told  string
	authorized bool
}

const (
	lonerTime = 10 * time.Second
	maxLoners = 8192
)

func (l *loners) add(which loner, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil || len(l.until) >= maxLoners {
		l.until = make(map[loner]time.Time) // to forget one is no harm
	}
	l.until[which] = now.Add(lonerTime)
}

func (l *loners) has(which loner) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, ok := l.until[which]
	if ok && time.Now().After(until) {
		delete(l.until, which)
		return false
	}
	return ok
}

func (l *loners) drop(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, loner{key: key})
	delete(l.until, loner{key: key, authorized: true})
}
