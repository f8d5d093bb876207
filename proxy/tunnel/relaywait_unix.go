//go:build unix

package tunnel

import (
	"io"
	"net"
	"os"
	"syscall"
)

// readWaiter waits until a socket can be read from, without a buffer.
type readWaiter struct {
	raw  syscall.RawConn
	peek [1]byte
	look func(fd uintptr) bool // kept, so that waiting allocates nothing
	err  error                 // of the socket: looking at it takes it away
}

// newWaiter returns nil if src is no bare socket.
func newWaiter(src io.Reader) *readWaiter {
	switch src.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil
	}
	raw, err := src.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	w := &readWaiter{raw: raw}
	w.look = func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), w.peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		w.err = err
		return err != syscall.EAGAIN && err != syscall.EINTR
	}
	return w
}

// readable returns when a read would not block, for data or the end, or the
// error that the socket has met.
func (w *readWaiter) readable() error {
	if err := w.raw.Read(w.look); err != nil {
		return err
	}
	if w.err != nil {
		return os.NewSyscallError("read", w.err)
	}
	return nil
}
