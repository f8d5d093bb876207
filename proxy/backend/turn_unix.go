//go:build unix

package backend

import (
	"errors"
	"syscall"
)

// errUnasked is why a connection on which the backend has spoken unasked is not
// used again.
var errUnasked = errors.New("backend spoke without being asked")

// looks reports whether Turn looks at the connection before it writes.
func (c *Conn) looks() bool { return c.peek != nil && c.wire == c.Conn }

// Turn writes p and waits until there is something to read, or the backend has
// closed: one wait where a write and a read would first try to read in vain.
// It is for protocols in which the backend speaks only when spoken to: nothing
// is written on a connection that the backend has closed, or that was used before
// and has bytes waiting. The error is of the write if n < len(p), else of the
// wait.
func (c *Conn) Turn(p []byte) (n int, err error) {
	if !c.looks() {
		return c.Write(p)
	}
	k := c.peek
	k.out, k.written, k.writeErr, k.strict = p, -1, nil, c.used
	err = k.raw.Read(k.turn)
	k.out = nil
	n = max(k.written, 0)
	c.sent.Add(int64(n))
	switch {
	case k.writeErr != nil:
		return n, k.writeErr
	case n < len(p) && k.written >= 0: // the socket's buffer is full
		m, werr := c.Write(p[n:])
		return n + m, werr
	}
	return n, err
}

// turnStep is run twice by RawConn.Read: it writes, asks to wait for
// readability, and is done. The poller was made ready before the write, so
// the answer cannot be missed. What came before that, the poller has forgotten:
// a backend that has closed its side alone, and waits for us to close ours, would
// never be heard of again. So the socket is looked at first.
func (k *peeker) turnStep(fd uintptr) bool {
	if k.written >= 0 {
		return true
	}
	k.look1(fd)
	switch {
	case k.result == peekClosed:
		k.written, k.writeErr = 0, syscall.EPIPE
		return true
	case k.result == peekData && k.strict:
		k.written, k.writeErr = 0, errUnasked
		return true
	}
	for {
		n, err := syscall.Write(int(fd), k.out)
		switch err {
		case syscall.EINTR:
			continue
		case nil:
			k.written = n
		case syscall.EAGAIN:
			k.written = 0
		default:
			k.written, k.writeErr = 0, err
		}
		return k.written < len(k.out) || k.result == peekData
	}
}
