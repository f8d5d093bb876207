package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// observed serves one request through an Observer around h, and returns its
// record and the answer.
func observed(h http.Handler, r *http.Request) (rec exchange.Record, w *httptest.ResponseRecorder) {
	w = httptest.NewRecorder()
	defer func() { _ = recover() }()
	(&Observer{Done: func(_ *http.Request, got *exchange.Record) { rec = *got }}).Wrap(h).ServeHTTP(w, r)
	return rec, w
}

// TestObserverSeesAllAnswers, whoever gives them.
func TestObserverSeesAllAnswers(t *testing.T) {
	o := answering(t, "HTTP/1.1 203 Non-Authoritative\r\nContent-Length: 5\r\n\r\nhello")
	h, b, _ := handlerFor(t, o.url())
	foreign := httputil.NewSingleHostReverseProxy(o.url())
	foreign.Transport = h.Transport
	post := func() *http.Request {
		return httptest.NewRequest("POST", "http://front.test/x", strings.NewReader("four"))
	}
	for name, tc := range map[string]struct {
		h    http.Handler
		want exchange.Record
	}{
		"a Handler":             {h, exchange.Record{Backend: b.String(), Attempts: 1, Status: 203, BackendStatus: 203, RequestBytes: 4, ResponseBytes: 5}},
		"httputil.ReverseProxy": {foreign, exchange.Record{Backend: b.String(), Attempts: 1, Status: 203, RequestBytes: 4, ResponseBytes: 5}},
		"access control": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }),
			exchange.Record{Status: 403, ResponseBytes: 3}},
		"a cache": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			exchange.NoteCache(r.Context(), "hit")
			_, _ = io.WriteString(w, "stored")
		}), exchange.Record{Status: 200, ResponseBytes: 6, Cache: "hit"}},
		"nobody": {http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), exchange.Record{Status: 200}},
		"a panic": {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") }),
			exchange.Record{Aborted: true}},
		"a panic in the body": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "be")
			panic(http.ErrAbortHandler)
		}), exchange.Record{Status: 200, ResponseBytes: 2, Aborted: true}},
		"a second try of a failure": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(httptest.NewRecorder(), r)
			h.ServeHTTP(w, httptest.NewRequest("GET", "http://front.test/y", nil).WithContext(r.Context()))
		}), exchange.Record{Backend: b.String(), Attempts: 2, Status: 203, BackendStatus: 203, RequestBytes: 4, ResponseBytes: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := observed(tc.h, post())
			require.Positive(t, got.Duration)
			if tc.want.Attempts > 0 {
				require.Positive(t, got.FirstByte)
				require.GreaterOrEqual(t, got.Duration, got.FirstByte)
			}
			got.Start, got.Duration, got.Connect, got.Connected, got.FirstByte, got.Reused = tc.want.Start, 0, 0, 0, 0, false
			tc.want.Client = "192.0.2.1:1234"
			require.Len(t, got.Failed, max(got.Attempts-1, 0))
			got.Failed = nil
			require.Equal(t, tc.want, got)
		})
	}
}

// TestObserverSeesFailures of a Handler.
func TestObserverSeesFailures(t *testing.T) {
	h, _, _ := handlerFor(t, mustURL("http://127.0.0.1:1"))
	got, w := observed(h, httptest.NewRequest("GET", "http://front.test/", nil))
	require.Equal(t, 503, w.Code)
	require.Equal(t, 503, got.Status)
	require.Equal(t, "http://127.0.0.1:1", got.Backend)
	var e *exchange.Error
	require.ErrorAs(t, got.Err, &e)
	require.Equal(t, exchange.OpDial, e.Op)
}

// TestObserversNest: a log inside an Observer inside a log knows the same.
func TestObserversNest(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	h, b, _ := handlerFor(t, o.url())
	var out bytes.Buffer
	log := func() *accesslog.Handler {
		l, err := accesslog.New(&out, `%s %b %{backend}n %{attempts}n %{reused}n %{backend-status}n %{cache-status}n %{request-bytes}n %{member}n %{error}n %{other}n`)
		require.NoError(t, err)
		return l
	}
	cache := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		exchange.NoteCache(r.Context(), "miss")
		h.ServeHTTP(w, r)
	})
	var rec exchange.Record
	all := log().Wrap((&Observer{Done: func(_ *http.Request, got *exchange.Record) { rec = *got }}).Wrap(log().Wrap(cache)))
	all.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "http://front.test/", strings.NewReader("four")))
	line := "200 5 " + b.String() + " 1 0 200 miss 4 - - -\n"
	require.Equal(t, line+line, out.String())
	require.Equal(t, "miss", rec.Cache)
	require.Equal(t, b.String(), rec.Backend)
}

// TestCacheBehindTheHandler: a cache that is a RoundTripper tells OnRecord.
func TestCacheBehindTheHandler(t *testing.T) {
	rec := &recorder{}
	h := &Handler{Target: mustURL("http://b.test"), OnRecord: rec.add, Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		exchange.NoteCache(r.Context(), "hit")
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})}
	got, _ := observed(h, httptest.NewRequest("GET", "http://front.test/", nil))
	require.Equal(t, "hit", rec.last(t).Cache)
	require.Equal(t, "hit", got.Cache)
}

// TestWorkBehindTheAnswer: what goes on behind it, as in a cache that fetches
// in the background, neither changes the record nor reads from the request.
func TestWorkBehindTheAnswer(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	h, _, rec := handlerFor(t, o.url())
	for name, detach := range map[string]func(context.Context) context.Context{"detached": exchange.Detached, "without cancel": context.WithoutCancel} {
		t.Run(name, func(t *testing.T) {
			var work sync.WaitGroup
			answered := make(chan struct{})
			var got exchange.Record
			(&Observer{Done: func(_ *http.Request, rec *exchange.Record) {
				got = *rec
				close(answered)
				work.Wait()
				require.Equal(t, got, *rec)
			}}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				exchange.NoteCache(r.Context(), "stale")
				again := r.WithContext(detach(r.Context()))
				for i := range 4 {
					work.Go(func() {
						if i > 0 {
							<-answered
						}
						h.ServeHTTP(httptest.NewRecorder(), again)
						exchange.NoteCache(again.Context(), "revalidate")
					})
				}
				_, _ = io.WriteString(w, "stored")
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://front.test/", nil))
			require.Equal(t, 200, got.Status)
			require.EqualValues(t, 6, got.ResponseBytes)
			if name == "detached" {
				require.Zero(t, got.Attempts)
				require.Equal(t, "stale", got.Cache)
			}
		})
	}
	require.Len(t, rec.all(), 8)
}

// TestAnswerThatGoesOnBehind: a cache that has passed the head on, and is done
// before the handler, does not lose what is known by then.
func TestAnswerThatGoesOnBehind(t *testing.T) {
	rest := make(chan struct{})
	o := newOrigin(t, func(c *originConn, _ int) {
		if _, _, ok := c.request(); ok {
			c.say("HTTP/1.1 203 Non-Authoritative\r\nContent-Length: 5\r\n\r\n")
			<-rest
			c.say("hello")
		}
	})
	h, b, _ := handlerFor(t, o.url())
	var work sync.WaitGroup
	cache := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := make(chan int)
		work.Go(func() {
			h.ServeHTTP(&headTeller{httptest.NewRecorder(), head}, r.WithContext(context.WithoutCancel(r.Context())))
		})
		w.WriteHeader(<-head)
	})
	var got exchange.Record
	inner := (&Observer{Done: func(*http.Request, *exchange.Record) {}}).Wrap(cache)
	(&Observer{Done: func(_ *http.Request, rec *exchange.Record) { got = *rec }}).Wrap(inner).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://front.test/", nil))
	close(rest)
	work.Wait()
	require.Equal(t, 203, got.Status)
	require.Equal(t, 203, got.BackendStatus)
	require.Equal(t, b.String(), got.Backend)
	require.Equal(t, 1, got.Attempts)
	require.Positive(t, got.FirstByte)
}

// headTeller tells the status of an answer.
type headTeller struct {
	*httptest.ResponseRecorder
	head chan int
}

func (w *headTeller) WriteHeader(code int) { w.head <- code }

// TestDetached keeps the values of others, and nothing that belongs to the
// request.
func TestDetached(t *testing.T) {
	type mine struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), mine{}, 1))
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{})
	h := &Handler{Target: mustURL("http://b.test"), Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		require.NotNil(t, exchange.RecordFrom(r.Context()))
		d := exchange.Detached(r.Context())
		require.Nil(t, exchange.RecordFrom(d))
		require.NotNil(t, httptrace.ContextClientTrace(d), "somebody else's hooks")
		require.Equal(t, 1, d.Value(mine{}))
		cancel()
		require.NoError(t, d.Err())
		return nil, errors.New("enough")
	})}
	require.NotNil(t, httptrace.ContextClientTrace(exchange.Detached(ctx)))
	observed(h, httptest.NewRequest("GET", "http://front.test/", nil).WithContext(ctx))
	require.Error(t, ctx.Err())
}

// TestObserverAllocates once for a request, OnRecord never.
func TestObserverAllocates(t *testing.T) {
	h := func(on func(*http.Request, *exchange.Record)) *Handler { return benchHandler(t, on) }
	count := func(h http.Handler) float64 { return testing.AllocsPerRun(300, benchServe(t, h)) }
	seen := 0
	done := func(_ *http.Request, rec *exchange.Record) { seen += rec.Attempts }
	for name, tc := range map[string]struct {
		h    http.Handler
		more float64
	}{
		"OnRecord":          {h(done), 0},
		"Observer, nil":     {new(Observer).Wrap(h(nil)), 0},
		"Observer":          {(&Observer{Done: done}).Wrap(h(nil)), 1},
		"AccessLog":         {(&accesslog.Handler{Output: io.Discard}).Wrap(h(nil)), 1},
		"both":              {(&accesslog.Handler{Output: io.Discard}).Wrap((&Observer{Done: done}).Wrap(h(done))), 2},
		"AccessLog, no log": {(&accesslog.Handler{}).Wrap(h(nil)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.LessOrEqual(t, count(tc.h), count(h(nil))+tc.more)
		})
	}
	require.Positive(t, seen)
}

func benchHandler(t testing.TB, on func(*http.Request, *exchange.Record)) *Handler {
	h := &Handler{Target: benchOrigin(t, 1<<10), OnRecord: on}
	t.Cleanup(h.CloseIdleConnections)
	return h
}

// BenchmarkObserver is beside BenchmarkServeHTTP.
func BenchmarkObserver(b *testing.B) {
	done := func(*http.Request, *exchange.Record) {}
	for name, h := range map[string]http.Handler{
		"none":      benchHandler(b, nil),
		"OnRecord":  benchHandler(b, done),
		"Observer":  (&Observer{Done: done}).Wrap(benchHandler(b, nil)),
		"AccessLog": (&accesslog.Handler{Output: io.Discard}).Wrap(benchHandler(b, nil)),
	} {
		b.Run(name, func(b *testing.B) {
			serve := benchServe(b, h)
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}
