package balancer

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// recorded serves one request through a Handler before b, and returns its
// record as OnRecord and as an Observer outside got it.
func recorded(b *Balancer, r *http.Request) (inside, outside exchange.Record) {
	h := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "x"}, Transport: b, OnRecord: func(_ *http.Request, rec *exchange.Record) { inside = *rec }}
	defer func() {
		if p := recover(); p != nil && (p != http.ErrAbortHandler || !inside.Aborted) {
			panic(p)
		}
	}()
	(&proxy.Observer{Done: func(_ *http.Request, rec *exchange.Record) { outside = *rec }}).Wrap(h).ServeHTTP(httptest.NewRecorder(), r)
	return inside, outside
}

// TestRecordOfAFailover has each attempt with its member, time and cause, and of
// the last one the rest.
func TestRecordOfAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := fakes(4)
		b := newTest(t, Config{Name: "x", Method: First{}, FailOnStatus: []int{503}}, list...)
		fs[0].do(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, &exchange.Error{Op: exchange.OpDial, Backend: "http://a.example", Resend: true, Err: errors.New("refused")}
		})
		fs[1].do(func(r *http.Request) (*http.Response, error) {
			rec := exchange.RecordFrom(r.Context())
			rec.Attempt("http://b.example", true)
			time.Sleep(2 * time.Second)
			rec.Answered()
			return answer(r, 503, ""), nil
		})
		fs[3].do(func(r *http.Request) (*http.Response, error) {
			rec := exchange.RecordFrom(r.Context())
			time.Sleep(3 * time.Second)
			rec.Attempt("http://d.example", false)
			time.Sleep(4 * time.Second)
			rec.Answered()
			return answer(r, 200, "d"), nil
		})
		fs[2].do(func(r *http.Request) (*http.Response, error) {
			time.Sleep(5 * time.Second)
			return nil, &exchange.Error{Op: exchange.OpAcquire, Backend: "http://c.example", Resend: true, Err: backend.ErrBusy}
		})
		inside, outside := recorded(b, httptest.NewRequest("GET", "http://front.test/", nil))
		for _, rec := range []exchange.Record{inside, outside} {
			require.NoError(t, rec.Err)
			require.Equal(t, 200, rec.Status)
			require.Equal(t, "d", rec.Member)
			require.Equal(t, "http://d.example", rec.Backend)
			require.Equal(t, 4, rec.Attempts)
			require.Equal(t, [3]time.Duration{11 * time.Second, 15 * time.Second, 15 * time.Second}, [3]time.Duration{rec.Connected, rec.FirstByte, rec.Duration})
			require.Len(t, rec.Failed, 3)
			a, bb, c := rec.Failed[0], rec.Failed[1], rec.Failed[2]
			require.ErrorContains(t, a.Err, "refused")
			require.ErrorIs(t, c.Err, backend.ErrBusy)
			a.Err, c.Err = nil, nil
			require.Equal(t, exchange.FailedAttempt{Backend: "http://a.example", Member: "a", Duration: time.Second}, a)
			require.Equal(t, exchange.FailedAttempt{Backend: "http://b.example", Member: "b", Start: time.Second, Duration: 2 * time.Second, Status: 503}, bb)
			require.Equal(t, exchange.FailedAttempt{Backend: "http://c.example", Member: "c", Start: 3 * time.Second, Duration: 5 * time.Second}, c)
		}
	})
}

// TestRecordOfTheLastAttempt has nothing of those before it.
func TestRecordOfTheLastAttempt(t *testing.T) {
	fs, list := fakes(2)
	b := newTest(t, Config{Name: "x", Method: First{}, FailOnStatus: []int{503}}, list...)
	fs[0].do(func(r *http.Request) (*http.Response, error) {
		rec := exchange.RecordFrom(r.Context())
		rec.Attempt("http://a.example", true)
		rec.Answered()
		return answer(r, 503, ""), nil
	})
	fs[1].down()
	rec, _ := recorded(b, httptest.NewRequest("GET", "http://front.test/", nil))
	require.Equal(t, "b", rec.Member)
	require.NotEqual(t, "http://a.example", rec.Backend)
	require.False(t, rec.Reused)
	require.Zero(t, rec.Connected+rec.FirstByte)
	require.Equal(t, "http://a.example", rec.Failed[0].Backend)
}

// TestRecordWhenAllFail: the last failure is the request's own.
func TestRecordWhenAllFail(t *testing.T) {
	fs, list := fakes(2)
	b := newTest(t, Config{Name: "x", Method: First{}}, list...)
	fs[0].down()
	fs[1].down()
	rec, _ := recorded(b, httptest.NewRequest("GET", "http://front.test/", nil))
	require.Equal(t, 503, rec.Status)
	require.Equal(t, "b", rec.Member)
	require.Equal(t, 2, rec.Attempts)
	require.Len(t, rec.Failed, 1)
	require.Equal(t, "a", rec.Failed[0].Member)
	var e *Error
	require.ErrorAs(t, rec.Err, &e)
	require.Len(t, e.Attempts, 2)
}

// TestRecordOfAClientThatLeaves blames no member.
func TestRecordOfAClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := fakes(2)
		b := newTest(t, Config{Name: "x", Method: First{}}, list...)
		fs[0].hangs(time.Hour)
		ctx, leave := context.WithTimeoutCause(t.Context(), time.Hour, nil)
		time.AfterFunc(time.Second, leave)
		rec, _ := recorded(b, httptest.NewRequest("GET", "http://front.test/", nil).WithContext(ctx))
		require.Equal(t, exchange.StatusClientClosedRequest, rec.Status)
		require.Equal(t, "a", rec.Member)
		require.Empty(t, rec.Failed)
		require.Equal(t, time.Second, rec.Duration)
		s := b.Stats()
		require.Zero(t, s.Errors)
	})
}

// TestStatsOfABalancer adds up those of its members.
func TestStatsOfABalancer(t *testing.T) {
	fs, list := fakes(3)
	b := newTest(t, Config{Name: "x"}, list...)
	for range 9 {
		send(t, b)
	}
	fs[1].down()
	send(t, b)
	send(t, b)
	s := b.Stats()
	require.Equal(t, "x", s.Name)
	require.Equal(t, backend.Counts{Elected: 12, Errors: 1, Received: 11}, s.Counts)
	var sum int64
	for _, m := range s.Members {
		sum += m.Elected
	}
	require.EqualValues(t, 12, sum)
}

// TestRecordOfABalancerWithoutAName: choosing a member and asking it for a
// connection are one attempt, also where nobody has named the balancer, or it is a
// member of another.
func TestRecordOfABalancerWithoutAName(t *testing.T) {
	for name, names := range map[string][]string{"named": {"x"}, "none": {""}, "none in named": {"", "x"}, "named in none": {"x", ""}, "none in none": {"", ""}} {
		t.Run(name, func(t *testing.T) {
			fs, list := fakes(1)
			fs[0].do(func(r *http.Request) (*http.Response, error) {
				rec := exchange.RecordFrom(r.Context())
				rec.Ask("http://a.example")
				rec.Attempt("http://a.example", false)
				rec.Answered()
				return answer(r, 200, "a"), nil
			})
			b := newTest(t, Config{Name: names[0]}, list...)
			for _, outer := range names[1:] {
				b = newTest(t, Config{Name: outer}, MemberConfig{URL: "http://b.example", RoundTripper: b})
			}
			inside, outside := recorded(b, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, 1, inside.Attempts)
			require.Empty(t, inside.Failed)
			require.NotEmpty(t, inside.Member)
			require.Contains(t, inside.LogValue().String(), inside.Member)
			require.Equal(t, inside.Attempts, outside.Attempts)
		})
	}
}
