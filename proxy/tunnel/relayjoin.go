package tunnel

import (
	"errors"
	"io"
	"net"
	"time"
)

// join lets a function of the tunnel's own move the bytes.
func (r *relay) join(client, backend io.ReadWriteCloser, clientData, backendData []byte) {
	r.watch(client, backend)
	r.end(r.tn.Join(countedConn(client, clientData, &r.down), countedConn(backend, backendData, &r.up)))
	r.finish()
}

// counted is a connection as Join gets it: what was read too far comes first,
// and what is written is counted.
type counted struct {
	net.Conn
	early []byte
	d     *direction // of what is written
}

func countedConn(c io.ReadWriteCloser, early []byte, d *direction) net.Conn {
	nc, ok := c.(net.Conn)
	if !ok {
		nc = noDeadlines{c}
	}
	return &counted{nc, early, d}
}

func (c *counted) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *counted) Write(p []byte) (int, error) {
	c.d.stalled.begin()
	n, err := c.Conn.Write(p)
	c.d.stalled.end()
	c.d.count.Add(int64(n))
	return n, err
}

// CloseWrite half-closes, where the connection can.
func (c *counted) CloseWrite() error {
	if hc, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		c.d.shut.Store(true)
		return hc.CloseWrite()
	}
	return errors.ErrUnsupported
}

// noDeadlines is the connection of a foreign transport.
type noDeadlines struct{ io.ReadWriteCloser }

type noAddr struct{}

func (noAddr) Network() string { return "unknown" }
func (noAddr) String() string  { return "unknown" }

func (noDeadlines) LocalAddr() net.Addr              { return noAddr{} }
func (noDeadlines) RemoteAddr() net.Addr             { return noAddr{} }
func (noDeadlines) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (noDeadlines) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (noDeadlines) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
