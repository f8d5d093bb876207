//go:build unix

package backend

import (
	"io"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A backend that closes its side after the connection was found to be open, and
// reads on, as php-fpm and httpd do: nothing is sent, and nobody waits.
func TestTurnSeesAHalfClosedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}, Timeout: 2 * time.Second}
	defer b.Close()
	c, err := b.Get(t.Context())
	require.NoError(t, err)
	defer c.Release(false)
	peer, err := l.Accept()
	require.NoError(t, err)
	defer peer.Close()
	require.NoError(t, peer.(*net.TCPConn).CloseWrite())
	require.Eventually(t, c.Ended, 10*time.Second, time.Millisecond)
	got := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, peer)
		got <- n
	}()
	c.Arm(0)
	n, err := c.Turn([]byte("request"))
	require.Error(t, err)
	require.Zero(t, n)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	c.Abort()
	require.Zero(t, <-got)
}
