package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestStateMachine walks each arrow of the drawing.
func TestStateMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a b")
		var log []string
		b, err := New(Config{OnStateChange: func(m *Member, from, to State, _ error) {
			log = append(log, fmt.Sprintf("%s %s>%s", m.Name(), from, to))
		}}, list...)
		require.NoError(t, err)
		defer b.Close()
		changes := func(want ...string) {
			t.Helper()
			require.Equal(t, want, log)
			log = nil
		}
		fs["a"].down()
		send(t, b)
		changes("a usable>error")
		calls := fs["a"].calls.Load()
		time.Sleep(DefaultRetry - time.Second)
		for range 10 {
			require.Equal(t, "b", send(t, b))
		}
		require.Equal(t, calls, fs["a"].calls.Load(), "left alone until Retry")
		time.Sleep(time.Second)
		for range 10 {
			require.Equal(t, "b", send(t, b), "a failing trial is nobody's trouble")
		}
		changes("a error>trial", "a trial>error")
		require.Equal(t, calls+1, fs["a"].calls.Load())
		fs["a"].up()
		time.Sleep(DefaultRetry)
		got := ""
		for range 4 {
			got += send(t, b)
		}
		require.Contains(t, got, "a")
		changes("a error>trial", "a trial>usable")
	})
}

func TestOneRequestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a b")
		list[0].Retry = time.Second
		b, err := New(Config{Method: First{}}, list...)
		require.NoError(t, err)
		defer b.Close()
		b.Member("a").MarkError(errors.New("test"))
		time.Sleep(time.Second)
		fs["a"].do(func(r *http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Second)
			return answer(r, 200, "a"), nil
		})
		var mu sync.Mutex
		count := map[string]int{}
		var wg sync.WaitGroup
		for range 64 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				name, err := sent(b, get(t, "balancer://x/"))
				if err != nil {
					name = err.Error()
				}
				mu.Lock()
				count[name]++
				mu.Unlock()
			}()
		}
		wg.Wait()
		require.Equal(t, map[string]int{"a": 1, "b": 63}, count)
	})
}

// TestUndecidedTrial: a probe whose client left decides nothing; the next
// request may probe at once.
func TestUndecidedTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a")
		list[0].Retry = time.Second
		b, err := New(Config{NoForceRecovery: true}, list...)
		require.NoError(t, err)
		defer b.Close()
		b.Member("a").MarkError(errors.New("test"))
		time.Sleep(time.Second)
		fs["a"].do(func(*http.Request) (*http.Response, error) {
			return nil, &exchange.Error{Op: exchange.OpClient, Status: 499, Err: exchange.ErrClientGone}
		})
		_, err = sent(b, get(t, "balancer://x/"))
		require.Error(t, err)
		fs["a"].up()
		require.Equal(t, "a", send(t, b))
		st, _ := b.Member("a").State()
		require.Equal(t, StateUsable, st)
	})
}

func TestFlappingMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a b")
		list[0].Retry, list[1].Retry = time.Second, time.Second
		b, err := New(Config{}, list...)
		require.NoError(t, err)
		defer b.Close()
		for i := range 600 {
			if i%3 == 0 {
				fs["a"].down()
			} else {
				fs["a"].up()
			}
			send(t, b) // never an error
			time.Sleep(100 * time.Millisecond)
		}
		require.Greater(t, fs["a"].calls.Load(), int64(30))
	})
}

func TestHangingMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a b")
		b, err := New(Config{FailOnTimeout: true, RetryIdempotent: true}, list...)
		require.NoError(t, err)
		defer b.Close()
		fs["a"].hangs(5 * time.Second)
		start := time.Now()
		require.Equal(t, "b", send(t, b))
		require.Equal(t, 5*time.Second, time.Since(start))
		for range 20 {
			require.Equal(t, "b", send(t, b))
		}
		require.Equal(t, 5*time.Second, time.Since(start), "one request has waited")
	})
}

func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a b c")
		b, err := New(Config{RetryIdempotent: true, Eject: &Ejection{Failures: 3, Time: 10 * time.Second}}, list...)
		require.NoError(t, err)
		defer b.Close()
		fs["a"].garbage()
		for range 30 {
			send(t, b)
		}
		require.Equal(t, int64(3), fs["a"].calls.Load())
		st, cause := b.Member("a").State()
		require.Equal(t, StateError, st)
		require.ErrorIs(t, cause, errEjected)

		fs["b"].garbage() // more than half would be out
		for range 30 {
			send(t, b)
		}
		st, _ = b.Member("b").State()
		require.Equal(t, StateUsable, st)

		fs["a"].up()
		fs["b"].up()
		time.Sleep(10 * time.Second)
		for range 6 {
			send(t, b)
		}
		st, _ = b.Member("a").State()
		require.Equal(t, StateUsable, st)
	})
}

func TestNeverAllAreEjected(t *testing.T) {
	fs, list := flagged(t, "a b")
	b := newTest(t, Config{Eject: &Ejection{Failures: 1, MaxShare: 1}}, list...)
	fs["a"].status(500)
	fs["b"].status(500)
	for range 10 {
		_, err := sent(b, get(t, "balancer://x/"))
		require.ErrorContains(t, err, "status 500")
	}
	require.NoError(t, b.Ready())
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, list := flagged(t, "a b")
		list[0].Retry, list[0].SlowStart = time.Second, 100*time.Second
		b, err := New(Config{}, list...)
		require.NoError(t, err)
		defer b.Close()
		a := b.Member("a")
		require.Equal(t, 100, a.Factor(), "not at the start of all")
		a.MarkError(errors.New("test"))
		a.MarkOK()
		require.Equal(t, 10, a.Factor())
		time.Sleep(50 * time.Second)
		require.Equal(t, 55, a.Factor())
		time.Sleep(50 * time.Second)
		require.Equal(t, 100, a.Factor())
	})
}

func TestLeastTimeComesBackToASlowMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a b")
		b, err := New(Config{Method: &LeastTime{}}, list...)
		require.NoError(t, err)
		defer b.Close()
		slow := func(d time.Duration) func(r *http.Request) (*http.Response, error) {
			return func(r *http.Request) (*http.Response, error) {
				time.Sleep(d)
				return answer(r, 200, ""), nil
			}
		}
		fs["a"].do(slow(2 * time.Second))
		fs["b"].do(slow(20 * time.Millisecond))
		for range 200 {
			send(t, b)
		}
		require.Less(t, fs["a"].calls.Load(), int64(20))
		require.Greater(t, fs["a"].calls.Load(), int64(1), "it is probed")
		fs["a"].do(slow(10 * time.Millisecond))
		before := fs["a"].calls.Load()
		for range 6000 { // two minutes
			send(t, b)
		}
		require.Greater(t, fs["a"].calls.Load()-before, int64(1000))
	})
}

func TestBusynessAndTraffic(t *testing.T) {
	_, list := flagged(t, "a b c")
	list[1].LoadFactor = 2
	b := newTest(t, Config{}, list...)
	ms := b.Members()
	for _, test := range []struct {
		method   Method
		busy     [3]int64
		received [3]int64
		want     string
	}{
		{ByTraffic{}, [3]int64{}, [3]int64{0, 0, 0}, "a"},
		{ByTraffic{}, [3]int64{}, [3]int64{10, 20, 10}, "a"},
		{ByTraffic{}, [3]int64{}, [3]int64{10, 19, 10}, "b"},
		{ByTraffic{}, [3]int64{}, [3]int64{11, 21, 10}, "c"},
		{&ByBusyness{}, [3]int64{1, 1, 0}, [3]int64{}, "c"},
		{&ByBusyness{}, [3]int64{1, 1, 1}, [3]int64{}, "b"}, // by lbstatus: 1 2 1
		{&ByBusyness{PerFactor: true}, [3]int64{2, 3, 2}, [3]int64{}, "b"},
		{First{}, [3]int64{9, 0, 0}, [3]int64{}, "a"},
	} {
		for i, m := range ms {
			m.busy.Store(test.busy[i])
			m.received.Store(test.received[i])
		}
		require.Equal(t, test.want, test.method.Pick(nil, ms).Name(), "%T %v %v", test.method, test.busy, test.received)
	}
	for _, m := range ms {
		m.busy.Store(0)
	}
}

func TestHashIsConsistentAndBounded(t *testing.T) {
	_, list := fakes(10)
	b := newTest(t, Config{Method: &Hash{Key: ByHeader("X-Key")}}, list...)
	where := map[string]string{}
	pick := func(key string) string {
		r := get(t, "balancer://x/")
		r.Header.Set("X-Key", key)
		m, err := b.Choose(r)
		require.NoError(t, err)
		return m.Name()
	}
	for i := range 1000 {
		where[fmt.Sprint(i)] = pick(fmt.Sprint(i))
	}
	b.Member("d").SetFlags(Disabled, 0)
	moved := 0
	for key, was := range where {
		now := pick(key)
		if was == "d" {
			require.NotEqual(t, "d", now)
			moved++
		} else {
			require.Equal(t, was, now, "only the keys of the missing member move")
		}
	}
	require.InDelta(t, 100, moved, 50)
	b.Member("d").SetFlags(0, Disabled)
	home := b.Member(pick("k"))
	home.busy.Store(100)
	require.NotEqual(t, home.Name(), pick("k"), "load is bounded")
	home.busy.Store(0)
	require.Equal(t, home.Name(), pick("k"))
}

// lapsed is a context whose deadline has passed, but whose timer has not fired.
type lapsed struct{ context.Context }

func (lapsed) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

// TestDeadlineWhileDialling: the deadline of a request that passes while its
// connection is opened says nothing about the member.
func TestDeadlineWhileDialling(t *testing.T) {
	fs, list := fakes(1)
	fs[0].do(func(r *http.Request) (*http.Response, error) {
		return nil, &exchange.Error{Op: exchange.OpDial, Resend: true, Err: context.DeadlineExceeded}
	})
	b := newTest(t, Config{}, list...)
	_, err := sent(b, get(t, "balancer://x/").WithContext(lapsed{t.Context()}))
	require.Error(t, err)
	st, _ := b.Members()[0].State()
	require.Equal(t, StateUsable, st)
}

// TestNeverAllAreEjectedAtOnce: not even by failures at the same time.
func TestNeverAllAreEjectedAtOnce(t *testing.T) {
	fs, list := fakes(2)
	for _, f := range fs {
		f.status(500)
	}
	b := newTest(t, Config{Eject: &Ejection{Failures: 1, MaxShare: 1}}, list...)
	for range 20000 {
		var wg sync.WaitGroup
		for _, m := range b.Members() {
			m.MarkOK()
		}
		for _, m := range b.Members() {
			wg.Go(func() { (&roundTrip{b: b, view: b.view.Load(), m: m}).strike() })
		}
		wg.Wait()
		require.NoError(t, b.Ready())
	}
}

// TestTrafficIsCountedAsItPasses: a body that is on its way counts, though it
// writes itself.
func TestTrafficIsCountedAsItPasses(t *testing.T) {
	more := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-more
	}))
	defer s.Close()
	b := newTest(t, Config{}, MemberConfig{URL: s.URL})
	target, err := url.Parse("balancer://x/")
	require.NoError(t, err)
	front := httptest.NewServer(&proxy.Handler{Target: target, Transport: b})
	defer front.Close()
	defer close(more)
	resp, err := front.Client().Get(front.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadFull(resp.Body, make([]byte, len("first")))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, received := b.Members()[0].Traffic()
		return received == int64(len("first"))
	}, 20*time.Second, time.Millisecond)
}
