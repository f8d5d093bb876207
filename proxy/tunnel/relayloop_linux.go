package tunnel

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// loops are the goroutines that wait for the sockets of a registry's tunnels.
// The registry's lock guards them. They are there as long as tunnels are.
type loops struct {
	list []*loop
	next int
}

// take returns the loop for another tunnel, or nil if there can be none.
func (ls *loops) take() *loop {
	if want := (runtime.GOMAXPROCS(0) + 1) / 2; len(ls.list) < want {
		l, err := newLoop()
		if err == nil {
			ls.list = append(ls.list, l)
			return l
		}
	}
	if len(ls.list) == 0 {
		return nil
	}
	ls.next++
	return ls.list[ls.next%len(ls.list)]
}

func (ls *loops) close() {
	for _, l := range ls.list {
		l.stop()
	}
	ls.list = nil
}

// loop waits for many sockets at once and moves what they have to say, so that
// an idle tunnel has neither a goroutine nor a buffer, and a busy one costs no
// switch between goroutines for each message.
//
//	epoll ─► socket ─► socketPair.handle: read, write
//
// It waits in the system and not in the runtime's poller, which would have to
// be asked for each message as well.
type loop struct {
	epoll int
	wake  int // an eventfd: there is something to read when the loop is to end

	mu      sync.Mutex // guards sockets
	sockets []*socket  // by descriptor

	// What follows is the goroutine's own.
	events [64]syscall.EpollEvent
	ready  [64]*socket
	n      int
	buf    *relayBuffer
	pipes  []pipe
}

func newLoop() (*loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC, 0)
	if errno != 0 {
		_ = syscall.Close(epoll)
		return nil, os.NewSyscallError("eventfd2", errno)
	}
	l := &loop{epoll: epoll, wake: int(wake)}
	if err := l.control(syscall.EPOLL_CTL_ADD, l.wake, syscall.EPOLLIN); err != nil {
		l.free()
		return nil, err
	}
	go l.run()
	return l, nil
}

// stop ends the loop when no tunnel needs it any more.
func (l *loop) stop() {
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1} // more than zero in either byte order
	_, _ = syscall.Write(l.wake, one[:])
}

func (l *loop) free() {
	_ = syscall.Close(l.epoll)
	_ = syscall.Close(l.wake)
	for _, p := range l.pipes {
		p.close()
	}
}

// add has the loop wait for what a socket has to read.
func (l *loop) add(s *socket) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.sockets) <= s.fd {
		l.sockets = append(l.sockets, nil)
	}
	l.sockets[s.fd] = s
	return l.control(syscall.EPOLL_CTL_ADD, s.fd, s.armed)
}

func (l *loop) control(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(l.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)}))
}

// forget is told that a descriptor is about to be closed.
func (l *loop) forget(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.fd < len(l.sockets) && l.sockets[s.fd] == s {
		l.sockets[s.fd] = nil
	}
}

func (l *loop) run() {
	defer l.free()
	l.buf = relayBuffers.Get().(*relayBuffer)
	defer func() { relayBuffers.Put(l.buf) }()
	for {
		n, err := syscall.EpollWait(l.epoll, l.events[:], -1)
		if err != nil { // interrupted
			continue
		}
		l.n = n
		l.lookUp()
		for i := range n {
			s := l.ready[i]
			if s == nil {
				if int(l.events[i].Fd) == l.wake {
					return
				}
				continue
			}
			l.ready[i] = nil
			s.pair.handle(s, l.events[i].Events)
		}
	}
}

// lookUp finds the sockets of the events. One may be closed by now, and its
// descriptor be that of another: that one is then looked at in vain.
func (l *loop) lookUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.n {
		if fd := int(l.events[i].Fd); fd < len(l.sockets) {
			l.ready[i] = l.sockets[fd]
		}
	}
}

// pipe is where bytes stand that are moved inside the kernel.
type pipe struct{ r, w int }

// takePipe returns a pipe, or false if the system has none to give.
func (l *loop) takePipe() (pipe, bool) {
	if n := len(l.pipes); n > 0 {
		p := l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		return p, true
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return pipe{}, false
	}
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fds[1]), syscall.F_SETPIPE_SZ, spliceSize) // fewer steps, if it is granted
	return pipe{fds[0], fds[1]}, true
}

// sparePipes are kept for the next that need one.
const sparePipes = 4

// givePipe takes back a pipe that is empty.
func (l *loop) givePipe(p pipe) {
	if len(l.pipes) < sparePipes {
		l.pipes = append(l.pipes, p)
		return
	}
	p.close()
}

func (p pipe) close() {
	_ = syscall.Close(p.r)
	_ = syscall.Close(p.w)
}

// goneBy reports whether events of a socket say that the other side neither
// speaks nor hears, with the error if it was a reset. A socket that was shut down
// on this side is closed both ways by an end of the other.
func goneBy(fd int, events uint32, shut bool) (bool, error) {
	if events&syscall.EPOLLERR != 0 {
		if errno, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR); errno != 0 {
			return true, os.NewSyscallError("read", syscall.Errno(errno))
		}
	}
	return events&syscall.EPOLLHUP != 0 && !shut, nil
}

// inspect looks at a socket that nobody reads from now: whether the other side
// has ended behind what it has sent, and whether it is gone.
func inspect(c syscall.Conn, shut bool) (ended, gone bool, err error) {
	raw, rerr := c.SyscallConn()
	if rerr != nil {
		return false, false, nil // closed here
	}
	_ = raw.Control(func(fd uintptr) {
		epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			return
		}
		defer syscall.Close(epoll)
		events := []syscall.EpollEvent{{Events: syscall.EPOLLRDHUP}}
		if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &events[0]); err != nil {
			return
		}
		if n, err := syscall.EpollWait(epoll, events, 0); n != 1 || err != nil {
			return
		}
		ended = true
		gone, rerr = goneBy(int(fd), events[0].Events, shut)
	})
	return ended, gone, rerr
}
