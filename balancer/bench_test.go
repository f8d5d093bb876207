package balancer

import (
	"fmt"
	"net/http"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func benchBalancer(b *testing.B, n int) (*Balancer, *http.Request) {
	_, list := fakes(n)
	for i := range list {
		list[i].LoadFactor = float64(1 + i%3)
	}
	return newTest(b, Config{}, list...), get(b, "balancer://x/")
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		bal, r := benchBalancer(b, n)
		pick := func() {
			v := bal.view.Load()
			if _, err := bal.choose(v, r, v.session(r), nil, true); err != nil {
				b.Error(err)
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				pick()
			}
		})
		b.Run(fmt.Sprintf("%d/parallel", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					pick()
				}
			})
		})
	}
}

// BenchmarkPickUnwell is the way around one member in the error state.
func BenchmarkPickUnwell(b *testing.B) {
	bal, r := benchBalancer(b, 10)
	bal.Members()[3].MarkError(errEjected)
	b.ReportAllocs()
	for b.Loop() {
		v := bal.view.Load()
		_, _ = bal.choose(v, r, v.session(r), nil, true)
	}
}

func BenchmarkMethods(b *testing.B) {
	for _, name := range []string{"byrequests", "bytraffic", "bybusyness", "heartbeat", "random2", "first", "leasttime", "hash"} {
		b.Run(name, func(b *testing.B) {
			bal, r := benchBalancer(b, 10)
			r.RemoteAddr = "192.0.2.1:1234"
			m, err := MethodByName(name)
			require.NoError(b, err)
			bal.SetMethod(m)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = bal.Choose(r)
			}
		})
	}
}

// BenchmarkRoundTrip is what a balancer adds to a request.
func BenchmarkRoundTrip(b *testing.B) {
	_, list := fakes(3)
	resp := answer(nil, http.StatusOK, "")
	resp.Body = http.NoBody
	for i := range list {
		list[i].RoundTripper = constant{resp}
	}
	bal := newTest(b, Config{}, list...)
	r := get(b, "balancer://x/")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bal.RoundTrip(r); err != nil {
			b.Fatal(err)
		}
	}
}

type constant struct{ resp *http.Response }

func (c constant) RoundTrip(r *http.Request) (*http.Response, error) { return c.resp, nil }

func TestPickAllocatesNothing(t *testing.T) {
	_, list := fakes(10)
	b := newTest(t, Config{}, list...)
	r := get(t, "balancer://x/")
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = b.Choose(r) }))
}

// TestMemberSize: the allocator's next size is 1024 bytes, and members so far
// apart lie in few sets of a CPU's cache, so that going round 1000 of them takes
// 1.3 times as long.
func TestMemberSize(t *testing.T) {
	const header = 8 // of an object that holds pointers
	require.LessOrEqual(t, unsafe.Sizeof(Member{})+header, uintptr(896))
}
