//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package disk

import (
	"os"
	"syscall"
)

// Locks of files, which end with the process that holds them, however it ends.
const (
	lockShared    = syscall.LOCK_SH
	lockExclusive = syscall.LOCK_EX
	lockNone      = syscall.LOCK_UN
	hasLocks      = true
)

// lockFile changes this process's lock of a file, and reports whether it could at
// once.
func lockFile(f *os.File, kind int) bool {
	return syscall.Flock(int(f.Fd()), kind|syscall.LOCK_NB) == nil
}
