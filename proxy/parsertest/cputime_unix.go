//go:build unix

package parsertest

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic("parsertest: " + err.Error())
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
