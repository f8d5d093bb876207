package backend

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync/atomic"
	"time"
)

// Conn is a pooled connection to a backend. It belongs to whoever got it until
// Release; Read and Write are counted in the backend's [Stats].
type Conn struct {
	net.Conn // a *tls.Conn where the scheme speaks TLS

	// R and W buffer the connection. What is left in R at Release makes the
	// connection unfit for reuse.
	R *bufio.Reader
	W *bufio.Writer

	// State is for the protocol: what it wants to remember of the connection
	// from one use to the next. It is nil on a new connection.
	State any

	backend       *Backend
	wire          net.Conn // below TLS
	tls           *tls.ConnectionState
	peek          *peeker       // nil where the socket cannot be looked at
	audience      Audience      // whom alone it serves
	ip            netip.Addr    // of the backend, for AddressTTL
	deadline      time.Duration // of reads, since the epoch; 0 means none, negative not known
	writeDeadline time.Duration
	reading       atomic.Int64  // the limit that reads have
	since         time.Duration // when it became idle
	idle          time.Duration // how long it may be idle; 0 means by the Backend
	rested        time.Duration // how long it was idle before this use; negative if it was not
	sent          atomic.Int64  // a second goroutine may write
	received      atomic.Int64  // and a third close
	born          time.Duration // when its opening began
	waited        time.Duration // in line, of this use
	opening       time.Duration // how long its opening took, of the first use
	pooled        bool          // has been idle
	used          bool          // has served before
	trial         bool          // this use probes a backend in the error state
	place         place         // under an IdleLimit

	judged context.Context // of the request that tells whether the backend works; nil if none has to
}

func (b *Backend) newConn(nc, wire net.Conn, audience Audience, born time.Duration) *Conn {
	c := &Conn{Conn: nc, backend: b, wire: wire, audience: audience, peek: newPeeker(wire), born: born, rested: -1}
	if a, ok := wire.RemoteAddr().(*net.TCPAddr); ok {
		c.ip = a.AddrPort().Addr().Unmap()
	}
	c.R = bufio.NewReaderSize(c, bufferSize(b.ReadBufferSize, 8192))
	c.W = bufio.NewWriterSize(c, bufferSize(b.WriteBufferSize, 4096))
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	return c
}

// Read reads from the connection and counts what came. Protocols that use R
// must not call it.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	if err == io.EOF {
		if taken := c.peek.taken(); taken != nil {
			err = taken
		}
	}
	return n, err
}

// Write writes to the connection and counts what went.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// TCP returns the connection itself when no TLS is spoken over it, so that
// bodies can be spliced by the kernel; else nil. What is moved that way must
// be told to [Conn.Count].
func (c *Conn) TCP() *net.TCPConn {
	tc, _ := c.Conn.(*net.TCPConn)
	return tc
}

// TLS returns what the handshake has agreed on, of which nothing may be changed;
// nil where no TLS is spoken.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// Unwritten reports whether nothing was written in this use.
func (c *Conn) Unwritten() bool { return c.sent.Load() == 0 }

// Count adds to the bytes sent and received over the connection.
func (c *Conn) Count(sent, received int64) {
	c.sent.Add(sent)
	c.received.Add(received)
}

// Reused reports whether the connection was open, and unused, before this use:
// the backend may have closed it since without its being seen.
func (c *Conn) Reused() bool { return c.pooled }

// AcquireTime returns how long this use stood in line for the connection, or
// for the permission to open one; 0 if there was room.
func (c *Conn) AcquireTime() time.Duration { return c.waited }

// ConnectTime returns how long it took to open the connection for this use:
// resolving, connecting and the TLS handshake. It is 0 for one that was open.
func (c *Conn) ConnectTime() time.Duration { return c.opening }

// Info returns what GotConn of an httptrace.ClientTrace is told of this use.
func (c *Conn) Info() httptrace.GotConnInfo {
	return httptrace.GotConnInfo{Conn: c.Conn, Reused: c.used, WasIdle: c.rested >= 0, IdleTime: max(c.rested, 0)}
}

// Backend returns the backend that the connection leads to.
func (c *Conn) Backend() *Backend { return c.backend }

// Ended reports whether the backend has closed the connection and no byte of
// it is left to read from the socket, as far as the system can tell.
func (c *Conn) Ended() bool { return c.peek != nil && c.peek.look() == peekClosed }

// Waiting reports whether the socket has bytes that R does not have yet, or has
// been closed by the backend, as far as the system can tell.
func (c *Conn) Waiting() bool { return c.peek != nil && c.peek.look() != peekQuiet }

// Abort closes the connection at once, from any goroutine, so that reads and
// writes on it fail. The Conn must still be released.
func (c *Conn) Abort() { _ = c.wire.Close() }

// farewell is how long the end of TLS may take to be sent.
const farewell = 250 * time.Millisecond

// Close closes the connection. Where TLS is spoken it says so to the backend,
// but does not wait for one that does not read. The Conn must still be released.
func (c *Conn) Close() error {
	closeAll([]*Conn{c})
	return nil
}

// closeAll closes connections that are of no more use.
func closeAll(conns []*Conn) {
	if len(conns) == 0 {
		return
	}
	late := time.AfterFunc(farewell, func() {
		for _, c := range conns {
			c.Abort()
		}
	})
	defer late.Stop()
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

// Disarmed tells the connection that its deadline was changed behind Arm's
// back, so that the next Arm sets it anew.
func (c *Conn) Disarmed() { c.deadline, c.writeDeadline = -1, -1 }

// LimitIdle shortens the time for which this connection may be idle, as told
// by the backend (Keep-Alive: timeout=). Times longer than the backend's
// IdleTTL have no effect.
func (c *Conn) LimitIdle(d time.Duration) {
	if d > 0 {
		c.idle = d
	}
}

// Succeeded tells that the backend has answered well over this connection. It
// ends a trial, and the error state of a backend without Retry; protocols call
// it when the head of an answer is in.
func (c *Conn) Succeeded() {
	if c.trial || c.backend.Retry <= 0 { // without Retry each request is one
		c.trial = false
		c.backend.MarkOKFor(c.judging())
	}
}

// Blameless tells that this use is going to end early for a reason that says
// nothing about the backend, such as a client that left. A trial is then given
// back undecided.
func (c *Conn) Blameless() {
	if c.trial {
		c.trial = false
		c.backend.endTrial(c.judging())
	}
}

// judging is the context under which the backend is judged.
func (c *Conn) judging() context.Context {
	if c.judged == nil {
		return context.Background()
	}
	return c.judged
}

// Release gives the connection back, and reports whether it was kept for the
// next use. It is closed unless it is reusable, and when the pool is full, bytes
// were left unread or unwritten, or the backend's address has changed. The Conn
// must not be touched afterwards.
func (c *Conn) Release(reusable bool) (kept bool) {
	b := c.backend
	b.counters.sent.Add(c.sent.Swap(0))
	b.counters.received.Add(c.received.Swap(0))
	b.counters.busy.Add(-1)
	if c.trial {
		c.trial = false
		if reusable {
			b.MarkOKFor(c.judging())
		} else {
			b.markError(c.judging(), errTrialFailed)
		}
	}
	c.judged = nil
	if !reusable || b.DisableReuse || c.R.Buffered() > 0 || c.W.Buffered() > 0 || b.resolved.gone(c) {
		b.pool.discard(b, c)
		return false
	}
	c.used = true
	return b.pool.put(b, c)
}

// Detach takes the connection out of the pool for good, for example for a
// tunnel: the caller closes it, and then calls the function that Detach
// returns, which frees its place under MaxConns.
func (c *Conn) Detach() (closed func(sent, received int64)) {
	b := c.backend
	c.Succeeded()
	return func(sent, received int64) {
		b.counters.sent.Add(c.sent.Load() + sent)
		b.counters.received.Add(c.received.Load() + received)
		b.counters.busy.Add(-1)
		c.Wake()
		b.pool.forget(b)
	}
}

// alive reports whether an idle connection can still be used: neither closed
// by the backend, nor holding bytes that nobody asked for.
func (c *Conn) alive() bool {
	if c.peek == nil {
		return true
	}
	switch c.peek.look() {
	case peekClosed:
		return false
	case peekData:
		// TLS 1.3 tickets may wait on a connection that was never read from.
		return c.wire != c.Conn && !c.used
	}
	return true
}
