package programs

import (
	"os"
	"syscall"
)

// ownGroup puts a program into a process group of its own, and asks the system
// to end it should this process die. That follows the thread that started it,
// which the Go runtime keeps.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// signalGroup sends a signal to a program and its children, also those that
// outlived it.
func signalGroup(p *os.Process, s syscall.Signal) { _ = syscall.Kill(-p.Pid, s) }
