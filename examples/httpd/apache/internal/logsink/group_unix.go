//go:build unix

package logsink

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps signals of a terminal away from a program, since the last lines are
// still to come, and lets those that it has started end with it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
