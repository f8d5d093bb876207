package connect

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// everybody admits all clients.
func everybody() *access.Clients { return &access.Clients{Access: &access.Access{}} }

// server accepts connections and gives each to serve. It ends with the test.
func server(t testing.TB, serve func(c *net.TCPConn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// echo sends back what it gets, and ends when that ends.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// inside are destinations on this machine: names below "test" are 127.0.0.1,
// and port 443 of it is at address.
func inside(address string) *access.Destinations {
	return &access.Destinations{
		AllowPrivate: true,
		Lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			if !strings.HasSuffix(host, ".test") {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
			if strings.HasSuffix(to, ":443") {
				to = address
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		},
	}
}

// ends are the accounts of the tunnels that have ended.
type ends chan Account

func (e ends) next(t testing.TB) Account {
	t.Helper()
	select {
	case a := <-e:
		return a
	case <-time.After(patience):
		require.Fail(t, "no tunnel ended")
	}
	panic("unreachable")
}

// proxyTo starts a proxy whose destination is at address, and returns where it
// is.
func proxyTo(t testing.TB, address string, change func(h *Handler)) (*Handler, string, ends) {
	e := make(ends, 1024)
	h := &Handler{Clients: everybody(), Destinations: inside(address), OnEnd: func(a Account) { e <- a }}
	if change != nil {
		change(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.Shutdown(ctx) // httptest.Server does not know tunnels
	})
	return h, s.Listener.Addr().String(), e
}

// dialTo opens a connection that ends with the test.
func dialTo(t testing.TB, address string) *net.TCPConn {
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

const request = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"

// ask sends a request and reads the head of its answer.
func ask(t testing.TB, c net.Conn, request string) (*bufio.Reader, *http.Response) {
	t.Helper()
	_, err := io.WriteString(c, request)
	require.NoError(t, err)
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"})
	require.NoError(t, err, request)
	return r, resp
}

// tunnelTo opens a tunnel.
func tunnelTo(t testing.TB, proxyAddress string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c := dialTo(t, proxyAddress)
	r, resp := ask(t, c, request)
	require.Equal(t, 200, resp.StatusCode)
	return c, r
}

// taken returns how many places among the limits are taken.
func taken(h *Handler) int {
	h.limits.mu.Lock()
	defer h.limits.mu.Unlock()
	sum := 0
	for _, n := range h.limits.clients {
		sum += n
	}
	if sum != h.limits.open {
		panic("limits do not add up")
	}
	return sum
}

// openFiles returns the number of descriptors of this process, or -1.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}

// leavesNoFiles checks at the end of the test that no more descriptors are open
// than at its beginning.
func leavesNoFiles(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // what the runtime opens once
	require.NoError(t, err)
	_ = l.Close()
	before := openFiles()
	t.Cleanup(func() {
		require.Eventually(t, func() bool {
			runtime.GC() // closes pipes that splicing keeps
			return openFiles() <= before
		}, patience, 20*time.Millisecond)
	})
}

// timeoutError is what a connection that nobody answers ends with.
type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

var errSilent = timeoutError{errors.New("connection timed out")}
