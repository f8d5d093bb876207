package exchange

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimit(t *testing.T) {
	for field, want := range map[int]int{0: 7, 1: 1, -1: math.MaxInt / 2, math.MinInt: math.MaxInt / 2, math.MaxInt: math.MaxInt / 2} {
		require.Equal(t, want, Limit(field, 7), field)
		require.EqualValues(t, want, Limit(int64(field), 7), field)
		require.Positive(t, Limit(field, 7)+1<<20)
	}
}
