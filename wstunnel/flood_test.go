package wstunnel

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// endlessFrame is the head of a binary message that is longer than anybody sends.
func endlessFrame(masked bool) string {
	if masked {
		return "\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	}
	return "\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00"
}

// flood writes until nobody takes more, and then resets the connection.
func flood(t *testing.T, c net.Conn) {
	piece := make([]byte, 1<<20)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Write(piece); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}
