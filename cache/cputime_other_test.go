//go:build !linux

package cache

import "time"

var begun = time.Now()

// threadTime is the wall clock where there is nothing better.
func threadTime() time.Duration { return time.Since(begun) }
