package ftpproxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// dataConn is a data connection: of the library's, until a transfer has begun,
// and then of the exchange. Each read and write has a time limit.
type dataConn struct {
	net.Conn // TLS, or raw
	raw      net.Conn
	control  *backend.Conn // for its limit and its counters
	replies  *control
	deadline time.Time
	held     bool  // the limit is renewed by who knows what is of use, not by each read
	lent     bool  // the library must neither read nor close it
	wrote    bool  // a file is sent, not got
	unsent   error // why it could not be sent to its end
	shut     atomic.Bool
}

// Read reads what the server sends.
func (d *dataConn) Read(p []byte) (int, error) {
	if d.lent {
		return 0, io.EOF
	}
	if !d.held {
		d.arm(d.control.Limits().Read)
	}
	n, err := d.Conn.Read(p)
	d.control.Count(0, int64(n))
	return n, err
}

// Write sends a part of a file. A server that does not take it, or can no longer
// be sent it, need not be waited for once more to say so.
func (d *dataConn) Write(p []byte) (int, error) {
	d.wrote = true
	d.arm(d.control.Limits().Write)
	n, err := d.Conn.Write(p)
	d.control.Count(int64(n), 0)
	if err != nil {
		d.unsent = err
		d.reset()
		d.replies.wait = atMost(d.control, lastWord)
	}
	return n, err
}

// hold begins the limit for all reads that follow.
func (d *dataConn) hold() {
	d.held = true
	d.arm(d.control.Limits().Read)
}

// Close ends the transfer.
func (d *dataConn) Close() error {
	if d.lent || d.shut.Swap(true) {
		return nil
	}
	if tc, ok := d.Conn.(*tls.Conn); ok && d.wrote {
		d.endStored(tc)
	}
	return d.Conn.Close()
}

// endStored waits until the server has seen the end of a file. It may have sent
// a ticket, and whoever closes a connection of which something is unread resets
// it: the server would take the file for one that is cut short.
func (d *dataConn) endStored(tc *tls.Conn) {
	d.arm(atMost(d.control, shutLimit))
	if tc.CloseWrite() != nil {
		return
	}
	if half, ok := d.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, d.raw)
}

// Handshake is asked for by the library when it sends an empty file.
func (d *dataConn) Handshake() error {
	if tc, ok := d.Conn.(*tls.Conn); ok {
		d.wrote = true
		d.arm(d.control.Limits().Connect)
		return tc.Handshake()
	}
	return nil
}

// arm renews the time limit, unless one is set that is about as far ahead.
func (d *dataConn) arm(limit time.Duration) {
	if limit < 0 {
		if !d.deadline.IsZero() {
			d.deadline = time.Time{}
			_ = d.raw.SetDeadline(d.deadline)
		}
		return
	}
	left := time.Until(d.deadline)
	if left >= limit && left <= limit+limit/8 {
		return
	}
	d.deadline = time.Now().Add(limit + limit/8)
	_ = d.raw.SetDeadline(d.deadline)
}

// tcp returns the connection if it can be spliced.
func (d *dataConn) tcp() *net.TCPConn {
	tc, _ := d.Conn.(*net.TCPConn)
	return tc
}

// reset ends the connection so that the server sees a failure, and not the end
// of a file.
func (d *dataConn) reset() {
	if d.shut.Swap(true) {
		return
	}
	if l, ok := d.raw.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = d.raw.Close()
}

// abort ends the connection from any goroutine.
func (d *dataConn) abort() { _ = d.raw.Close() }

// dialData is how the library opens a data connection. Of the address only the
// port is the server's word: the host it may name in a reply to PASV is one
// that the connection could be bounced to.
func (s *session) dialData(addr string) (*dataConn, error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, malformed("reply to %s", s.ctl.verb)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return nil, malformed("port in the reply to %s", s.ctl.verb)
	}
	ctx := s.ctx
	if limit := s.connectTimeout(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	raw, err := s.connectData(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("data connection: %w", err)
	}
	d := &dataConn{Conn: raw, raw: raw, control: s.c, replies: s.ctl, lent: s.ctl.hold}
	if s.tls != nil {
		// The handshake waits for the reply to the command, as servers do.
		d.Conn = tls.Client(raw, s.tls)
	}
	if !s.adopt(d) {
		d.abort()
		return nil, net.ErrClosed
	}
	return d, nil
}

// connectData connects to a port of the server, within ctx whatever dials.
func (s *session) connectData(ctx context.Context, port string) (net.Conn, error) {
	return backend.Within(ctx, func(ctx context.Context) (net.Conn, error) { return s.dialPort(ctx, port) },
		func(late net.Conn) { _ = late.Close() })
}

func (s *session) dialPort(ctx context.Context, port string) (net.Conn, error) {
	b := s.c.Backend()
	peer, _ := s.c.RemoteAddr().(*net.TCPAddr)
	switch {
	case s.dial == nil && b.DialContext != nil:
		// It may lead through another proxy, whose address the connection has.
		return backend.Dialled(b.DialContext(ctx, "tcp", net.JoinHostPort(b.URL.Hostname(), port)))
	case peer == nil:
		return nil, errors.New("control connection has no TCP address")
	}
	host, _, _ := net.SplitHostPort(peer.String())
	addr := net.JoinHostPort(host, port)
	if s.dial != nil {
		return s.dial(ctx, "tcp", addr)
	}
	d := net.Dialer{KeepAlive: cmp.Or(b.KeepAlive, backend.DefaultKeepAlive)}
	if local, ok := s.c.LocalAddr().(*net.TCPAddr); ok {
		d.LocalAddr = &net.TCPAddr{IP: local.IP, Zone: local.Zone} // servers want the same client on both
	}
	return d.DialContext(ctx, "tcp", addr)
}

// atMost returns d, or the backend's HeaderTimeout if that is shorter.
func atMost(c *backend.Conn, d time.Duration) time.Duration {
	if t := c.Limits().Header; t > 0 {
		return min(t, d)
	}
	return d
}

func (s *session) connectTimeout() time.Duration {
	return s.c.Limits().Connect
}
