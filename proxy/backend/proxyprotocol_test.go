package backend

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProxyProtocolHeader(t *testing.T) {
	v4 := Client{netip.MustParseAddrPort("192.0.2.1:4321"), netip.MustParseAddrPort("198.51.100.2:443")}
	v6 := Client{netip.MustParseAddrPort("[2001:db8::1]:4321"), netip.MustParseAddrPort("[2001:db8::2]:443")}
	mixed := Client{v4.Source, v6.Destination}
	sig := "\r\n\r\n\x00\r\nQUIT\n"
	for name, tc := range map[string]struct {
		v    ProxyProtocol
		c    Client
		want string
	}{
		"v1 IPv4":    {ProxyProtocolV1, v4, "PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\r\n"},
		"v1 IPv6":    {ProxyProtocolV1, v6, "PROXY TCP6 2001:db8::1 2001:db8::2 4321 443\r\n"},
		"v1 unknown": {ProxyProtocolV1, Client{}, "PROXY UNKNOWN\r\n"},
		"v1 mixed":   {ProxyProtocolV1, mixed, "PROXY UNKNOWN\r\n"},
		"v2 IPv4":    {ProxyProtocolV2, v4, sig + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb"},
		"v2 unknown": {ProxyProtocolV2, Client{}, sig + "\x20\x00\x00\x00"},
	} {
		got, err := tc.v.header(tc.c)
		require.NoError(t, err)
		require.Equal(t, tc.want, string(got), name)
	}
	got, err := ProxyProtocolV2.header(v6)
	require.NoError(t, err)
	require.Len(t, got, 16+36)
	require.Equal(t, "\x21\x21\x00\x24", string(got[12:16]))
	_, err = ProxyProtocol(9).header(v4)
	require.Error(t, err)
}

// TestProxyProtocolKeysThePool: a connection announced for one client is not
// used for another.
func TestProxyProtocolKeysThePool(t *testing.T) {
	b, m := inMemory()
	defer b.Close()
	b.ProxyProtocol = ProxyProtocolV1
	var got [3]bytes.Buffer
	as := func(s string) context.Context {
		return WithClient(context.Background(), ClientFrom(s, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}))
	}
	take := func(ctx context.Context) *Conn {
		go func() {
			for i := 0; i < 100; i++ {
				m.mu.Lock()
				n := len(m.far)
				m.mu.Unlock()
				if n > 0 {
					m.mu.Lock()
					far := m.far[n-1]
					m.mu.Unlock()
					_, _ = io.Copy(&got[n-1], far)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		c, err := b.Get(ctx)
		require.NoError(t, err)
		return c
	}
	one := take(as("192.0.2.1:1"))
	one.Release(true)
	c, err := b.Get(as("192.0.2.1:1"))
	require.NoError(t, err)
	require.True(t, c.Reused())
	c.Release(true)
	require.Equal(t, Client{}, ClientFrom("@", nil))
	require.EqualValues(t, 1, b.Stats().Created)
	require.Equal(t, Client{Source: netip.MustParseAddrPort("192.0.2.1:5")}, ClientFrom("[::ffff:192.0.2.1]:5", nil))
	other := ClientFrom("192.0.2.2:1", nil)
	b.pool.mu.Lock()
	require.Nil(t, b.pool.take(other.Source, "", true), "another client's connection")
	b.pool.mu.Unlock()
}
