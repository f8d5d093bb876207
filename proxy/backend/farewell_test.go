package backend

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFarewellIsNotWaitedFor: TLS says when a connection ends, but backends that
// read no more do not hold up who closes theirs, however many there are.
func TestFarewellIsNotWaitedFor(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	server := &tls.Config{Certificates: s.TLS.Certificates}
	for name, end := range map[string]func(b *Backend){
		"Close":     func(b *Backend) { _ = b.Close() },
		"Retire":    func(b *Backend) { b.Retire() },
		"CloseIdle": func(b *Backend) { b.CloseIdle(10) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &Backend{URL: &url.URL{Scheme: "https", Host: "b.test"}, TLS: &tls.Config{InsecureSkipVerify: true}}
				b.DialContext = func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() { _ = tls.Server(far, server).Handshake() }()
					return near, nil
				}
				var conns []*Conn
				for range 10 {
					c, err := b.Get(t.Context())
					require.NoError(t, err)
					conns = append(conns, c)
				}
				for _, c := range conns {
					c.Release(true)
				}
				begun := time.Now()
				end(b)
				require.LessOrEqual(t, time.Since(begun), time.Second)
				require.Zero(t, b.Stats().Open)
				require.NoError(t, b.Close())
				time.Sleep(time.Minute) // the idle limit's timer
			})
		})
	}
}
