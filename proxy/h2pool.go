package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
)

// h2Pool holds the HTTP/2 connections to one backend. Each is opened through
// the backend's pool and counts there as one connection in use.
type h2Pool struct {
	b  *backend.Backend
	t2 *http2.Transport

	mu      sync.Mutex // guards the rest
	conns   []h2Entry
	opening *h2Opening
	plain   bool // the backend has chosen HTTP/1.1 the last time
}

// h2Entry is an open connection. With the PROXY protocol it serves one client.
type h2Entry struct {
	cc     *http2.ClientConn
	nc     net.Conn
	client netip.AddrPort
	taken  *atomic.Int64 // streams that requests have; see take

	acquire, connect time.Duration // what this use had to wait for
}

// h2Opening is a connection that is being opened, for which others wait.
type h2Opening struct {
	done chan struct{}
	err  error // set before done is closed: why the backend cannot be reached
}

func (t *Transport) h2PoolOf(b *backend.Backend) *h2Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.h2[b]
	if p == nil {
		p = &h2Pool{b: b, t2: &http2.Transport{
			AllowHTTP:          true,
			DisableCompression: true,
			MaxHeaderListSize:  uint32(t.limits().total),
			IdleConnTimeout:    max(or(b.IdleTTL, backend.DefaultIdleTTL), 0),
			ReadIdleTimeout:    30 * time.Second,
			PingTimeout:        15 * time.Second,

			StrictMaxConcurrentStreams: true, // take decides when another is opened
		}}
		if t.h2 == nil {
			t.h2 = make(map[*backend.Backend]*h2Pool)
		}
		t.h2[b] = p
	}
	return p
}

// reserve returns a connection with a stream of the request's own and whether it
// was open before, or the HTTP/1.1 connection that was opened instead because
// the backend chose that.
func (p *h2Pool) reserve(ctx context.Context, scheme string, fresh bool) (e h2Entry, reused bool, c *backend.Conn, err error) {
	var client netip.AddrPort
	bound := p.b.ProxyProtocol != 0
	if bound {
		client = backend.ClientOf(ctx).Source
	}
	var waited time.Duration // for another to open a connection
	for {
		if !p.b.Usable(time.Now()) {
			return h2Entry{}, false, nil, backend.ErrUnusable
		}
		p.mu.Lock()
		if e, ok := p.take(client); ok {
			p.mu.Unlock()
			e.acquire = waited
			return e, true, nil, nil
		}
		if wait := p.opening; wait != nil && !p.plain && !bound {
			p.mu.Unlock()
			begun := time.Now()
			select {
			case <-wait.done:
				waited += time.Since(begun)
				if wait.err != nil {
					return h2Entry{}, false, nil, wait.err
				}
				continue
			case <-ctx.Done():
				return h2Entry{}, false, nil, context.Cause(ctx)
			}
		}
		opening := &h2Opening{done: make(chan struct{})}
		p.opening = opening
		unused := p.spare()
		p.mu.Unlock()
		if unused != nil {
			_ = unused.Close()
		}
		e, c, err := p.open(ctx, scheme, fresh)
		acquire, connect := e.acquire, e.connect
		e.acquire, e.connect = 0, 0 // of its first use alone
		p.mu.Lock()
		if e.cc != nil {
			e.client = client
			p.conns = append(p.conns, e)
		}
		p.plain = c != nil
		if p.opening == opening {
			p.opening = nil
		}
		p.mu.Unlock()
		if ctx.Err() == nil { // else the next in line tries
			opening.err = err
		}
		close(opening.done)
		if c == nil {
			e.acquire, e.connect = waited+acquire, connect
		}
		return e, c != nil && c.Reused(), c, err
	}
}

// take takes a stream of an open connection that has a free one. Where no
// more connections may be opened, it returns one without: the request will wait
// there for a stream. The caller holds the lock.
//
// Streams are counted here. The HTTP/2 client's own reservations stay for ever
// when a request is cancelled before it is written: clients that come and go
// would fill one connection after the other.
func (p *h2Pool) take(client netip.AddrPort) (h2Entry, bool) {
	p.conns = slices.DeleteFunc(p.conns, func(e h2Entry) bool {
		s := e.cc.State()
		return s.Closed || s.Closing
	})
	var full []h2Entry
	for _, e := range p.conns {
		if e.client != client {
			continue
		}
		s := e.cc.State()
		if max(int64(s.StreamsActive), e.taken.Load()) < int64(s.MaxConcurrentStreams) && s.StreamsPending == 0 && e.cc.CanTakeNewRequest() {
			e.taken.Add(1)
			return e, true
		}
		if p.full() {
			full = append(full, e)
		}
	}
	if len(full) == 0 {
		return h2Entry{}, false
	}
	e := full[rand.IntN(len(full))]
	e.taken.Add(1)
	return e, true
}

// full reports whether all connections that may be open are HTTP/2's.
func (p *h2Pool) full() bool { return p.b.MaxConns > 0 && len(p.conns) >= p.b.MaxConns }

// spare takes an unused connection of some client out of a full pool, to make
// room for another's. The caller holds the lock.
func (p *h2Pool) spare() *http2.ClientConn {
	if !p.full() {
		return nil
	}
	for i, e := range p.conns {
		if s := e.cc.State(); e.taken.Load() == 0 && s.StreamsActive+s.StreamsPending == 0 {
			p.conns = slices.Delete(p.conns, i, i+1)
			return e.cc
		}
	}
	return nil
}

// open opens a connection and reserves a stream on it.
func (p *h2Pool) open(ctx context.Context, scheme string, fresh bool) (h2Entry, *backend.Conn, error) {
	get := p.b.Get
	if fresh {
		get = p.b.GetFresh
	}
	c, err := get(ctx)
	if err != nil {
		return h2Entry{}, nil, err
	}
	switch chosen := negotiated(c); {
	case scheme == "https" && chosen != http2.NextProtoTLS:
		return h2Entry{}, c, nil
	case scheme == "h2" && chosen != http2.NextProtoTLS:
		c.Release(false)
		return h2Entry{}, nil, fmt.Errorf("%w: backend chose %q in place of HTTP/2", ErrMalformed, chosen)
	}
	e := h2Entry{nc: c.Conn, acquire: c.AcquireTime(), connect: c.ConnectTime()}
	_ = c.SetDeadline(time.Time{})
	nc := &h2Conn{upgradedConn{c: c, closed: c.Detach()}}
	cc, err := p.t2.NewClientConn(nc)
	if err != nil {
		_ = nc.Close()
		return h2Entry{}, nil, err
	}
	e.cc, e.taken = cc, new(atomic.Int64)
	e.taken.Add(1)
	return e, nil, nil
}

// negotiated returns the protocol that ALPN chose.
func negotiated(c *backend.Conn) string {
	if tc, ok := c.Conn.(*tls.Conn); ok {
		return tc.ConnectionState().NegotiatedProtocol
	}
	return ""
}

func (p *h2Pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.conns {
		e.cc.SetDoNotReuse()
		if e.taken.Load() == 0 && e.cc.State().StreamsActive == 0 {
			_ = e.cc.Close()
		}
	}
	p.conns = nil
}
