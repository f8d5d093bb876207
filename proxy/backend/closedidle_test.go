package backend

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClosedIdleConnections: that the backend has closed connections that nobody
// uses is seen without a request, by Stats and by the pool.
func TestClosedIdleConnections(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	for name, secure := range map[string]bool{"clear": false, "TLS": true} {
		for _, asks := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				defer l.Close()
				if secure {
					l = tls.NewListener(l, &tls.Config{Certificates: cert.TLS.Certificates})
				}
				accepted := make(chan net.Conn, 2)
				go func() {
					for range 2 {
						c, err := l.Accept()
						if err != nil {
							return
						}
						_, _ = c.Read(make([]byte, 1)) // the handshake, if there is one
						accepted <- c
					}
				}()
				b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}}
				if secure {
					b.URL.Scheme, b.TLS = "https", &tls.Config{InsecureSkipVerify: true}
				}
				defer b.Close()
				var conns []*Conn
				for range 2 {
					c, err := b.Get(context.Background())
					require.NoError(t, err)
					_, err = io.WriteString(c, "a")
					require.NoError(t, err)
					conns = append(conns, c)
				}
				for _, c := range conns {
					c.Release(true)
				}
				require.EqualValues(t, 2, b.Stats().Idle)
				require.NoError(t, (<-accepted).Close())
				if asks {
					require.Eventually(t, func() bool { s := b.Stats(); return s.Idle == 1 && s.Open == 1 }, 4*time.Second, time.Millisecond)
				} else {
					idle := func() int {
						b.pool.mu.Lock()
						defer b.pool.mu.Unlock()
						return len(b.pool.idle)
					}
					require.Eventually(t, func() bool { b.pool.sweep(b); return idle() == 1 }, 20*time.Second, time.Millisecond)
				}
				_ = (<-accepted).Close()
			})
		}
	}
}
