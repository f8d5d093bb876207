package oxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vulcand/oxy/v2/roundrobin"

	"github.com/modproxy/modproxy/balancer"
)

// sizes are numbers of members.
var sizes = []int{3, 10, 100, 1000}

func newOurs(t testing.TB, n int) *balancer.Balancer {
	var members []balancer.MemberConfig
	for i := range n {
		members = append(members, balancer.MemberConfig{URL: fmt.Sprintf("http://10.0.%d.%d:80", i/250, i%250+1), LoadFactor: float64(1 + i%3)})
	}
	b, err := balancer.New(balancer.Config{Name: "bench"}, members...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func newTheirs(t testing.TB, n int) *roundrobin.RoundRobin {
	rr, err := roundrobin.New(http.NotFoundHandler())
	require.NoError(t, err)
	for i := range n {
		u, err := url.Parse(fmt.Sprintf("http://10.0.%d.%d:80", i/250, i%250+1))
		require.NoError(t, err)
		require.NoError(t, rr.UpsertServer(u, roundrobin.Weight(1+i%3)))
	}
	return rr
}

// BenchmarkChoose is the choice alone: ours looks at sessions, health and flags
// of the members, oxy's has none of these.
func BenchmarkChoose(b *testing.B) {
	r := httptest.NewRequest("GET", "/", nil)
	for _, n := range sizes {
		b.Run(fmt.Sprintf("members=%d/modproxy", n), func(b *testing.B) {
			ours := newOurs(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ours.Choose(r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("members=%d/oxy", n), func(b *testing.B) {
			theirs := newTheirs(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := theirs.NextServer(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestSameShares: both give each member its weight, so that the same work is
// compared.
func TestSameShares(t *testing.T) {
	ours, theirs := newOurs(t, 3), newTheirs(t, 3)
	r := httptest.NewRequest("GET", "/", nil)
	mine, others := make(map[string]int), make(map[string]int)
	for range 600 {
		m, err := ours.Choose(r)
		require.NoError(t, err)
		mine[m.String()]++
		u, err := theirs.NextServer()
		require.NoError(t, err)
		others[u.String()]++
	}
	require.Equal(t, others, mine)
}
