package breaker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

var errNext = errors.New("connection reset")

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body io.Reader) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
	if body != nil {
		resp.Body = io.NopCloser(body)
	}
	return resp
}

// next does what its fields say.
type next struct {
	mu   sync.Mutex // guards the rest
	err  error
	took time.Duration
	got  int
}

func (n *next) set(err error, took time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.took = err, took
}

func (n *next) RoundTrip(*http.Request) (*http.Response, error) {
	n.mu.Lock()
	err, took := n.err, n.took
	n.got++
	n.mu.Unlock()
	if time.Sleep(took); err != nil {
		return nil, err
	}
	return answer(200, nil), nil
}

// get sends a request, and reads and closes the answer.
func get(b http.RoundTripper) error {
	resp, err := b.RoundTrip(httptest.NewRequest("GET", "http://h/", nil))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// TestStates goes once around the picture, and tells of each step once.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var told []string
		n := &next{}
		b := &Transport{Next: n, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			OnStateChange: func(from, to State, cause error) { told = append(told, fmt.Sprintf("%v %v %v", from, to, cause)) }}
		fail := func(times int) {
			for range times {
				require.ErrorIs(t, get(b), errNext)
			}
		}
		for range 10 {
			require.NoError(t, get(b))
		}
		n.set(errNext, 0)
		fail(9)
		require.Equal(t, Stats{Requests: 19, Failures: 9}, b.Stats())
		fail(1) // 10 of 20
		begun := time.Now()
		require.Equal(t, Stats{State: Open, Since: begun, Until: begun.Add(5 * time.Second), Cause: errNext.Error(), Opened: 1}, b.Stats())
		for range 100 {
			err := get(b)
			require.ErrorIs(t, err, ErrOpen)
			require.ErrorContains(t, err, errNext.Error())
			var e *exchange.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, []any{503, 5 * time.Second, true, "http://h"}, []any{exchange.StatusOf(err), e.RetryAfter, exchange.MayResend(err), e.Backend})
			require.Equal(t, exchange.Blameless, exchange.FailureOf(err).Blame)
		}
		require.Equal(t, 20, n.got)
		for _, wait := range []time.Duration{5, 10, 20, 40} { // each longer than the last
			time.Sleep(wait*time.Second - 1)
			require.ErrorIs(t, get(b), ErrOpen)
			time.Sleep(time.Nanosecond)
			fail(1)
			require.ErrorIs(t, get(b), ErrOpen)
		}
		time.Sleep(80 * time.Second)
		n.set(nil, 0)
		for range 3 {
			require.Contains(t, []State{Open, HalfOpen}, b.Stats().State)
			require.NoError(t, get(b))
		}
		require.Equal(t, Stats{Since: time.Now(), Opened: 5, Refused: 108}, b.Stats())
		require.Equal(t, 10+1, len(told), told)
		require.Equal(t, []string{"closed open connection reset", "open half-open <nil>", "half-open open connection reset"}, told[:3])
		require.Equal(t, []string{"open half-open <nil>", "half-open closed <nil>"}, told[9:])
		require.Equal(t, 2, strings.Count(log.String(), "\n"), "the outage begins and ends")
		require.Contains(t, log.String(), "failures=113")

		n.set(errNext, 0)
		fail(20)
		require.Equal(t, 160*time.Second, time.Until(b.Stats().Until), "it was not closed for long")
		time.Sleep(160 * time.Second)
		n.set(nil, 0)
		for range 3 {
			require.NoError(t, get(b))
		}
		time.Sleep(10 * time.Second)
		n.set(errNext, 0)
		fail(20)
		require.Equal(t, 5*time.Second, time.Until(b.Stats().Until), "it was")
	})
}

// TestWhatCounts as a failure, and what does not.
func TestWhatCounts(t *testing.T) {
	broken := func(err error) io.Reader { return io.MultiReader(strings.NewReader("begin"), errReader{err}) }
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tc := range map[string]struct {
		next   func(*http.Request) (*http.Response, error)
		ctx    context.Context
		failOn func(*http.Response) bool
		wants  counts // of one request
	}{
		"answered":        {func(*http.Request) (*http.Response, error) { return answer(200, strings.NewReader("x")), nil }, nil, nil, counts{1, 0, 0}},
		"4xx":             {func(*http.Request) (*http.Response, error) { return answer(404, nil), nil }, nil, nil, counts{1, 0, 0}},
		"5xx":             {func(*http.Request) (*http.Response, error) { return answer(500, nil), nil }, nil, nil, counts{1, 0, 0}},
		"5xx by FailOn":   {func(*http.Request) (*http.Response, error) { return answer(500, broken(errNext)), nil }, nil, func(r *http.Response) bool { return r.StatusCode >= 500 }, counts{1, 1, 0}},
		"foreign failure": {func(*http.Request) (*http.Response, error) { return nil, errNext }, nil, nil, counts{1, 1, 0}},
		"dial":            {func(*http.Request) (*http.Response, error) { return nil, &net.OpError{Op: "dial", Err: errNext} }, nil, nil, counts{1, 1, 0}},
		"no answer in time": {func(*http.Request) (*http.Response, error) {
			return nil, &exchange.Error{Op: exchange.OpHeader, Err: context.DeadlineExceeded}
		}, nil, nil, counts{1, 1, 0}},
		"malformed answer":     {func(*http.Request) (*http.Response, error) { return nil, exchange.Malformed("x") }, nil, nil, counts{1, 1, 0}},
		"busy":                 {func(*http.Request) (*http.Response, error) { return nil, exchange.ErrBusy }, nil, nil, counts{}},
		"bad request":          {func(*http.Request) (*http.Response, error) { return nil, exchange.BadRequest("x") }, nil, nil, counts{}},
		"client gone":          {func(*http.Request) (*http.Response, error) { return nil, exchange.ErrClientGone }, nil, nil, counts{}},
		"foreign cancel":       {func(*http.Request) (*http.Response, error) { return nil, context.Canceled }, nil, nil, counts{}},
		"context over":         {func(*http.Request) (*http.Response, error) { return nil, errNext }, over, nil, counts{}},
		"client's body":        {func(*http.Request) (*http.Response, error) { return nil, exchange.ClientBodyError("", errNext) }, nil, nil, counts{}},
		"body breaks off":      {func(*http.Request) (*http.Response, error) { return answer(200, broken(errNext)), nil }, nil, nil, counts{1, 1, 0}},
		"for the client":       {func(*http.Request) (*http.Response, error) { return answer(200, broken(exchange.ErrClientGone)), nil }, nil, nil, counts{1, 0, 0}},
		"body of who has left": {func(*http.Request) (*http.Response, error) { return answer(200, broken(errNext)), nil }, over, nil, counts{1, 0, 0}},
		"writing body breaks": {func(*http.Request) (*http.Response, error) {
			return writing(&exchange.Error{Op: exchange.OpBody, Err: errNext}), nil
		}, nil, nil, counts{1, 1, 0}},
		"its writer fails": {func(*http.Request) (*http.Response, error) { return writing(errNext), nil }, nil, nil, counts{1, 0, 0}},
		"its client leaves": {func(*http.Request) (*http.Response, error) {
			return writing(&exchange.Error{Op: exchange.OpClient, Err: exchange.ErrClientGone}), nil
		}, nil, nil, counts{1, 0, 0}},
		"upgrade, which ends":       {func(*http.Request) (*http.Response, error) { return answer(101, broken(errNext)), nil }, nil, nil, counts{1, 0, 0}},
		"neither answer, nor error": {func(*http.Request) (*http.Response, error) { return nil, nil }, nil, nil, counts{1, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &Transport{Next: roundTrip(tc.next), FailOn: tc.failOn}
			r := httptest.NewRequest("GET", "http://h/", nil)
			if tc.ctx != nil {
				r = r.WithContext(tc.ctx)
			}
			resp, err := b.RoundTrip(r)
			if err == nil && resp != nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_, _ = resp.Body.Read(make([]byte, 1)) // once more
				_ = resp.Body.Close()
				_, _ = resp.Body.Read(make([]byte, 1))
			}
			require.Equal(t, tc.wants, b.circuit.window.sum)
		})
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// writing answers with a body that writes itself, to its end.
func writing(err error) *http.Response {
	resp := answer(200, nil)
	resp.Body = writerTo{err}
	return resp
}

type writerTo struct{ err error }

func (w writerTo) Read([]byte) (int, error)         { return 0, io.EOF }
func (w writerTo) WriteTo(io.Writer) (int64, error) { return 3, w.err }
func (w writerTo) Close() error                     { return nil }

// TestCloseWhileReading: a Read that fails since the body was closed says nothing.
func TestCloseWhileReading(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	b := &Transport{Next: roundTrip(func(*http.Request) (*http.Response, error) {
		resp := answer(200, nil)
		resp.Body = pr
		return resp, nil
	})}
	resp, err := b.RoundTrip(httptest.NewRequest("GET", "http://h/", nil))
	require.NoError(t, err)
	read := make(chan error)
	go func() { _, err := resp.Body.Read(make([]byte, 1)); read <- err }()
	_ = resp.Body.Close()
	require.Error(t, <-read)
	require.Equal(t, counts{requests: 1}, b.circuit.window.sum)
}

// TestSlow: by the backend's time, not by the client's.
func TestSlow(t *testing.T) {
	for name, tc := range map[string]struct {
		body   func() io.ReadCloser // with sleeps
		before time.Duration        // the backend, before it reads
		after  time.Duration        // and then
		leaves time.Duration        // the client; 0 for never
		slow   int
		counts int
	}{
		"fast":                   {nil, 0, 999 * time.Millisecond, 0, 0, 1},
		"slow":                   {nil, 0, time.Second, 0, 1, 1},
		"slow to read":           {func() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }, time.Second, 0, 0, 0, 1},
		"slow client":            {func() io.ReadCloser { return &sleepy{times: 10} }, 0, 0, 0, 0, 1},
		"both":                   {func() io.ReadCloser { return &sleepy{times: 10} }, 0, time.Second, 0, 1, 1},
		"client leaves early":    {nil, 0, time.Hour, 999 * time.Millisecond, 0, 0},
		"client has waited":      {nil, 0, time.Hour, time.Second, 1, 1},
		"client leaves its body": {func() io.ReadCloser { return &sleepy{times: 10} }, 0, time.Hour, 5 * time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &Transport{Slow: time.Second, Next: roundTrip(func(r *http.Request) (*http.Response, error) {
					time.Sleep(tc.before)
					copied := make(chan struct{})
					go func() { _, _ = io.Copy(io.Discard, r.Body); time.Sleep(tc.after); close(copied) }()
					select {
					case <-copied:
						return answer(200, nil), nil
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
				})}
				ctx := t.Context()
				if tc.leaves > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.leaves)
					defer cancel()
				}
				r := httptest.NewRequest("POST", "http://h/", nil).WithContext(ctx)
				r.Body = http.NoBody
				if tc.body != nil {
					r.Body = tc.body()
				}
				_, _ = b.RoundTrip(r)
				require.Equal(t, counts{requests: tc.counts, slow: tc.slow}, b.circuit.window.sum)
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// sleepy is a body of a slow client.
type sleepy struct{ times int }

func (s *sleepy) Read(p []byte) (int, error) {
	if s.times == 0 {
		return 0, io.EOF
	}
	s.times--
	time.Sleep(10 * time.Second)
	return 1, nil
}
func (s *sleepy) Close() error { return nil }

// TestSlowOpens: also when the answers are right.
func TestSlowOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &next{took: time.Second}
		b := &Transport{Next: n, Slow: time.Second, MinRequests: 3}
		for range 3 {
			require.NoError(t, get(b))
		}
		require.ErrorIs(t, get(b), ErrOpen)
		require.Equal(t, errSlow.Error(), b.Stats().Cause)
		time.Sleep(5 * time.Second)
		require.NoError(t, get(b))
		require.Equal(t, Open, b.Stats().State, "the probe was slow")
	})
}

// TestWindow: what is older than the window does not count.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w window
		for range 25 {
			w.add(time.Now(), 10*time.Second, counts{1, 1, 0})
			time.Sleep(time.Second)
		}
		require.Equal(t, counts{10, 10, 0}, w.sum)
		w.add(time.Now(), 10*time.Second, counts{})
		require.Equal(t, counts{9, 9, 0}, w.sum)
		time.Sleep(100 * time.Hour)
		w.add(time.Now(), 10*time.Second, counts{1, 0, 1})
		require.Equal(t, counts{1, 0, 1}, w.sum)
	})
}

// TestFallback gets what is not let through, as it is.
func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Transport{Next: &next{err: errNext}, MinRequests: 1}
		_ = get(b)
		b.Fallback = roundTrip(func(r *http.Request) (*http.Response, error) { return answer(200, r.Body), nil })
		resp, err := b.RoundTrip(httptest.NewRequest("POST", "http://h/", strings.NewReader("body")))
		require.NoError(t, err)
		body, _ := io.ReadAll(resp.Body)
		require.Equal(t, "body", string(body))
		require.Equal(t, int64(1), b.Stats().Refused)
	})
}

// TestNumbers: whatever a field's number is, it does what its comment says.
func TestNumbers(t *testing.T) {
	for name, tc := range map[string]struct {
		b     *Transport
		opens int // after how many failures; 0 for never in 100
		until time.Duration
	}{
		"zero":            {&Transport{}, 20, 5 * time.Second},
		"negative":        {&Transport{Window: -1, MinRequests: -1, OpenTime: -1, MaxOpenTime: -1, Probes: -1, Slow: -1}, 20, 5 * time.Second},
		"smallest":        {&Transport{Window: 1, MinRequests: 1, OpenTime: 1, MaxOpenTime: 1, Probes: 1}, 1, 1},
		"largest":         {&Transport{Window: math.MaxInt64, OpenTime: math.MaxInt64, MaxOpenTime: math.MaxInt64, Slow: math.MaxInt64, Probes: math.MaxInt}, 20, math.MaxInt64},
		"many requests":   {&Transport{MinRequests: math.MaxInt}, 0, 0},
		"share":           {&Transport{FailureShare: 1e-9}, 20, 5 * time.Second},
		"all":             {&Transport{FailureShare: 1}, 20, 5 * time.Second},
		"more than all":   {&Transport{FailureShare: 1.1}, 0, 0},
		"negative share":  {&Transport{FailureShare: -1}, 0, 0},
		"no number":       {&Transport{FailureShare: math.NaN()}, 0, 0},
		"longest is less": {&Transport{OpenTime: time.Hour, MaxOpenTime: time.Minute}, 20, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := tc.b
				b.Next = &next{err: errNext}
				opens := 0
				for i := 1; i <= 100 && opens == 0; i++ {
					_ = get(b)
					if b.Stats().State == Open {
						opens = i
					}
				}
				require.Equal(t, tc.opens, opens)
				if opens > 0 {
					require.Equal(t, tc.until, b.circuit.wait)
					var e *exchange.Error
					require.ErrorAs(t, get(b), &e)
					w := httptest.NewRecorder()
					exchange.WriteRefusal(w, httptest.NewRequest("GET", "/", nil), e)
					require.NotContains(t, w.Header().Get("Retry-After"), "-")
				}
			})
		})
	}
}

// TestLongest: the row of waits ends at MaxOpenTime, also at the largest number.
func TestLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, longest := range []time.Duration{1000 * time.Second, math.MaxInt64} {
			b := &Transport{MaxOpenTime: longest}
			last := time.Duration(0)
			for range 100 {
				b.open(time.Now(), outcome{})
				require.True(t, b.circuit.wait > last || last == longest)
				last = b.circuit.wait
			}
			require.Equal(t, longest, last)
		}
	})
}

// TestRace: many at once, with failures, bodies and figures.
func TestRace(t *testing.T) {
	var n sync.Mutex
	count := 0
	b := &Transport{OpenTime: time.Microsecond, MaxOpenTime: time.Microsecond, MinRequests: 5, Slow: time.Second, Next: roundTrip(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		n.Lock()
		defer n.Unlock()
		count++
		switch count % 4 {
		case 0:
			return nil, errNext
		case 1:
			return answer(200, errReader{errNext}), nil
		}
		return answer(200, strings.NewReader("x")), nil
	})}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				resp, err := b.RoundTrip(httptest.NewRequest("POST", "http://h/", strings.NewReader("x")))
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				_ = b.Stats()
			}
		})
	}
	wg.Wait()
	require.Positive(t, b.Stats().Opened)
}

// TestAllocations: closed, the breaker has none of its own but for a body, which
// it watches.
func TestAllocations(t *testing.T) {
	r := httptest.NewRequest("GET", "http://h/", nil)
	none, some := answer(200, nil), answer(200, nil)
	text := io.NopCloser(strings.NewReader(""))
	b := &Transport{Slow: time.Second}
	for want, resp := range []*http.Response{none, some} {
		b.Next = roundTrip(func(*http.Request) (*http.Response, error) {
			if resp == some {
				resp.Body = text
			}
			return resp, nil
		})
		require.Equal(t, float64(want), testing.AllocsPerRun(100, func() { _, _ = b.RoundTrip(r) }))
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	r := httptest.NewRequest("GET", "http://h/", nil)
	resp := answer(200, nil)
	next := roundTrip(func(*http.Request) (*http.Response, error) { return resp, nil })
	for name, slow := range map[string]time.Duration{"failures": 0, "and latency": time.Second} {
		b.Run(name, func(b *testing.B) {
			t := &Transport{Next: next, Slow: slow}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = t.RoundTrip(r)
				}
			})
		})
	}
}
