package mirror

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

var errTo = errors.New("mirror is down")

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(body io.Reader) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}
}

// reading answers when it has read the body to its end.
func reading(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
	}
	return answer(strings.NewReader("main")), nil
}

// copies keeps what it gets.
type copies struct {
	mu   sync.Mutex // guards the rest
	got  []*http.Request
	body []string
}

func (c *copies) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	c.got, c.body = append(c.got, r), append(c.body, string(body))
	c.mu.Unlock()
	return answer(strings.NewReader("copy")), err
}

// endless is a body whose bytes never end, or do not come.
type endless struct{ ctx context.Context }

func (e endless) Read(p []byte) (int, error) {
	if e.ctx != nil {
		<-e.ctx.Done()
		return 0, e.ctx.Err()
	}
	return len(p), nil
}

// deaf is a body whose Read ends by Close alone.
type deaf struct {
	once sync.Once
	end  chan struct{}
}

func (d *deaf) Read([]byte) (int, error) { <-d.end; return 0, errTo }
func (d *deaf) Close() error             { d.once.Do(func() { close(d.end) }); return nil }

// TestClientSeesNothing of whatever To does.
func TestClientSeesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		to     roundTrip
		failed int64
		after  time.Duration // all is over
	}{
		"answers":       {reading, 0, 0},
		"is dead":       {func(*http.Request) (*http.Response, error) { return nil, errTo }, 1, 0},
		"panics":        {func(*http.Request) (*http.Response, error) { panic(errTo) }, 1, 0},
		"is slow":       {func(r *http.Request) (*http.Response, error) { time.Sleep(20 * time.Second); return reading(r) }, 0, 20 * time.Second},
		"hangs":         {func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, 1, 30 * time.Second},
		"answers early": {func(*http.Request) (*http.Response, error) { return answer(strings.NewReader("")), nil }, 0, 0},
		"never ends":    {func(*http.Request) (*http.Response, error) { return answer(endless{}), nil }, 0, 0},
		"stalls":        {func(r *http.Request) (*http.Response, error) { return answer(endless{r.Context()}), nil }, 1, 30 * time.Second},
		"stalls, and is deaf": {func(*http.Request) (*http.Response, error) {
			resp := answer(nil)
			resp.Body = &deaf{end: make(chan struct{})}
			return resp, nil
		}, 1, 30 * time.Second},
		"switches": {func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 101, Body: io.NopCloser(endless{})}, nil
		}, 1, 0},
		"has no body":   {func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 204}, nil }, 0, 0},
		"has no answer": {func(*http.Request) (*http.Response, error) { return nil, nil }, 0, 0},
	} {
		for _, body := range []string{"", "body"} {
			t.Run(name+" "+body, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					begun := time.Now()
					m := &Transport{Next: roundTrip(reading), To: tc.to}
					ctx, cancel := context.WithCancel(t.Context())
					ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { t.Error("a hook was called") }})
					r := httptest.NewRequest("POST", "http://h/", strings.NewReader(body)).WithContext(ctx)
					resp, err := m.RoundTrip(r)
					require.NoError(t, err)
					got, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Equal(t, "main", string(got))
					require.Zero(t, time.Since(begun))
					cancel() // the client has left, and the copy goes on
					require.NoError(t, m.Shutdown(t.Context()))
					require.Equal(t, tc.after, time.Since(begun))
					require.Equal(t, Stats{Chosen: 1, Sent: 1, Failed: tc.failed}, m.Stats())
					require.Zero(t, m.held)
				})
			})
		}
	}
}

// TestCopy: it is the request, in the same framing, and the request stays as it
// is.
func TestCopy(t *testing.T) {
	for name, tc := range map[string]struct {
		method  string
		body    string
		length  int64
		trailer bool
		wants   int64
	}{
		"GET":                   {"GET", "", 0, false, 0},
		"POST":                  {"POST", "body", 4, false, 4},
		"chunked":               {"POST", "body", -1, false, -1},
		"chunked and empty":     {"POST", "", -1, false, 0},
		"unknown length":        {"PUT", "body", 0, false, -1},
		"trailer":               {"POST", "body", -1, true, -1},
		"trailer without body":  {"POST", "", -1, true, -1},
		"a method of one's own": {"X", "body", 4, false, 4},
	} {
		t.Run(name, func(t *testing.T) {
			c := &copies{}
			type key struct{}
			r := httptest.NewRequest(tc.method, "http://h/a%2Fb?q", nil)
			r = r.WithContext(context.WithValue(t.Context(), key{}, "value"))
			r.Header.Set("Authorization", "secret")
			r.Header.Set("Expect", "100-continue")
			r.Host = "other"
			r.ContentLength = tc.length
			if tc.trailer {
				r.Trailer = http.Header{"X-T": nil}
			}
			if tc.method != "GET" {
				r.Body = &trailing{Reader: strings.NewReader(tc.body), r: r}
			}
			want := r.Clone(r.Context())
			m := &Transport{To: c, Next: roundTrip(func(out *http.Request) (*http.Response, error) {
				require.Equal(t, want.Header, out.Header)
				require.Equal(t, want.URL, out.URL)
				require.Equal(t, want.ContentLength, out.ContentLength)
				require.Equal(t, r.Context(), out.Context())
				require.Nil(t, out.GetBody)
				resp, err := reading(out)
				out.Header.Set("Authorization", "changed") // which it may not, and others do after the answer
				resp.Request = out
				return resp, err
			})}
			resp, err := m.RoundTrip(r)
			require.NoError(t, err)
			require.Same(t, r, resp.Request)
			require.NoError(t, m.Shutdown(t.Context()))
			require.Equal(t, []string{tc.body}, c.body)
			got := c.got[0]
			require.Equal(t, []string{tc.method, "http://h/a%2Fb?q", "other", "secret", ""},
				[]string{got.Method, got.URL.String(), got.Host, got.Header.Get("Authorization"), got.Header.Get("Expect")})
			require.Equal(t, tc.wants, got.ContentLength)
			require.Equal(t, tc.trailer, got.Trailer.Get("X-T") == "end")
			require.Equal(t, "value", got.Context().Value(key{}))
			require.Equal(t, "100-continue", want.Header.Get("Expect"))
		})
	}
}

// trailing is a body that fills the trailer at its end.
type trailing struct {
	io.Reader
	r *http.Request
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.r.Trailer != nil {
		b.r.Trailer["X-T"] = []string{"end"}
	}
	return n, err
}
func (*trailing) Close() error { return nil }

// TestBodies: a copy is sent once, of a body that was read to its end, however
// often it is begun; and nothing is held when it is not.
func TestBodies(t *testing.T) {
	const all = "0123456789"
	half := func(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 5) }
	for name, tc := range map[string]struct {
		next   func(*http.Request) (*http.Response, error)
		client io.Reader // nil for all
		max    int64
		wants  Stats
		panics bool
	}{
		"read": {reading, nil, 0, Stats{Sent: 1}, false},
		"read up to its length": {func(r *http.Request) (*http.Response, error) {
			_, _ = io.ReadFull(r.Body, make([]byte, len(all)))
			return answer(nil), r.Body.Close()
		}, nil, 0, Stats{Sent: 1}, false},
		"answered early": {func(r *http.Request) (*http.Response, error) { half(r.Body); return answer(nil), r.Body.Close() }, nil, 0, Stats{}, false},
		"not read":       {func(r *http.Request) (*http.Response, error) { return answer(nil), r.Body.Close() }, nil, 0, Stats{}, false},
		"failed":         {func(r *http.Request) (*http.Response, error) { half(r.Body); _ = r.Body.Close(); return nil, errTo }, nil, 0, Stats{}, false},
		"panicked":       {func(r *http.Request) (*http.Response, error) { half(r.Body); panic("next") }, nil, 0, Stats{}, true},
		"sent again": {func(r *http.Request) (*http.Response, error) {
			half(r.Body)
			_ = r.Body.Close()
			r.Body, _ = r.GetBody()
			return reading(r)
		}, nil, 0, Stats{Sent: 1}, false},
		"sent again before it is closed": {func(r *http.Request) (*http.Response, error) {
			half(r.Body)
			defer r.Body.Close()
			body, _ := r.GetBody()
			out := *r
			out.Body = body
			return reading(&out)
		}, nil, 0, Stats{Sent: 1}, false},
		"sent twice": {func(r *http.Request) (*http.Response, error) {
			_, _ = reading(r)
			r.Body, _ = r.GetBody()
			return reading(r)
		}, nil, 0, Stats{Sent: 1}, false},
		"the longest":          {reading, nil, 10, Stats{Sent: 1}, false},
		"longer":               {reading, nil, 9, Stats{TooLarge: 1}, false},
		"none":                 {reading, nil, -1, Stats{TooLarge: 1}, false},
		"no limit to speak of": {reading, nil, math.MaxInt64, Stats{Sent: 1}, false},
		"broken off":           {reading, io.MultiReader(strings.NewReader("01"), iotestErr{}), 0, Stats{}, false},
		"short":                {reading, strings.NewReader("01"), 0, Stats{}, false},
	} {
		for _, length := range []int64{10, -1} {
			if length < 0 && (name == "short" || name == "read up to its length") {
				continue // which is all there is, or nobody can know
			}
			t.Run(name, func(t *testing.T) {
				c := &copies{}
				m := &Transport{Next: roundTrip(tc.next), To: c, MaxBody: tc.max}
				body := func() io.ReadCloser { return io.NopCloser(strings.NewReader(all)) }
				r := httptest.NewRequest("POST", "http://h/", body())
				if tc.client != nil {
					seek, _ := tc.client.(io.Seeker)
					if seek != nil {
						_, _ = seek.Seek(0, io.SeekStart)
					}
					r.Body = io.NopCloser(tc.client)
				}
				r.ContentLength = length
				r.GetBody = func() (io.ReadCloser, error) { return body(), nil }
				if tc.panics {
					require.PanicsWithValue(t, "next", func() { _, _ = m.RoundTrip(r) })
				} else {
					_, _ = m.RoundTrip(r)
				}
				require.NoError(t, m.Shutdown(t.Context()))
				tc.wants.Chosen = 1
				require.Equal(t, tc.wants, m.Stats())
				require.Zero(t, m.held)
				if tc.wants.Sent > 0 {
					require.Equal(t, []string{all}, c.body)
				}
			})
		}
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, exchange.ErrClientGone }

// TestNotChosen: tunnels never, others by Choose and Share.
func TestNotChosen(t *testing.T) {
	upgrade := func(name string) *http.Request {
		r := httptest.NewRequest("GET", "http://h/", nil)
		r.Header[name] = []string{"websocket"}
		return r
	}
	get, connect := httptest.NewRequest("GET", "http://h/", nil), httptest.NewRequest("CONNECT", "h:443", nil)
	for name, tc := range map[string]struct {
		m      *Transport
		r      *http.Request
		chosen int64
	}{
		"a request":           {&Transport{To: &copies{}}, get, 1},
		"an upgrade":          {&Transport{To: &copies{}}, upgrade("Upgrade"), 0},
		"in another spelling": {&Transport{To: &copies{}}, upgrade("upgrade"), 0},
		"extended CONNECT":    {&Transport{To: &copies{}}, upgrade(":protocol"), 0},
		"CONNECT":             {&Transport{To: &copies{}}, connect, 0},
		"nowhere":             {&Transport{}, get, 0},
		"not by Choose":       {&Transport{To: &copies{}, Choose: func(*http.Request) bool { return false }}, get, 0},
		"no share":            {&Transport{To: &copies{}, Share: -1}, get, 0},
		"no number":           {&Transport{To: &copies{}, Share: math.NaN()}, get, 0},
		"more than all":       {&Transport{To: &copies{}, Share: 7}, get, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tc.m.Next = roundTrip(func(out *http.Request) (*http.Response, error) {
				if tc.chosen == 0 {
					require.Same(t, tc.r, out)
				}
				return answer(nil), nil
			})
			_, err := tc.m.RoundTrip(tc.r)
			require.NoError(t, err)
			require.NoError(t, tc.m.Shutdown(t.Context()))
			require.Equal(t, Stats{Chosen: tc.chosen, Sent: tc.chosen}, tc.m.Stats())
		})
	}
}

func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Transport{Next: roundTrip(reading), To: roundTrip(reading), Share: 0.25}
		r := httptest.NewRequest("GET", "http://h/", nil)
		for range 4000 {
			_, _ = m.RoundTrip(r)
			synctest.Wait()
		}
		require.InDelta(t, 1000, m.Stats().Chosen, 200)
		require.Equal(t, m.Stats().Chosen, m.Stats().Sent)
	})
}

// TestRewrite changes the copy alone.
func TestRewrite(t *testing.T) {
	c := &copies{}
	m := &Transport{Next: roundTrip(reading), To: c, Rewrite: func(r *http.Request) {
		r.Header.Del("Authorization")
		r.URL.Host, r.Host = "shadow", "shadow"
	}}
	r := httptest.NewRequest("GET", "http://h/", nil)
	r.Header.Set("Authorization", "secret")
	_, err := m.RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, m.Shutdown(t.Context()))
	require.Equal(t, []string{"shadow", "shadow", ""}, []string{c.got[0].URL.Host, c.got[0].Host, c.got[0].Header.Get("Authorization")})
	require.Equal(t, []string{"h", "h", "secret"}, []string{r.URL.Host, r.Host, r.Header.Get("Authorization")})
}

// TestBusy: no more than MaxInFlight are held, those whose body is slow among
// them; the begin and the end of trouble are logged, and nothing between.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		hang := make(chan struct{})
		m := &Transport{Next: roundTrip(reading), MaxInFlight: 3, Timeout: -1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			To: roundTrip(func(*http.Request) (*http.Response, error) { <-hang; return answer(strings.NewReader("")), nil })}
		get := func() {
			_, err := m.RoundTrip(httptest.NewRequest("GET", "http://h/", nil))
			require.NoError(t, err)
		}
		pr, pw := io.Pipe()
		slow := make(chan error)
		go func() {
			_, err := m.RoundTrip(httptest.NewRequest("POST", "http://h/", pr))
			slow <- err
		}()
		synctest.Wait()
		for range 10 {
			get()
		}
		require.Equal(t, Stats{Chosen: 11, Sent: 2, Busy: 8, InFlight: 2}, m.Stats())
		_ = pw.CloseWithError(errTo)
		require.ErrorIs(t, <-slow, errTo)
		get()
		require.Equal(t, Stats{Chosen: 12, Sent: 3, Busy: 8, InFlight: 3}, m.Stats())
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), "copies fail or are left out")
		close(hang)
		for range 20 {
			synctest.Wait()
			get()
		}
		synctest.Wait()
		require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), "lost=8")
		require.Zero(t, m.held)
	})
}

// TestShutdown waits for copies, cuts them when its time is up, and makes none
// afterwards.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Transport{Next: roundTrip(reading), Timeout: -1, To: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		get := httptest.NewRequest("GET", "http://h/", nil)
		_, err := m.RoundTrip(get)
		require.NoError(t, err)
		pr, pw := io.Pipe()
		post := make(chan error)
		go func() {
			_, err := m.RoundTrip(httptest.NewRequest("POST", "http://h/", pr))
			post <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, m.Shutdown(ctx), context.DeadlineExceeded)
		require.NoError(t, m.Shutdown(t.Context()))
		_ = pw.Close()
		require.NoError(t, <-post)
		resp, err := m.RoundTrip(get)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, Stats{Chosen: 3, Sent: 1, Failed: 1, Busy: 2}, m.Stats())
		require.Zero(t, m.held)
	})
}
