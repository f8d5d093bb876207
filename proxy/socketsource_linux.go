package proxy

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socketSource tells how much of a socket can be read without waiting.
type socketSource struct {
	raw  syscall.RawConn
	look func(fd uintptr) bool
	have int32
	peek [1]byte
	err  error // of the socket: looking at it takes it away
}

// newSocketSource returns nil if r is no bare socket.
func newSocketSource(r io.Reader) *socketSource {
	c, ok := r.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socketSource{raw: raw}
	s.look = func(fd uintptr) bool {
		s.have, s.err = 0, nil
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&s.have)))
		if errno == 0 && s.have > 0 {
			return true
		}
		n, _, err := syscall.Recvfrom(int(fd), s.peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
			return false
		case err != nil:
			s.err = os.NewSyscallError("read", err)
		default:
			s.have = int32(n) // it has come meanwhile, or it is the end
		}
		return true
	}
	return s
}

func (s *socketSource) wait() (int64, error) {
	if err := s.raw.Read(s.look); err != nil {
		return 0, err
	}
	return int64(s.have), s.err
}
