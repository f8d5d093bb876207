package tunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ca, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	cb, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = ca.Close(); _ = cb.Close() })
	for _, c := range []net.Conn{ca, cb} {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
	}
	return ca.(*net.TCPConn), cb.(*net.TCPConn)
}

// unixPair returns the two ends of a unix connection.
func unixPair(t testing.TB) (a, b net.Conn) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	require.NoError(t, err)
	defer l.Close()
	a, err = net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// opaque hides what a connection is, as TLS does, and can half-close.
type opaque struct{ net.Conn }

func (o opaque) NetConn() net.Conn { return o.Conn }
func (o opaque) CloseWrite() error { return o.Conn.(*net.TCPConn).CloseWrite() }

// wholes is the framing of a protocol in which each byte is a message.
type wholes struct{}

func (wholes) Follow(p []byte) int { return len(p) }
func (wholes) Between() bool       { return true }
func (wholes) Payload() int64      { return 0 }
func (wholes) Skip(int64)          {}

// tunnelOver starts a tunnel and returns the outer ends, and what it did.
func tunnelOver(t testing.TB, kind string, change func(*Tunnel)) (client, backend net.Conn, ts *Registry, end chan Stats) {
	var in, out net.Conn
	switch kind {
	case "tcp":
		client, in = tcpPair(t)
		backend, out = tcpPair(t)
	case "unix":
		client, in = unixPair(t)
		backend, out = unixPair(t)
	case "opaque":
		var x, y *net.TCPConn
		client, x = tcpPair(t)
		backend, y = tcpPair(t)
		in, out = opaque{x}, opaque{y}
	case "half opaque":
		var x *net.TCPConn
		client, x = tcpPair(t)
		backend, out = tcpPair(t)
		in = opaque{x}
	}
	end = make(chan Stats, 1)
	tn := Tunnel{Client: in, Backend: out, OnEnd: func(s Stats) { end <- s }}
	if change != nil {
		change(&tn)
	}
	ts = &Registry{}
	require.NoError(t, ts.Start(tn))
	return client, backend, ts, end
}

func ended(t testing.TB, end chan Stats) Stats {
	t.Helper()
	select {
	case s := <-end:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("the tunnel did not end")
		panic("unreachable")
	}
}

func TestRelay(t *testing.T) {
	for _, kind := range []string{"tcp", "unix", "opaque", "half opaque"} {
		t.Run(kind, func(t *testing.T) {
			t.Run("early data and half-close", func(t *testing.T) {
				c, b, ts, end := tunnelOver(t, kind, func(tn *Tunnel) {
					tn.ClientData, tn.BackendData = []byte("early "), []byte("hi ")
				})
				require.Equal(t, 1, ts.Count())
				_, _ = io.WriteString(c, "late")
				require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
				got, err := io.ReadAll(b)
				require.NoError(t, err)
				require.Equal(t, "early late", string(got))
				_, _ = io.WriteString(b, "after the client's end")
				_ = b.Close()
				got, err = io.ReadAll(c)
				require.NoError(t, err)
				require.Equal(t, "hi after the client's end", string(got))
				s := ended(t, end)
				require.NoError(t, s.Err)
				require.EqualValues(t, 10, s.Sent)
				require.EqualValues(t, 25, s.Received)
				require.Eventually(t, func() bool { return ts.Count() == 0 }, 10*time.Second, time.Millisecond)
			})
			t.Run("much both ways at once", func(t *testing.T) {
				c, b, _, end := tunnelOver(t, kind, nil)
				data := make([]byte, 8<<20)
				_, _ = rand.Read(data)
				var wg sync.WaitGroup
				for _, pair := range [][2]net.Conn{{c, b}, {b, c}} {
					wg.Add(2)
					go func() {
						defer wg.Done()
						_, _ = pair[0].Write(data)
						_ = pair[0].(interface{ CloseWrite() error }).CloseWrite()
					}()
					go func() {
						defer wg.Done()
						got, err := io.ReadAll(pair[1])
						if err != nil || !bytes.Equal(got, data) {
							t.Errorf("bytes were changed: %v", err)
						}
					}()
				}
				wg.Wait()
				s := ended(t, end)
				require.NoError(t, s.Err)
				require.EqualValues(t, len(data), s.Sent)
				require.EqualValues(t, len(data), s.Received)
			})
			t.Run("no half-close", func(t *testing.T) {
				c, b, _, end := tunnelOver(t, kind, func(tn *Tunnel) { tn.NoHalfClose = true })
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
				_, err := io.ReadAll(b)
				require.NoError(t, err)
				require.NoError(t, ended(t, end).Err)
			})
			t.Run("idle", func(t *testing.T) {
				c, b, _, end := tunnelOver(t, kind, func(tn *Tunnel) { tn.IdleTimeout = 80 * time.Millisecond })
				go func() { // one byte now and then keeps it open
					for range 10 {
						_, _ = c.Write([]byte("x"))
						<-time.After(20 * time.Millisecond)
					}
				}()
				got, _ := io.ReadAll(b)
				require.Len(t, got, 10)
				require.ErrorIs(t, ended(t, end).Err, ErrIdle)
			})
		})
	}
}

func TestRelayEndsBothOnReset(t *testing.T) {
	c, b, _, end := tunnelOver(t, "tcp", nil)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	_, _ = io.ReadAll(b)
	require.Error(t, ended(t, end).Err)
}

// TestRelayAfterBulk: a flow that has been spliced goes on in small pieces.
func TestRelayAfterBulk(t *testing.T) {
	c, b, _, end := tunnelOver(t, "tcp", func(tn *Tunnel) { tn.IdleTimeout = time.Second })
	go func() { _, _ = c.Write(make([]byte, 8<<20)) }()
	_, err := io.CopyN(io.Discard, b, 8<<20)
	require.NoError(t, err)
	for range 30 { // longer than the idle timeout in all
		_, _ = c.Write([]byte("x"))
		one := make([]byte, 1)
		_, err = io.ReadFull(b, one)
		require.NoError(t, err)
		<-time.After(50 * time.Millisecond)
	}
	_ = c.Close()
	_ = b.Close()
	ended(t, end)
}

func TestTunnelsShutdown(t *testing.T) {
	c, b, ts, end := tunnelOver(t, "tcp", func(tn *Tunnel) {
		tn.Protocol, tn.ToClient = "test", Farewell{[]byte("bye"), wholes{}}
	})
	require.Equal(t, "test", ts.List()[0].Protocol)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ts.Shutdown(ctx), context.DeadlineExceeded)
	require.ErrorIs(t, ended(t, end).Err, ErrShutdown)
	got, _ := io.ReadAll(c)
	require.Equal(t, "bye", string(got))
	_, _ = io.ReadAll(b)
	x, y := tcpPair(t)
	require.ErrorIs(t, ts.Start(Tunnel{Client: x, Backend: y}), http.ErrServerClosed)
	_, err := x.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	require.NoError(t, ts.Shutdown(context.Background()))
}

func TestTunnelsShutdownWaits(t *testing.T) {
	c, b, ts, end := tunnelOver(t, "tcp", nil)
	result := make(chan error, 1)
	go func() { result <- ts.Shutdown(context.Background()) }()
	_, _ = io.WriteString(c, "still works")
	got := make([]byte, 11)
	_, err := io.ReadFull(b, got)
	require.NoError(t, err)
	select {
	case err := <-result:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	_ = c.Close()
	_ = b.Close()
	ended(t, end)
	require.NoError(t, <-result)
}

// TestUnsupportedHalfCloseEnds: a pipe cannot be closed by halves.
func TestUnsupportedHalfCloseEnds(t *testing.T) {
	c, in := net.Pipe()
	b, out := net.Pipe()
	end := make(chan Stats, 1)
	require.NoError(t, new(Registry).Start(Tunnel{Client: in, Backend: out, OnEnd: func(s Stats) { end <- s }}))
	go func() { _, _ = io.WriteString(c, "x"); _ = c.Close() }()
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	s := ended(t, end)
	require.False(t, errors.Is(s.Err, ErrIdle))
}

// TestTunnelIdlesNoLonger: a byte that moves just after the timer has looked
// does not double the time.
func TestTunnelIdlesNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, in := net.Pipe()
		b, out := net.Pipe()
		end := make(chan Stats, 1)
		require.NoError(t, new(Registry).Start(Tunnel{Client: in, Backend: out, IdleTimeout: 100 * time.Second, OnEnd: func(s Stats) { end <- s }}))
		time.Sleep(time.Second)
		go func() { _, _ = io.WriteString(c, "x") }()
		_, err := io.ReadFull(b, make([]byte, 1))
		require.NoError(t, err)
		s := <-end
		require.ErrorIs(t, s.Err, ErrIdle)
		require.GreaterOrEqual(t, s.Duration, 101*time.Second)
		require.LessOrEqual(t, s.Duration, 126*time.Second)
	})
}

// TestTunnelLife: however busy a tunnel is, with an idle timeout or without.
func TestTunnelLife(t *testing.T) {
	for _, idle := range []time.Duration{0, 8 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c, in := net.Pipe()
			b, out := net.Pipe()
			end := make(chan Stats, 1)
			require.NoError(t, new(Registry).Start(Tunnel{
				Client: in, Backend: out, IdleTimeout: idle, MaxLife: 90 * time.Second,
				ToClient: Farewell{[]byte("bye"), wholes{}},
				OnEnd:    func(s Stats) { end <- s },
			}))
			go func() {
				for {
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			go func() { _, _ = io.Copy(io.Discard, b) }()
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, "bye", string(got))
			s := <-end
			require.ErrorIs(t, s.Err, ErrLife)
			require.Equal(t, 90*time.Second+partingTime, s.Duration)
			_ = b.Close()
			_ = c.Close()
			time.Sleep(time.Second)
		})
	}
}

// TestShutdownOfManyTunnels: clients that do not read their farewell are given
// up all at once, and not one after another.
func TestShutdownOfManyTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts Registry
		for range 20 {
			_, in := net.Pipe()
			_, out := net.Pipe()
			require.NoError(t, ts.Start(Tunnel{Client: in, Backend: out, ToClient: Farewell{[]byte("bye"), wholes{}}}))
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		start := time.Now()
		require.ErrorIs(t, ts.Shutdown(ctx), context.Canceled)
		require.Less(t, time.Since(start), 2*time.Second)
		require.Zero(t, ts.Count())
	})
}

// TestHalfCloseIsIdleToo: the limit on what one side does alone puts off no
// other.
func TestHalfCloseIsIdleToo(t *testing.T) {
	for _, kind := range []string{"tcp", "opaque"} {
		client, _, _, over := tunnelOver(t, kind, func(tn *Tunnel) {
			tn.IdleTimeout, tn.HalfCloseTimeout = 20*time.Millisecond, time.Hour
		})
		_ = client.(interface{ CloseWrite() error }).CloseWrite()
		require.ErrorIs(t, ended(t, over).Err, ErrIdle)

		c, b, _, end := tunnelOver(t, kind, func(tn *Tunnel) {
			tn.IdleTimeout, tn.HalfCloseTimeout = time.Hour, 20*time.Millisecond
		})
		_ = b.(interface{ CloseWrite() error }).CloseWrite()
		_, _ = io.ReadAll(c)
		require.NoError(t, ended(t, end).Err)
	}
}

// TestLifeAfterShutdown: a client that was told to leave, and does not, cannot
// stay for longer than the tunnel may live.
func TestLifeAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, in := net.Pipe()
		_, out := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		ts := &Registry{}
		require.NoError(t, ts.Start(Tunnel{Client: in, Backend: out, MaxLife: time.Minute, ToClient: Farewell{Bytes: []byte("bye"), Framing: wholes{}}}))
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, ts.Shutdown(ctx))
		require.Equal(t, time.Minute+partingTime, time.Since(begun))
	})
}

// standing is a connection of a listener, on top of another.
type standing struct {
	net.Conn
	ahead string
}

func (s standing) Detached() (net.Conn, []byte) { return s.Conn, []byte(s.ahead) }

// TestBareConnections: of what stands on a socket, all is taken off, and what was
// read too far comes in its order.
func TestBareConnections(t *testing.T) {
	far, near := tcpPair(t)
	defer far.Close()
	defer near.Close()
	for _, tc := range []struct {
		c     io.ReadWriteCloser
		ahead string
	}{
		{near, ""},
		{standing{near, ""}, ""},
		{standing{near, "a"}, "a"},
		{standing{standing{near, "b"}, "a"}, "ab"},
		{standing{standing{near, "b"}, ""}, "b"},
	} {
		c, ahead := bare(tc.c)
		require.Equal(t, near, c)
		require.Equal(t, tc.ahead, string(ahead))
	}
}
