package tunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// openFiles counts the descriptors of the process.
func openFiles(t testing.TB) int {
	warm, err := net.Listen("tcp", "127.0.0.1:0") // opens those of the runtime
	require.NoError(t, err)
	require.NoError(t, warm.Close())
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// TestSocketsAreSpliced: a flow of many bytes is moved inside the kernel, and
// comes back out when it is over.
func TestSocketsAreSpliced(t *testing.T) {
	before := openFiles(t)
	c, b, ts, end := tunnelOver(t, "tcp", nil)
	others := map[string]bool{} // pipes that may be closed at any time
	pipes := func() (now []string) {
		list, _ := os.ReadDir("/proc/self/fd")
		for _, f := range list {
			if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "pipe:") && !others[to] {
				now = append(now, to)
			}
		}
		return now
	}
	for _, p := range pipes() { // before the first byte, since that may have one made
		others[p] = true
	}
	go func() { _, _ = c.Write(make([]byte, 64<<20)) }()
	seen := false
	buf := make([]byte, 1<<20)
	for n := 0; n < 64<<20; {
		k, err := b.Read(buf)
		require.NoError(t, err)
		n += k
		seen = seen || len(pipes()) > 0
	}
	require.True(t, seen, "no pipe was in use")
	_, _ = io.WriteString(c, "small")
	_, err := io.ReadFull(b, buf[:5])
	require.NoError(t, err)
	require.LessOrEqual(t, len(pipes()), 2*sparePipes)
	_ = c.Close()
	_ = b.Close()
	require.EqualValues(t, 64<<20+5, ended(t, end).Sent)
	require.Eventually(t, func() bool { return ts.Count() == 0 && openFiles(t) <= before }, 10*time.Second, time.Millisecond)
}

// TestStalledReader: bytes for a side that does not read are held in small
// number, the other direction goes on, and all arrive in the end.
func TestStalledReader(t *testing.T) {
	c, b, _, end := tunnelOver(t, "tcp", nil)
	data := make([]byte, 24<<20)
	_, _ = rand.Read(data)
	sent := make(chan error, 1)
	go func() {
		_, err := b.Write(data)
		_ = b.(*net.TCPConn).CloseWrite()
		sent <- err
	}()
	one := make([]byte, 1)
	for range 100 { // the way up is free
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(b, one)
		require.NoError(t, err)
	}
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.True(t, bytes.Equal(got, data))
	require.NoError(t, <-sent)
	_ = c.Close()
	s := ended(t, end)
	require.NoError(t, s.Err)
	require.EqualValues(t, len(data), s.Received)
}

// TestLastWords: what a side has sent before it closed arrives, though the
// other's bytes to it fail.
func TestLastWords(t *testing.T) {
	c, b, _, end := tunnelOver(t, "tcp", nil)
	data := make([]byte, 24<<20)
	_, _ = rand.Read(data)
	go func() {
		_, _ = b.Write(data)
		_ = b.Close() // with bytes unread: a reset follows
	}()
	go func() {
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	// A reset may take what the kernel has not handed over; what the tunnel has
	// read by then arrives in order.
	got, err := io.ReadAll(c)
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	require.True(t, bytes.HasPrefix(data, got))
	_ = c.Close()
	ended(t, end)
}

// TestClosedBothWaysIsToldOnce: a side that is gone while bytes from it wait
// for the other does not keep the loop busy.
func TestClosedBothWaysIsToldOnce(t *testing.T) {
	c, b, ts, end := tunnelOver(t, "tcp", nil)
	require.NoError(t, b.(*net.TCPConn).CloseWrite())
	_, err := io.ReadAll(c) // the half-close has arrived
	require.NoError(t, err)
	// No more than makes it stuck, or the close would wait behind the rest.
	piece, sent := make([]byte, 64<<10), 0
	stuck := func() bool {
		for range 200 {
			if ts.List()[0].Sent == int64(sent) {
				return false
			}
			<-time.After(time.Millisecond)
		}
		return true
	}
	for sent == 0 || !stuck() {
		n, err := c.Write(piece)
		require.NoError(t, err)
		sent += n
	}
	require.NoError(t, c.Close())
	var usage syscall.Rusage
	cpu := func() time.Duration {
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	// Others in the process may be busy for a while, a loop that spins is always.
	start, before := time.Now(), cpu()
	require.Eventually(t, func() bool {
		used, took := cpu()-before, time.Since(start)
		start, before = time.Now(), cpu()
		return used < took/2
	}, 20*time.Second, 200*time.Millisecond, "the loop spins")
	n, err := io.Copy(io.Discard, b)
	require.NoError(t, err)
	require.EqualValues(t, sent, n)
	require.NoError(t, ended(t, end).Err)
}

// TestFarewellBehindPendingBytes: it waits its turn.
func TestFarewellBehindPendingBytes(t *testing.T) {
	c, b, ts, end := tunnelOver(t, "tcp", func(tn *Tunnel) {
		tn.ToClient = Farewell{[]byte("bye"), wholes{}}
	})
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		_ = b.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		_, _ = b.Write(bytes.Repeat([]byte("x"), 32<<20))
	}()
	<-stop
	go func() { _ = ts.Shutdown(t.Context()) }()
	got := make([]byte, 0, 32<<20)
	buf := make([]byte, 64<<10)
	for !bytes.HasSuffix(got, []byte("bye")) {
		n, err := c.Read(buf)
		require.NoError(t, err)
		got = append(got, buf[:n]...)
	}
	require.Equal(t, len(got)-3, bytes.Count(got, []byte("x")))
	_ = c.Close()
	_ = b.Close()
	ended(t, end)
}

// TestManyTunnelsComeAndGo: loops begin and end, tunnels are closed from all
// sides at once, and no descriptor is closed for another.
func TestManyTunnelsComeAndGo(t *testing.T) {
	before := openFiles(t)
	ts := &Registry{}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 40 {
				client, in := tcpPairs(t)
				backend, out := tcpPairs(t)
				end := make(chan struct{})
				if err := ts.Start(Tunnel{Client: in, Backend: out, MaxLife: 20 * time.Millisecond, OnEnd: func(Stats) { close(end) }}); err != nil {
					t.Error(err)
				}
				text := []byte{byte(i), byte(j), 'x'}
				_, _ = client.Write(text)
				got := make([]byte, 3)
				if _, err := io.ReadFull(backend, got); err == nil && !bytes.Equal(got, text) {
					t.Errorf("bytes of another tunnel: %q", got)
				}
				switch j % 4 {
				case 0:
					_ = client.Close()
				case 1:
					_ = backend.SetLinger(0)
					_ = backend.Close()
				case 2:
					_ = client.CloseWrite()
					_ = backend.CloseWrite()
				}
				<-end
				_ = client.Close()
				_ = backend.Close()
			}
		})
	}
	all.Wait()
	require.Eventually(t, func() bool { return ts.Count() == 0 && openFiles(t) <= before }, 20*time.Second, time.Millisecond)
}

// tcpPairs is tcpPair for goroutines: without the end of the test.
func tcpPairs(t testing.TB) (a, b *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	defer l.Close()
	ca, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	cb, err := l.Accept()
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	return ca.(*net.TCPConn), cb.(*net.TCPConn)
}

// TestShutdownEndsTheLoop: no descriptor of it is left.
func TestShutdownEndsTheLoop(t *testing.T) {
	before := openFiles(t)
	c, b, ts, end := tunnelOver(t, "unix", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, ts.Shutdown(ctx), context.Canceled)
	require.ErrorIs(t, ended(t, end).Err, ErrShutdown)
	_ = c.Close()
	_ = b.Close()
	require.Eventually(t, func() bool { return openFiles(t) <= before }, 10*time.Second, time.Millisecond)
}

// TestJoin: a function of the tunnel's own gets what was read too far, is
// counted, and is ended from outside.
func TestJoin(t *testing.T) {
	asked := make(chan error, 1)
	reason := errors.New("enough")
	c, b, ts, end := tunnelOver(t, "tcp", func(tn *Tunnel) {
		tn.ClientData, tn.BackendData = []byte("early "), []byte("soon ")
		tn.Leave = func(cause error) { asked <- cause }
		tn.Join = func(client, backend net.Conn) error {
			buf := make([]byte, 100)
			for range 2 {
				n, err := client.Read(buf)
				if err != nil {
					return err
				}
				_, _ = backend.Write(bytes.ToUpper(buf[:n]))
			}
			n, _ := backend.Read(buf)
			_, _ = client.Write(buf[:n])
			_ = client.(interface{ CloseWrite() error }).CloseWrite()
			<-asked
			return reason
		}
	})
	_, _ = io.WriteString(c, "late")
	got := make([]byte, 10)
	_, err := io.ReadFull(b, got)
	require.NoError(t, err)
	require.Equal(t, "EARLY LATE", string(got))
	rest, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "soon ", string(rest))
	require.NoError(t, ts.Shutdown(t.Context()))
	s := ended(t, end)
	require.ErrorIs(t, s.Err, reason)
	require.EqualValues(t, 10, s.Sent)
	require.EqualValues(t, 5, s.Received)
}

// TestCloseAfterEnd: a side that has ended, and is then gone, ends the tunnel,
// even if the other one is silent.
func TestCloseAfterEnd(t *testing.T) {
	for _, kind := range []string{"tcp", "unix"} {
		t.Run(kind, func(t *testing.T) {
			c, b, _, end := tunnelOver(t, kind, nil)
			require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
			_, err := io.ReadAll(b)
			require.NoError(t, err)
			if tc, ok := c.(*net.TCPConn); ok {
				require.NoError(t, tc.SetLinger(0))
			}
			require.NoError(t, c.Close())
			select {
			case s := <-end:
				require.Equal(t, kind == "tcp", s.Err != nil, "a reset is an error: %v", s.Err)
			case <-time.After(time.Minute):
				t.Fatal("the tunnel did not end")
			}
		})
	}
}

// TestSocketThatOthersHave: epoll tells nothing of a tunnel that is over, even
// if the embedder has kept a descriptor of its socket.
func TestSocketThatOthersHave(t *testing.T) {
	_, in := tcpPair(t)
	b, out := tcpPair(t)
	kept, err := in.File()
	require.NoError(t, err)
	defer kept.Close()
	_, other := tcpPair(t)
	_, end := tcpPair(t)
	ts := &Registry{}
	require.NoError(t, ts.Start(Tunnel{Client: in, Backend: out}))
	require.NoError(t, ts.Start(Tunnel{Client: other, Backend: end}))
	require.NoError(t, b.SetLinger(0))
	require.NoError(t, b.Close())
	require.Eventually(t, func() bool { return ts.Count() == 1 }, time.Minute, time.Millisecond)
	watched := 0
	for _, l := range ts.loops.list {
		info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(l.epoll))
		require.NoError(t, err)
		watched += strings.Count(string(info), "tfd:") - 1 // that wakes the loop
	}
	require.Equal(t, 2, watched)
	require.ErrorIs(t, ts.Shutdown(canceled()), context.Canceled)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
