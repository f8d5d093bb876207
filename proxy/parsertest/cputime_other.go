//go:build !unix

package parsertest

import "time"

var start = time.Now()

// cpuTime is the time that has passed: the best that there is here.
func cpuTime() time.Duration { return time.Since(start) }
