//go:build unix

package backend

import (
	"net"
	"os"
	"syscall"
)

type peekResult int

const (
	peekQuiet  peekResult = iota // open, nothing to read
	peekData                     // bytes are waiting
	peekClosed                   // closed or broken
)

// peeker looks at a socket without taking bytes from it and without waiting.
type peeker struct {
	raw    syscall.RawConn
	look1  func(fd uintptr) // kept, so that a look allocates nothing
	buf    [1]byte
	result peekResult
	err    error // of the socket: looking at it takes it away

	turn     func(fd uintptr) bool // turnStep, kept likewise
	out      []byte                // what it writes
	written  int                   // -1 before the write
	writeErr error
	strict   bool // it writes only if nothing is to be read
}

// newPeeker returns nil if nc has no socket.
func newPeeker(nc net.Conn) *peeker {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	p := &peeker{raw: raw}
	p.turn = p.turnStep
	p.look1 = func(fd uintptr) {
		for {
			n, _, err := syscall.Recvfrom(int(fd), p.buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN || err == syscall.EWOULDBLOCK:
				p.result = peekQuiet
			case err != nil:
				p.result, p.err = peekClosed, os.NewSyscallError("read", err)
			case n == 0:
				p.result = peekClosed
			default:
				p.result = peekData
			}
			return
		}
	}
	return p
}

// taken returns the error that a look has taken away from the next read.
func (p *peeker) taken() error {
	if p == nil {
		return nil
	}
	return p.err
}

// look uses Control, not Read: a read deadline that has passed while the
// connection was idle must not matter.
func (p *peeker) look() peekResult {
	p.result = peekClosed
	if p.raw.Control(p.look1) != nil {
		return peekClosed
	}
	return p.result
}
