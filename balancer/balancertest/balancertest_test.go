package balancertest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/balancer/balancertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBuiltIn(t *testing.T) {
	for name, claims := range map[string]balancertest.Claims{
		"byrequests": {Weighted: true, Spreads: true, Tolerance: 0.001, Picks: 9000},
		"bybusyness": {Weighted: true, Spreads: true, Tolerance: 0.001, Picks: 9000},
		"heartbeat":  {Weighted: true, Spreads: true, Tolerance: 0.001, Picks: 9000},
		"random2":    {Weighted: true, Spreads: true},
		"hash":       {Weighted: true, Spreads: true},
		"leasttime":  {Spreads: true, Picks: 9000},
		"bytraffic":  {},
		"first":      {},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, balancertest.TestMethod(func() balancer.Method {
				m, err := balancer.MethodByName(name)
				require.NoError(t, err)
				return m
			}, claims))
		})
	}
}

// TestDistribution prints each method's error against its weights.
func TestDistribution(t *testing.T) {
	const picks = 1_000_000
	factors := []float64{1, 2, 3, 4, 10}
	r := &http.Request{Header: http.Header{}}
	keyed := false
	request := func(n int) *http.Request {
		if !keyed {
			return r
		}
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", n>>16, n>>8&255, n&255)
		return r
	}
	for name, limit := range map[string]float64{
		"byrequests": 0, "bybusyness": 0, "heartbeat": 0, "random2": 0.02, "hash": 0.02,
	} {
		m, err := balancer.MethodByName(name)
		require.NoError(t, err)
		keyed = name == "hash"
		e := balancertest.Errors(m, picks, request, factors...)
		t.Logf("%-10s factors %v, %d picks: greatest error of a share %.4f %%", name, factors, picks, 100*e)
		require.LessOrEqual(t, e, limit, name)
	}
}

type badMethod func([]*balancer.Member) *balancer.Member

func (b badMethod) Pick(_ *http.Request, usable []*balancer.Member) *balancer.Member {
	return b(usable)
}

// TestFindsFaults shows that the kit sees what it is for.
func TestFindsFaults(t *testing.T) {
	for name, test := range map[string]struct {
		pick   badMethod
		claims balancertest.Claims
		want   string
	}{
		"nil":      {func([]*balancer.Member) *balancer.Member { return nil }, balancertest.Claims{}, "nil of 1 usable"},
		"panic":    {func(u []*balancer.Member) *balancer.Member { return u[1] }, balancertest.Claims{}, "panic"},
		"foreign":  {func([]*balancer.Member) *balancer.Member { return balancertest.Members(1)[0] }, balancertest.Claims{}, "not usable"},
		"changes":  {func(u []*balancer.Member) *balancer.Member { m := u[0]; u[0] = u[len(u)-1]; return m }, balancertest.Claims{}, "was changed"},
		"weights":  {func(u []*balancer.Member) *balancer.Member { return u[0] }, balancertest.Claims{Weighted: true}, "share is wrong"},
		"starving": {func(u []*balancer.Member) *balancer.Member { return u[0] }, balancertest.Claims{Spreads: true}, "gets nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			err := balancertest.TestMethod(func() balancer.Method { return test.pick }, test.claims)
			require.ErrorContains(t, err, test.want)
		})
	}
}
