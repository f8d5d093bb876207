package tunnel

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkTunnel moves bytes through a tunnel, one message there and back at a
// time, or many in one direction.
func BenchmarkTunnel(b *testing.B) {
	for _, kind := range []string{"tcp", "opaque"} {
		b.Run("echo/"+kind, func(b *testing.B) {
			c, back, _, _ := tunnelOver(b, kind, nil)
			go func() { _, _ = io.Copy(struct{ io.Writer }{back}, back) }()
			one := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				_, err := c.Write(one)
				require.NoError(b, err)
				_, err = io.ReadFull(c, one)
				require.NoError(b, err)
			}
			closeAll(c, back)
		})
		b.Run("bulk/"+kind, func(b *testing.B) {
			c, back, _, _ := tunnelOver(b, kind, nil)
			go func() { _, _ = io.Copy(struct{ io.Writer }{io.Discard}, back) }()
			many := make([]byte, 1<<20)
			b.SetBytes(int64(len(many)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := c.Write(many)
				require.NoError(b, err)
			}
			closeAll(c, back)
		})
	}
}

func closeAll(conns ...net.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
