package parsertest

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLinear: the measure itself tells linear from quadratic.
func TestLinear(t *testing.T) {
	count := func(n int) func() {
		input := bytes.Repeat([]byte{','}, n)
		return func() { sink = bytes.Count(input, []byte{'.'}) }
	}
	Linear(t, map[string]Input{
		"count":  count,
		"copy":   func(n int) func() { return func() { _ = bytes.Clone(make([]byte, n)) } },
		"insert": func(n int) func() { return func() { fill(n) } },
	})
	quadratic := func(n int) func() {
		input := make([]byte, n/8)
		return func() {
			for range input {
				for _, c := range input {
					sink += int(c)
				}
			}
		}
	}
	// One noisy look is enough to be lenient, so there are some.
	require.Eventually(t, func() bool {
		small, large := measure(quadratic)
		return large > limit*small
	}, time.Minute, time.Millisecond, "work for each byte over all bytes")
}

var sink int

func fill(n int) {
	m := make(map[int]bool)
	for i := range n / 8 {
		m[i] = true
	}
	sink = len(m)
}
