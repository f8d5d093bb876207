package connect

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// streamConn is the client's end of a tunnel over HTTP/2: the body of the
// request and that of the answer. It cannot be half-closed toward the client:
// the answer ends with the handler, and with it the request.
type streamConn struct {
	body    io.ReadCloser
	ctx     context.Context // of the request: it ends with the stream
	w       http.ResponseWriter
	rc      *http.ResponseController
	writing atomic.Int32
	once    sync.Once
	closed  chan struct{}
}

func (s *streamConn) Read(p []byte) (int, error) { return s.body.Read(p) }

func (s *streamConn) Write(p []byte) (int, error) {
	s.writing.Add(1)
	defer s.writing.Add(-1)
	n, err := s.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, s.rc.Flush()
}

// Gone returns why the client is gone, though it is not read from; nil if it is
// there.
func (s *streamConn) Gone() error { return context.Cause(s.ctx) }

// Close ends reads, and a write that waits for the client, which costs the
// stream.
func (s *streamConn) Close() error {
	s.once.Do(func() {
		_ = s.body.Close()
		if s.writing.Load() > 0 {
			_ = s.rc.SetWriteDeadline(time.Unix(1, 0))
		}
		close(s.closed) // rc is of no use once the handler has returned
	})
	return nil
}

// earlyConn is a connection of which the first bytes were read already.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}

// Detached returns the bare connection and what was read of it too far, for a
// relay that moves bytes inside the kernel.
func (c *earlyConn) Detached() (net.Conn, []byte) { return c.Conn, c.early }

// CloseWrite half-closes the connection.
func (c *earlyConn) CloseWrite() error {
	if hc, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return hc.CloseWrite()
	}
	return http.ErrNotSupported
}
