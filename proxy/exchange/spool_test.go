package exchange

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// chunkedRequest is a request whose body has no known length.
func chunkedRequest(body io.Reader) *http.Request {
	r := httptest.NewRequest("POST", "/", struct{ io.Reader }{body})
	r.ContentLength = -1
	return r
}

func TestSpool(t *testing.T) {
	for name, tc := range map[string]struct {
		spool  Spool
		size   int
		file   bool
		status int
	}{
		"empty":             {Spool{}, 0, false, 0},
		"in memory":         {Spool{Memory: 100}, 100, false, 0},
		"in a file":         {Spool{Memory: 100}, 101, true, 0},
		"default memory":    {Spool{}, DefaultSpoolMemory, false, 0},
		"beyond it":         {Spool{}, 3 * DefaultSpoolMemory, true, 0},
		"no memory":         {Spool{Memory: -1}, 1, true, 0},
		"empty, no memory":  {Spool{Memory: -1}, 0, false, 0},
		"the longest":       {Spool{Memory: 10, Max: 1000}, 1000, true, 0},
		"longer":            {Spool{Memory: 10, Max: 1000}, 1001, true, 413},
		"longer, in memory": {Spool{Max: 10}, 11, false, 413},
		"no limit":          {Spool{Max: -1}, 100000, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tc.spool.Dir = t.TempDir()
			want := bytes.Repeat([]byte("0123456789"), tc.size/10+1)[:tc.size]
			in := &closeSpy{Reader: bytes.NewReader(want)}
			r := chunkedRequest(nil)
			r.Body = in
			r.Trailer = http.Header{"Sum": {"1"}}
			r.Header.Set("Expect", "100-continue")
			out, done, err := tc.spool.Request(r)
			require.True(t, in.isClosed())
			if tc.status != 0 {
				require.Equal(t, tc.status, StatusOf(err))
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, OpClient, e.Op)
				left, err := os.ReadDir(tc.spool.Dir)
				require.NoError(t, err)
				require.Empty(t, left)
				return
			}
			require.NoError(t, err)
			require.EqualValues(t, tc.size, out.ContentLength)
			require.Empty(t, out.Trailer)
			require.Empty(t, out.Header.Get("Expect"))
			require.NotEmpty(t, r.Header.Get("Expect"), "the request given is left alone")
			if tc.size == 0 {
				require.Equal(t, http.NoBody, out.Body)
				done()
				return
			}
			require.Equal(t, tc.file, out.Body.(*spoolReader).sp.file != nil)
			again, err := out.GetBody()
			require.NoError(t, err)
			for _, body := range []io.ReadCloser{out.Body, again} {
				got, err := io.ReadAll(body)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got))
			}
			require.NoError(t, out.Body.Close())
			require.NoError(t, out.Body.Close())
			_, err = out.Body.Read(make([]byte, 1))
			require.Error(t, err)
			sp := again.(*spoolReader).sp
			done()
			require.EqualValues(t, 1, sp.refs.Load(), "a body is still open")
			require.NoError(t, again.Close())
			require.Zero(t, sp.refs.Load())
			if sp.file != nil {
				require.ErrorIs(t, sp.file.Close(), os.ErrClosed)
			}
			_, err = out.GetBody()
			require.Error(t, err)
			left, err := os.ReadDir(tc.spool.Dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestSpoolFailures(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		spool  Spool
		body   io.Reader
		length int64
		op     Op
		status int
	}{
		"client's body fails":  {Spool{}, io.MultiReader(strings.NewReader("ab"), failingBody{broken}), -1, OpClient, 400},
		"client breaks off":    {Spool{}, failingBody{io.ErrUnexpectedEOF}, -1, OpClient, 499},
		"file cannot be made":  {Spool{Memory: -1, Dir: filepath.Join(t.TempDir(), "none")}, strings.NewReader("ab"), -1, OpRequest, 500},
		"announced too long":   {Spool{All: true, Max: 3}, failingBody{broken}, 4, OpClient, 413},
		"shorter than it says": {Spool{All: true}, strings.NewReader("ab"), 4, OpClient, 499},
	} {
		t.Run(name, func(t *testing.T) {
			r := chunkedRequest(tc.body)
			r.ContentLength = tc.length
			_, _, err := tc.spool.Request(r)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tc.op, e.Op)
			require.Equal(t, tc.status, StatusOf(err))
		})
	}
}

// TestSpoolLeavesAlone: what has a length, or no body, passes unread.
func TestSpoolLeavesAlone(t *testing.T) {
	known := httptest.NewRequest("POST", "/", strings.NewReader("body"))
	for name, r := range map[string]*http.Request{"known": known, "none": httptest.NewRequest("GET", "/", nil)} {
		out, done, err := (&Spool{}).Request(r)
		require.NoError(t, err)
		require.Same(t, r, out, name)
		done()
	}
	out, done, err := (&Spool{All: true}).Request(known)
	require.NoError(t, err)
	defer done()
	require.NotSame(t, known, out)
	require.EqualValues(t, 4, out.ContentLength)
	require.NoError(t, out.Body.Close())
}

// closeSpy is a body that tells whether it was closed.
type closeSpy struct {
	io.Reader
	closed atomic.Bool
}

func (s *closeSpy) Close() error {
	s.closed.Store(true)
	return nil
}

func (s *closeSpy) isClosed() bool { return s.closed.Load() }

// failingBody fails as a real one does, after some bytes.
type failingBody struct{ err error }

func (f failingBody) Read([]byte) (int, error) { return 0, f.err }
func (f failingBody) Close() error             { return nil }
