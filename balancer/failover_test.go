package balancer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

func TestFailover(t *testing.T) {
	dial := &exchange.Error{Op: exchange.OpDial, Resend: true, Err: errors.New("refused")}
	cut := &exchange.Error{Op: exchange.OpHeader, Resend: true, Err: errors.New("cut before any byte")}
	garbage := &exchange.Error{Op: exchange.OpHeader, Err: exchange.ErrMalformed}
	timeout := &exchange.Error{Op: exchange.OpHeader, Err: context.DeadlineExceeded}
	busy := &exchange.Error{Op: exchange.OpAcquire, Resend: true, Err: backend.ErrBusy}
	gone := &exchange.Error{Op: exchange.OpClient, Status: 499, Err: exchange.ErrClientGone}
	bad := &exchange.Error{Op: exchange.OpRequest, Status: 400, Err: errors.New("bad")}
	foreign := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for _, test := range []struct {
		name   string
		config Config
		method string
		err    error
		status int // in place of err
		calls  int // of all members together, each of which fails
		want   int // status
		state  State
		errors int64 // of the first
	}{
		{"refused", Config{}, "GET", dial, 0, 3, 503, StateError, 1},
		{"refused, POST", Config{}, "POST", dial, 0, 3, 503, StateError, 1},
		{"MaxAttempts 1", Config{MaxAttempts: 1}, "GET", dial, 0, 2, 503, StateError, 1},
		{"MaxAttempts none", Config{MaxAttempts: -1}, "GET", dial, 0, 1, 503, StateError, 1},
		{"cut", Config{}, "GET", cut, 0, 3, 502, StateUsable, 1},
		{"garbage", Config{}, "GET", garbage, 0, 1, 502, StateUsable, 1},
		{"garbage, RetryIdempotent", Config{RetryIdempotent: true}, "GET", garbage, 0, 3, 502, StateUsable, 1},
		{"garbage, RetryIdempotent, POST", Config{RetryIdempotent: true}, "POST", garbage, 0, 1, 502, StateUsable, 1},
		{"timeout", Config{}, "GET", timeout, 0, 1, 504, StateUsable, 1},
		{"FailOnTimeout", Config{FailOnTimeout: true}, "GET", timeout, 0, 1, 504, StateError, 1},
		{"busy", Config{}, "GET", busy, 0, 3, 503, StateUsable, 0},
		{"busy, not wrapped", Config{}, "GET", backend.ErrBusy, 0, 3, 503, StateUsable, 0},
		{"client gone", Config{}, "GET", gone, 0, 1, 499, StateUsable, 0},
		{"bad request", Config{}, "GET", bad, 0, 1, 400, StateUsable, 0},
		{"foreign transport", Config{}, "POST", foreign, 0, 3, 503, StateError, 1},
		{"status", Config{}, "GET", nil, 503, 1, 503, StateUsable, 0},
		{"FailOnStatus", Config{FailOnStatus: []int{500, 503}}, "GET", nil, 503, 3, 503, StateError, 1},
		{"FailOnStatus, POST", Config{FailOnStatus: []int{503}}, "POST", nil, 503, 1, 503, StateError, 1},
		{"FailOnStatus of another", Config{FailOnStatus: []int{500}}, "GET", nil, 503, 1, 503, StateUsable, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs, list := fakes(3)
			for _, f := range fs {
				f.do(func(r *http.Request) (*http.Response, error) {
					if test.err != nil {
						return nil, test.err
					}
					return answer(r, test.status, "no"), nil
				})
			}
			test.config.Method = First{} // would take the same again
			b := newTest(t, test.config, list...)
			r := get(t, "balancer://x/")
			r.Method = test.method
			resp, err := b.RoundTrip(r)
			calls := 0
			for _, f := range fs {
				require.LessOrEqual(t, f.calls.Load(), int64(1), "none is tried twice")
				calls += int(f.calls.Load())
			}
			require.Equal(t, test.calls, calls)
			a := b.Member("a")
			st, _ := a.State()
			require.Equal(t, test.state, st)
			require.Equal(t, test.errors, a.Stats().Errors)
			if test.err == nil {
				require.NoError(t, err)
				require.Equal(t, test.want, resp.StatusCode)
				require.NoError(t, resp.Body.Close())
			} else {
				require.Equal(t, test.want, exchange.StatusOf(err), err)
				require.ErrorIs(t, err, test.err)
				if test.want != 499 {
					var be *Error
					require.ErrorAs(t, err, &be)
					require.Len(t, be.Attempts, test.calls)
				}
			}
			for _, m := range b.Members() {
				require.Zero(t, m.Busy())
			}
		})
	}
}

func TestFailoverReachesTheOther(t *testing.T) {
	fs, list := fakes(3)
	fs[0].down()
	fs[1].status(500)
	b := newTest(t, Config{Name: "x", FailOnStatus: []int{500}}, list...)
	var facts Facts
	r := get(t, "balancer://x/")
	name, err := sent(b, r.WithContext(WithFacts(r.Context(), &facts)))
	require.NoError(t, err)
	require.Equal(t, "c", name)
	require.Len(t, facts.Attempts, 2)
	require.Equal(t, "a", facts.Attempts[0].Member)
	require.Equal(t, 500, facts.Attempts[1].Status)
	_, cause := b.Member("b").State()
	require.ErrorContains(t, cause, "status 500")
}

func TestErrorListsAttempts(t *testing.T) {
	fs, list := fakes(2)
	fs[0].down()
	fs[1].down()
	list = append(list, MemberConfig{Name: "d", URL: "http://d", Flags: Draining})
	b := newTest(t, Config{Name: "x", MaxAttempts: 1}, list...)
	_, err := sent(b, get(t, "balancer://x/"))
	require.EqualError(t, err, "proxy: dial balancer://x: balancer://x: a: proxy: dial a.example: connection refused; b: proxy: dial b.example: connection refused")
	require.True(t, exchange.MayResend(err), "so that a balancer of balancers can go on")
}

func TestBodyIsSentAgain(t *testing.T) {
	read := func(r *http.Request) string {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		return string(body)
	}
	for _, test := range []struct {
		name          string
		getBody, read bool // the first attempt reads the body
		want          string
	}{
		{"untouched, without GetBody", false, false, "payload"},
		{"read, with GetBody", true, true, "payload"},
		{"read, without GetBody", false, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs, list := fakes(2)
			fs[0].do(func(r *http.Request) (*http.Response, error) {
				if test.read {
					read(r)
				} else {
					_ = r.Body.Close()
				}
				return nil, &exchange.Error{Op: exchange.OpDial, Resend: true, Err: errors.New("refused")}
			})
			fs[1].do(func(r *http.Request) (*http.Response, error) { return answer(r, 200, read(r)), nil })
			b := newTest(t, Config{}, list...)
			body := &closeCounter{Reader: strings.NewReader("payload")}
			r, err := http.NewRequest(http.MethodPost, "balancer://x/", body)
			require.NoError(t, err)
			if test.getBody {
				r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("payload")), nil }
			}
			got, err := sent(b, r)
			require.Equal(t, 1, body.closed)
			if test.want == "" {
				require.ErrorIs(t, err, exchange.ErrBodySent)
				require.Equal(t, 503, exchange.StatusOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			sentBytes, received := b.Member("b").Traffic()
			require.Equal(t, []int64{7, 7}, []int64{sentBytes, received})
		})
	}
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestClientGoneBlamesNobody(t *testing.T) {
	fs, list := fakes(2)
	ctx, cancel := context.WithCancel(t.Context())
	fs[0].do(func(r *http.Request) (*http.Response, error) {
		cancel()
		return nil, &exchange.Error{Op: exchange.OpDial, Resend: true, Err: errors.New("looks like a failure")}
	})
	b := newTest(t, Config{}, list...)
	_, err := b.RoundTrip(get(t, "balancer://x/").WithContext(ctx))
	require.Error(t, err)
	require.Zero(t, fs[1].calls.Load())
	st, _ := b.Member("a").State()
	require.Equal(t, StateUsable, st)
	require.Zero(t, b.Member("a").Stats().Errors)
}

func TestRetryBudget(t *testing.T) {
	fs, list := fakes(2)
	for _, f := range fs {
		f.do(func(*http.Request) (*http.Response, error) {
			return nil, &exchange.Error{Op: exchange.OpHeader, Resend: true, Err: errors.New("cut")}
		})
	}
	b := newTest(t, Config{RetryBudget: 0.1}, list...)
	spent := 0
	for range 1000 {
		_, err := sent(b, get(t, "balancer://x/"))
		if errors.Is(err, ErrRetryBudget) {
			spent++
		}
	}
	again := int(fs[0].calls.Load()+fs[1].calls.Load()) - 1000
	require.InDelta(t, 100+budgetBurst, again, 2)
	require.Equal(t, 1000-again, spent)
}

func TestRetryBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := fakes(5)
		for _, f := range fs {
			f.down()
		}
		b, err := New(Config{RetryBackoff: time.Second}, list...)
		require.NoError(t, err)
		defer b.Close()
		start := time.Now()
		_, err = sent(b, get(t, "balancer://x/"))
		require.Error(t, err)
		took := time.Since(start) // 0, then half to all of 1, 2 and 4 s
		require.GreaterOrEqual(t, took, 3500*time.Millisecond)
		require.LessOrEqual(t, took, 7001*time.Millisecond)
	})
}

func TestRewritingOfTheURL(t *testing.T) {
	for _, test := range []struct{ member, request, want, host string }{
		{"http://m:81", "balancer://x/p?q=1", "http://m:81/p?q=1", ""},
		{"http://m:81/", "balancer://x/p", "http://m:81/p", ""},
		{"http://m/app", "balancer://x/p", "http://m/app/p", ""},
		{"http://m/app/", "balancer://x/p%2Fq", "http://m/app/p%2Fq", ""},
		{"http://m/a%2Fb", "balancer://x/p", "http://m/a%2Fb/p", ""},
		{"http://m/app", "balancer://x", "http://m/app/", ""},
		{"https://m", "http://site.example/p", "https://m/p", "site.example"},
	} {
		f := &fake{}
		f.do(func(r *http.Request) (*http.Response, error) { return answer(r, 200, r.URL.String()+" "+r.Host), nil })
		b := newTest(t, Config{}, MemberConfig{URL: test.member, RoundTripper: f})
		r := get(t, test.request)
		before := r.URL.String()
		resp, err := b.RoundTrip(r)
		require.NoError(t, err)
		body, _ := io.ReadAll(resp.Body)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, test.want+" "+test.host, string(body))
		require.Equal(t, test.want, resp.Request.URL.String())
		require.Equal(t, before, r.URL.String(), "the client's request is not changed")
	}
}

func TestMemberURLs(t *testing.T) {
	for _, url := range []string{"", "m", "http://", "http://u:p@m/", "http://m/?q", "http://m/#f", "mailto:x", "unix:/x", "http://m:x/"} {
		_, err := New(Config{}, MemberConfig{URL: url})
		require.Error(t, err, url)
	}
	_, err := New(Config{}, URLs("http://m", "http://m")...)
	require.ErrorContains(t, err, "two members")
	for _, f := range []float64{-1, 0.5, 101} {
		_, err := New(Config{}, MemberConfig{URL: "http://m", LoadFactor: f})
		require.ErrorContains(t, err, "load factor")
	}
}

// TestBodyKeepsWriterTo: bodies that can write themselves must still, or
// answers are no longer spliced.
func TestBodyKeepsWriterTo(t *testing.T) {
	f := &fake{}
	f.do(func(r *http.Request) (*http.Response, error) {
		resp := answer(r, 200, "")
		resp.Body = struct {
			*bytes.Reader
			io.Closer
		}{bytes.NewReader([]byte("12345")), io.NopCloser(nil)}
		return resp, nil
	})
	b := newTest(t, Config{}, MemberConfig{URL: "http://m", RoundTripper: f})
	resp, err := b.RoundTrip(get(t, "balancer://x/"))
	require.NoError(t, err)
	m := b.Members()[0]
	require.Equal(t, int64(1), m.Busy())
	var out bytes.Buffer
	n, err := resp.Body.(io.WriterTo).WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, int64(5), n)
	require.Zero(t, m.Busy())
	_, received := m.Traffic()
	require.Equal(t, int64(5), received)
	require.NoError(t, resp.Body.Close())
	require.Zero(t, m.Busy())
}

// TestWhoseFaultABodyIs: one that writes itself tells by its writer whether it
// was the client that failed.
func TestWhoseFaultABodyIs(t *testing.T) {
	for name, tc := range map[string]struct {
		body   io.Reader
		to     io.Writer
		faults int64
	}{
		"member's": {io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.Discard, 1},
		"client's": {strings.NewReader("ab"), failingWriter{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			f.do(func(r *http.Request) (*http.Response, error) {
				resp := answer(r, 200, "")
				resp.Body = io.NopCloser(tc.body)
				return resp, nil
			})
			b := newTest(t, Config{}, MemberConfig{URL: "http://m", RoundTripper: f})
			resp, err := b.RoundTrip(get(t, "balancer://x/"))
			require.NoError(t, err)
			_, err = resp.Body.(io.WriterTo).WriteTo(tc.to)
			require.Error(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, tc.faults, b.Members()[0].errors.Load())
		})
	}
}

// failingWriter is a client that has left.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, net.ErrClosed }

// TestBodyTakenAnew: a transport that had to send an unread body again, and
// failed all the same, leaves one to the next member.
func TestBodyTakenAnew(t *testing.T) {
	fs, list := fakes(2)
	fs[0].do(func(r *http.Request) (*http.Response, error) {
		require.NoError(t, r.Body.Close())
		again, err := r.GetBody()
		require.NoError(t, err)
		require.NoError(t, again.Close())
		return nil, &exchange.Error{Op: exchange.OpDial, Resend: true, Err: errors.New("refused")}
	})
	fs[1].do(func(r *http.Request) (*http.Response, error) {
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return answer(r, http.StatusOK, string(got)), nil
	})
	h := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "x"}, Transport: newTest(t, Config{}, list...)}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader("payload")))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "payload", w.Body.String())
}
