package proxy

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// h2Pool holds the HTTP/2 connections to one backend. Each is opened through
// the backend's pool and counts there as one connection in use.
type h2Pool struct {
	b  *backend.Backend
	t2 *http2.Transport

	mu      sync.Mutex // guards the rest
	conns   []*h2Conn
	opening map[backend.Audience]*h2Opening
	plain   bool // the backend has chosen HTTP/1.1 the last time
}

// h2Use is a stream of a connection for one request.
type h2Use struct {
	conn             *h2Conn
	reused           bool          // the connection was open before
	acquire, connect time.Duration // what this use had to wait for
}

// h2Opening is a connection that is being opened, for which others wait: until
// the backend has said how many streams it takes.
type h2Opening struct {
	done     chan struct{}
	audience backend.Audience
	err      error // set before done is closed: why the backend cannot be reached
}

// errH2Silent is told to those who wait for a connection that was opened.
var errH2Silent = fmt.Errorf("backend opened a connection and said nothing: %w", os.ErrDeadlineExceeded)

func (t *Transport) h2PoolOf(b *backend.Backend) *h2Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.h2[b]
	if p == nil {
		p = &h2Pool{b: b, t2: &http2.Transport{
			AllowHTTP:          true,
			DisableCompression: true,
			MaxHeaderListSize:  uint32(min(t.limits().Total, math.MaxUint32)),
			IdleConnTimeout:    idleTTL(b),
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

// leastIdleTTL is the least IdleTTL of a connection, whose first stream is opened
// after it.
const leastIdleTTL = 100 * time.Millisecond

// idleTTL is IdleTTL as [http2.Transport] has it: zero is for ever.
func idleTTL(b *backend.Backend) time.Duration {
	if b.IdleTTL < 0 {
		return 0
	}
	return max(cmp.Or(b.IdleTTL, backend.DefaultIdleTTL), leastIdleTTL)
}

// reserve returns a stream for a request, or the HTTP/1.1 connection that was
// opened instead because the backend chose that.
func (p *h2Pool) reserve(ctx context.Context, scheme string, fresh bool) (use h2Use, c *backend.Conn, err error) {
	audience, err := p.b.AudienceOf(ctx)
	if err != nil {
		return h2Use{}, nil, err
	}
	var waited time.Duration // for another to open a connection
	for {
		if err := p.b.Ready(); err != nil {
			return h2Use{}, nil, err
		}
		p.mu.Lock()
		if h := p.take(audience); h != nil {
			p.mu.Unlock()
			return h2Use{conn: h, reused: true, acquire: waited}, nil, nil
		}
		if wait := p.opening[audience]; wait != nil && !p.plain {
			p.mu.Unlock()
			begun := time.Now()
			select {
			case <-wait.done:
				waited += time.Since(begun)
				if wait.err != nil {
					return h2Use{}, nil, wait.err
				}
				continue
			case <-ctx.Done():
				return h2Use{}, nil, context.Cause(ctx)
			}
		}
		opening := &h2Opening{done: make(chan struct{}), audience: audience}
		if p.opening == nil {
			p.opening = make(map[backend.Audience]*h2Opening)
		}
		p.opening[audience] = opening
		unused := p.spare()
		p.mu.Unlock()
		if unused != nil {
			_ = unused.cc.Close()
		}
		use, c, err := p.openShared(ctx, opening, scheme, fresh)
		p.mu.Lock()
		if use.conn != nil {
			p.conns = append(p.conns, use.conn)
		}
		p.plain = c != nil
		p.mu.Unlock()
		use.acquire += waited
		switch {
		case use.conn != nil:
			use.conn.whenSettled(func(known bool) { p.opened(opening, p.silence(use.conn, known)) })
		case ctx.Err() != nil: // the next in line tries
			p.opened(opening, nil)
		default:
			p.opened(opening, err)
		}
		return use, c, err
	}
}

// openShared is open for those who wait, too: if a hook panics, the next in line
// tries.
func (p *h2Pool) openShared(ctx context.Context, o *h2Opening, scheme string, fresh bool) (h2Use, *backend.Conn, error) {
	returned := false
	defer func() {
		if !returned {
			p.opened(o, nil)
		}
	}()
	use, c, err := p.open(ctx, scheme, fresh)
	returned = true
	return use, c, err
}

// opened lets those go on who wait for a connection.
func (p *h2Pool) opened(o *h2Opening, err error) {
	p.mu.Lock()
	if p.opening[o.audience] == o {
		delete(p.opening, o.audience)
	}
	p.mu.Unlock()
	o.err = err
	close(o.done)
}

// silence returns the failure of those who have waited for h in vain: nil if it
// is of use, or if another try is worth while.
func (p *h2Pool) silence(h *h2Conn, known bool) error {
	if limit := h.c.Limits().Header; known || limit < 0 || time.Since(h.opened) < limit {
		return nil
	}
	return &exchange.Error{Op: exchange.OpHeader, Backend: p.b.String(), Status: http.StatusGatewayTimeout, Resend: true, Err: errH2Silent}
}

// take takes a stream of an open connection that has a free one. Where no
// more connections may be opened, it returns one without: the request will wait
// there for a stream. The caller holds the lock.
//
// Streams are counted here. The HTTP/2 client's own reservations stay for ever
// when a request is cancelled before it is written: clients that come and go
// would fill one connection after the other.
func (p *h2Pool) take(audience backend.Audience) *h2Conn {
	p.conns = slices.DeleteFunc(p.conns, func(h *h2Conn) bool {
		s := h.cc.State()
		return s.Closed || s.Closing
	})
	var full []*h2Conn
	for _, h := range p.conns {
		if h.c.Audience() != audience {
			continue
		}
		s := h.cc.State()
		if max(int64(s.StreamsActive), h.taken.Load()) < int64(s.MaxConcurrentStreams) && s.StreamsPending == 0 && !h.congested() && h.cc.CanTakeNewRequest() {
			h.take()
			return h
		}
		if p.full() {
			full = append(full, h)
		}
	}
	if len(full) == 0 {
		return nil
	}
	h := full[rand.IntN(len(full))]
	h.take()
	return h
}

// full reports whether all connections that may be open are HTTP/2's.
func (p *h2Pool) full() bool { return p.b.MaxConns > 0 && len(p.conns) >= p.b.MaxConns }

// spare takes an unused connection of some audience out of a full pool, to make
// room for another's. The caller holds the lock.
func (p *h2Pool) spare() *h2Conn {
	if !p.full() {
		return nil
	}
	for i, h := range p.conns {
		if h.taken.Load() == 0 {
			p.conns = slices.Delete(p.conns, i, i+1)
			return h
		}
	}
	return nil
}

// tooMany takes an unused connection out of the list where more are unused than
// MaxIdle allows; nil if there are not.
func (p *h2Pool) tooMany() *h2Conn {
	most := cmp.Or(p.b.MaxIdle, backend.DefaultMaxIdle)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) <= most {
		return nil
	}
	first, unused := -1, 0
	for i, h := range p.conns {
		if h.taken.Load() == 0 {
			if unused++; first < 0 {
				first = i
			}
		}
	}
	if unused <= most {
		return nil
	}
	h := p.conns[first]
	p.conns = slices.Delete(p.conns, first, first+1)
	return h
}

// open opens a connection and takes a stream of it.
func (p *h2Pool) open(ctx context.Context, scheme string, fresh bool) (h2Use, *backend.Conn, error) {
	get := p.b.Get
	if fresh {
		get = p.b.GetFresh
	}
	c, err := get(ctx)
	if err != nil {
		return h2Use{}, nil, err
	}
	switch chosen := negotiated(c); {
	case scheme == "https" && chosen != http2.NextProtoTLS:
		return h2Use{reused: c.Reused()}, c, nil
	case scheme == "h2" && chosen != http2.NextProtoTLS:
		c.Release(false)
		return h2Use{}, nil, fmt.Errorf("%w: backend chose %q in place of HTTP/2", exchange.ErrMalformed, chosen)
	}
	use := h2Use{acquire: c.AcquireTime(), connect: c.ConnectTime()}
	_ = c.SetDeadline(time.Time{})
	h := newH2Conn(p, c)
	if h.cc, err = p.t2.NewClientConn(h); err != nil {
		_ = h.Close()
		return h2Use{}, nil, err
	}
	h.take()
	use.conn = h
	return use, nil, nil
}

// negotiated returns the protocol that ALPN chose.
func negotiated(c *backend.Conn) string {
	if state := c.TLS(); state != nil {
		return state.NegotiatedProtocol
	}
	return ""
}

func (p *h2Pool) closeIdle() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, h := range conns {
		h.cc.SetDoNotReuse() // the last stream closes it
		if h.taken.Load() == 0 {
			_ = h.cc.Close()
		}
	}
}
