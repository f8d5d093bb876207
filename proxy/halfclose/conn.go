package halfclose

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// conn is a connection whose end is not told while a request is being answered.
// What the socket can do beside a net.Conn, it can.
type conn struct {
	net.Conn               // a syscall.Conn, too
	timeout  time.Duration // negative: none

	mu       sync.Mutex // guards the rest, and the socket's read deadline
	freed    bool       // its read deadline was taken away, and not by SetDeadline
	deadline time.Time  // what was set
	until    time.Time  // how long the end is kept back now; zero: it is not, or as long as it takes
}

// Read reads from the socket. The end of what the client sends is kept back from the
// read by which net/http only learns that the client has left: it begins when the
// whole request is there, without a deadline, and is for one byte.
func (c *conn) Read(p []byte) (int, error) {
	watches := len(p) == 1 && c.unlimited()
	n, err := c.Conn.Read(p)
	if watches && n == 0 && err == io.EOF {
		err = c.keep()
	}
	return n, err
}

func (c *conn) unlimited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.freed
}

// SetReadDeadline is that of the socket.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freed, c.deadline = t.IsZero(), t
	return c.apply()
}

// SetDeadline is that of the socket. Who has hijacked the connection gets it with
// this, and hears of its end at once.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freed, c.deadline = false, t
	return errors.Join(c.apply(), c.SetWriteDeadline(t))
}

// apply gives the socket the earlier of both deadlines.
func (c *conn) apply() error {
	t := c.deadline
	if t.IsZero() || !c.until.IsZero() && c.until.Before(t) {
		t = c.until
	}
	return c.Conn.SetReadDeadline(t)
}

// keepUntil sets how long the end is kept back, or with zero takes that back.
func (c *conn) keepUntil(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.apply()
}

// expired reports whether a deadline has passed that was set from outside.
func (c *conn) expired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !c.deadline.After(time.Now())
}

// NetConn returns the connection below.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Detached returns the connection below, for those who move bytes inside the kernel,
// as tunnels do.
func (c *conn) Detached() (socket net.Conn, ahead []byte) { return c.Conn, nil }

// SyscallConn is part of [syscall.Conn].
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.Conn.(syscall.Conn).SyscallConn() }

// ReadFrom sends what r has, inside the kernel where that can be done.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// WriteTo writes what the client sends to w.
func (c *conn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.Conn) }

// CloseWrite ends what is sent, as that of a *net.TCPConn.
func (c *conn) CloseWrite() error {
	if s, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return s.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is that of a *net.TCPConn.
func (c *conn) SetLinger(sec int) error {
	if s, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return s.SetLinger(sec)
	}
	return errors.ErrUnsupported
}
