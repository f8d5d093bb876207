package balancer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vectors were seen on Apache httpd 2.4 with lbmethod=byrequests.
var vectors = []struct {
	factors  []float64
	sequence string
}{
	{[]float64{1, 1, 1}, "a b c"},
	{[]float64{3, 2, 1}, "a b a c b a"},
	{[]float64{1, 1, 1, 2}, "d a b c d"},
	{[]float64{5, 1}, "a a a b a a"},
	{[]float64{2, 2, 1}, "a b c a b"},
	{[]float64{1, 2}, "b a b"},
	{[]float64{7, 3}, "a b a a a b a a b a"},
}

func TestByRequestsVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(fmt.Sprint(v.factors), func(t *testing.T) {
			_, list := fakes(len(v.factors))
			for i, f := range v.factors {
				list[i].LoadFactor = f
			}
			b := newTest(t, Config{}, list...)
			var got []string
			for range 3 * len(strings.Fields(v.sequence)) {
				got = append(got, send(t, b))
			}
			require.Equal(t, strings.Repeat(v.sequence+" ", 3), strings.Join(got, " ")+" ")
		})
	}
}

func TestByRequestsFractions(t *testing.T) {
	_, list := fakes(2)
	list[0].LoadFactor, list[1].LoadFactor = 1.25, 1
	b := newTest(t, Config{}, list...)
	count := map[string]int{}
	for range 900 {
		count[send(t, b)]++
	}
	require.Equal(t, map[string]int{"a": 500, "b": 400}, count)
}

func TestRandomStartScatters(t *testing.T) {
	first := map[string]bool{}
	for range 200 {
		_, list := fakes(4)
		b := newTest(t, Config{Method: &ByRequests{RandomStart: true}}, list...)
		first[send(t, b)] = true
	}
	require.Len(t, first, 4)
}

func TestReturnedMemberGetsNoBurst(t *testing.T) {
	_, list := fakes(3)
	method := &ByRequests{}
	b := newTest(t, Config{Method: method}, list...)
	for range 10 {
		send(t, b)
	}
	c := b.Member("c")
	c.SetFlags(Disabled, 0)
	for range 1000 {
		require.NotEqual(t, "c", send(t, b))
	}
	c.SetFlags(0, Disabled)
	got := ""
	for range 9 {
		got += send(t, b)
	}
	require.Equal(t, 3, strings.Count(got, "c"), got)
	require.NotContains(t, got, "cc")
	b.Stats()
	require.LessOrEqual(t, method.Load(c), int64(300))
}

// TestStatusOfAReturnedMemberIsClamped: whatever its status was when it left.
func TestStatusOfAReturnedMemberIsClamped(t *testing.T) {
	_, list := fakes(3)
	b := newTest(t, Config{}, list...)
	ms := b.Members()
	for _, status := range []int64{100_000, -100_000} {
		var ro rotation
		ro.next(ms[:2], nil)
		ro.rest = map[*Member]int64{ms[2]: status}
		got := ""
		for range 9 {
			got += ro.next(ms, nil).Name()
		}
		require.Equal(t, 3, strings.Count(got, "c"), got)
	}
}
