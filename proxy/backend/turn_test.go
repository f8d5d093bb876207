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

// What happened to a connection that was used a moment ago, Turn finds out, and
// Get before it.
func TestTurnLooksAtWhatGetTurnDoesNot(t *testing.T) {
	for name, does := range map[string]func(c net.Conn) error{
		"closed":      func(c net.Conn) error { return c.Close() },
		"half-closed": func(c net.Conn) error { return c.(*net.TCPConn).CloseWrite() },
		"has spoken":  func(c net.Conn) error { _, err := c.Write([]byte("HTTP/1.1 408 Request Timeout\r\n")); return err },
	} {
		t.Run(name, func(t *testing.T) {
			peers := make(chan net.Conn, 2)
			l := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
				peers <- c
				_, _ = io.Copy(io.Discard, c)
			})
			b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}, Timeout: 10 * time.Second}
			defer b.Close()
			c, err := b.Get(t.Context())
			require.NoError(t, err)
			peer := <-peers
			defer peer.Close()
			c.Release(true)
			require.NoError(t, does(peer))
			require.Eventually(t, func() bool { return !c.alive() }, 10*time.Second, time.Millisecond)

			b.pool.mu.Lock()
			c.since = time.Since(b.epoch) // however long that took
			b.pool.mu.Unlock()
			got, err := b.GetTurn(t.Context())
			require.NoError(t, err)
			require.Same(t, c, got)
			require.True(t, got.Reused())
			got.Arm(0)
			n, err := got.Turn([]byte("request"))
			require.Error(t, err)
			require.Zero(t, n)
			got.Release(true) // as one that does not know better would
			b.pool.mu.Lock()
			c.since = time.Since(b.epoch) - justUsed
			b.pool.mu.Unlock()
			got, err = b.GetTurn(t.Context())
			require.NoError(t, err)
			require.False(t, got.Reused(), "not looked at after a while")
			got.Release(false)
		})
	}
}
