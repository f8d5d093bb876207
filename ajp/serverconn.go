package ajp

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// The state of a connection of a proxy.
//
//	idle --packet--> active --END_RESPONSE--> idle
//	idle --Shutdown--> closed
const (
	connIdle int32 = iota
	connActive
	connClosed
)

const (
	lingerLimit = 256 << 10 // of an unread body that is taken off a connection to be closed
	lingerTime  = 500 * time.Millisecond
	watchAfter  = 20 * time.Millisecond // how old a request is when the proxy begins to be watched
	outSize     = 32 << 10              // of an answer that is written at once
)

// serverConn is a connection of a proxy. One goroutine reads requests and runs
// the handler.
type serverConn struct {
	s     *Server
	nc    net.Conn
	r     *bufio.Reader
	size  int    // of packets
	in    []byte // payload of the packet with the head of the request
	base  context.Context
	state atomic.Int32

	limited  atomic.Bool // a read deadline is set
	certText string      // the last certificate of a client, and what it was parsed to
	cert     *x509.Certificate

	out     []byte // packets to be written; held by the goroutine that has mu
	mu      sync.Mutex
	werr    error // of the connection
	timed   bool  // a write deadline is set
	watcher watcher
}

func newServerConn(s *Server, nc net.Conn, base context.Context) *serverConn {
	if a := nc.LocalAddr(); a != nil {
		base = context.WithValue(base, http.LocalAddrContextKey, a)
	}
	c := &serverConn{s: s, nc: nc, size: packetSize(s.PacketSize), base: base}
	c.r = bufio.NewReaderSize(nc, c.size)
	return c
}

// closeIdle closes the connection unless a request is being served.
func (c *serverConn) closeIdle() {
	if c.state.CompareAndSwap(connIdle, connClosed) {
		_ = c.nc.Close()
	}
}

func (c *serverConn) abort() {
	c.state.Store(connClosed)
	_ = c.nc.Close()
	c.watcher.fire() // a body that is not read hides the end of the connection
}

func (c *serverConn) serve() {
	defer c.s.leave(c)
	defer c.nc.Close()
	for {
		c.limitRead(c.s.IdleTimeout)
		if _, err := c.r.Peek(1); err != nil {
			return // the proxy has closed, or the connection was idle for too long
		}
		if !c.state.CompareAndSwap(connIdle, connActive) {
			return
		}
		if !c.packetHere() {
			c.limitRead(timeout(c.s.ReadTimeout))
		}
		kind, text, err := c.readPacket()
		if err != nil {
			c.refused("ajp: packet refused", "error", err)
			return
		}
		switch kind {
		case typeCPing:
			if c.pong() != nil {
				return
			}
		case typeForwardRequest:
			c.limitRead(0)
			if !c.request(text) {
				return
			}
		default:
			c.refused("ajp: packet not served", "type", kind)
			return
		}
		if !c.state.CompareAndSwap(connActive, connIdle) || c.s.closing.Load() {
			return
		}
	}
}

// pong answers a CPING, within a time limit of its own: that of the last answer
// may have passed.
func (c *serverConn) pong() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, cpong...)
	return c.flush()
}

// limitRead sets the time limit of the reads that follow; zero or less means
// none.
func (c *serverConn) limitRead(d time.Duration) {
	if d > 0 {
		c.limited.Store(true)
		_ = c.nc.SetReadDeadline(time.Now().Add(d))
	} else if c.limited.Swap(false) {
		_ = c.nc.SetReadDeadline(time.Time{})
	}
}

// packetHere reports whether the whole next packet has come.
func (c *serverConn) packetHere() bool {
	n := c.r.Buffered()
	if n < headSize {
		return false
	}
	head, _ := c.r.Peek(headSize)
	return n >= headSize+getInt(head[2:])
}

// readPacket reads a packet that has a type.
func (c *serverConn) readPacket() (kind byte, text string, err error) {
	length, err := c.readHead()
	if err != nil {
		return 0, "", err
	}
	if length == 0 {
		return 0, "", malformed("packet without a type")
	}
	if cap(c.in) < length {
		c.in = make([]byte, length)
	}
	b := c.in[:length]
	if _, err := io.ReadFull(c.r, b); err != nil {
		return 0, "", unexpected(err)
	}
	return b[0], string(b[1:]), nil
}

// readHead reads the head of a packet of the proxy, and returns the length of
// its payload.
func (c *serverConn) readHead() (int, error) {
	head, err := c.r.Peek(headSize)
	if err != nil {
		return 0, unexpected(err)
	}
	if getInt(head) != toContainer {
		return 0, malformed("packet does not begin with 12 34")
	}
	length := getInt(head[2:])
	if length > c.size-headSize {
		return 0, malformed("packet of %d bytes, where %d are allowed", length+headSize, c.size)
	}
	_, _ = c.r.Discard(headSize)
	return length, nil
}

// request serves one request, and reports whether the connection can be used
// again.
func (c *serverConn) request(text string) (again bool) {
	fr := new(forwardRequest)
	if err := parseForwardRequest(text, fr); err != nil {
		c.refused("ajp: request malformed", "error", err)
		return false // the two ends do not understand each other
	}
	if status, why := c.s.admit(fr); status != 0 {
		c.refused("ajp: request refused", "error", why)
		return c.refuse(status)
	}
	ctx, cancel := context.WithCancel(c.base)
	defer cancel()
	r, err := c.newRequest(ctx, fr)
	if err != nil {
		c.refused("ajp: request malformed", "error", err)
		return c.refuse(http.StatusBadRequest)
	}
	w := &response{c: c, r: r, header: make(http.Header)}
	if body, ok := r.Body.(*serverBody); ok {
		w.body = body
	}
	c.watcher.begin(c, cancel, w.body == nil)
	if c.state.Load() == connClosed { // by Close, a moment ago
		cancel()
	}
	completed := c.run(w, r)
	c.watcher.end(c)
	if !completed {
		return false
	}
	return w.finish()
}

// run runs the handler, and reports whether it returned.
func (c *serverConn) run(w *response, r *http.Request) (completed bool) {
	defer func() {
		if completed {
			return
		}
		p := recover()
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			return
		}
		if c.s.Logger != nil {
			c.s.Logger.ErrorContext(r.Context(), "ajp: handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	c.s.handler().ServeHTTP(w, r)
	return true
}

// refuse answers without a handler. The connection ends, since there may be a
// body that nobody reads.
func (c *serverConn) refuse(status int) bool {
	w := &response{c: c, r: &http.Request{Method: http.MethodGet}, header: make(http.Header), last: true}
	w.header.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, http.StatusText(status)+"\n")
	w.finish()
	return false
}

// flush writes what is to be written. The caller holds mu.
func (c *serverConn) flush() error {
	if len(c.out) == 0 || c.werr != nil {
		c.out = c.out[:0]
		return c.werr
	}
	if d := timeout(c.s.WriteTimeout); d > 0 && !c.timed {
		_ = c.nc.SetWriteDeadline(time.Now().Add(d))
	}
	if _, err := c.nc.Write(c.out); err != nil {
		c.werr = err
		c.watcher.fire()
	}
	c.out = c.out[:0]
	return c.werr
}

// linger closes the connection so that the proxy can read the answer though
// it has sent, or is sending, what nobody reads: to close over unread bytes
// would be a reset.
func (c *serverConn) linger() {
	cw, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.r, lingerLimit)
}
