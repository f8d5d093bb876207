package buffer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/tempfile"
)

// text is n bytes that differ.
func text(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

// next answers with what it is.
type next func(*http.Request) (*http.Response, error)

func (f next) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// source is a body that is sent in steps: each Read takes one, and then the end.
type source struct {
	steps  chan []byte
	end    error
	atEnd  func()
	rest   []byte // of a step
	taken  atomic.Int64
	closed atomic.Int32
	gone   chan struct{}
	once   sync.Once
}

func newSource(end error, steps ...[]byte) *source {
	s := &source{steps: make(chan []byte, len(steps)+10), end: end, gone: make(chan struct{})}
	for _, p := range steps {
		s.steps <- p
	}
	return s
}

// whole is one whose steps are all there.
func whole(end error, steps ...[]byte) *source {
	s := newSource(end, steps...)
	close(s.steps)
	return s
}

var errGone = errors.New("closed while it was read")

func (s *source) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		select {
		case <-s.gone:
			return 0, errGone
		case q, ok := <-s.steps:
			if !ok {
				if s.atEnd != nil {
					s.atEnd()
				}
				return 0, s.end
			}
			s.rest = q
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	s.taken.Add(int64(n))
	return n, nil
}

func (s *source) Close() error {
	s.closed.Add(1)
	s.once.Do(func() { close(s.gone) })
	return nil
}

// get has t answer with src.
func get(t *testing.T, tr *Transport, ctx context.Context, src io.ReadCloser) *http.Response {
	tr.Next = next(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: src, Request: r}, nil
	})
	resp, err := tr.RoundTrip(httptest.NewRequest("GET", "http://b/", nil).WithContext(ctx))
	require.NoError(t, err)
	return resp
}

// TestWhichAnswers: what has no end, or no body, is passed on as it is.
func TestWhichAnswers(t *testing.T) {
	field := func(name, value string) http.Header { return http.Header{name: {value}} }
	for name, tc := range map[string]struct {
		method string
		status int
		length int64
		header http.Header
		body   io.ReadCloser
		choose func(*http.Response) bool
		kept   bool
	}{
		"length":                {kept: true, length: 4},
		"no length":             {kept: true, length: -1},
		"error":                 {kept: true, length: -1, status: 500},
		"part":                  {kept: true, length: 4, status: 206},
		"POST":                  {kept: true, length: 4, method: "POST"},
		"html":                  {kept: true, length: -1, header: field("Content-Type", "text/html")},
		"buffering yes":         {kept: true, length: -1, header: field("X-Accel-Buffering", "yes")},
		"events":                {length: -1, header: field("Content-Type", "text/event-stream")},
		"events, parameter":     {length: -1, header: field("Content-Type", " Text/Event-Stream ; charset=utf-8")},
		"events with a length":  {length: 4, header: field("Content-Type", "text/event-stream")},
		"pictures":              {length: -1, header: field("Content-Type", "multipart/x-mixed-replace; boundary=x")},
		"gRPC":                  {length: -1, header: field("Content-Type", "application/grpc+proto")},
		"buffering no":          {length: 4, header: field("X-Accel-Buffering", "no")},
		"buffering No, spaces":  {length: -1, header: field("X-Accel-Buffering", "\tNO ")},
		"buffering, two fields": {length: -1, header: http.Header{"X-Accel-Buffering": {"yes", "no"}}},
		"upgrade":               {length: -1, status: 101},
		"conversation":          {length: -1, body: struct{ io.ReadWriteCloser }{}},
		"CONNECT":               {length: -1, method: "CONNECT"},
		"HEAD":                  {length: 4, method: "HEAD"},
		"204":                   {length: -1, status: 204},
		"304":                   {length: -1, status: 304},
		"empty":                 {length: 0},
		"NoBody":                {length: -1, body: http.NoBody},
		"chosen":                {kept: true, length: -1, header: field("Content-Type", "text/event-stream"), choose: func(*http.Response) bool { return true }},
		"not chosen":            {length: -1, choose: func(*http.Response) bool { return false }},
		"HEAD, chosen":          {length: 4, method: "HEAD", choose: func(*http.Response) bool { return true }},
		"CONNECT, chosen":       {length: -1, method: "CONNECT", choose: func(*http.Response) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.status == 0 {
				tc.status = 200
			}
			if tc.body == nil {
				tc.body = whole(io.EOF, []byte("body"))
			}
			want := &http.Response{StatusCode: tc.status, Header: tc.header, ContentLength: tc.length, Body: tc.body}
			tr := &Transport{Choose: tc.choose, Next: next(func(*http.Request) (*http.Response, error) { return want, nil })}
			got, err := tr.RoundTrip(&http.Request{Method: tc.method, Header: http.Header{}})
			require.NoError(t, err)
			if !tc.kept {
				require.Same(t, want, got)
				require.Equal(t, tc.body, got.Body)
				return
			}
			require.Equal(t, []any{want.StatusCode, want.Header, want.ContentLength}, []any{got.StatusCode, got.Header, got.ContentLength})
			text, err := io.ReadAll(got.Body)
			require.NoError(t, err)
			require.Equal(t, "body", string(text))
			require.NoError(t, got.Body.Close())
			require.EqualValues(t, 1, tc.body.(*source).closed.Load())
		})
	}
	none := &Transport{Next: next(func(*http.Request) (*http.Response, error) { return nil, io.ErrNoProgress })}
	_, err := none.RoundTrip(httptest.NewRequest("GET", "http://b/", nil))
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// small hides all methods of a writer or reader but one.
type onlyReader struct{ io.Reader }

// TestWhatComes: every byte, then the error and the trailer, whatever is kept where
// and however it is taken.
func TestWhatComes(t *testing.T) {
	broken := errors.New("broken")
	const m = 1 << 20
	for name, tr := range map[string]*Transport{
		"default": {}, "files": {Memory: -1}, "memory": {Memory: m, Max: m}, "one byte": {Max: 1},
		"little": {Memory: 100, Max: 1000}, "a file that goes round": {Memory: -1, Max: 50_000}, "no limit": {Max: -1, Memory: 1},
		"no directory": {Dir: filepath.Join(t.TempDir(), "none")}, "no directory, no memory": {Memory: -1, Dir: filepath.Join(t.TempDir(), "none")},
		"no directory, one byte": {Memory: -1, Max: 1, Dir: filepath.Join(t.TempDir(), "none")},
	} {
		for how, take := range map[string]func(io.Reader) ([]byte, error){
			"Read": func(r io.Reader) ([]byte, error) { return io.ReadAll(onlyReader{r}) },
			"WriteTo": func(r io.Reader) ([]byte, error) {
				var to bytes.Buffer
				n, err := r.(io.WriterTo).WriteTo(struct{ io.Writer }{&to})
				if n != int64(to.Len()) {
					return nil, errors.New("wrong count")
				}
				return to.Bytes(), err
			},
		} {
			for _, end := range []error{io.EOF, broken} {
				t.Run(name+"/"+how+"/"+end.Error(), func(t *testing.T) {
					tr := &Transport{Memory: tr.Memory, Max: tr.Max, Dir: tr.Dir}
					if tr.Dir == "" {
						tr.Dir = t.TempDir()
					}
					size := 300_000
					if tr.Max == 1 {
						size = 3000
					}
					want := text(size)
					src := whole(end, want[:1], want[1:100], want[100:size/2], want[size/2:])
					tr.Next = next(func(r *http.Request) (*http.Response, error) {
						resp := &http.Response{StatusCode: 200, ContentLength: -1, Body: src, Trailer: http.Header{"Sum": nil}}
						src.atEnd = func() { resp.Trailer["Sum"] = []string{"1"}; resp.Trailer["Late"] = []string{"2"} }
						return resp, nil
					})
					resp, err := tr.RoundTrip(httptest.NewRequest("GET", "http://b/", nil))
					require.NoError(t, err)
					for range resp.Trailer { // as a Handler does, before it reads the body
						runtime.Gosched()
					}
					require.Equal(t, http.Header{"Sum": nil}, resp.Trailer)
					got, err := take(resp.Body)
					if end == io.EOF {
						require.NoError(t, err)
						require.Equal(t, http.Header{"Sum": {"1"}, "Late": {"2"}}, resp.Trailer)
					} else {
						require.ErrorIs(t, err, broken)
					}
					require.True(t, bytes.Equal(want, got))
					_, err = resp.Body.Read(make([]byte, 1))
					require.ErrorIs(t, err, end, "it stays so")
					require.NoError(t, resp.Body.Close())
					require.NoError(t, resp.Body.Close())
					require.EqualValues(t, 1, src.closed.Load())
					_, err = resp.Body.Read(make([]byte, 1))
					require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
					left, _ := os.ReadDir(tr.Dir)
					require.Empty(t, left)
				})
			}
		}
	}
}

// TestMaximum: so much is taken from the backend, and no more until the client
// takes something.
func TestMaximum(t *testing.T) {
	for name, memory := range map[string]int64{"memory": 100_000, "memory and file": 30_000, "file": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := text(500_000)
				src := whole(io.EOF, want)
				tr := &Transport{Memory: memory, Max: 100_000, Dir: t.TempDir()}
				resp := get(t, tr, t.Context(), src)
				time.Sleep(time.Hour)
				require.EqualValues(t, 100_000, src.taken.Load())
				require.Zero(t, src.closed.Load())
				p := make([]byte, 10_000)
				_, err := io.ReadFull(resp.Body, p)
				require.NoError(t, err)
				synctest.Wait()
				require.EqualValues(t, 110_000, src.taken.Load())
				rest, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, append(p, rest...)))
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}

// TestQuickClient: needs no file, a slow one soon does.
func TestQuickClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := whole(io.EOF, text(1_000_000))
		tr := &Transport{Dir: filepath.Join(t.TempDir(), "none")} // no file can be made
		resp := get(t, tr, t.Context(), src)
		p := make([]byte, 50_000)
		for range 10 {
			synctest.Wait()
			require.EqualValues(t, DefaultMemory, src.taken.Load()%50_000+DefaultMemory-DefaultMemory%50_000)
			_, err := io.ReadFull(resp.Body, p)
			require.NoError(t, err)
			time.Sleep(time.Millisecond)
			require.False(t, tr.broken.Load())
		}
		time.Sleep(patience)
		require.True(t, tr.broken.Load())
		require.NoError(t, resp.Body.Close())
	})
}

// TestLeavingAtEachStep: the client closes the body, or its context ends, and
// nothing is left: no goroutine, no file, and the body of Next closed once.
func TestLeavingAtEachStep(t *testing.T) {
	for name, tr := range map[string]*Transport{
		"memory": {}, "file": {Memory: -1}, "full": {Max: 10_000}, "full file": {Memory: -1, Max: 10_000}, "broken file": {Memory: -1, Dir: "/none"},
	} {
		for step, run := range map[string]func(t *testing.T, resp *http.Response, cancel func()){
			"at once":           func(*testing.T, *http.Response, func()) {},
			"later":             func(*testing.T, *http.Response, func()) { time.Sleep(time.Minute) },
			"cancelled at once": func(_ *testing.T, _ *http.Response, cancel func()) { cancel() },
			"cancelled": func(_ *testing.T, _ *http.Response, cancel func()) {
				time.Sleep(time.Minute)
				cancel()
				synctest.Wait()
			},
			"in between": func(t *testing.T, resp *http.Response, _ func()) {
				_, err := io.ReadFull(resp.Body, make([]byte, 20_000))
				require.NoError(t, err)
			},
			"while it is read": func(t *testing.T, resp *http.Response, _ func()) {
				ended := make(chan error, 1)
				go func() { _, err := io.Copy(io.Discard, resp.Body); ended <- err }()
				synctest.Wait()
				require.NoError(t, resp.Body.Close())
				require.Error(t, <-ended)
			},
			"while it is written": func(t *testing.T, resp *http.Response, _ func()) {
				r, w := io.Pipe()
				ended := make(chan error, 1)
				go func() { _, err := io.Copy(w, resp.Body); ended <- err }()
				_, err := io.ReadFull(r, make([]byte, 10))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				_, _ = r.Read(make([]byte, 1<<20))
				r.Close()
				require.Error(t, <-ended)
			},
		} {
			t.Run(name+"/"+step, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					tr := &Transport{Memory: tr.Memory, Max: tr.Max, Dir: tr.Dir}
					if tr.Dir == "" {
						tr.Dir = t.TempDir()
					}
					src := newSource(io.EOF, text(30_000), text(30_000)) // and no end
					resp := get(t, tr, ctx, src)
					run(t, resp, cancel)
					require.NoError(t, resp.Body.Close())
					synctest.Wait()
					require.EqualValues(t, 1, src.closed.Load())
					b := resp.Body.(*body)
					require.False(t, b.pumping)
					require.Equal(t, queue{size: b.q.size}, b.q)
				})
			})
		}
	}
}

// TestContextEnds: behind what has come is why nothing more does.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		src := whole(io.EOF, text(50_000))
		resp := get(t, &Transport{Max: 10_000}, ctx, src)
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.EqualValues(t, 1, src.closed.Load())
		got, err := io.ReadAll(resp.Body)
		require.Len(t, got, 10_000)
		require.ErrorIs(t, err, exchange.ErrClientGone)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, resp.Body.Close())
	})
}

// TestFilesThatFail: nothing is lost, and it is said once, until it is well again.
func TestFilesThatFail(t *testing.T) {
	var log bytes.Buffer
	none := filepath.Join(t.TempDir(), "none")
	tr := &Transport{Memory: -1, Dir: none, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 3 {
		if i == 2 {
			require.NoError(t, os.Mkdir(none, 0o700))
		}
		want := text(200_000)
		resp := get(t, tr, t.Context(), whole(io.EOF, want))
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		require.NoError(t, resp.Body.Close())
	}
	require.Equal(t, 1, strings.Count(log.String(), "cannot be kept"), log.String())
	require.Equal(t, 1, strings.Count(log.String(), "again"), log.String())
}

// TestFileFillsUp: what is in the file comes before what did not fit.
func TestFileFillsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := text(300_000)
		src := newSource(io.EOF, want[:20_000])
		resp := get(t, &Transport{Memory: -1, Dir: t.TempDir()}, t.Context(), src)
		synctest.Wait()
		b := resp.Body.(*body)
		require.EqualValues(t, 20_000, b.q.inFile())
		name := filepath.Join(t.TempDir(), "full")
		require.NoError(t, os.WriteFile(name, want[:20_000], 0o600))
		full, err := os.Open(name) // cannot be written
		require.NoError(t, err)
		require.NoError(t, b.q.file.Close())
		b.q.file = &tempfile.File{File: full}
		for at := 20_000; at < len(want); at += 28_000 {
			src.steps <- want[at : at+28_000]
		}
		close(src.steps)
		synctest.Wait()
		require.True(t, b.q.broken)
		require.EqualValues(t, 48_000, src.taken.Load(), "the backend waits")
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		require.NoError(t, resp.Body.Close())
	})
}

// TestFileIsLost: an answer that cannot be read any more is cut, not ended.
func TestFileIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resp := get(t, &Transport{Memory: -1, Dir: t.TempDir()}, t.Context(), whole(io.EOF, text(50_000)))
		synctest.Wait()
		require.NoError(t, resp.Body.(*body).q.file.Truncate(20_000))
		got, err := io.ReadAll(resp.Body)
		require.Len(t, got, 20_000)
		var e *exchange.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []any{exchange.OpBody, "http://b"}, []any{e.Op, e.Backend})
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NoError(t, resp.Body.Close())
	})
}

// odd is a body that breaks the rules.
type odd struct {
	n     int
	panic bool
}

func (o odd) Read([]byte) (int, error) {
	if o.panic {
		panic("in Read")
	}
	return o.n, nil
}

func (o odd) Close() error {
	if o.panic {
		panic("in Close")
	}
	return nil
}

// TestOddBodies end no process.
func TestOddBodies(t *testing.T) {
	for _, o := range []odd{{n: -1}, {n: 1 << 20}, {panic: true}} {
		for _, memory := range []int64{0, -1} {
			resp := get(t, &Transport{Memory: memory, Dir: t.TempDir()}, t.Context(), o)
			got, err := io.ReadAll(resp.Body)
			require.Error(t, err)
			require.Empty(t, got)
			require.NoError(t, resp.Body.Close())
		}
	}
}
