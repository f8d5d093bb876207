package tunnel

import (
	"os"
	"syscall"
)

// spliceSize is how much is moved inside the kernel at a time: what a pipe
// holds at most without privilege.
const spliceSize = 1 << 20

// spliceFlags are SPLICE_F_MOVE and SPLICE_F_NONBLOCK of splice(2).
const spliceFlags = 1 | 2

// splice moves a piece of a busy flow without copying it. It reports whether
// that was possible and the flow may have more.
func (p *socketPair) splice(f *flow) bool {
	if f.d.said {
		return false
	}
	most := f.d.unseen(spliceSize)
	if most < relayBufferSize {
		return false
	}
	if !f.splices {
		if f.pipe, f.splices = p.loop.takePipe(); !f.splices {
			return false
		}
	}
	n, err := splice(f.src.fd, f.pipe.w, int(most))
	if err != nil && err != syscall.EAGAIN && err != syscall.EINVAL { // the socket's: a read would not meet it again
		p.fail(os.NewSyscallError("splice", err))
		return false
	}
	if err != nil || n == 0 {
		// Nothing is there, or it is the end, or the system cannot: a read will
		// tell which.
		f.busy = false
		p.endSplicing(f)
		return false
	}
	f.d.skip(int64(n))
	f.piped = n
	f.busy = n >= relayBufferSize
	p.drainPipe(f)
	return true
}

// drainPipe moves what is in the pipe on, and reports whether that was all.
func (p *socketPair) drainPipe(f *flow) bool {
	for f.piped > 0 {
		n, err := splice(f.pipe.r, f.dst.fd, f.piped)
		if err == syscall.EAGAIN {
			return false
		}
		if err != nil {
			p.dead(f, os.NewSyscallError("splice", err))
			return false
		}
		f.piped -= n
		f.d.count.Add(int64(n))
	}
	if !f.busy {
		p.endSplicing(f)
	}
	if f.d.wanted.Load() {
		p.sayAfter(f, false)
	}
	return true
}

// endSplicing gives the empty pipe back.
func (p *socketPair) endSplicing(f *flow) {
	if f.splices {
		p.loop.givePipe(f.pipe)
		f.splices = false
	}
}

func splice(from, to, most int) (int, error) {
	for {
		n, err := syscall.Splice(from, nil, to, nil, most, spliceFlags)
		if err != syscall.EINTR {
			return int(n), err
		}
	}
}
