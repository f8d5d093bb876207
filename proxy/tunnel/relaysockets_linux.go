package tunnel

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// socketPair is the two sockets of a tunnel that a loop waits for.
type socketPair struct {
	relay *relay
	loop  *loop

	mu              sync.Mutex // guards what follows
	client, backend socket
	up, down        flow
	closed          bool
	over            bool  // to be ended, with cause
	cause           error //
}

// socket is one of them: a descriptor of our own, since that of the net.Conn is
// woken by the runtime for each byte.
type socket struct {
	pair    *socketPair
	fd      int
	armed   uint32 // what epoll tells of it
	deaf    bool   // it tells nothing, for it would never stop
	ended   bool   // its end has come, and stands behind what is stuck
	in, out *flow  // of what comes from it, and of what goes to it
}

// flow is one direction.
//
//	reading ──socket full──► stuck ──written──► reading
//	reading ──end, or dst takes no more──► over
//	stuck ──src reset──► over, 5 s later at the latest
type flow struct {
	d        *direction
	src, dst *socket
	pending  []byte       // read, and not written: stuck
	lent     *relayBuffer // holds pending; nil if that is memory of its own
	pipe     pipe
	piped    int  // bytes in the pipe: stuck as well
	splices  bool // has a pipe
	busy     bool // the last read had as much as could be
	over     bool // nothing is read any more
}

func (f *flow) stuck() bool { return len(f.pending) > 0 || f.piped > 0 }

// startSockets lets a loop move the bytes, if both ends are bare sockets.
func (r *relay) startSockets(client, backend io.ReadWriteCloser, clientData, backendData []byte) bool {
	if !isSocket(client) || !isSocket(backend) {
		return false
	}
	l := r.tunnels.loops.take()
	if l == nil {
		return false
	}
	c, err := duplicate(client)
	if err != nil {
		return false
	}
	b, err := duplicate(backend)
	if err != nil {
		_ = syscall.Close(c)
		return false
	}
	p := &socketPair{relay: r, loop: l}
	p.up = flow{d: &r.up, src: &p.client, dst: &p.backend}
	p.down = flow{d: &r.down, src: &p.backend, dst: &p.client}
	p.client = socket{pair: p, fd: c, armed: syscall.EPOLLIN, in: &p.up, out: &p.down}
	p.backend = socket{pair: p, fd: b, armed: syscall.EPOLLIN, in: &p.down, out: &p.up}
	p.mu.Lock()
	r.sockets = p
	_ = client.Close() // the descriptor, that is: the connection lives on by ours
	_ = backend.Close()
	p.early(&p.up, clientData)
	p.early(&p.down, backendData)
	for _, s := range []*socket{&p.client, &p.backend} {
		if err := l.add(s); err != nil {
			p.fail(err)
		}
	}
	p.leave()
	return true
}

func isSocket(c any) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// duplicate returns a second descriptor of a connection.
func duplicate(c any) (fd int, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(old uintptr) {
		var n uintptr
		var errno syscall.Errno
		n, _, errno = syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int(n); errno != 0 {
			err = os.NewSyscallError("fcntl", errno)
		}
	})
	if cerr != nil {
		return 0, cerr
	}
	return fd, err
}

// early passes on what was read before the tunnel was one.
func (p *socketPair) early(f *flow, b []byte) {
	if len(b) > 0 {
		p.pass(f, b, nil)
	}
}

// leave unlocks, after the loop was told what to wait for, and ends the tunnel
// if that is due.
func (p *socketPair) leave() {
	if !p.closed && !p.over {
		p.arm(&p.client)
		p.arm(&p.backend)
	}
	over, cause := p.over && !p.closed, p.cause
	p.mu.Unlock()
	if over {
		p.relay.end(cause)
	}
}

// fail has the tunnel ended when the lock is released.
func (p *socketPair) fail(cause error) {
	if !p.over {
		p.over, p.cause = true, cause
	}
}

// arm tells epoll what to wait for, if that has changed.
func (p *socketPair) arm(s *socket) {
	var want uint32
	switch {
	case s.in.over:
	case !s.in.stuck():
		want |= syscall.EPOLLIN
	case !s.ended:
		want |= syscall.EPOLLRDHUP
	}
	if s.out.stuck() {
		want |= syscall.EPOLLOUT
	}
	if s.deaf || want == s.armed {
		return
	}
	s.armed = want
	if err := p.loop.control(syscall.EPOLL_CTL_MOD, s.fd, want); err != nil {
		p.fail(err)
	}
}

// handle is called by the loop when something has happened to a socket.
func (p *socketPair) handle(s *socket, events uint32) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	const broken = syscall.EPOLLERR | syscall.EPOLLHUP
	if events&(syscall.EPOLLOUT|broken) != 0 && s.out.stuck() {
		p.flush(s.out)
	}
	if events&(syscall.EPOLLIN|broken) != 0 {
		p.pump(s.in)
	}
	if events&broken != 0 && !s.deaf {
		p.deafen(s)
	}
	if events&(syscall.EPOLLRDHUP|broken) != 0 && s.in.stuck() && !p.over {
		p.endsBehind(s, events)
	}
	p.leave()
}

// deafen stops epoll from telling again and again that a socket is closed both
// ways, while the other one is still to get what came from it.
func (p *socketPair) deafen(s *socket) {
	s.deaf = true
	_ = p.loop.control(syscall.EPOLL_CTL_DEL, s.fd, 0)
	p.drain(s)
}

// drain reads the rest of a socket that epoll tells nothing of.
func (p *socketPair) drain(s *socket) {
	for s.deaf && !p.over && !s.in.over && !s.in.stuck() {
		p.pump(s.in)
	}
	if s.deaf && !p.over && s.in.over && !s.out.over {
		p.unheard(s)
	}
}

// unheard is what becomes of a tunnel one side of which has ended and then
// closed the other direction as well: nobody hears what is still to come.
func (p *socketPair) unheard(s *socket) {
	if errno, _ := syscall.GetsockoptInt(s.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); errno != 0 {
		p.fail(os.NewSyscallError("write", syscall.Errno(errno)))
		return
	}
	p.relay.goWithin(nil, lastWords)
}

// endsBehind is what becomes of a tunnel one side of which has ended, or is gone
// altogether, while what came from it is stuck: the other side must not keep it
// by not reading.
func (p *socketPair) endsBehind(s *socket, events uint32) {
	if !s.ended {
		s.ended = true
		p.relay.endBehind()
	}
	if gone, err := goneBy(s.fd, events, s.out.over); gone {
		s.out.over = true
		p.discard(s.out)
		p.relay.goWithin(err, lastWords)
	}
}

// pumps is how often a busy flow may read before others have their turn.
const pumps = 4

// pump reads what is there and passes it on.
func (p *socketPair) pump(f *flow) {
	for range pumps {
		if p.over || f.over || f.stuck() {
			return
		}
		if f.busy && p.splice(f) {
			continue
		}
		buf := p.loop.buf
		n, err := receive(f.src.fd, buf[:])
		switch {
		case err == syscall.EAGAIN:
			p.undeafen(f.src)
			return
		case err != nil:
			p.fail(os.NewSyscallError("read", err))
			return
		case n == 0:
			p.finish(f)
			return
		}
		p.pass(f, buf[:n], buf)
		if f.busy = n == len(buf); !f.busy {
			return
		}
	}
}

// undeafen lets epoll tell of a socket again that was not closed after all, but
// had an error that it has told.
func (p *socketPair) undeafen(s *socket) {
	if s.deaf {
		s.deaf, s.armed = false, syscall.EPOLLIN
		if err := p.loop.control(syscall.EPOLL_CTL_ADD, s.fd, s.armed); err != nil {
			p.fail(err)
		}
	}
}

// pass writes b, which is part of lent unless that is nil. What cannot be
// written now is kept, and lent with it.
func (p *socketPair) pass(f *flow, b []byte, lent *relayBuffer) {
	passes, last := f.d.follow(b)
	n := p.write(f, passes)
	if f.over {
		return
	}
	if n < len(passes) {
		f.pending = passes[n:]
		if lent == nil {
			f.pending = append([]byte(nil), f.pending...)
		} else {
			f.lent = lent
			p.loop.buf = relayBuffers.Get().(*relayBuffer)
		}
	}
	if last || f.d.wanted.Load() {
		p.sayAfter(f, last)
	}
}

// write writes what the socket takes of b, and returns how much that was.
func (p *socketPair) write(f *flow, b []byte) int {
	if len(b) == 0 {
		return 0
	}
	n, err := send(f.dst.fd, b)
	if err == syscall.EAGAIN {
		return 0
	}
	if err != nil {
		p.dead(f, os.NewSyscallError("write", err))
		return 0
	}
	f.d.count.Add(int64(n))
	return n
}

// dead is what becomes of a flow whose destination takes nothing any more.
func (p *socketPair) dead(f *flow, err error) {
	f.over = true
	p.discard(f)
	if p.up.over && p.down.over {
		p.fail(err)
		return
	}
	p.relay.writeFailed(err)
}

// flush writes what is stuck.
func (p *socketPair) flush(f *flow) {
	if f.piped > 0 && !p.drainPipe(f) {
		return
	}
	n := p.write(f, f.pending)
	if f.over {
		return
	}
	if f.pending = f.pending[n:]; len(f.pending) > 0 {
		return
	}
	f.pending = nil
	if f.lent != nil {
		relayBuffers.Put(f.lent)
		f.lent = nil
	}
	if f.d.wanted.Load() {
		p.sayAfter(f, false)
	}
	p.drain(f.src)
}

// finish is the end of what one side has to say.
func (p *socketPair) finish(f *flow) {
	f.over = true
	p.discard(f)
	if p.relay.tn.NoHalfClose || p.up.over && p.down.over {
		p.fail(nil)
		return
	}
	if err := syscall.Shutdown(f.dst.fd, syscall.SHUT_WR); err != nil && err != syscall.ENOTCONN {
		p.fail(os.NewSyscallError("shutdown", err))
	}
	p.relay.goWithin(nil, p.relay.tn.HalfCloseTimeout)
}

// discard gives back what a flow holds. The pipe may have bytes in it.
func (p *socketPair) discard(f *flow) {
	if f.lent != nil {
		relayBuffers.Put(f.lent)
	}
	if f.splices {
		f.pipe.close()
	}
	f.pending, f.lent, f.piped, f.splices = nil, nil, 0, false
}

// say writes the farewell of a direction, if it can be written now.
func (p *socketPair) say(d *direction) {
	p.mu.Lock()
	f := &p.up
	if d == p.down.d {
		f = &p.down
	}
	if !p.closed && !p.over {
		p.sayAfter(f, false)
	}
	p.leave()
}

// sayAfter writes the farewell behind what is pending, if no message is cut by
// it, or if the caller knows that none is.
func (p *socketPair) sayAfter(f *flow, known bool) {
	if f.piped > 0 || f.over || !known && !f.d.ready() {
		return
	}
	f.d.said = true
	if len(f.pending) > 0 {
		f.pending = append(append([]byte(nil), f.pending...), f.d.farewell.Bytes...)
		if f.lent != nil {
			relayBuffers.Put(f.lent)
			f.lent = nil
		}
		return
	}
	if n := p.write(f, f.d.farewell.Bytes); n < len(f.d.farewell.Bytes) && !f.over {
		f.pending = f.d.farewell.Bytes[n:]
	}
}

// close closes both sockets. The relay calls it once.
func (p *socketPair) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed, p.over = true, true
	p.discard(&p.up)
	p.discard(&p.down)
	for _, s := range []*socket{&p.client, &p.backend} {
		p.loop.forget(s)
		if !s.deaf { // or epoll would go on as long as somebody else has the socket open
			_ = p.loop.control(syscall.EPOLL_CTL_DEL, s.fd, 0)
		}
		_ = syscall.Close(s.fd)
	}
}

func receive(fd int, b []byte) (n int, err error) {
	for {
		if n, err = syscall.Read(fd, b); err != syscall.EINTR {
			return n, err
		}
	}
}

func send(fd int, b []byte) (n int, err error) {
	for {
		if n, err = syscall.Write(fd, b); err != syscall.EINTR {
			return n, err
		}
	}
}
