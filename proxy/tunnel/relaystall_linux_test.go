package tunnel

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fill writes until neither the tunnel nor the kernel takes more, or, if that is
// not much, only until the tunnel has bytes that it cannot write.
func fill(t *testing.T, c net.Conn, passed func() int64, much bool) {
	piece := make([]byte, 16<<10)
	written := int64(0)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := c.Write(piece)
		written += int64(n)
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return
		}
		for wait := 0; !much && passed() < written; wait++ {
			if time.Sleep(time.Millisecond); wait == 50 {
				return
			}
		}
	}
}

// copyJoin moves bytes as a function of the tunnel's own.
func copyJoin(client, backend net.Conn) error {
	var other sync.WaitGroup
	other.Go(func() { _, _ = io.Copy(struct{ io.Writer }{client}, backend) })
	_, _ = io.Copy(struct{ io.Writer }{backend}, client)
	other.Wait()
	return nil
}

// TestGoneBehindStuckBytes: a side that is gone, or has ended where the other may
// not go on for long, is noticed although what it has sent is not read; one that
// has half-closed is waited for.
func TestGoneBehindStuckBytes(t *testing.T) {
	before := openFiles(t)
	reset := func(c net.Conn) {
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetLinger(0)
		}
		_ = c.Close() // of a unix socket says that nobody hears
	}
	half := func(c net.Conn) { _ = c.(interface{ CloseWrite() error }).CloseWrite() }
	type running struct {
		name  string
		c, b  net.Conn
		end   chan Stats
		stays bool
	}
	var list []running
	for name, tc := range map[string]struct {
		leave func(c net.Conn)
		much  bool // is sent, so that an end cannot get through to the tunnel
		limit time.Duration
		stays bool
	}{
		"reset":               {reset, true, 0, false},
		"reset behind little": {reset, false, 0, false},
		"closed":              {half, false, time.Second, false},
		"half-closed":         {half, false, 0, true},
	} {
		for _, kind := range []string{"tcp", "unix", "opaque", "half opaque", "join"} {
			for _, from := range []string{"client", "backend"} {
				over := kind
				if kind == "join" {
					over = "tcp"
				}
				c, b, ts, end := tunnelOver(t, over, func(tn *Tunnel) {
					tn.HalfCloseTimeout = tc.limit
					if kind == "join" {
						tn.Join = copyJoin
					}
				})
				if from == "backend" {
					c, b = b, c
				}
				fill(t, c, func() int64 { s := ts.List()[0]; return s.Sent + s.Received }, tc.much)
				tc.leave(c)
				list = append(list, running{fmt.Sprint(kind, ", ", name, ", ", from), c, b, end, tc.stays})
			}
		}
	}
	timeout := time.After(stallTime + lastWords + 20*time.Second)
	for _, r := range list {
		if r.stays {
			continue
		}
		select {
		case s := <-r.end:
			if strings.Contains(r.name, "reset") && !strings.Contains(r.name, "unix") && s.Err == nil {
				t.Errorf("%s: ended without an error", r.name)
			}
		case <-timeout:
			timeout = time.After(time.Millisecond)
			t.Errorf("%s: stays", r.name)
		}
		_ = r.c.Close()
		_ = r.b.Close()
	}
	for _, r := range list {
		if r.stays {
			select {
			case s := <-r.end:
				t.Errorf("%s has ended the tunnel: %v", r.name, s.Err)
			default:
			}
			_ = r.c.Close()
			_ = r.b.Close()
		}
	}
	require.Eventually(t, func() bool { return openFiles(t) <= before }, 10*time.Second, time.Millisecond)
}
