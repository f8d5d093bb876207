package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// upgradedConn is the Body of a 101 answer: the connection, with what the
// backend sent right behind the head.
type upgradedConn struct {
	c      *backend.Conn
	once   sync.Once
	closed func(sent, received int64)
	sent   int64 // by a relay, past Read and Write
	got    int64
	onEnd  func(sent, received int64)
}

// OnClose has f called when the connection is closed, with the bytes that a
// relay has moved. It is how a balancer that passes the body on as it is
// learns of its end. It must be called before the body is used.
func (u *upgradedConn) OnClose(f func(sent, received int64)) { u.onEnd = f }

// Moved tells what a relay has moved past Read and Write, before Close.
func (u *upgradedConn) Moved(sent, received int64) { u.sent, u.got = sent, received }

var (
	_ io.ReadWriteCloser = (*upgradedConn)(nil)
	_ net.Conn           = (*upgradedConn)(nil)
)

func (u *upgradedConn) Read(p []byte) (int, error)  { return u.c.R.Read(p) }
func (u *upgradedConn) Write(p []byte) (int, error) { return u.c.Write(p) }

// Close closes the connection and frees its place in the backend's pool.
func (u *upgradedConn) Close() error {
	err := u.c.Close()
	u.once.Do(func() {
		u.closed(u.sent, u.got)
		if u.onEnd != nil {
			u.onEnd(u.sent, u.got)
		}
	})
	return err
}

// CloseWrite tells the backend that nothing more will be sent.
func (u *upgradedConn) CloseWrite() error {
	if hc, ok := u.c.Conn.(interface{ CloseWrite() error }); ok {
		return hc.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (u *upgradedConn) LocalAddr() net.Addr                { return u.c.LocalAddr() }
func (u *upgradedConn) RemoteAddr() net.Addr               { return u.c.RemoteAddr() }
func (u *upgradedConn) SetDeadline(t time.Time) error      { return u.c.SetDeadline(t) }
func (u *upgradedConn) SetReadDeadline(t time.Time) error  { return u.c.SetReadDeadline(t) }
func (u *upgradedConn) SetWriteDeadline(t time.Time) error { return u.c.SetWriteDeadline(t) }

// Detached returns the bare connection and what was read from it too far, for
// a relay that moves bytes inside the kernel. Nothing but Close may be called
// afterwards.
func (u *upgradedConn) Detached() (net.Conn, []byte) {
	left := make([]byte, u.c.R.Buffered())
	_, _ = io.ReadFull(u.c.R, left)
	u.c.R, u.c.W, u.c.State = nil, nil, nil // a tunnel is long-lived, and they are large
	return u.c.Conn, left
}
