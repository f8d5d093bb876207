package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// logSpy keeps what is logged.
type logSpy struct {
	mu      sync.Mutex
	records []slog.Record
}

func (*logSpy) Enabled(context.Context, slog.Level) bool { return true }
func (s *logSpy) WithAttrs([]slog.Attr) slog.Handler     { return s }
func (s *logSpy) WithGroup(string) slog.Handler          { return s }

func (s *logSpy) Handle(_ context.Context, r slog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, r)
	return nil
}

// done waits for the line that ends a request, and returns its level and the
// facts of the result.
func (s *logSpy) done(t *testing.T) (level slog.Level, facts map[string]slog.Value) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range s.records {
			if r.Message != "proxy: request done" {
				continue
			}
			level, facts = r.Level, make(map[string]slog.Value)
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "result" {
					for _, f := range a.Value.Resolve().Group() {
						facts[f.Key] = f.Value
					}
				}
				return true
			})
			return true
		}
		return false
	}, 10*time.Second, time.Millisecond)
	return level, facts
}

// TestClientGoneIsNoFailure: whenever the client leaves, it is 499 in the
// record, a line at level debug, and nothing against the backend. A client that
// is still there to see it gets no head that nobody has sent.
func TestClientGoneIsNoFailure(t *testing.T) {
	for name, tc := range map[string]struct {
		request string
		answer  string // before the client leaves
	}{
		"waiting for the head": {"GET / HTTP/1.1\r\nHost: f\r\n\r\n", ""},
		"in a length":          {"PUT / HTTP/1.1\r\nHost: f\r\nContent-Length: 9\r\n\r\nab", ""},
		"in a chunk":           {"PUT / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", ""},
		"in the answer":        {"GET / HTTP/1.1\r\nHost: f\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			o := newOrigin(t, func(c *originConn, _ int) {
				c.head()
				c.say(tc.answer)
				close(arrived)
				c.untilClosed()
			})
			h, b, rec := handlerFor(t, o.url())
			b.Timeout = time.Minute
			spy := &logSpy{}
			h.Logger = slog.New(spy)
			c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_, _ = io.WriteString(c, tc.request)
			<-arrived
			if tc.answer != "" {
				_, err = c.Read(make([]byte, 1))
				require.NoError(t, err)
			}
			require.NoError(t, c.(*net.TCPConn).CloseWrite())
			if tc.answer == "" {
				_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
				got, _ := io.ReadAll(c)
				require.Empty(t, string(got))
			}
			level, facts := spy.done(t)
			require.Equal(t, slog.LevelDebug, level)
			require.EqualValues(t, exchange.StatusClientClosedRequest, facts["status"].Int64())
			r := rec.last(t)
			require.Equal(t, exchange.StatusClientClosedRequest, r.Status)
			require.ErrorIs(t, r.Err, exchange.ErrClientGone)
			require.False(t, exchange.MayResend(r.Err))
			s := b.Stats()
			require.Zero(t, s.Errors)
			require.Zero(t, s.Open, "its connection is not kept")
		})
	}
}

// TestRecordIsLogged: what an operator wants to know of a failure.
func TestRecordIsLogged(t *testing.T) {
	o := staleOrigin(t)
	h, b, _ := handlerFor(t, o.url())
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	_ = body(t, resp)
	require.Eventually(t, func() bool { return b.Stats().Idle == 1 }, 10*time.Second, time.Millisecond)
	spy := &logSpy{}
	logged := &Handler{Target: o.url(), Transport: h.Transport, Logger: slog.New(spy)}
	resp, err = client(t).Post(frontOf(t, logged).URL, "a/b", strings.NewReader("x"))
	require.NoError(t, err)
	_ = resp.Body.Close()
	level, facts := spy.done(t)
	require.Equal(t, slog.LevelError, level)
	require.EqualValues(t, http.StatusBadGateway, facts["status"].Int64())
	require.Equal(t, o.url().String(), facts["backend"].String())
	require.EqualValues(t, 1, facts["attempts"].Int64())
	require.True(t, facts["reused"].Bool())
	require.Positive(t, facts["duration"].Duration())
	require.Positive(t, facts["connected"].Duration())
	require.Contains(t, facts["error"].String(), "backend closed an idle connection before any byte of the answer")
}

// TestRefusedRequestsAreNoErrors: a client cannot fill the log of errors.
func TestRefusedRequestsAreNoErrors(t *testing.T) {
	spy := &logSpy{}
	h := &Handler{Target: &url.URL{Scheme: "http", Host: "127.0.0.1:1", Path: "/"}, Prefix: "/app/", Logger: slog.New(spy)}
	resp, err := client(t).Get(frontOf(t, h).URL + "/elsewhere")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	level, _ := spy.done(t)
	require.Equal(t, slog.LevelInfo, level)
}

// TestHTTP10ClientSeesTheCut: without a length and without chunks, a clean end
// of the connection would look as the end of the answer.
func TestHTTP10ClientSeesTheCut(t *testing.T) {
	for name, whole := range map[string]bool{"whole": true, "cut": false} {
		t.Run(name, func(t *testing.T) {
			next := make(chan struct{})
			o := newOrigin(t, func(c *originConn, _ int) {
				c.request()
				c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
				<-next
				if whole {
					c.say("0\r\n\r\n")
				}
			})
			h, _, _ := handlerFor(t, o.url())
			c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
			var got strings.Builder
			one := make([]byte, 1)
			for !strings.HasSuffix(got.String(), "\r\n\r\nhello") {
				_, err := c.Read(one)
				require.NoError(t, err, got.String())
				got.Write(one)
			}
			require.NotContains(t, got.String(), "chunked")
			close(next)
			rest, err := io.ReadAll(c)
			require.Empty(t, rest)
			if whole {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
		})
	}
}

// TestClientBodyError: a server other than net/http's may not cancel the
// context of a client that breaks off its body.
func TestClientBodyError(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
	}{
		"too large": {&http.MaxBytesError{Limit: 3}, http.StatusRequestEntityTooLarge},
		"too slow":  {os.ErrDeadlineExceeded, http.StatusRequestTimeout},
		"cut":       {fmt.Errorf("body: %w", io.ErrUnexpectedEOF), exchange.StatusClientClosedRequest},
		"reset":     {&net.OpError{Op: "read", Err: errors.New("connection reset")}, exchange.StatusClientClosedRequest},
		"malformed": {errors.New("invalid chunk"), http.StatusBadRequest},
	} {
		e := exchange.ClientBodyError("http://b", tc.err)
		require.Equal(t, exchange.OpClient, e.Op, name)
		require.Equal(t, tc.status, exchange.StatusOf(e), name)
		require.ErrorIs(t, e, tc.err, name)
		require.Equal(t, tc.status == exchange.StatusClientClosedRequest, errors.Is(e, exchange.ErrClientGone), name)
	}
}
