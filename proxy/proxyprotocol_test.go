package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/proxyprotocol"
)

// headers are the PROXY headers that a backend was sent, by the addresses from
// which the connections came.
type headers struct {
	mu   sync.Mutex
	from map[string]string
}

// inFront passes connections on to a backend, behind their PROXY header.
func (a *headers) inFront(t *testing.T, address string) string {
	ln := listen(t)
	l := &proxyprotocol.Listener{Listener: ln, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p := c.(*proxyprotocol.Conn)
			a.mu.Lock()
			socket, _ := p.Detached()
			a.from[socket.RemoteAddr().String()] = factsOf(p.Header())
			a.mu.Unlock()
			back, err := net.Dial("tcp", address)
			if err != nil {
				_ = c.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{c, back}, {back, c}} {
				work.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
					_ = pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return ln.Addr().String()
}

func factsOf(h *proxyprotocol.Header) string {
	id, _ := h.Value(proxyprotocol.TypeUniqueID)
	return fmt.Sprint(h.Source, " ", h.Destination, " ", string(id))
}

// TestAnnouncedConnections: over every protocol, a connection that was announced
// for one client serves no other, nor the same client where something else was
// told of it.
func TestAnnouncedConnections(t *testing.T) {
	type idKey struct{}
	type client struct{ source, destination, id string }
	clients := []client{
		{"192.0.2.1:1", "198.51.100.1:80", ""},
		{"192.0.2.1:2", "198.51.100.1:80", ""},
		{"192.0.2.2:1", "198.51.100.1:80", ""},
		{"192.0.2.1:1", "198.51.100.1:81", ""},
		{"192.0.2.1:1", "198.51.100.1:80", "1"},
		{"192.0.2.1:1", "198.51.100.1:80", "2"},
		{"[2001:db8::1]:1", "198.51.100.1:80", ""},
	}
	for name, w := range wires {
		t.Run(name, func(t *testing.T) {
			u, transport := w.start(t)
			a := &headers{from: make(map[string]string)}
			front := *u
			front.Host = a.inFront(t, u.Host)
			b := &backend.Backend{
				URL: &front, ProxyProtocol: backend.ProxyProtocolV2,
				UniqueID: func(ctx context.Context) string { s, _ := ctx.Value(idKey{}).(string); return s },
			}
			rt := transport(b)
			t.Cleanup(func() {
				if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
					c.CloseIdleConnections()
				}
				_ = b.Close()
			})
			send := func(c client, body string) (local string) {
				ctx := context.WithValue(t.Context(), idKey{}, c.id)
				ctx = backend.WithClient(ctx, backend.Client{Source: netip.MustParseAddrPort(c.source), Destination: netip.MustParseAddrPort(c.destination)})
				ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { local = i.Conn.LocalAddr().String() }})
				r, err := http.NewRequestWithContext(ctx, "POST", front.String()+"/", strings.NewReader(body))
				require.NoError(t, err)
				resp, err := rt.RoundTrip(r)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				return local
			}
			for range 2 {
				for _, c := range clients {
					h := proxyprotocol.Header{Source: netip.MustParseAddrPort(c.source), Destination: netip.MustParseAddrPort(c.destination)}
					local := send(c, "x")
					a.mu.Lock()
					got := a.from[local]
					a.mu.Unlock()
					require.Equal(t, fmt.Sprint(h.Source, " ", h.Destination, " ", c.id), got)
				}
			}
			if b.Stats().Reused > 0 || w.streams { // else the application keeps no connection
				require.EqualValues(t, len(clients), b.Stats().Created)
			}
		})
	}
}

// spyListener counts what its connections are given by ReadFrom.
type spyListener struct {
	net.Listener
	moved atomic.Int64
}

type spyConn struct {
	*net.TCPConn
	moved *atomic.Int64
}

func (l *spyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return spyConn{c.(*net.TCPConn), &l.moved}, nil
}

func (c spyConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	if lr, ok := r.(*io.LimitedReader); ok {
		if _, ok := lr.R.(*net.TCPConn); ok {
			c.moved.Add(n)
		}
	}
	return n, err
}

// TestSpliceBehindHeader: an answer is moved from socket to socket, also where the
// client's connection began with a PROXY header.
func TestSpliceBehindHeader(t *testing.T) {
	const size = 8 << 20
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = w.Write(make([]byte, size))
	}))
	defer origin.Close()
	h, err := proxy.NewHandler("/", origin.URL)
	require.NoError(t, err)
	rt := &proxy.Transport{}
	defer rt.CloseIdleConnections()
	h.Transport = rt
	spy := &spyListener{}
	front := httptest.NewUnstartedServer(h)
	spy.Listener = front.Listener
	front.Listener = &proxyprotocol.Listener{Listener: spy, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	front.Start()
	defer front.Close()
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "PROXY TCP4 192.0.2.1 198.51.100.2 4321 80\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	require.Greater(t, spy.moved.Load(), int64(size/2))
}
