package parsertest

import (
	"bytes"
	"testing"

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
	small, large := measure(func(n int) func() {
		one := count(n / 4)
		return func() {
			for range n / 4 {
				one()
			}
		}
	})
	require.Greater(t, large, limit*small, "work for each byte over all bytes")
}

var sink int

func fill(n int) {
	m := make(map[int]bool)
	for i := range n / 8 {
		m[i] = true
	}
	sink = len(m)
}
