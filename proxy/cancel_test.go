package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// pipeBackend returns a backend whose one connection is a pipe, on which a
// write waits until it is read. script gets the far end.
func pipeBackend(t *testing.T, script func(far net.Conn)) *backend.Backend {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		script(far)
	}()
	b := testBackend(t, &url.URL{Scheme: "http", Host: "pipe.test"})
	b.Timeout = time.Minute
	b.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	t.Cleanup(func() {
		_ = far.Close()
		<-done
	})
	return b
}

// readHeadOf reads up to an empty line, and no byte further.
func readHeadOf(c net.Conn) {
	var got []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(got, []byte("\r\n\r\n")) {
		if _, err := c.Read(one); err != nil {
			return
		}
		got = append(got, one[0])
	}
}

// TestAnswerDoesNotWaitForUnreadBody: the last piece of the body is stuck in
// the socket of a backend that has answered and does not care to read it.
func TestAnswerDoesNotWaitForUnreadBody(t *testing.T) {
	b := pipeBackend(t, func(far net.Conn) {
		readHeadOf(far)
		_, _ = io.WriteString(far, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
	})
	req, _ := http.NewRequest("PUT", "http://pipe.test/", strings.NewReader("a body that nobody reads"))
	start := time.Now()
	resp, err := (&Transport{Backend: b}).RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, 413, resp.StatusCode)
	require.Less(t, time.Since(start), 20*time.Second, "a third of the time limit")
	require.Zero(t, b.Stats().Open, "a connection with half a request on it is not kept")
}

// TestUnwantedBodyIsClosed: a body that comes from somewhere slow is closed
// when the answer does not need it, so that its reader does not stay for ever.
func TestUnwantedBodyIsClosed(t *testing.T) {
	for name, script := range map[string]func(c *originConn){
		"early answer": func(c *originConn) {
			c.head()
			c.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			c.untilClosed()
		},
		"failure": func(c *originConn) { c.head() },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(c *originConn, _ int) { script(c) })
			pr, pw := io.Pipe()
			req, _ := http.NewRequest("POST", o.url().String(), pr)
			resp, err := (&Transport{Backend: testBackend(t, o.url())}).RoundTrip(req)
			if err == nil {
				require.Equal(t, "no", body(t, resp))
			} else {
				var e *exchange.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, exchange.OpHeader, e.Op, "closing the body must not hide what happened")
			}
			written := make(chan error, 1)
			go func() {
				_, err := pw.Write([]byte("late"))
				written <- err
			}()
			select {
			case err := <-written:
				require.Error(t, err)
			case <-time.After(10 * time.Second):
				_ = pw.Close()
				t.Fatal("somebody still holds the body")
			}
		})
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

// TestCancelledWhileWriting: the backend reads nothing, the body has no end,
// and the request is cancelled.
func TestCancelledWhileWriting(t *testing.T) {
	arrived, quit := make(chan struct{}), make(chan struct{})
	o := newOrigin(t, func(c *originConn, _ int) {
		c.head()
		close(arrived)
		<-quit
	})
	t.Cleanup(func() { close(quit) })
	b := testBackend(t, o.url())
	b.Timeout = time.Minute
	cause := errors.New("not wanted any more")
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { <-arrived; cancel(cause) }()
	req, _ := http.NewRequestWithContext(ctx, "POST", o.url().String(), endless{})
	_, err := (&Transport{Backend: b}).RoundTrip(req)
	require.ErrorIs(t, err, exchange.ErrClientGone)
	require.ErrorIs(t, err, cause)
	require.False(t, exchange.MayResend(err))
	require.Zero(t, b.Stats().Open)
}

// TestCancelledWithACause: why a context was cancelled may be any error; it is
// still the client that left, and not the backend that failed.
func TestCancelledWithACause(t *testing.T) {
	cause := errors.New("not wanted any more")
	for name, prepare := range map[string]func(t *testing.T, b *backend.Backend){
		"while waiting": func(t *testing.T, b *backend.Backend) {
			b.MaxConns = 1
			b.DialContext = func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				t.Cleanup(func() { _ = far.Close() })
				return near, nil
			}
			c, err := b.Get(context.Background())
			require.NoError(t, err)
			t.Cleanup(func() { c.Release(false) })
		},
		"while dialling": func(t *testing.T, b *backend.Backend) {
			b.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, scheme := range []string{"http", "h2c"} {
				b := testBackend(t, &url.URL{Scheme: scheme, Host: "b.test"})
				prepare(t, b)
				ctx, cancel := context.WithCancelCause(context.Background())
				time.AfterFunc(5*time.Millisecond, func() { cancel(cause) })
				req, _ := http.NewRequestWithContext(ctx, "GET", scheme+"://b.test/", nil)
				_, err := (&Transport{Backend: b}).RoundTrip(req)
				require.ErrorIs(t, err, exchange.ErrClientGone)
				require.ErrorIs(t, err, cause)
				require.Equal(t, exchange.StatusClientClosedRequest, exchange.StatusOf(err))
				require.False(t, exchange.MayResend(err))
				require.Equal(t, backend.StateUsable, b.State())
			}
		})
	}
}

// TestPoolExhausted: a full pool is 503, safe to send elsewhere, and known by
// name.
func TestPoolExhausted(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	h, b, rec := handlerFor(t, o.url())
	b.MaxConns, b.AcquireTimeout, b.Retry = 1, time.Millisecond, time.Minute
	held, err := b.Get(context.Background())
	require.NoError(t, err)
	defer held.Release(true)
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.ErrorIs(t, rec.last(t).Err, exchange.ErrBusy)
	require.True(t, exchange.MayResend(rec.last(t).Err))
	require.Equal(t, o.url().String(), rec.last(t).Backend)
	require.Equal(t, backend.StateUsable, b.State())
}

// TestTrialOfAClientThatLeaves: it says nothing about the backend.
func TestTrialOfAClientThatLeaves(t *testing.T) {
	arrived := make(chan struct{})
	o := newOrigin(t, func(c *originConn, _ int) {
		c.head()
		arrived <- struct{}{}
		c.untilClosed()
	})
	b := testBackend(t, o.url())
	b.Retry = time.Nanosecond
	b.MarkError(errors.New("down"))
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-arrived; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", o.url().String(), nil)
	_, err := (&Transport{Backend: b}).RoundTrip(req)
	require.ErrorIs(t, err, exchange.ErrClientGone)
	s := b.Stats()
	require.EqualValues(t, 1, s.Errors, "only the one that was marked")
	require.Equal(t, backend.StateError, s.State)
	require.Contains(t, s.Cause, "down")
}

// TestBodyClosedTwiceWhileRead: an explicit Close and a deferred one, while
// another goroutine is still reading.
func TestBodyClosedTwiceWhileRead(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 100000))
		}
	})
	b := testBackend(t, o.url())
	tr := &Transport{Backend: b}
	for range 50 {
		req, _ := http.NewRequest("GET", o.url().String(), nil)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
		for range 3 {
			wg.Go(func() { _ = resp.Body.Close() })
		}
		wg.Wait()
	}
	s := b.Stats()
	require.Zero(t, s.Open+s.Busy, "%+v", s)
}

// TestTransportUnderStress: requests of all kinds, some of them given up at any
// moment, on few connections to a backend that closes some. Each answer belongs
// to its request, and nothing is left.
func TestTransportUnderStress(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		for range 1 + rand.IntN(20) { // then it closes, as when a keep-alive ends
			r, b, ok := c.request()
			if !ok {
				return
			}
			text := r.URL.Path + " " + strconv.Itoa(len(b)) + strings.Repeat("x", rand.IntN(3)*50000)
			if rand.IntN(2) == 0 {
				c.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
			} else {
				c.say(fmt.Sprintf("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(text), text))
			}
		}
	})
	b := testBackend(t, o.url())
	b.MaxConns, b.MinIdle, b.Timeout = 6, 2, 20*time.Second
	tr := &Transport{Backend: b}
	var wg sync.WaitGroup
	for g := range 12 {
		wg.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithCancel(context.Background())
				if rand.IntN(4) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
				}
				size := rand.IntN(3) * rand.IntN(60000)
				var in io.Reader
				if size > 0 {
					in = bytes.NewReader(make([]byte, size))
					if i%2 == 0 {
						in = struct{ io.Reader }{in} // chunked
					}
				}
				path := fmt.Sprintf("/%d-%d", g, i)
				req, _ := http.NewRequestWithContext(ctx, "PUT", o.url().String()+path, in)
				resp, err := tr.RoundTrip(req)
				if err == nil {
					got, err := io.ReadAll(resp.Body)
					if err == nil && !strings.HasPrefix(string(got), path+" "+strconv.Itoa(size)) {
						t.Errorf("%s with %d bytes was answered %.40q", path, size, got)
					}
					_ = resp.Body.Close()
				}
				cancel()
				if rand.IntN(10) == 0 {
					b.CloseIdle(1)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, b.Close())
	s := b.Stats()
	require.Zero(t, s.Open+s.Busy+s.Waiting, "%+v", s)
}
