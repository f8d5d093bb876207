package backend

// line is the queue of those who wait for a connection, first in, first out.
type line struct {
	first, last *waiter
	n           int
}

// A waiter is handed a connection, or nil for the permission to dial; the
// channel is closed when the pool is.
type waiter struct {
	handed     chan *Conn // of capacity 1
	audience   Audience
	fresh      bool
	prev, next *waiter
	queued     bool
}

func (l *line) push(w *waiter) {
	w.prev, w.queued = l.last, true
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.n++
}

func (l *line) remove(w *waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	l.n--
}

func (l *line) pop() *waiter {
	w := l.first
	if w != nil {
		l.remove(w)
	}
	return w
}
