package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

const (
	// h2Backlog is how much may wait to be sent before no more of the bodies of
	// requests is read, and no further request is given the connection.
	h2Backlog = 64 << 10

	// h2Piece is what the backend must take within its Timeout.
	h2Piece = 64 << 10

	// h2MostBacklog is how much may wait beside 64 KB for each stream: heads,
	// and replies to frames of a backend that sends them but does not read.
	h2MostBacklog = 1 << 20
)

// errH2Unread is why a connection is closed whose backend does not read.
var errH2Unread = fmt.Errorf("backend does not take what it is sent: %w", os.ErrDeadlineExceeded)

// h2Conn is the connection under HTTP/2. Closing it frees its place in the
// backend's pool.
//
// The HTTP/2 client writes with a lock held that all its streams need, and who
// asks for its state too. So a Write does not wait: a goroutine sends what was
// written, and closes the connection when the backend does not take it in time.
// What could be much, the bodies of requests, waits before it is written.
type h2Conn struct {
	upgradedConn
	pool  *h2Pool
	cc    *http2.ClientConn
	limit time.Duration // for sending a piece; negative: none

	taken atomic.Int64 // streams that requests have; see h2Pool.take
	heard atomic.Int64 // how often a stream was sent something that it waits for

	mu      sync.Mutex // guards the rest
	unsent  []byte
	spare   []byte        // memory for what comes next
	sending bool          // a goroutine sends
	room    chan struct{} // closed when some was sent; nil if nobody waits
	broken  error         // why nothing more is sent

	until time.Time // the socket's limit; of the sending goroutine

	opened   time.Time
	begin    [3]byte          // of what came: the length of the backend's SETTINGS
	got      int              // bytes that came until known
	known    bool             // the SETTINGS were taken in; these are of the reading goroutine
	settled  bool             // they were, or never will; guarded by mu
	onSettle func(known bool) // nil once it was called; guarded by mu
}

func newH2Conn(p *h2Pool, c *backend.Conn) *h2Conn {
	return &h2Conn{pool: p, upgradedConn: upgradedConn{c: c, closed: c.Detach()}, limit: c.Limits().Write, opened: time.Now()}
}

// take counts a stream more that requests have.
func (h *h2Conn) take() {
	if h.taken.Add(1) == 1 {
		h.c.Wake()
	}
}

// give counts one less. The last leaves the connection unused, and perhaps
// closed.
func (h *h2Conn) give() {
	if h.taken.Add(-1) != 0 {
		return
	}
	if !h.c.Rest(h.closeUnused) {
		h.closeUnused()
	} else if old := h.pool.tooMany(); old != nil {
		_ = old.cc.Close()
	}
}

// closeUnused closes the connection, unless it is in use again.
func (h *h2Conn) closeUnused() {
	p := h.pool
	p.mu.Lock()
	unused := h.taken.Load() == 0
	if unused {
		p.conns = slices.DeleteFunc(p.conns, func(o *h2Conn) bool { return o == h })
	}
	p.mu.Unlock()
	if unused {
		_ = h.cc.Close()
	}
}

// ConnectionState lets the HTTP/2 client see that TLS is spoken.
func (h *h2Conn) ConnectionState() tls.ConnectionState {
	if state := h.c.TLS(); state != nil {
		return *state
	}
	return tls.ConnectionState{}
}

// Read reads what the backend sends. The client asks for more when it has acted
// on what came before.
func (h *h2Conn) Read(p []byte) (int, error) {
	const head = 9
	if b := h.begin; !h.known && h.got >= head && h.got >= head+(int(b[0])<<16|int(b[1])<<8|int(b[2])) {
		h.known = true
		h.settle(true)
	}
	n, err := h.upgradedConn.Read(p)
	if !h.known {
		if h.got < len(h.begin) {
			copy(h.begin[h.got:], p[:n])
		}
		h.got += n
	}
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.broken != nil {
			err = h.broken
		}
	}
	return n, err
}

// Write leaves p to be sent. It never waits.
func (h *h2Conn) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.unsent)+len(p) > h2MostBacklog+int(h.taken.Load())*h2Backlog {
		h.breakOff(errH2Unread)
	}
	if h.broken != nil {
		return 0, h.broken
	}
	h.unsent = append(h.unsent, p...)
	if !h.sending {
		h.sending = true
		go h.send()
	}
	return len(p), nil
}

// send sends what was written, until nothing is left.
func (h *h2Conn) send() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.unsent) > 0 && h.broken == nil {
		batch := h.unsent
		h.unsent, h.spare = h.spare, nil
		h.mu.Unlock()
		err := h.transmit(batch)
		h.mu.Lock()
		h.spare = batch[:0]
		if err != nil {
			h.breakOff(err)
		}
		h.wake()
	}
	h.sending = false
	if cap(h.unsent)+cap(h.spare) > 8*h2Backlog { // what many uploads have needed
		h.unsent, h.spare = nil, nil
	}
}

// transmit sends p piece by piece, each within the limit.
func (h *h2Conn) transmit(p []byte) error {
	for len(p) > 0 {
		if h.limit > 0 && time.Until(h.until) < h.limit {
			h.until = time.Now().Add(h.limit + h.limit/8)
			_ = h.SetWriteDeadline(h.until)
		}
		n, err := h.upgradedConn.Write(p[:min(len(p), h2Piece)])
		if exchange.IsTimeout(err) {
			return errH2Unread
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// breakOff ends the connection. Its reader will see to the rest. The caller
// holds the lock.
func (h *h2Conn) breakOff(why error) {
	if h.broken == nil {
		h.broken = why
		h.c.Abort()
	}
	h.wake()
}

// wake lets those go on that wait for room. The caller holds the lock.
func (h *h2Conn) wake() {
	if h.room != nil {
		close(h.room)
		h.room = nil
	}
}

// awaitRoom waits until there is room for more of a body, or the connection,
// ctx or the body has ended.
func (h *h2Conn) awaitRoom(ctx context.Context, closed <-chan struct{}) {
	for {
		h.mu.Lock()
		if len(h.unsent) < h2Backlog || h.broken != nil {
			h.mu.Unlock()
			return
		}
		if h.room == nil {
			h.room = make(chan struct{})
		}
		room := h.room
		h.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return
		case <-closed:
			return
		}
	}
}

// settle tells those who wait whether the backend's SETTINGS, the first that it
// sends, are known, or never will be.
func (h *h2Conn) settle(known bool) {
	h.mu.Lock()
	then := h.onSettle
	h.settled, h.onSettle = true, nil
	h.mu.Unlock()
	if then != nil {
		then(known)
	}
}

// whenSettled calls f when that is so. It is called once.
func (h *h2Conn) whenSettled(f func(known bool)) {
	h.mu.Lock()
	if !h.settled {
		h.onSettle, f = f, nil
	}
	h.mu.Unlock()
	if f != nil {
		f(true) // or others find out that it is not
	}
}

// congested reports whether the backend is behind with reading.
func (h *h2Conn) congested() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.unsent) >= h2Backlog
}

// Close closes the connection and frees its place in the backend's pool.
func (h *h2Conn) Close() error {
	h.mu.Lock()
	if h.broken == nil {
		h.broken = net.ErrClosed
	}
	h.wake()
	h.mu.Unlock()
	h.settle(false)
	return h.upgradedConn.Close()
}
