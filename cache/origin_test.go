package cache

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// step is one answer of a scripted origin.
type step struct {
	status int // 0: 200
	header http.Header
	body   string

	wait chan struct{} // the answer begins when it is closed; nil: at once
	cut  bool          // the body breaks off

	handle http.HandlerFunc // does it all, if not nil
}

// origin answers with its steps in turn, the last one again and again, and
// keeps what it was asked.
type origin struct {
	t     testing.TB
	mu    sync.Mutex
	steps []step
	asked []*http.Request
}

func newOrigin(t testing.TB, steps ...step) *origin { return &origin{t: t, steps: steps} }

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, r.Clone(context.Background()))
	s := o.steps[min(len(o.asked), len(o.steps))-1]
	o.mu.Unlock()
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if s.handle != nil {
		s.handle(w, r)
		return
	}
	maps.Copy(w.Header(), s.header)
	if s.status == http.StatusNotModified {
		w.WriteHeader(s.status)
		return
	}
	if w.Header().Get("Content-Length") == "" && !s.cut && w.Header().Get("Transfer-Encoding") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.body)))
	}
	if s.status != 0 {
		w.WriteHeader(s.status)
	}
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, s.body)
	}
	if s.cut {
		panic(http.ErrAbortHandler)
	}
}

// requests is what the origin was asked so far.
func (o *origin) requests() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*http.Request(nil), o.asked...)
}

func (o *origin) count() int { return len(o.requests()) }

// last is the request that it was asked last.
func (o *origin) last() *http.Request {
	all := o.requests()
	require.NotEmpty(o.t, all)
	return all[len(all)-1]
}

// ask sends a request and returns the answer. lines are the fields of the request.
func ask(h http.Handler, method, target string, lines ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	maps.Copy(r.Header, headerOf(lines...))
	return askWith(h, r)
}

func askWith(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func get(h http.Handler, target string, lines ...string) *http.Response {
	return ask(h, http.MethodGet, target, lines...)
}

// bodyOf reads a body to its end.
func bodyOf(t testing.TB, resp *http.Response) string {
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

// clocked runs a test in a bubble, whose time is 2000-01-01 and stands still
// while anything runs.
func clocked(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// ago is a date before now.
func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(http.TimeFormat) }

// headerOf makes a header of lines as they are on the wire.
func headerOf(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimPrefix(value, " "))
	}
	return h
}

const page = "http://example.org/page"

// fronts are the two faces of a cache. Each test of what it answers holds for
// both.
var fronts = map[string]func(c *Cache, o http.Handler) http.Handler{
	"handler":   func(c *Cache, o http.Handler) http.Handler { return c.Wrap(o) },
	"transport": func(c *Cache, o http.Handler) http.Handler { return roundTripped{c.Transport(handled{o})} },
}

// handled is a RoundTripper that a handler answers, all at once.
type handled struct{ http.Handler }

func (h handled) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			if resp == nil {
				err = io.ErrUnexpectedEOF
			}
		}
	}()
	w := httptest.NewRecorder()
	defer func() {
		if v := recover(); v != nil {
			if w.Body.Len() == 0 {
				err = io.ErrUnexpectedEOF
				return
			}
			resp = w.Result()
			resp.Body = io.NopCloser(io.MultiReader(w.Body, brokenReader{}))
		}
	}()
	h.ServeHTTP(w, r)
	resp = w.Result()
	if r.Method == http.MethodHead {
		resp.Body = http.NoBody
	}
	return resp, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// roundTripped is a handler that answers with what a RoundTripper brings.
type roundTripped struct{ http.RoundTripper }

func (t roundTripped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.Host, r.URL.Scheme = r.Host, "http"
	resp, err := t.RoundTrip(r)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	sendTrailer(w, resp.Trailer)
}

// turn is a request, what the origin would answer, and what the client is
// to get.
type turn struct {
	after  time.Duration // since the one before
	method string        // GET if empty
	path   string        // /page if empty
	ask    []string      // lines of the request's header

	origin *step // nil: the origin must not be asked

	status int      // 200 if 0
	body   string   // of the answer to a GET
	want   []string // lines of the answer's header; "Name:" means that it is not there
	sent   []string // lines of what the origin got, in the same way
}

// script runs exchanges through a cache, in a bubble, by both of its faces.
func script(t *testing.T, make func() *Cache, exchanges ...turn) {
	t.Helper()
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				c := make()
				var current *step
				asked := 0
				var got *http.Request
				h := front(c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked++
					got = r.Clone(context.Background())
					if current == nil {
						w.WriteHeader(http.StatusTeapot)
						return
					}
					newOrigin(t, *current).ServeHTTP(w, r)
				}))
				for i, x := range exchanges {
					time.Sleep(x.after)
					current, asked = x.origin, 0
					method, path := x.method, x.path
					if method == "" {
						method = http.MethodGet
					}
					if path == "" {
						path = "/page"
					}
					resp := ask(h, method, "http://example.org"+path, x.ask...)
					synctest.Wait()
					what := "exchange " + strconv.Itoa(i+1)
					if x.origin == nil {
						require.Zero(t, asked, "%s: the origin was asked", what)
					} else {
						require.NotZero(t, asked, "%s: the origin was not asked", what)
						requireLines(t, got.Header, x.sent, what+": sent to the origin")
					}
					status := x.status
					if status == 0 {
						status = http.StatusOK
					}
					require.Equal(t, status, resp.StatusCode, what)
					if method == http.MethodGet {
						if got := bodyOf(t, resp); x.body != "*" {
							require.Equal(t, x.body, got, what)
						}
					}
					requireLines(t, resp.Header, x.want, what)
				}
				c.Close()
			})
		})
	}
}

func requireLines(t *testing.T, h http.Header, lines []string, what string) {
	t.Helper()
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); value == "" {
			require.NotContains(t, h, http.CanonicalHeaderKey(name), what)
		} else {
			require.Equal(t, value, strings.Join(h.Values(name), ", "), "%s: %s", what, name)
		}
	}
}

func plainCache() *Cache { return &Cache{} }

// ok is a step with a 200.
func ok(body string, lines ...string) *step { return &step{header: headerOf(lines...), body: body} }

func status(code int, lines ...string) *step { return &step{status: code, header: headerOf(lines...)} }

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.text.String(), "\n"), "\n")
}

func dirNames(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
