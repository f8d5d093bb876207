package breaker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// open returns a breaker that is due for its probes.
func open(b *Transport) *Transport {
	next := b.Next
	b.Next, b.MinRequests = roundTrip(func(*http.Request) (*http.Response, error) { return nil, errNext }), 1
	_ = get(b)
	b.Next = next
	time.Sleep(positive(b.OpenTime, DefaultOpenTime))
	return b
}

// TestProbes: of many at once, exactly so many come through; what says nothing
// gives its place back; and one failure opens it again.
func TestProbes(t *testing.T) {
	for name, tc := range map[string]struct {
		end   func() (*http.Response, error) // of the first probe; the others are well
		state State
		more  int // probes that are let through then
	}{
		"well":                {func() (*http.Response, error) { return answer(200, nil), nil }, Closed, 50},
		"upgraded":            {func() (*http.Response, error) { return answer(101, errReader{errNext}), nil }, Closed, 50},
		"fails":               {func() (*http.Response, error) { return nil, errNext }, Open, 0},
		"client leaves":       {func() (*http.Response, error) { return nil, exchange.ErrClientGone }, HalfOpen, 1},
		"busy":                {func() (*http.Response, error) { return nil, exchange.ErrBusy }, HalfOpen, 1},
		"panics":              {func() (*http.Response, error) { panic(errNext) }, HalfOpen, 1},
		"its body breaks off": {func() (*http.Response, error) { return answer(200, errReader{errNext}), nil }, Open, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				through, hold := 0, make(chan struct{})
				b := open(&Transport{Probes: 4, Next: roundTrip(func(*http.Request) (*http.Response, error) {
					mu.Lock()
					through++
					first := through == 1
					mu.Unlock()
					<-hold
					if first {
						return tc.end()
					}
					time.Sleep(time.Nanosecond) // after the first
					return answer(200, nil), nil
				})})
				var wg sync.WaitGroup
				burst := func() {
					for range 50 {
						wg.Go(func() {
							defer func() { _ = recover() }()
							_ = get(b)
						})
					}
					synctest.Wait()
				}
				burst()
				require.Equal(t, 4, through)
				require.Equal(t, HalfOpen, b.Stats().State)
				require.Equal(t, int64(46), b.Stats().Refused)
				close(hold)
				wg.Wait()
				require.Equal(t, tc.state, b.Stats().State)
				hold = make(chan struct{})
				burst()
				require.Equal(t, 4+tc.more, through)
				close(hold)
				wg.Wait()
				if tc.state != Open {
					require.Equal(t, Closed, b.Stats().State)
				}
			})
		})
	}
}

// TestProbesThatHang do not keep it half-open for ever.
func TestProbesThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		hangs := true
		b := open(&Transport{Probes: 2, Next: roundTrip(func(*http.Request) (*http.Response, error) {
			if hangs {
				<-hang
				return nil, errNext
			}
			return answer(200, nil), nil
		})})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _ = get(b) })
		}
		synctest.Wait()
		hangs = false
		require.ErrorIs(t, get(b), ErrOpen)
		time.Sleep(DefaultOpenTime)
		require.NoError(t, get(b))
		close(hang) // the old ones are of no account
		wg.Wait()
		require.Equal(t, HalfOpen, b.Stats().State)
		require.NoError(t, get(b))
		require.Equal(t, Closed, b.Stats().State)
	})
}

// TestLateOutcomes: what was begun before the breaker has opened does not decide
// its probes; a body that breaks off when it is closed again counts.
func TestLateOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		n := &next{}
		bodies := &sync.Map{}
		b := &Transport{MinRequests: 2, Probes: 1, Next: roundTrip(func(r *http.Request) (*http.Response, error) {
			switch r.URL.Path {
			case "/slow":
				<-slow
				return nil, errNext
			case "/body":
				pr, pw := io.Pipe()
				bodies.Store("pw", pw)
				return answer(200, pr), nil
			}
			return n.RoundTrip(r)
		})}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = b.RoundTrip(httptest.NewRequest("GET", "http://h/slow", nil)) })
		synctest.Wait()
		n.set(errNext, 0)
		_, _ = get(b), get(b)
		require.Equal(t, Open, b.Stats().State)
		time.Sleep(DefaultOpenTime)
		n.set(nil, time.Second)
		wg.Go(func() { _ = get(b) })
		synctest.Wait()
		require.Equal(t, HalfOpen, b.Stats().State)
		close(slow)
		synctest.Wait()
		require.Equal(t, HalfOpen, b.Stats().State)
		wg.Wait()
		require.Equal(t, Closed, b.Stats().State)

		for range 2 {
			resp, err := b.RoundTrip(httptest.NewRequest("GET", "http://h/body", nil))
			require.NoError(t, err)
			pw, _ := bodies.Load("pw")
			_ = pw.(*io.PipeWriter).CloseWithError(errNext)
			_, err = io.Copy(io.Discard, resp.Body)
			require.ErrorIs(t, err, errNext)
		}
		require.Equal(t, Open, b.Stats().State)
	})
}
