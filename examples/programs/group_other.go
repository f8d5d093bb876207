//go:build !linux

package programs

import (
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

// signalGroup sends a signal to a program, which ends its children itself.
func signalGroup(p *os.Process, s syscall.Signal) {
	if p.Signal(s) != nil {
		_ = p.Kill() // a system without signals
	}
}
