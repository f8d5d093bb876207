package balancer

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWeights: what is announced, or asked for, takes the place of load factors.
func TestWeights(t *testing.T) {
	w := &Weighted{}
	_, list := fakes(3)
	list[0].LoadFactor = 2
	b := newTest(t, Config{Method: w}, list...)
	shares := func(n int) string {
		count := make(map[string]int)
		for range n {
			m, err := b.Choose(get(t, "balancer://x/"))
			require.NoError(t, err)
			count[m.Name()]++
		}
		return fmt.Sprint(count)
	}
	require.Equal(t, "map[a:200 b:100 c:100]", shares(400), "without an announcement, load factors")
	w.Set("a", 0)
	w.Set("b", 30)
	w.Set("c", 10)
	shares(100) // what was saved up is spent
	require.Equal(t, "map[b:300 c:100]", shares(400))
	w.Set("b", math.NaN())
	w.Set("c", -1)
	require.Equal(t, "map[a:200 b:100 c:100]", shares(400), "nobody has any weight")
	w.Set("b", 0.5)
	shares(100)
	require.Equal(t, "map[b:400]", shares(400))
	for _, name := range []string{"a", "b", "c"} {
		w.Unset(name)
	}
	shares(100)
	require.Equal(t, "map[a:200 b:100 c:100]", shares(400))
	b.SetMethod(&Weighted{Func: func(m *Member) float64 { return map[string]float64{"a": 1, "c": 3}[m.Name()] }})
	require.Equal(t, "map[a:100 c:300]", shares(400))
}

// TestWeightedForgetsMembers: members that come and go leave nothing behind.
func TestWeightedForgetsMembers(t *testing.T) {
	w := &Weighted{}
	_, list := fakes(1)
	b := newTest(t, Config{Method: w}, list...)
	for n := range 100 {
		name := fmt.Sprint(n)
		_, err := b.Add(MemberConfig{Name: name, URL: "http://" + name + ".example"})
		require.NoError(t, err)
		for range 2 {
			_, err = b.Choose(get(t, "balancer://x/"))
			require.NoError(t, err)
		}
		require.NoError(t, b.Remove(context.Background(), name))
		_, err = b.Choose(get(t, "balancer://x/"))
		require.NoError(t, err)
	}
	require.Less(t, len(w.status), 30)
}
