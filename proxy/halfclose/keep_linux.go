package halfclose

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const supported = true

// keep waits, at the end of what the client sends, until the client is known to be
// gone, has taken nothing for the timeout, or a deadline passes. It returns the error
// of the read then. The runtime wakes it: a socket at its end can still be waited for.
func (c *conn) keep() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return io.EOF
	}
	defer func() { _ = c.keepUntil(time.Time{}) }()
	taken, counted := acknowledged(raw)
	for {
		if c.timeout > 0 && counted && c.keepUntil(time.Now().Add(c.timeout)) != nil {
			return io.EOF
		}
		switch err := raw.Read(gone); {
		case err == nil:
			return io.EOF
		case !errors.Is(err, os.ErrDeadlineExceeded) || c.expired():
			return err
		}
		before := taken
		if taken, counted = acknowledged(raw); taken == before {
			return io.EOF
		}
	}
}

// gone reports whether a socket is of no use to write to.
func gone(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}} // what is looked for is told unasked
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// acknowledged returns how many bytes the other side has taken. A unix-domain socket
// does not count them, and need not: its close is no half-close.
func acknowledged(raw syscall.RawConn) (n uint64, counted bool) {
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if counted = err == nil; counted {
			n = info.Bytes_acked
		}
	})
	return n, counted
}
