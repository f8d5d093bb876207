package fcgi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// A client that leaves ends what is done for it, at each stage.
func TestClientLeaves(t *testing.T) {
	for name, say := range map[string][]byte{
		"before the header": nil,
		"within the header": stdout("A: b\r\n"),
		"within the body":   stdout("A: b\r\n\r\nbegun"),
	} {
		t.Run(name, func(t *testing.T) {
			reached, ended := make(chan struct{}), make(chan struct{})
			_, tr := newPeer(t, func(c *peerConn, _ int) {
				if _, ok := c.request(); ok {
					c.say(say)
					close(reached)
					c.untilClosed()
					close(ended)
				}
			})
			var got exchange.Record
			h := behindHandler(tr).(*proxy.Handler)
			done := make(chan struct{})
			h.OnRecord = func(_ *http.Request, rec *exchange.Record) { got = *rec; close(done) }
			s := serverOf(t, h)
			ctx, leave := context.WithCancel(t.Context())
			go func() {
				<-reached
				leave()
			}()
			r, err := http.NewRequestWithContext(ctx, "GET", s+"/a.php", nil)
			require.NoError(t, err)
			resp, err := http.DefaultClient.Do(r)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			require.Error(t, err)
			<-ended
			<-done
			require.Equal(t, exchange.StatusClientClosedRequest, exchange.StatusOf(got.Err))
			require.Eventually(t, func() bool { return tr.Backend.Stats().Open == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

func TestDeadlineOfARequest(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) { c.untilClosed() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", "fcgi://app/a.php", strings.NewReader("x"))
	require.NoError(t, err)
	_, err = tr.RoundTrip(r)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, http.StatusGatewayTimeout, exchange.StatusOf(err))
}

// A body that is being streamed when the client breaks off cuts the
// connection to the application.
func TestBodyThatStallsIsNotTheApplicationsFault(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok {
			c.say(join(stdout("A: b\r\n\r\n"+a.env["CONTENT_LENGTH"]), end(0, 0)))
		}
	})
	tr.Backend.Timeout = 400 * time.Millisecond
	pr, pw := io.Pipe()
	go func() {
		for range 4 { // slower in all than the application's time limit
			_, _ = pw.Write(make([]byte, 8<<10))
			<-time.After(200 * time.Millisecond)
		}
		_ = pw.Close()
	}()
	r, err := http.NewRequest("POST", "fcgi://app/a.php", pr)
	require.NoError(t, err)
	r.ContentLength = 32 << 10
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, "32768", readAll(t, resp))
}
