//go:build !linux

package main

import (
	"errors"
	"time"
)

// cpuTime needs /proc.
func cpuTime(int) (time.Duration, error) {
	return 0, errors.New("the CPU time of a process can be measured on Linux only")
}

// residentBytes needs it as well.
func residentBytes(int) (int64, error) {
	return 0, errors.New("the memory of a process can be measured on Linux only")
}
