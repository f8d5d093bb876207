package fcgi

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A new connection that gets no answer has others closed for it, but only so
// many as may help: the rest go on to be reused.
func TestOneStarvingConnectionDoesNotEndReuse(t *testing.T) {
	starve := make(chan struct{})
	p, tr := newPeer(t, func(c *peerConn, n int) {
		for {
			if _, ok := c.request(); !ok {
				return
			}
			if n == 2 {
				<-starve
			}
			_, _ = c.Write(join(stdout("A: b\r\n\r\nok"), end(0, 0)))
		}
	})
	release := sync.OnceFunc(func() { close(starve) })
	t.Cleanup(release)
	first := make(chan *http.Response, 1)
	hold := make(chan struct{})
	go func() { // takes the connection that the warming left, and asks for a second
		<-hold
		resp, _, _ := roundTrip(t, tr, "GET", nil)
		first <- resp
	}()
	roundTrip(t, tr, "GET", nil)
	c, err := tr.Backend.Get(t.Context())
	require.NoError(t, err)
	close(hold)
	require.Eventually(t, func() bool { return p.connections() == 2 }, 10*time.Second, time.Millisecond)
	c.Release(true)
	started := time.Now()
	asked := 0
	for time.Since(started) < 4*starvingAfter {
		resp, body, err := roundTrip(t, tr, "GET", nil)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "ok", string(body))
		asked++
	}
	require.Greater(t, p.connections(), 2, "nothing was closed for the starving one")
	require.Less(t, p.connections(), min(asked, 12), "connections were not reused")
	release()
	require.Equal(t, 200, (<-first).StatusCode)
}
