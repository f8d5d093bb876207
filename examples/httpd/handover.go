package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The environment of a process that takes another one's place: the addresses of
// the listeners that it inherits, from descriptor 3 on, and the descriptor on
// which it says that it is ready.
const (
	listenersVariable = "MODPROXY_LISTENERS"
	readyVariable     = "MODPROXY_READY"
)

// successorLimit is how long a new process may take until it is ready.
const successorLimit = time.Minute

// handover opens listeners, takes those that are inherited, from systemd or from
// the process before, and passes all of them on to the next one.
type handover struct {
	mu        sync.Mutex // guards the rest
	inherited map[string]*os.File
	open      map[string]*net.TCPListener
	ready     *os.File // nil without a process before
}

// newHandover takes what is inherited out of the environment.
func newHandover() (*handover, error) {
	h := &handover{inherited: make(map[string]*os.File), open: make(map[string]*net.TCPListener)}
	var addresses []string
	switch pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID")); {
	case os.Getenv(listenersVariable) != "":
		addresses = strings.Fields(os.Getenv(listenersVariable))
		fd, err := strconv.Atoi(os.Getenv(readyVariable))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", readyVariable, err)
		}
		syscall.CloseOnExec(fd)
		h.ready = os.NewFile(uintptr(fd), "ready")
	case pid == os.Getpid():
		n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
		if err != nil {
			return nil, fmt.Errorf("LISTEN_FDS: %w", err)
		}
		addresses = make([]string, n) // the sockets know
	}
	for i, address := range addresses {
		fd := 3 + i
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "listener")
		if address == "" {
			l, err := net.FileListener(f)
			if err != nil {
				return nil, fmt.Errorf("LISTEN_FDS: descriptor %d: %w", fd, err)
			}
			address = l.Addr().String()
			_ = l.Close() // a copy
		}
		h.inherited[plain(address)] = f
	}
	for _, name := range []string{listenersVariable, readyVariable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name) // not for programs that this one starts
	}
	return h, nil
}

// plain writes all addresses of a machine in one way.
func plain(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return ":" + port
	}
	return address
}

// listen is net.Listen, but for what is inherited.
func (h *handover) listen(network, address string) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var l net.Listener
	var err error
	if f := h.inherited[plain(address)]; f != nil {
		delete(h.inherited, plain(address))
		l, err = net.FileListener(f)
		_ = f.Close()
	} else {
		l, err = net.Listen(network, address)
	}
	if err != nil {
		return nil, err
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("%s is no socket of TCP", address)
	}
	h.open[address] = t
	return &handedListener{TCPListener: t, address: address, by: h}, nil
}

// handedListener is passed on until it is closed.
type handedListener struct {
	*net.TCPListener
	address string
	by      *handover
}

func (l *handedListener) Close() error {
	l.by.mu.Lock()
	defer l.by.mu.Unlock()
	if l.by.open[l.address] == l.TCPListener {
		delete(l.by.open, l.address)
	}
	return l.TCPListener.Close()
}

// serving tells the process before that its time is over, and closes what was
// inherited and is not listened on any more.
func (h *handover) serving() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for address, f := range h.inherited {
		_ = f.Close()
		delete(h.inherited, address)
	}
	if h.ready != nil {
		_, _ = h.ready.Write([]byte{1})
		_ = h.ready.Close()
		h.ready = nil
	}
}

// replace starts the program anew, as it now is on disk, and returns once that
// listens. An error leaves all as it was.
func (h *handover) replace(args []string) error {
	name, err := os.Executable()
	if err != nil {
		return err
	}
	said, ready, err := os.Pipe()
	if err != nil {
		return err
	}
	defer said.Close()
	defer ready.Close()
	addresses, files, err := h.copies()
	defer func() {
		for _, fd := range files {
			_ = syscall.Close(int(fd))
		}
	}()
	if err != nil {
		return err
	}
	env := append(os.Environ(), listenersVariable+"="+strings.Join(addresses, " "), readyVariable+"="+strconv.Itoa(3+len(files)))
	inherits := append([]uintptr{0, 1, 2}, files...)
	pid, _, err := syscall.StartProcess(name, append([]string{name}, args...), &syscall.ProcAttr{Env: env, Files: append(inherits, ready.Fd())})
	if err != nil {
		return err
	}
	_ = ready.Close()
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = process.Wait()
		close(ended)
	}()
	_ = said.SetReadDeadline(time.Now().Add(successorLimit))
	if _, err := said.Read(make([]byte, 1)); err != nil {
		_ = process.Kill()
		<-ended
		if errors.Is(err, io.EOF) {
			err = errors.New("the new process has ended before it was ready")
		}
		return err
	}
	return nil
}

// copies returns a descriptor of each listener. Package os would make them wait
// in the kernel, and with them the listeners here: one that is closed would still
// take a connection.
func (h *handover) copies() (addresses []string, files []uintptr, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for address, l := range h.open {
		raw, err := l.SyscallConn()
		if err != nil {
			return nil, files, err
		}
		var n int
		var failed error
		if err := raw.Control(func(fd uintptr) { n, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
			return nil, files, err
		}
		if failed != nil {
			return nil, files, failed
		}
		addresses, files = append(addresses, address), append(files, uintptr(n))
	}
	return addresses, files, nil
}
