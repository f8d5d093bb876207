package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/halfclose"
)

// halfClosing serves h for clients that half-close, and returns one that has sent
// text.
func halfClosing(t *testing.T, h http.Handler, text string) *net.TCPConn {
	s := httptest.NewUnstartedServer(h)
	s.Listener = &halfclose.Listener{Listener: s.Listener}
	s.Start()
	t.Cleanup(s.Close)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	return c.(*net.TCPConn)
}

// TestClientThatHalfCloses behind its request gets its answer, with a
// halfclose.Listener; that of a tunnel is passed on; one that is gone has left.
func TestClientThatHalfCloses(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: f\r\n\r\n"
	answers := func(c *originConn, left <-chan struct{}) {
		_, _, _ = c.request()
		<-left
		// As long as the proxy would take to close, and much longer.
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		c.say("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nab")
	}
	ends := func(answer string) func(*originConn, <-chan struct{}) {
		return func(c *originConn, left <-chan struct{}) {
			_, _, _ = c.request()
			<-left
			c.say(answer)
			c.untilClosed()
		}
	}
	reset := func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }
	for name, tc := range map[string]struct {
		sends  string
		leave  func(*net.TCPConn) error
		origin func(*originConn, <-chan struct{})
		want   int // 0: nobody is there to see it
	}{
		"GET":               {get, (*net.TCPConn).CloseWrite, answers, 201},
		"POST":              {"POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 2\r\n\r\nab", (*net.TCPConn).CloseWrite, answers, 201},
		"POST, chunked":     {"POST / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", (*net.TCPConn).CloseWrite, answers, 201},
		"resets":            {get, reset, ends(""), 0},
		"closes":            {get, (*net.TCPConn).Close, ends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"), 0},
		"closes, interim":   {get, (*net.TCPConn).Close, ends("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), 0},
		"resets its answer": {get, func(c *net.TCPConn) error { return errors.Join(c.CloseWrite(), reset(c)) }, ends(""), 0},
	} {
		t.Run(name, func(t *testing.T) {
			left, done := make(chan struct{}), make(chan struct{})
			o := newOrigin(t, func(c *originConn, _ int) {
				defer close(done)
				tc.origin(c, left)
			})
			h, b, rec := handlerFor(t, o.url())
			b.Timeout = time.Minute
			c := halfClosing(t, h, tc.sends)
			require.Eventually(t, func() bool { return b.Stats().Busy == 1 }, 10*time.Second, time.Millisecond)
			require.NoError(t, tc.leave(c))
			close(left)
			if tc.want != 0 {
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				require.NoError(t, err)
				require.Equal(t, tc.want, resp.StatusCode)
				require.Equal(t, "ab", body(t, resp))
			}
			<-done
			becomesIdle(t, b)
			require.Zero(t, b.Stats().Errors)
			r := rec.last(t)
			if tc.want != 0 {
				require.NoError(t, r.Err)
				require.Equal(t, tc.want, r.Status)
				return
			}
			require.ErrorIs(t, r.Err, exchange.ErrClientGone)
		})
	}
}

// TestTunnelHalfCloses: the end of what the client sends through a tunnel is told to
// the backend at once, also behind a halfclose.Listener.
func TestTunnelHalfCloses(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.head()
		c.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		got, err := io.ReadAll(c.r)
		c.say("got " + string(got))
		if err != nil {
			c.say(err.Error())
		}
	})
	h, _, _ := handlerFor(t, o.url())
	h.Upgrades = []string{"x"}
	c := halfClosing(t, h, "GET / HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	from := bufio.NewReader(c)
	resp, err := http.ReadResponse(from, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	_, _ = io.WriteString(c, "hello")
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(from)
	require.NoError(t, err)
	require.Equal(t, "got hello", string(got))
}
