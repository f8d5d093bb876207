package fcgi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// roundTrip asks once, and returns what came.
func roundTrip(t testing.TB, tr *Transport, method string, body io.Reader) (*http.Response, []byte, error) {
	r, err := http.NewRequest(method, "fcgi://app/srv/a.php", body)
	require.NoError(t, err)
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, resp.Body.Close())
	return resp, b, err
}

func TestRefusedAnswers(t *testing.T) {
	const head = "Content-Type: text/plain\r\n\r\n"
	otherID := appendRecord(nil, typeStdout, 7, []byte(head))
	badVersion := stdout(head)
	badVersion[0] = 2
	for name, test := range map[string]struct {
		answer []byte
		status int
		op     exchange.Op
		resend bool
	}{
		"closed before any byte":  {nil, 502, exchange.OpHeader, true},
		"closed within a record":  {[]byte{1, 6, 0}, 502, exchange.OpHeader, false},
		"closed in the header":    {stdout("Content-Ty"), 502, exchange.OpHeader, false},
		"another request's":       {otherID, 502, exchange.OpHeader, false},
		"unknown version":         {badVersion, 502, exchange.OpHeader, false},
		"unexpected type":         {appendRecord(nil, typeBeginRequest, 1, make([]byte, 8)), 502, exchange.OpHeader, false},
		"no name in a field":      {join(stdout(": x\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"line without a colon":    {join(stdout("hello\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"control byte in a value": {join(stdout("A: x\x00y\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"status without digits":   {join(stdout("Status: ok\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"interim status":          {join(stdout("Status: 101 Switching\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"two of status":           {join(stdout("Status: 200\r\nStatus: 404\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"lengths that differ":     {join(stdout("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"long line":               {join(stdout("A: "+strings.Repeat("x", 9000)+"\r\n\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"long header":             {join(stdout(strings.Repeat("A: x\r\n", 9000)+"\r\n"), end(0, 0)), 502, exchange.OpHeader, false},
		"end before the header":   {end(3, 0), 502, exchange.OpHeader, false},
		"overloaded":              {end(0, overloaded), 503, exchange.OpHeader, true},
		"cannot multiplex":        {end(0, cantMultiplex), 502, exchange.OpHeader, true},
		"unknown role":            {end(0, unknownRole), 502, exchange.OpHeader, false},
		"short end":               {appendRecord(nil, typeEndRequest, 1, []byte{0}), 502, exchange.OpHeader, false},
		"cut body":                {stdout(head + "some"), 502, exchange.OpBody, false},
		"shorter than its length": {join(stdout("Content-Length: 9\r\n\r\nsome"), end(0, 0)), 502, exchange.OpBody, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, tr := newPeer(t, func(c *peerConn, _ int) {
				if _, ok := c.request(); ok {
					c.say(test.answer)
				}
			})
			tr.MaxLineBytes, tr.MaxHeadBytes = 8192, 32<<10
			_, _, err := roundTrip(t, tr, "GET", nil)
			var e *exchange.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, test.op, e.Op, err)
			require.Equal(t, test.status, exchange.StatusOf(err), err)
			require.Equal(t, test.resend, exchange.MayResend(err), err)
			require.Equal(t, tr.Backend.String(), e.Backend)
			require.Equal(t, int64(0), tr.Backend.Stats().Open)
		})
	}
}

// Whatever the pieces in which an answer comes, it is the same.
func TestAnswerSplitAtEveryByte(t *testing.T) {
	var one []byte
	for _, b := range []byte("Status: 201 Made\r\nX-A: b\r\n\r\nhello") { // a record for each byte
		one = append(one, appendRecord(nil, typeStdout, requestID, []byte{b})...)
	}
	answer := join(stderr("oops\n"), one, appendRecord(nil, typeStdout, requestID, nil), stderr("late"), end(0, 0))
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		for {
			a, ok := c.request()
			if !ok {
				return
			}
			cut, _ := strconv.Atoi(a.env["QUERY_STRING"])
			c.say(answer[:cut])
			c.say(answer[cut:])
		}
	})
	for cut := range len(answer) {
		r, _ := http.NewRequest("GET", "fcgi://app/a.php?"+strconv.Itoa(cut), nil)
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err, cut)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err, cut)
		require.Equal(t, "hello", string(b))
		require.Equal(t, 201, resp.StatusCode)
		require.Equal(t, "b", resp.Header.Get("X-A"))
	}
	require.Equal(t, int64(1), tr.Backend.Stats().Created)
}

func TestGiantPadding(t *testing.T) {
	padded := func(b []byte, kind recordType) []byte {
		h := []byte{1, byte(kind), 0, 1, byte(len(b) >> 8), byte(len(b)), 255, 9}
		return join(h, b, make([]byte, 255))
	}
	_, tr := answering(t, join(
		padded([]byte("X: y\r\n"), typeStdout), padded(nil, typeStderr), padded([]byte("\r\nbo"), typeStdout),
		padded([]byte("dy"), typeStdout), padded(make([]byte, 8), typeEndRequest)))
	for range 3 {
		resp, b, err := roundTrip(t, tr, "GET", nil)
		require.NoError(t, err)
		require.Equal(t, "body", string(b))
		require.Equal(t, "y", resp.Header.Get("X"))
	}
	require.Equal(t, int64(1), tr.Backend.Stats().Created)
}

func TestManagementRecordsArePassedOver(t *testing.T) {
	_, tr := answering(t, join(appendRecord(nil, typeUnknownType, 0, make([]byte, 8)), stdout("A: b\n\nx"), end(0, 0)))
	_, b, err := roundTrip(t, tr, "GET", nil)
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
}

// A flood of error output neither fills the log nor spoils the answer.
func TestStderrFlood(t *testing.T) {
	flood := stderr(strings.Repeat("something is wrong\n", 100_000))
	_, tr := answering(t, join(flood, stdout("A: b\r\n\r\nbo"), flood, stdout("dy"), end(0, 0)))
	var logged bytes.Buffer
	tr.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	tr.MaxStderrBytes = 1000
	_, b, err := roundTrip(t, tr, "GET", nil)
	require.NoError(t, err)
	require.Equal(t, "body", string(b))
	require.Equal(t, 53, strings.Count(logged.String(), "something"))
	require.Contains(t, logged.String(), "bytes=3799000")
}

// Variables beyond 64 KiB span records.
func TestVariablesBeyondOneRecord(t *testing.T) {
	got := make(chan asked, 1)
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok {
			got <- a
			c.say(join(stdout("A: b\r\n\r\n"), end(0, 0)))
		}
	})
	r, _ := http.NewRequest("GET", "fcgi://app/a.php", nil)
	for i := range 10 {
		r.Header.Set("X-Long-"+strconv.Itoa(i), strings.Repeat(strconv.Itoa(i), 20_000))
	}
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	_ = resp.Body.Close()
	a := <-got
	for i := range 10 {
		require.Equal(t, strings.Repeat(strconv.Itoa(i), 20_000), a.env["HTTP_X_LONG_"+strconv.Itoa(i)])
	}
}

// A reused connection that was closed before any byte is replaced, if the
// request may be repeated.
func TestStaleConnections(t *testing.T) {
	p, tr := newPeer(t, func(c *peerConn, n int) {
		for i := 0; ; i++ {
			if _, ok := c.request(); !ok || n == 1 && i == 1 {
				return
			}
			c.say(join(stdout("A: b\r\n\r\nok"), end(0, 0)))
		}
	})
	for range 2 {
		_, b, err := roundTrip(t, tr, "GET", nil)
		require.NoError(t, err)
		require.Equal(t, "ok", string(b))
	}
	require.Equal(t, 2, p.connections())

	_, tr = newPeer(t, func(c *peerConn, n int) {
		if _, ok := c.request(); ok {
			c.say(join(stdout("A: b\r\n\r\nok"), end(0, 0)))
			c.request()
		}
	})
	_, _, err := roundTrip(t, tr, "POST", strings.NewReader("x"))
	require.NoError(t, err)
	_, _, err = roundTrip(t, tr, "POST", strings.NewReader("x"))
	require.ErrorIs(t, err, exchange.ErrStaleConn)
	require.False(t, exchange.MayResend(err))
}

// The answer counts though the body was not read to its end.
func TestEarlyAnswerEndsABody(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if _, ok := c.params(); ok {
			c.say(join(stdout("Status: 413 Too much\r\n\r\nno"), end(0, 0)))
			c.untilClosed()
		}
	})
	r, _ := http.NewRequest("POST", "fcgi://app/a.php", endless{})
	r.ContentLength = 1 << 40
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "no", string(b))
	require.Equal(t, 413, resp.StatusCode)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A body that breaks off is the client's failure, and no short one is sent.
func TestClientBodyBreaksOff(t *testing.T) {
	for name, length := range map[string]int64{"read before": 100, "streamed": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			_, tr := newPeer(t, func(c *peerConn, _ int) { c.request() })
			r, _ := http.NewRequest("POST", "fcgi://app/a.php", io.MultiReader(strings.NewReader("short")))
			r.ContentLength = length
			_, err := tr.RoundTrip(r)
			var e *exchange.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, exchange.OpClient, e.Op)
			require.Equal(t, exchange.StatusClientClosedRequest, exchange.StatusOf(err))
		})
	}
}

// No connection is taken before a body of unknown length is there, and one
// that is too long never reaches the application.
func TestBodiesOfUnknownLengthAreSpooled(t *testing.T) {
	p, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok {
			c.say(join(stdout("Length: "+a.env["CONTENT_LENGTH"]+"\r\n\r\n"), stdout(string(a.stdin)), end(0, 0)))
		}
	})
	tr.Spool.Max, tr.Spool.Memory = 100_000, 1000
	pr, pw := io.Pipe()
	type result struct {
		resp *http.Response
		body []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		resp, b, err := roundTrip(t, tr, "POST", pr)
		done <- result{resp, b, err}
	}()
	_, _ = pw.Write(bytes.Repeat([]byte("a"), 50_000))
	require.Equal(t, 0, p.connections())
	_ = pw.Close()
	got := <-done
	require.NoError(t, got.err)
	require.Equal(t, strings.Repeat("a", 50_000), string(got.body))
	require.Equal(t, "50000", got.resp.Header.Get("Length"))

	_, _, err := roundTrip(t, tr, "POST", io.MultiReader(bytes.NewReader(make([]byte, 100_001))))
	require.Equal(t, http.StatusRequestEntityTooLarge, exchange.StatusOf(err))
	require.Equal(t, 1, p.connections())
}

// What must not become a variable is refused before anything is sent.
func TestRequestsThatAreRefused(t *testing.T) {
	p, tr := answering(t, nil)
	for name, change := range map[string]func(*http.Request){
		"NUL in the path":        func(r *http.Request) { r.URL.Path = "/a.php\x00.jpg" },
		"newline in the path":    func(r *http.Request) { r.URL.Path = "/a.php/\nx" },
		"dot segments":           func(r *http.Request) { r.URL.Path = "/srv/../etc/a.php" },
		"dot segments behind":    func(r *http.Request) { r.URL.Path = "/srv/a.php/../../b" },
		"no path":                func(r *http.Request) { r.URL.Path = "" },
		"control in the query":   func(r *http.Request) { r.URL.RawQuery = "a\nb" },
		"NUL in a field":         func(r *http.Request) { r.Header.Set("X", "a\x00b") },
		"newline in a field":     func(r *http.Request) { r.Header.Set("X", "a\nb") },
		"name that is no token":  func(r *http.Request) { r.Header["X Y"] = []string{"a"} },
		"method that is no one":  func(r *http.Request) { r.Method = "G T" },
		"newline in the host":    func(r *http.Request) { r.Host = "a\nb" },
		"encoded slash in front": func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a/b.php", "/a%2Fb.php" },
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := http.NewRequest("GET", "fcgi://app/a.php", nil)
			change(r)
			_, err := tr.RoundTrip(r)
			var e *exchange.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, exchange.OpRequest, e.Op)
			require.Contains(t, []int{400, 404}, exchange.StatusOf(err))
		})
	}
	for name, change := range map[string]func(*http.Request) *http.Request{
		"user": func(r *http.Request) *http.Request { return access.WithUser(r, "root\x00x", "Basic") },
		"how":  func(r *http.Request) *http.Request { return access.WithUser(r, "root", "Basic\x00") },
		"variable": func(r *http.Request) *http.Request {
			return r.WithContext(WithVariables(r.Context(), map[string]string{"A": "b\x00"}))
		},
		"its name": func(r *http.Request) *http.Request {
			return r.WithContext(WithVariables(r.Context(), map[string]string{"A\x00": "b"}))
		},
	} {
		r, _ := http.NewRequest("GET", "fcgi://app/a.php", nil)
		_, err := tr.RoundTrip(change(r))
		require.Equal(t, 500, exchange.StatusOf(err), "NUL in the %s", name)
	}
	require.Equal(t, 0, p.connections())
	r, _ := http.NewRequest("GET", "http://app/a.php", nil)
	_, err := tr.RoundTrip(r)
	require.Equal(t, 500, exchange.StatusOf(err))
}

func TestNobodyListens(t *testing.T) {
	tr := transportTo(t, programs.FreeAddr(t))
	_, _, err := roundTrip(t, tr, "GET", nil)
	require.Equal(t, 503, exchange.StatusOf(err))
	require.True(t, exchange.MayResend(err))
}

func TestSilentApplicationTimesOut(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) { c.untilClosed() })
	tr.Backend.Timeout = 50 * time.Millisecond
	_, _, err := roundTrip(t, tr, "GET", nil)
	require.Equal(t, 504, exchange.StatusOf(err))
	require.False(t, exchange.MayResend(err))
}

// What comes after the length that the header names is not passed on.
func TestMoreThanContentLength(t *testing.T) {
	_, tr := answering(t, join(stdout("Content-Length: 4\r\n\r\nbody and more"), end(0, 0)))
	_, b, err := roundTrip(t, tr, "GET", nil)
	require.NoError(t, err)
	require.Equal(t, "body", string(b))
}

func TestCompleteAnswerWithoutItsEnd(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok && a.env["QUERY_STRING"] == "" {
			c.say(stdout("Content-Length: 4\r\n\r\nbody"))
		}
	})
	_, b, err := roundTrip(t, tr, "GET", nil)
	require.NoError(t, err)
	require.Equal(t, "body", string(b))
}

func TestCancelledRequestFreesTheConnection(t *testing.T) {
	ended := make(chan struct{})
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if _, ok := c.request(); ok {
			c.say(stdout("A: b\r\n\r\nbegun"))
			c.untilClosed()
			close(ended)
		}
	})
	r, _ := http.NewRequest("GET", "fcgi://app/a.php", nil)
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, 5))
	require.NoError(t, err)
	go func() { _ = resp.Body.Close() }()
	_, err = resp.Body.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, errors.Is(err, io.EOF))
	<-ended
	require.Eventually(t, func() bool { return tr.Backend.Stats().Open == 0 }, 10*time.Second, time.Millisecond)
}

// Error output that fills no buffer does not hold up what came before it.
func TestErrorOutputHoldsUpNothing(t *testing.T) {
	goOn := make(chan struct{})
	const head = "A: b\r\n\r\n"
	body := strings.Repeat("x", 8192-headLength-len(head)) // with its record, all that fits the buffer
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if _, ok := c.request(); ok {
			c.say(join(stdout(head+body), stderr("oops\n")))
			<-goOn
			c.say(join(stdout("end"), end(0, 0)))
		}
	})
	t.Cleanup(func() { close(goOn) })
	s := behind(t, tr)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/a.php", nil)
	require.NoError(t, err)
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	got := make([]byte, len(body))
	_, err = io.ReadFull(resp.Body, got)
	require.NoError(t, err)
	require.Equal(t, body, string(got))
}

// An Env that panics takes no place in the pool with it.
func TestEnvThatPanicsFreesItsConnection(t *testing.T) {
	_, tr := answering(t, join(stdout("A: b\r\n\r\nok"), end(0, 0)))
	tr.Env = func(r *http.Request, env *Params) { env.Set("SSL", r.TLS.ServerName) }
	require.Panics(t, func() { _, _, _ = roundTrip(t, tr, "GET", nil) })
	require.Zero(t, tr.Backend.Stats().Open)

	// Nor does that say anything about the application.
	tr.Backend.Retry = time.Nanosecond
	tr.Backend.MarkError(io.EOF)
	require.Panics(t, func() { _, _, _ = roundTrip(t, tr, "GET", nil) })
	require.EqualValues(t, 1, tr.Backend.Stats().Errors)
}

// A length without a body, as a Rewrite leaves it that takes the body away, is
// none.
func TestLengthWithoutBody(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok {
			c.say(join(stdout("A: b\r\n\r\n"+a.env["CONTENT_LENGTH"]), end(0, 0)))
		}
	})
	r, err := http.NewRequest("GET", "fcgi://app/a.php", nil)
	require.NoError(t, err)
	r.ContentLength = 5
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	require.Empty(t, readAll(t, resp))
}
