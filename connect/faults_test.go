package connect

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/tunnel"
)

// reset closes a connection with a RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// TestEitherSideIsKilled at each phase: the other side sees an end, and nothing
// is left.
func TestEitherSideIsKilled(t *testing.T) {
	leavesNoFiles(t)
	for _, phase := range []string{"idle", "after bytes up", "after bytes down", "while bytes flow up", "while bytes flow down", "half-closed by client", "half-closed by destination"} {
		for _, victim := range []string{"client", "destination"} {
			for _, how := range []string{"reset", "close"} {
				t.Run(phase+", "+victim+" "+how, func(t *testing.T) {
					arrived := make(chan *net.TCPConn, 1)
					over := make(chan struct{})
					defer close(over)
					_, at, ended := proxyTo(t, server(t, func(c *net.TCPConn) { arrived <- c; <-over }), nil)
					client, _ := tunnelTo(t, at)
					back := <-arrived
					_ = back.SetDeadline(time.Now().Add(patience))
					var flow sync.WaitGroup
					pour := func(from, to *net.TCPConn) { // until one of them is killed
						flow.Go(func() {
							for chunk := make([]byte, 64<<10); ; {
								if _, err := from.Write(chunk); err != nil {
									return
								}
							}
						})
						_, err := io.CopyN(io.Discard, to, 4<<20)
						require.NoError(t, err)
					}
					one := func(from, to *net.TCPConn) {
						_, _ = from.Write([]byte("x"))
						_, err := io.ReadFull(to, make([]byte, 1))
						require.NoError(t, err)
					}
					switch phase {
					case "after bytes up":
						one(client, back)
					case "after bytes down":
						one(back, client)
					case "while bytes flow up":
						pour(client, back)
					case "while bytes flow down":
						pour(back, client)
					case "half-closed by client":
						require.NoError(t, client.CloseWrite())
						_, err := back.Read(make([]byte, 1))
						require.ErrorIs(t, err, io.EOF)
					case "half-closed by destination":
						require.NoError(t, back.CloseWrite())
						_, err := client.Read(make([]byte, 1))
						require.ErrorIs(t, err, io.EOF)
					}
					dead, other := client, back
					if victim == "destination" {
						dead, other = back, client
					}
					if how == "reset" {
						reset(dead)
					} else {
						_ = dead.Close()
					}
					_, err := io.Copy(io.Discard, other) // an end, clean or not
					if how == "close" && phase == "idle" {
						require.NoError(t, err)
					}
					_ = other.Close()
					ended.next(t)
					flow.Wait()
				})
			}
		}
	}
}

// TestStalledSide: who takes no bytes, and who sends none, cannot hold a tunnel
// for longer than its idle time.
func TestStalledSide(t *testing.T) {
	leavesNoFiles(t)
	for _, victim := range []string{"nobody sends", "client does not read", "destination does not read"} {
		t.Run(victim, func(t *testing.T) {
			over := make(chan struct{})
			defer close(over)
			_, at, ended := proxyTo(t, server(t, func(c *net.TCPConn) {
				if victim == "client does not read" {
					for chunk := make([]byte, 64<<10); ; {
						if _, err := c.Write(chunk); err != nil {
							return
						}
					}
				}
				<-over
			}), func(h *Handler) { h.IdleTimeout = 100 * time.Millisecond })
			c, _ := tunnelTo(t, at)
			if victim == "destination does not read" {
				for chunk := make([]byte, 64<<10); ; {
					if _, err := c.Write(chunk); err != nil {
						break
					}
				}
			}
			a := ended.next(t)
			require.ErrorIs(t, a.Err, tunnel.ErrIdle)
			require.Equal(t, "a.test:443", a.Target)
		})
	}
}

func TestMaxLife(t *testing.T) {
	_, at, ended := proxyTo(t, server(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Write([]byte("tick")); err != nil {
				return
			}
		}
	}), func(h *Handler) { h.MaxLife = 50 * time.Millisecond; h.IdleTimeout = -1 })
	c, r := tunnelTo(t, at)
	_, _ = io.Copy(io.Discard, r)
	_ = c.Close()
	require.ErrorIs(t, ended.next(t).Err, tunnel.ErrLife)
}

// TestClientLeavesDuringDial: the destination is not kept.
func TestClientLeavesDuringDial(t *testing.T) {
	leavesNoFiles(t)
	dialling, dial := make(chan struct{}), make(chan struct{})
	closed := make(chan struct{})
	destination := server(t, func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
		close(closed)
	})
	h, at, _ := proxyTo(t, destination, func(h *Handler) {
		d := h.Destinations.Dial
		h.Destinations.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			close(dialling)
			<-dial
			return d(ctx, network, address)
		}
	})
	c := dialTo(t, at)
	_, _ = io.WriteString(c, request)
	<-dialling
	reset(c)
	close(dial)
	select {
	case <-closed:
	case <-time.After(patience):
		require.Fail(t, "the destination's connection is still open")
	}
	require.Eventually(t, func() bool {
		return taken(h) == 0
	}, patience, time.Millisecond)
}

// TestShutdownOfManyTunnels: 500 of them wait until they are ended, and nothing
// is left.
func TestShutdownOfManyTunnels(t *testing.T) {
	leavesNoFiles(t)
	const many = 500
	h, at, ended := proxyTo(t, server(t, echo), nil)
	clients := make([]*net.TCPConn, many)
	for i := range clients {
		clients[i], _ = tunnelTo(t, at)
	}
	require.Eventually(t, func() bool { return h.tunnels().Count() == many }, patience, time.Millisecond)
	for _, c := range clients[:many/2] { // they end by themselves
		require.NoError(t, c.CloseWrite())
	}
	for range many / 2 {
		require.NoError(t, ended.next(t).Err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.Shutdown(ctx), context.DeadlineExceeded)
	for range many / 2 {
		require.ErrorIs(t, ended.next(t).Err, tunnel.ErrShutdown)
	}
	for _, c := range clients[many/2:] {
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		_ = c.Close()
	}
	_, resp := ask(t, dialTo(t, at), request)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Zero(t, h.tunnels().Count())
	require.Eventually(t, func() bool { return taken(h) == 0 }, patience, time.Millisecond)
}

// http2Proxy starts a proxy that speaks HTTP/2, and returns how to open a
// tunnel by it.
func http2Proxy(t *testing.T, h *Handler) func(t *testing.T, target string) (*http.Response, *io.PipeWriter) {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.Shutdown(ctx)
	})
	return func(t *testing.T, target string) (*http.Response, *io.PipeWriter) {
		r, w := io.Pipe()
		req, err := http.NewRequest("CONNECT", s.URL, r)
		require.NoError(t, err)
		req.Host = target
		resp, err := s.Client().Do(req)
		require.NoError(t, err)
		require.Equal(t, 2, resp.ProtoMajor)
		t.Cleanup(func() { _ = w.Close(); _ = resp.Body.Close() })
		return resp, w
	}
}

func TestHTTP2Stream(t *testing.T) {
	leavesNoFiles(t)
	e := make(ends, 8)
	h := &Handler{Clients: everybody(), Destinations: inside(server(t, echo)), OnEnd: func(a Account) { e <- a }}
	open := http2Proxy(t, h)
	resp, w := open(t, "a.test:443")
	require.Equal(t, 200, resp.StatusCode)
	require.Empty(t, resp.Header.Get("Content-Length"))
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = w.Write(big)
		_ = w.Close()
	}()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, bytes.Equal(big, got))
	require.NoError(t, e.next(t).Err)

	resp, _ = open(t, "a.test:80")
	require.Equal(t, 403, resp.StatusCode)
	resp, _ = open(t, "a.test")
	require.Equal(t, 400, resp.StatusCode)

	resp, _ = open(t, "a.test:443") // the client leaves
	require.NoError(t, resp.Body.Close())
	e.next(t)
}

// TestHTTP2Faults: a destination that is cut resets the stream; a client that
// does not read is let go.
func TestHTTP2Faults(t *testing.T) {
	e := make(ends, 8)
	over := make(chan struct{})
	h := &Handler{Clients: everybody(), OnEnd: func(a Account) { e <- a }, Destinations: inside(server(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = c.Read(make([]byte, 1))
		reset(c)
	}))}
	open := http2Proxy(t, h)
	resp, w := open(t, "a.test:443")
	_, err := io.ReadFull(resp.Body, make([]byte, 1))
	require.NoError(t, err)
	_, _ = w.Write([]byte("x"))
	_, err = resp.Body.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	require.Error(t, e.next(t).Err)

	h = &Handler{Clients: everybody(), OnEnd: func(a Account) { e <- a }, IdleTimeout: 100 * time.Millisecond, Destinations: inside(server(t, func(c *net.TCPConn) {
		for chunk := make([]byte, 64<<10); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}))}
	open = http2Proxy(t, h)
	open(t, "a.test:443")
	require.ErrorIs(t, e.next(t).Err, tunnel.ErrIdle)
	close(over)
}

// TestHTTP2GoneBehindStuckBytes: a client that resets its stream while the
// destination does not read is noticed, and so is a destination that is gone
// while the client does not read.
func TestHTTP2GoneBehindStuckBytes(t *testing.T) {
	e := make(ends, 2)
	idle := make(chan struct{})
	defer close(idle)
	blocked := make(chan struct{})
	h := &Handler{Clients: everybody(), OnEnd: func(a Account) { e <- a }, Destinations: inside(server(t, func(c *net.TCPConn) { <-idle }))}
	resp, w := http2Proxy(t, h)(t, "a.test:443")
	go func() {
		defer close(blocked)
		_, _ = w.Write(make([]byte, 64<<20))
	}()
	for sent := int64(-1); sent != h.tunnels().List()[0].Sent || sent == 0; time.Sleep(50 * time.Millisecond) {
		sent = h.tunnels().List()[0].Sent
	}
	_ = resp.Body.Close()
	e.next(t)
	<-blocked

	h = &Handler{Clients: everybody(), OnEnd: func(a Account) { e <- a }, Destinations: inside(server(t, func(c *net.TCPConn) {
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = c.Write(make([]byte, 64<<20))
		reset(c)
	}))}
	http2Proxy(t, h)(t, "a.test:443")
	require.Error(t, e.next(t).Err)
}

// TestTLSClient: a client that speaks TLS to the proxy itself can half-close as
// well.
func TestTLSClient(t *testing.T) {
	e := make(ends, 1)
	h := &Handler{Clients: everybody(), Destinations: inside(server(t, echo)), OnEnd: func(a Account) { e <- a }}
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	d := &Dialer{Proxy: mustURL(t, s.URL), TLS: s.Client().Transport.(*http.Transport).TLSClientConfig}
	c, err := d.Dial("tcp", "a.test:443")
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, "hello")
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.NoError(t, e.next(t).Err)
}
