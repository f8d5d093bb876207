package proxy

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
		_ = l.file.Close() // ends its wait
	}
	ls.list = nil
}

// loop waits for many sockets at once and moves what they have to say, so that
// an idle tunnel has neither a goroutine nor a buffer, and a busy one costs no
// switch between goroutines for each message.
//
//	epoll ─► socket ─► socketPair.handle: read, write
//	  ▲
//	  └── the runtime's poller, in which the goroutine waits for the epoll itself
type loop struct {
	file *os.File // the epoll
	raw  syscall.RawConn

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
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// Without that, the runtime's poller would not take it.
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &loop{file: os.NewFile(uintptr(fd), "epoll")}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		_ = l.file.Close()
		return nil, err
	}
	go l.run()
	return l, nil
}

// add has the loop wait for what a socket has to read.
func (l *loop) add(s *socket) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.sockets) <= s.fd {
		l.sockets = append(l.sockets, nil)
	}
	l.sockets[s.fd] = s
	return l.control(syscall.EPOLL_CTL_ADD, s, s.armed)
}

func (l *loop) control(op int, s *socket, events uint32) (err error) {
	cerr := l.raw.Control(func(epoll uintptr) {
		err = syscall.EpollCtl(int(epoll), op, s.fd, &syscall.EpollEvent{Events: events, Fd: int32(s.fd)})
	})
	if cerr != nil {
		return cerr
	}
	return err
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
	l.buf = relayBuffers.Get().(*relayBuffer)
	for l.raw.Read(l.poll) == nil {
		l.lookUp()
		for i := range l.n {
			if s := l.ready[i]; s != nil {
				l.ready[i] = nil
				s.pair.handle(s, l.events[i].Events)
			}
		}
	}
	relayBuffers.Put(l.buf)
	for _, p := range l.pipes {
		p.close()
	}
}

// poll is run by RawConn.Read until it reports true.
func (l *loop) poll(epoll uintptr) bool {
	n, err := syscall.EpollWait(int(epoll), l.events[:], 0)
	if err != nil { // interrupted
		n = 0
	}
	l.n = n
	return n > 0 || err != nil
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
