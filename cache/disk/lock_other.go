//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package disk

import "os"

// Without locks one cannot tell whether a writer lives; age must do.
const (
	lockShared = iota
	lockExclusive
	lockNone
	hasLocks = false
)

func lockFile(*os.File, int) bool { return false }
