package tunnel

import "time"

// idleLooks is how often the timer looks in the time that ends a tunnel. It is
// never set anew by bytes that move.
const idleLooks = 4

// partingTime is the CloseDelay after a farewell at the end of MaxLife.
const partingTime = 5 * time.Second

// nextLook is when the timer is to look next; zero is never.
func (r *relay) nextLook(now time.Time) time.Duration {
	var next time.Duration
	sooner := func(d time.Duration) {
		if d = max(d, 1); next == 0 || d < next {
			next = d
		}
	}
	if d := r.tn.IdleTimeout; d > 0 {
		sooner(d / idleLooks)
	}
	if d := r.tn.MaxLife; d > 0 && r.unasked() {
		sooner(d - now.Sub(r.started))
	}
	if !r.goneBy.IsZero() {
		sooner(r.goneBy.Sub(now))
	}
	return next
}

// unasked reports whether MaxLife still has to ask the tunnel to leave: a
// shutdown that has done so may have set no time.
func (r *relay) unasked() bool { return r.going == nil || r.goneBy.IsZero() }

// look is run by the timer. It ends the tunnel if its time is up.
func (r *relay) look() {
	now := time.Now()
	r.mu.Lock()
	going, goneBy, unasked := r.going, r.goneBy, r.unasked()
	r.mu.Unlock()
	if !goneBy.IsZero() && !now.Before(goneBy) {
		r.evict(going)
		return
	}
	if r.tn.MaxLife > 0 && unasked && now.Sub(r.started) >= r.tn.MaxLife {
		r.leave(ErrLife)
	}
	if r.idles() {
		r.cut(ErrIdle)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.nextLook(now); r.timer != nil && d > 0 {
		r.timer.Reset(d)
	}
}

// idles counts the looks that saw nothing move, and reports whether they were
// enough.
func (r *relay) idles() bool {
	now := r.up.count.Load() + r.down.count.Load()
	r.quiet++
	if now != r.moved {
		r.moved, r.quiet = now, 0
	}
	return r.tn.IdleTimeout > 0 && r.quiet >= idleLooks
}

// leave asks the tunnel to end: it tells the client, and limits the time that
// is left.
func (r *relay) leave(cause error) {
	polite := r.down.want() || r.tn.Leave != nil
	d := r.tn.CloseDelay
	if cause == ErrLife && d <= 0 {
		if !polite {
			r.cut(cause)
			return
		}
		d = partingTime
	}
	if polite || d > 0 {
		r.goWithin(cause, d)
	}
	if r.tn.Leave != nil {
		r.tn.Leave(cause)
	}
	if r.down.wanted.Load() {
		r.say(&r.down)
	}
}

// evict ends a tunnel whose time is up, and tells both sides if that cuts no
// message.
func (r *relay) evict(cause error) {
	for _, d := range []*direction{&r.down, &r.up} {
		if d.want() {
			r.say(d)
		}
	}
	r.cut(cause)
}

// say writes the farewell of a direction if it can be written now. If not,
// whatever moves the bytes will when a message ends.
func (r *relay) say(d *direction) {
	if r.sockets != nil {
		r.sockets.say(d)
		return
	}
	to := r.tn.Client
	if d == &r.up {
		to = r.tn.Backend
	}
	r.sayCopying(d, to)
}
