package proxyprotocol

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const line1 = "PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\r\n"

var (
	lan   = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	peer  = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.9:5555"))
	other = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("172.16.0.9:5555"))
)

// memory is a listener whose connections are pipes.
type memory struct {
	conns chan net.Conn
	fails chan error
	done  chan struct{}
}

func newMemory() *memory {
	return &memory{make(chan net.Conn), make(chan error, 1), make(chan struct{})}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case err := <-m.fails:
		return nil, err
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { close(m.done); return nil }
func (m *memory) Addr() net.Addr { return peer }

// dial connects from an address.
func (m *memory) dial(from net.Addr) net.Conn {
	near, far := net.Pipe()
	m.conns <- at{far, from}
	return near
}

// at is a connection from an address.
type at struct {
	net.Conn
	remote net.Addr
}

func (c at) RemoteAddr() net.Addr { return c.remote }

// TestListener: whom a peer may speak for, and what becomes of connections
// whose begin is not as it must be.
func TestListener(t *testing.T) {
	const closed = "closed"
	except := []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32")}
	for name, tc := range map[string]struct {
		l      *Listener
		from   net.Addr
		send   string
		remote string // or closed
		rest   string // what is read then
		log    string
	}{
		"a trusted peer":                {from: peer, send: line1 + "hello", remote: "192.0.2.1:4321", rest: "hello"},
		"on a unix socket":              {from: &net.UnixAddr{Name: "@", Net: "unix"}, send: line1 + "hello", remote: "192.0.2.1:4321", rest: "hello"},
		"another peer":                  {from: other, send: line1, remote: other.String(), rest: line1},
		"an exception":                  {l: &Listener{Exceptions: except}, from: peer, send: line1, remote: peer.String(), rest: line1},
		"by a function":                 {l: &Listener{Trusts: func(c net.Conn) bool { return c.RemoteAddr() == other }}, from: other, send: line1 + "hello", remote: "192.0.2.1:4321", rest: "hello"},
		"not by a function":             {l: &Listener{Trusts: func(c net.Conn) bool { return c.RemoteAddr() == other }}, from: peer, send: line1, remote: peer.String(), rest: line1},
		"a unix socket, by a function":  {l: &Listener{Trusts: func(net.Conn) bool { return false }}, from: &net.UnixAddr{Name: "@", Net: "unix"}, send: line1, remote: "@", rest: line1},
		"optional":                      {l: &Listener{Optional: true}, from: peer, send: line1 + "hello", remote: "192.0.2.1:4321", rest: "hello"},
		"optional, none":                {l: &Listener{Optional: true}, from: peer, send: "GET / HTTP/1.1\r\n\r\n", remote: peer.String(), rest: "GET / HTTP/1.1\r\n\r\n"},
		"optional, a byte":              {l: &Listener{Optional: true}, from: peer, send: "x", remote: peer.String(), rest: "x"},
		"optional, silence":             {l: &Listener{Optional: true}, from: peer, remote: peer.String()},
		"optional, a begin":             {l: &Listener{Optional: true}, from: peer, send: "PROX", remote: closed, log: "no PROXY header within 5s"},
		"optional, malformed":           {l: &Listener{Optional: true}, from: peer, send: "PROXY TCP4 x y 1 2\r\n", remote: closed, log: "malformed"},
		"none":                          {from: peer, send: "GET / HTTP/1.1\r\n\r\n", remote: closed, log: "malformed"},
		"silence":                       {from: peer, remote: closed, log: "no PROXY header within 5s"},
		"silence, for another time":     {l: &Listener{HeaderTimeout: time.Hour}, from: peer, remote: closed, log: "no PROXY header within 1h0m0s"},
		"silence, for the longest time": {l: &Listener{HeaderTimeout: 1<<63 - 1}, from: peer, send: line1, remote: "192.0.2.1:4321"},
		"malformed":                     {from: peer, send: sig + "\x21\x11\x00\x00", remote: closed, log: "malformed"},
		"a begin":                       {from: peer, send: sig, remote: closed, log: "no PROXY header within 5s"},
		"UNKNOWN":                       {from: peer, send: "PROXY UNKNOWN\r\nhello", remote: peer.String(), rest: "hello"},
		"LOCAL":                         {from: peer, send: sig + "\x20\x11\x00\x01xhello", remote: peer.String(), rest: "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				m := newMemory()
				l := tc.l
				if l == nil {
					l = new(Listener)
				}
				l.Listener, l.Trusted, l.Logger = m, lan, slog.New(slog.NewTextHandler(&log, nil))
				type outcome struct {
					c   net.Conn
					err error
				}
				got := make(chan outcome, 1)
				go func() {
					c, err := l.Accept()
					got <- outcome{c, err}
				}()
				near := m.dial(tc.from)
				defer near.Close()
				go func() { _, _ = io.WriteString(near, tc.send) }()
				if tc.remote == closed {
					_, err := near.Read(make([]byte, 1))
					require.ErrorIs(t, err, io.EOF)
					synctest.Wait()
					require.Contains(t, log.String(), tc.log)
					require.Contains(t, log.String(), "peer="+tc.from.String())
					require.NoError(t, l.Close())
					require.ErrorIs(t, (<-got).err, net.ErrClosed)
					return
				}
				o := <-got
				require.NoError(t, o.err)
				require.Equal(t, tc.remote, o.c.RemoteAddr().String())
				if tc.remote == "192.0.2.1:4321" {
					require.Equal(t, "198.51.100.2:443", o.c.LocalAddr().String())
					require.Equal(t, 1, HeaderOf(o.c).Version)
				}
				buf := make([]byte, len(tc.rest))
				_, err := io.ReadFull(o.c, buf)
				require.NoError(t, err)
				require.Equal(t, tc.rest, string(buf))
				time.Sleep(time.Hour) // no limit is left
				go func() { _, _ = near.Write([]byte("more")) }()
				_, err = io.ReadFull(o.c, make([]byte, 4))
				require.NoError(t, err)
				require.NoError(t, o.c.Close())
				require.NoError(t, l.Close())
				require.Empty(t, log.String())
			})
		})
	}
}

// TestListenerSlowPeer: who sends no header holds up nobody else, nor the end.
func TestListenerSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l := &Listener{Listener: m, Trusted: lan, HeaderTimeout: -1}
		var slow []net.Conn
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				accepted <- c
			}
		}()
		for range 100 {
			c := m.dial(peer)
			go func() { _, _ = io.WriteString(c, line1[:7]) }()
			slow = append(slow, c)
		}
		quick := m.dial(peer)
		go func() { _, _ = io.WriteString(quick, line1) }()
		begun := time.Now()
		c := <-accepted
		require.Zero(t, time.Since(begun))
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
		for _, c := range slow {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
	})
}

// TestListenerCheck: a load balancer's check, which only connects, fills no log.
func TestListenerCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := newMemory()
		l := &Listener{Listener: m, Trusted: lan, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		go func() { _, _ = l.Accept() }()
		_ = m.dial(peer).Close()
		synctest.Wait()
		require.NoError(t, l.Close())
		require.Empty(t, log.String())
	})
}

// TestListenerErrors: what the listener below says is passed on, and it is asked
// again.
func TestListenerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l := &Listener{Listener: m}
		m.fails <- os.ErrPermission
		_, err := l.Accept()
		require.ErrorIs(t, err, os.ErrPermission)
		go m.dial(peer)
		c, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		unused := &Listener{Listener: newMemory()}
		require.NoError(t, unused.Close())
	})
}

// TestServer: an http.Server, with TLS and HTTP/2 above, sees the client, and
// finds what else the peer tells.
func TestServer(t *testing.T) {
	for name, secure := range map[string]bool{"HTTP/1.1": false, "HTTP/2 over TLS": true} {
		t.Run(name, func(t *testing.T) {
			type key struct{}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				id, _ := r.Context().Value(key{}).(*Header).Value(TypeUniqueID)
				_, _ = io.WriteString(w, strings.Join([]string{r.Proto, r.RemoteAddr, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String(), string(id)}, " "))
			}))
			s.Listener = &Listener{Listener: s.Listener, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
			s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, key{}, HeaderOf(c))
			}
			proto := "HTTP/1.1"
			if secure {
				s.EnableHTTP2, proto = true, "HTTP/2.0"
				s.StartTLS()
			} else {
				s.Start()
			}
			defer s.Close()
			tr := s.Client().Transport.(*http.Transport)
			tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				h := Header{
					Version: 2, Source: netip.MustParseAddrPort("[2001:db8::1]:1"), Destination: netip.MustParseAddrPort("[2001:db8::2]:2"),
					TLVs: []TLV{{TypeUniqueID, []byte("id-1")}},
				}
				b, err := h.Append(nil)
				for i := range b { // in pieces
					_, err = c.Write(b[i : i+1])
				}
				return c, err
			}
			resp, err := s.Client().Get(s.URL)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, proto+" [2001:db8::1]:1 [2001:db8::2]:2 id-1", string(body))
		})
	}
	require.Nil(t, HeaderOf(tls.Client(nil, nil)))
}

// TestConn: a Conn can do what its socket can, and gives nobody the socket before
// what was read from it.
func TestConn(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &Listener{Listener: ln, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Optional: true}
	defer l.Close()
	for _, begin := range []string{line1, "no header"} {
		near, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		_, _ = io.WriteString(near, begin)
		accepted, err := l.Accept()
		require.NoError(t, err)
		c := accepted.(*Conn)
		_, err = c.SyscallConn()
		if begin == line1 {
			require.NoError(t, err)
			socket, ahead := c.Detached()
			require.IsType(t, &net.TCPConn{}, socket)
			require.Empty(t, ahead)
			require.NotNil(t, c.Header())
		} else {
			require.ErrorIs(t, err, errors.ErrUnsupported)
			_, ahead := c.Detached()
			require.Equal(t, "no header", string(ahead))
			require.Nil(t, c.Header())
			one := make([]byte, 3)
			_, err = io.ReadFull(c, one)
			require.NoError(t, err)
			require.Equal(t, "no ", string(one))
		}
		_, _ = io.WriteString(near, "!")
		require.NoError(t, near.(*net.TCPConn).CloseWrite())
		var got bytes.Buffer
		_, err = io.Copy(&got, c)
		require.NoError(t, err)
		require.Equal(t, map[string]string{line1: "!", "no header": "header!"}[begin], got.String())
		_, err = c.SyscallConn()
		require.NoError(t, err)
		n, err := c.ReadFrom(strings.NewReader("answer"))
		require.NoError(t, err)
		require.EqualValues(t, 6, n)
		require.NoError(t, c.CloseWrite())
		answer, err := io.ReadAll(near)
		require.NoError(t, err)
		require.Equal(t, "answer", string(answer))
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		require.NoError(t, near.Close())
	}
}

// TestCloseLosesNobody: a connection that was taken before Close is served, with a
// header or without.
func TestCloseLosesNobody(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var taken atomic.Int64
		l := &Listener{Listener: inner, Trusts: func(net.Conn) bool { taken.Add(1); return trusted }}
		first, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		_, err = first.Write([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"))
		require.NoError(t, err)
		got, err := l.Accept()
		require.NoError(t, err)
		second, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		_, err = second.Write([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"))
		require.NoError(t, err)
		require.Eventually(t, func() bool { // the second is taken, and nobody asks for it
			l.mu.Lock()
			defer l.mu.Unlock()
			return taken.Load() == 2 && len(l.reading) == 0
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, l.Close())
		next, err := l.Accept()
		require.NoError(t, err)
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		for _, c := range []net.Conn{first, second, got, next} {
			require.NoError(t, c.Close())
		}
	}
}
