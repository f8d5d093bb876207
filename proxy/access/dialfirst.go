package access

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// nextAddress is how long one address has before the next is tried beside it
// (RFC 8305 section 5).
const nextAddress = 250 * time.Millisecond

// dialFirst connects to the first of the addresses that accepts.
func (d *Destinations) dialFirst(ctx context.Context, network string, addrs []netip.Addr, port uint16) (net.Conn, error) {
	dial := d.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if len(addrs) == 1 {
		return dial(ctx, network, JoinAuthority(addrs[0].String(), port))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		c   net.Conn
		err error
	}
	outcomes := make(chan outcome)
	running := 0
	start := func() {
		address := JoinAuthority(addrs[0].String(), port)
		addrs = addrs[1:]
		running++
		go func() {
			c, err := dial(ctx, network, address)
			outcomes <- outcome{c, err}
		}()
	}
	addrs = alternate(addrs)
	start()
	pause := time.NewTimer(nextAddress)
	defer pause.Stop()
	var first error
	for {
		select {
		case o := <-outcomes:
			running--
			if o.err == nil {
				go func(left int) { // of those that are late
					for range left {
						if late := <-outcomes; late.c != nil {
							_ = late.c.Close()
						}
					}
				}(running)
				return o.c, nil
			}
			if first == nil {
				first = o.err
			}
		case <-pause.C:
		}
		switch {
		case len(addrs) > 0 && ctx.Err() == nil:
			start()
			pause.Reset(nextAddress)
		case running == 0:
			return nil, first
		}
	}
}

// alternate orders addresses so that the two families take turns, beginning
// with that of the first, and are else as the resolver has put them.
func alternate(addrs []netip.Addr) []netip.Addr {
	var same, other []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			same = append(same, a)
		} else {
			other = append(other, a)
		}
	}
	mixed := make([]netip.Addr, 0, len(addrs))
	for i := 0; i < max(len(same), len(other)); i++ {
		if i < len(same) {
			mixed = append(mixed, same[i])
		}
		if i < len(other) {
			mixed = append(mixed, other[i])
		}
	}
	return mixed
}
