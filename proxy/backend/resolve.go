package backend

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// leastInterval is the least AddressTTL.
const leastInterval = 100 * time.Millisecond

// addressBook remembers the addresses that the backend's host had when it was
// last looked up.
type addressBook struct {
	known  atomic.Pointer[answer] // nil until looked up
	due    atomic.Int64           // time of the next lookup since the backend's epoch
	asking atomic.Bool
}

// answer is what a lookup found.
type answer struct {
	addrs []netip.Addr
	asked time.Duration // when, since the backend's epoch
}

// gone reports whether c should not be used any more: its address was not
// among those of a later lookup.
func (a *addressBook) gone(c *Conn) bool {
	known := a.known.Load()
	if known == nil || !c.ip.IsValid() || c.born > known.asked {
		return false
	}
	return !slices.Contains(known.addrs, c.ip)
}

// refresh looks the host up in the background when AddressTTL has passed.
// Dialling does not depend on it: that resolves the name each time.
func (b *Backend) refresh() {
	ttl := or(b.AddressTTL, DefaultAddressTTL)
	if finite(ttl) < 0 || b.DialContext != nil {
		return
	}
	ttl = max(ttl, leastInterval)
	now := time.Since(b.epoch)
	due := b.resolved.due.Load()
	if due == 0 { // the first connection has just resolved it
		b.resolved.due.CompareAndSwap(0, int64(now+ttl))
		return
	}
	if int64(now) < due || !b.resolved.asking.CompareAndSwap(false, true) {
		return
	}
	b.resolved.due.Store(int64(now + ttl))
	host := b.URL.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return // asking stays set: an address never changes
	}
	p := &b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	b.work.Add(1)
	go func() {
		defer b.work.Done()
		defer b.resolved.asking.Store(false)
		b.lookup(host)
	}()
}

func (b *Backend) lookup(host string) {
	ctx, cancel := context.WithTimeout(b.life, 10*time.Second)
	defer cancel()
	r := b.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	asked := time.Since(b.epoch)
	found, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return // a resolver in trouble says nothing about the backend
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	b.resolved.known.Store(&answer{found, asked})
	b.pool.dropGone(b)
}

// dropGone closes the idle connections to addresses that are gone.
func (p *pool) dropGone(b *Backend) {
	p.mu.Lock()
	gone := p.unfit(func(c *Conn) bool { return !b.resolved.gone(c) })
	p.mu.Unlock()
	closeAll(gone)
}
