package backend

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers A queries with an address that can be changed.
type nameServer struct {
	mu   sync.Mutex
	addr [4]byte
}

func (n *nameServer) set(a netip.Addr) {
	n.mu.Lock()
	n.addr = a.As4()
	n.mu.Unlock()
}

// resolver returns one that asks n.
func (n *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go n.serve(far)
		return near, nil
	}}
}

// serve answers over a stream, as DNS over TCP does.
func (n *nameServer) serve(c net.Conn) {
	defer c.Close()
	for {
		size := make([]byte, 2)
		if _, err := c.Read(size); err != nil {
			return
		}
		q := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := c.Read(q); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(q) != nil {
			return
		}
		m.Response = true
		m.Additionals = nil
		if m.Questions[0].Type == dnsmessage.TypeA {
			n.mu.Lock()
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: n.addr},
			}}
			n.mu.Unlock()
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		_, _ = c.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...))
	}
}

// TestAddressesAreGoneByLaterLookups: a connection that was opened after the
// last lookup is not judged by it.
func TestAddressesAreGoneByLaterLookups(t *testing.T) {
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var book addressBook
	require.False(t, book.gone(&Conn{ip: one}), "nothing was looked up")
	book.known.Store(&answer{addrs: []netip.Addr{one}, asked: 10})
	require.False(t, book.gone(&Conn{ip: one, born: 5}))
	require.True(t, book.gone(&Conn{ip: two, born: 5}))
	require.False(t, book.gone(&Conn{ip: two, born: 15}))
	require.False(t, book.gone(&Conn{}), "a socket without an address")
}

// TestAddressTTL: when the name gets another address, connections to the old
// one are not used again, be they idle or in use.
func TestAddressTTL(t *testing.T) {
	quit := make(chan struct{})
	l := listen(t, "tcp", "127.0.0.1:0", func(net.Conn) { <-quit })
	defer close(quit)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	names := &nameServer{}
	names.set(netip.MustParseAddr("127.0.0.1"))
	b := &Backend{URL: &url.URL{Scheme: "http", Host: "b.example.:" + port}, Resolver: names.resolver(), AddressTTL: time.Millisecond}
	defer b.Close()
	held := get(t, b)
	get(t, b).Release(true)
	require.Eventually(t, func() bool {
		get(t, b).Release(true)
		return b.resolved.known.Load() != nil
	}, 20*time.Second, time.Millisecond)
	require.EqualValues(t, 2, b.Stats().Created)
	names.set(netip.MustParseAddr("127.0.0.9"))
	require.Eventually(t, func() bool {
		c, err := b.Get(context.Background())
		if err == nil {
			c.Release(true)
		}
		return b.resolved.gone(held)
	}, 20*time.Second, time.Millisecond)
	require.Zero(t, b.Stats().Idle)
	held.Release(true)
	require.Zero(t, b.Stats().Open)
}
