package proxyprotocol

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Conn is a connection of a trusted peer, with the addresses that its header
// tells. What the socket can do beside a net.Conn, the Conn can.
type Conn struct {
	net.Conn
	header        *Header // nil if it has sent none
	remote, local net.Addr

	ahead atomic.Bool // rest is not read yet
	mu    sync.Mutex  // guards rest
	rest  []byte      // what was taken for a header, but is none
}

// newConn gives c the addresses of h, which may be nil, and puts rest back.
func newConn(c net.Conn, h *Header, rest []byte) *Conn {
	p := &Conn{Conn: c, header: h, remote: c.RemoteAddr(), local: c.LocalAddr(), rest: rest}
	p.ahead.Store(len(rest) > 0)
	if h != nil && h.Source.IsValid() {
		p.remote, p.local = net.TCPAddrFromAddrPort(h.Source), net.TCPAddrFromAddrPort(h.Destination)
	}
	return p
}

// RemoteAddr returns the client's address, or the peer's if that speaks for
// nobody.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// LocalAddr returns the address to which the client has connected, or the
// socket's if the peer speaks for nobody.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// Header returns what the peer has sent; nil if that was nothing, with Optional.
func (c *Conn) Header() *Header { return c.header }

// HeaderOf returns the header of the connection c, also below TLS; nil if there
// is none. An http.Server calls its ConnContext with such a connection.
func HeaderOf(c net.Conn) *Header {
	for {
		switch v := c.(type) {
		case *Conn:
			return v.header
		case interface{ NetConn() net.Conn }: // of *tls.Conn
			c = v.NetConn()
		default:
			return nil
		}
	}
}

// Detached returns the socket itself, for those who move bytes inside the kernel,
// as tunnels do, and what was read from it too far. The Conn must not be used any
// more.
func (c *Conn) Detached() (socket net.Conn, ahead []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn, c.rest
}

// Read reads what the peer sends behind its header.
func (c *Conn) Read(p []byte) (int, error) {
	if c.ahead.Load() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := copy(p, c.rest); n > 0 || len(p) == 0 {
			c.rest = c.rest[n:]
			c.ahead.Store(len(c.rest) > 0)
			return n, nil
		}
	}
	return c.Conn.Read(p)
}

// WriteTo writes what the peer sends to w.
func (c *Conn) WriteTo(w io.Writer) (n int64, err error) {
	for c.ahead.Load() {
		var buf [shortest + 1]byte
		have, _ := c.Read(buf[:])
		wrote, err := w.Write(buf[:have])
		n += int64(wrote)
		if err != nil {
			return n, err
		}
	}
	m, err := io.Copy(w, c.Conn)
	return n + m, err
}

// ReadFrom sends what r has, inside the kernel where that can be done.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// SyscallConn is part of [syscall.Conn]. It fails while bytes are left that were
// read from the socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok && !c.ahead.Load() {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite ends what is sent, as that of a *net.TCPConn.
func (c *Conn) CloseWrite() error {
	if s, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return s.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is that of a *net.TCPConn.
func (c *Conn) SetLinger(sec int) error {
	if s, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return s.SetLinger(sec)
	}
	return errors.ErrUnsupported
}
