package parsertest

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// An Input makes the worst input of n bytes for a parser, and returns the work
// of parsing it once. What the Input itself does is not measured; the work is
// called many times. Where n bytes are too few to tell, or too many to wait
// for, an Input takes a multiple or a part of n: only that the work of Input(4n)
// has four times as much to do is asked of it.
type Input func(n int) (work func())

const (
	size     = 8 << 10              // n
	growth   = 4                    // work is measured at n and at growth*n,
	limit    = 2 * growth           // and may grow so much: linear is 4, quadratic 16
	sample   = time.Millisecond / 2 // work is repeated until so much time is spent
	patience = 4 * time.Second      // other load of the machine may last so long,
	attempts = 3                    // and there are so many attempts at least
	tooMuch  = 2 * time.Second      // for one run of the larger input: no need to look again
	enough   = 1 << 30              // bytes of memory that may lie about
)

// Linear fails for each input whose work grows faster than its length.
//
// It looks at the CPU time of the process, so that other processes do not
// matter, and at the best of many runs; but no other test may run beside it.
func Linear(t *testing.T, inputs map[string]Input) {
	t.Helper()
	// A collection would be seen in each run of the larger input, and in few of the
	// smaller.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(enough))
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			small, large := measure(input)
			if large > limit*small {
				t.Fatalf("%d bytes take %v, %d take %v: %.1f times as long", size, small, growth*size, large, float64(large)/float64(small))
			}
			t.Logf("%d bytes take %v, %d take %v", size, small, growth*size, large)
		})
	}
}

// measure returns the least that the work of n bytes, and of four times as
// many, takes. It takes its time only if that looks bad.
func measure(input Input) (small, large time.Duration) {
	less, more := input(size), input(growth*size)
	less() // what is made once, and the caches
	small, large = math.MaxInt64, math.MaxInt64
	for begin, i := time.Now(), 0; i < attempts || time.Since(begin) < patience; i++ {
		runtime.GC()
		small = min(small, timeOf(less))
		large = min(large, timeOf(more))
		if large <= limit*small || large > tooMuch {
			break
		}
	}
	return small, large
}

// timeOf returns the CPU time that work takes.
func timeOf(work func()) time.Duration {
	for runs := 1; ; runs *= 2 {
		begin := cpuTime()
		for range runs {
			work()
		}
		if spent := cpuTime() - begin; spent >= sample {
			return spent / time.Duration(runs)
		}
	}
}
